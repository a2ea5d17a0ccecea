"""Two runs' catalogues compared: which spectra came, went and moved, and why."""

VERSION = 3
