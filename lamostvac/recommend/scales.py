"""Factors on stated errors, as functions of S/N, Teff, [Fe/H] and the distance from known stars."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lamostvac.recommend.definitions import Columns, number

Array = NDArray[np.float64]
PLACE = ("teff", "feh")  # the labels that factors depend on, the first emulator's
# Steps in log10 S/N, 5040 K/Teff, [Fe/H] and log10 distance over which a factor may well change.
_STEPS = np.array([0.4, 0.1, 0.7, 0.4])
_LEAST = 0.1  # below this distance a star is among the others
FAR = 10.0  # steps: a distance that no star has
_LIMITS = np.log([1 / 3, 3.0])  # of the factor's logarithm


def place(columns: Columns, snr_band: str, distance: str | None = None) -> Array:
    """Where stars are (n, 3): log10 S/N, 5040 K/Teff and [Fe/H], in steps; NaN where missing.

    With the column of a `distance` from the stars that a source learned from, its log10 is the
    fourth (n, 4).
    """
    snr, teff, feh = (number(columns, name) for name in (snr_band, *PLACE))
    snr = np.log10(np.where(snr > 0, snr, np.nan))
    theta = 5040.0 / np.where(teff > 0, teff, np.nan)
    found = [snr, theta, feh]
    if distance is not None:
        found.append(np.log10(np.maximum(number(columns, distance), _LEAST)))
    return np.stack(found, axis=1) / _STEPS[: len(found)]


@dataclass(frozen=True)
class ErrorScale:
    """The factor exp(c . (1, x - centre)) on a source's stated errors, x the `place` of a star.

    Outside the limits it is that at the limit, for what is missing of a place that at the centre.

    Attributes
    ----------
    coefficients : (1 + k,)
    centre, limits : (k,), (k, 2) of the stars that it was learned from
    n : their number; 0 for the factor 1
    """

    coefficients: Array = field(default_factory=lambda: np.zeros(4))
    centre: Array = field(default_factory=lambda: np.zeros(3))
    limits: Array = field(default_factory=lambda: np.zeros((3, 2)))
    n: int = 0

    def design(self, at: Array) -> Array:
        """1 and the distances from the centre (n, 1 + k)."""
        inside = np.clip(at, self.limits[:, 0], self.limits[:, 1]) - self.centre
        return np.column_stack([np.ones(len(at)), np.where(np.isfinite(inside), inside, 0.0)])

    def factor(self, at: Array) -> Array:
        """The factor (n,), between 1/3 and 3."""
        if self.n == 0:
            return np.ones(len(at))
        return np.exp(np.clip(self.design(at) @ self.coefficients, *_LIMITS))
