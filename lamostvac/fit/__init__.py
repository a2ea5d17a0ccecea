"""Labels of single stars from their spectra, with covariance."""

VERSION = 7
