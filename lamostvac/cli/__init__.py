"""The command `lamostvac`: what is typed, and nothing that computes."""

VERSION = 1
