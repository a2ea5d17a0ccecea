"""Grouped search of Liang et al. (2024): nearest library spectra, groups, Bayesian optimisation."""

VERSION = 6
