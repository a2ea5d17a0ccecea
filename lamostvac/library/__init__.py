"""Libraries of stars with known labels, brought to the survey's frame and resolution."""

VERSION = 3
