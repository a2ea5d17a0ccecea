"""Public data from archives, by network."""

VERSION = 1
