"""Photometry, extinction by star pairs, distances and positions."""

VERSION = 11
