"""The run's configuration, composed of the stages' sections."""

VERSION = 3
