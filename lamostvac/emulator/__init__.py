"""The spectral emulator: components and Gaussian process, what it misses, its distilled form."""

VERSION = 2
