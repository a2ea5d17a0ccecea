"""Spectra of the survey: reading, rest frame, masks, normalisation, chunks of prepared spectra."""

VERSION = 5
