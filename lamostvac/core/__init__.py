"""What every stage uses: files, logs, messages, names of the field. It imports no stage."""

VERSION = 7
