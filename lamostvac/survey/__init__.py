"""The release: its catalogue, selection of stars, chunks, its tree of files."""

VERSION = 9
