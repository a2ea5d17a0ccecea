"""Factors on stated errors, as functions of S/N and effective temperature."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lamostvac.recommend.definitions import Columns, number

Array = NDArray[np.float64]
PLACE_TEFF = "teff"  # the column whose temperature factors depend on, the first emulator's
_DECADE, _THETA = 0.4, 0.1  # steps in log10 S/N and 5040 K/Teff over which a factor may well change
_LIMITS = np.log([1 / 3, 3.0])  # of the factor's logarithm


def place(columns: Columns, snr_band: str) -> Array:
    """Where stars are (n, 2): log10 S/N and 5040 K/Teff of the emulator, both in steps."""
    snr, teff = number(columns, snr_band), number(columns, PLACE_TEFF)
    snr = np.log10(np.where(snr > 0, snr, np.nan))
    theta = 5040.0 / np.where(teff > 0, teff, np.nan)
    return np.stack([snr / _DECADE, theta / _THETA], axis=1)


@dataclass(frozen=True)
class ErrorScale:
    """The factor exp(c . (1, x - centre)) on a source's stated errors, x the `place` of a star.

    Outside the limits it is that at the limit, for a missing place that at the centre.

    Attributes
    ----------
    coefficients : (3,)
    centre, limits : (2,), (2, 2) of the stars that it was learned from
    n : their number; 0 for the factor 1
    """

    coefficients: Array = field(default_factory=lambda: np.zeros(3))
    centre: Array = field(default_factory=lambda: np.zeros(2))
    limits: Array = field(default_factory=lambda: np.zeros((2, 2)))
    n: int = 0

    def design(self, at: Array) -> Array:
        """1 and the distances from the centre (n, 3)."""
        inside = np.clip(at, self.limits[:, 0], self.limits[:, 1]) - self.centre
        return np.column_stack([np.ones(len(at)), np.where(np.isfinite(inside), inside, 0.0)])

    def factor(self, at: Array) -> Array:
        """The factor (n,), between 1/3 and 3."""
        if self.n == 0:
            return np.ones(len(at))
        return np.exp(np.clip(self.design(at) @ self.coefficients, *_LIMITS))
