"""The published experiments on the method, repeated."""

VERSION = 1
