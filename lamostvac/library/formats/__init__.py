"""Readers of the libraries' own files."""
