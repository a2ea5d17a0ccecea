"""Stars with known labels that networks learn from."""

VERSION = 6
