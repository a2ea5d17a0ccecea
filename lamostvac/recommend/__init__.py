"""One recommended value of each label from all systems."""

VERSION = 15
