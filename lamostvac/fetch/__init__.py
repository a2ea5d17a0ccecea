"""Download of public data from archives."""

VERSION = 2
