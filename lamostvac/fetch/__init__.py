"""Public data from archives, by network."""
