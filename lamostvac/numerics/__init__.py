"""Numerical methods without astronomy: Gaussian processes, decompositions, statistics."""

VERSION = 1
