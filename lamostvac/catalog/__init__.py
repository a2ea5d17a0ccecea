"""The catalogue: its columns, rows, flags, files, and the merge of all types."""

VERSION = 19
