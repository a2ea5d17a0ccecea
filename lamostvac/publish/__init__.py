"""Forms of the catalogue for archives and readers."""

VERSION = 13
