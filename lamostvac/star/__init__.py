"""The page of one star."""

VERSION = 12
