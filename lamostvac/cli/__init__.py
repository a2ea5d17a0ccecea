"""The command `lamostvac`: its options and subcommands, without computations."""

VERSION = 3
