"""The page of one star."""

VERSION = 13
