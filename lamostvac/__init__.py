"""lamost-vac: from a LAMOST low-resolution data release to one catalogue of stellar labels."""

__version__ = "0.1.0"
