"""The published experiments on the method, done again."""

VERSION = 1
