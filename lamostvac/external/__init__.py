"""Tables of others: reading them, joining them, matching positions and identifiers."""

VERSION = 2
