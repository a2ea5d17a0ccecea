"""Numerical methods without astronomy: Gaussian processes, decompositions, statistics."""
