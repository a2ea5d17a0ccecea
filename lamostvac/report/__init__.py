"""Figures and tables of the report."""

VERSION = 24
