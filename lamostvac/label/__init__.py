"""Labels of spectra without a release's catalogue: from files or arrays, by the models of a run."""

VERSION = 9
