"""Comparison with other catalogues, with injected truth, with clusters."""

VERSION = 11
