"""What every stage uses: files, logs, messages, names of the field. Knows no stage."""

VERSION = 3
