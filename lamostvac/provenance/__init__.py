"""What a run was made of, as a file beside its catalogue, and which works it owes credit."""

VERSION = 1
