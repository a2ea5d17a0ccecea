"""Errors of labels from repeat observations and from stars left out."""

VERSION = 11
