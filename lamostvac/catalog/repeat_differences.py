"""Spectra of one star whose recommended labels differ by more than chance."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamostvac.catalog.registry import Registry
from lamostvac.core.vocabulary import LABELS

FLAG = "flag_repeats"
FAR = 3.0
"""Sigma of the random errors beyond which spectra of one star differ by more than chance."""
VALUES = tuple(f"{label}_rec" for label in LABELS)
RANDOM = tuple(f"{label}_rec_err_random" for label in LABELS)


def differing(
    star: NDArray[np.int64],
    values: Sequence[ArrayLike],
    random: Sequence[ArrayLike],
    far: float = FAR,
) -> NDArray[np.bool_]:
    """Where (n,) a label is farther than `far` sigma from the mean of the star's other spectra.

    Two spectra are so compared with each other. One among many is compared with the mean, once and
    not with each, so that stars observed often are not flagged more often by chance.

    Parameters
    ----------
    star : (n,) star of each row, as by `external.match.group_stars`
    values, random : a label each (n,), and its random error; rows where either is missing, or the
        error is not positive, are neither judged nor compared with
    """
    found = np.zeros(len(star), bool)
    for value, error in zip(values, random, strict=True):
        x, e = np.asarray(value, np.float64), np.asarray(error, np.float64)
        with np.errstate(invalid="ignore"):
            rows = np.flatnonzero(np.isfinite(x) & np.isfinite(e) & (e > 0))
        rows = rows[np.bincount(star[rows])[star[rows]] > 1] if len(rows) else rows
        if not len(rows):
            continue
        _, group = np.unique(star[rows], return_inverse=True)
        weight = 1 / e[rows] ** 2
        # About the star's mean, so that the sums below lose no digits.
        offset = x[rows] - (np.bincount(group, x[rows]) / np.bincount(group))[group]
        others = np.bincount(group, weight)[group] - weight
        mean = (np.bincount(group, weight * offset)[group] - weight * offset) / others
        found[rows] |= np.abs(offset - mean) > far * np.sqrt(1 / weight + 1 / others)
    return found


def set_repeats(rows: NDArray[np.void], registry: Registry, differ: NDArray[np.bool_]) -> None:
    """Put `differ` (n,) into `flag_repeats` and `flags` of rows (n,) of the catalogue, in place."""
    bit = 1 << registry.flag_bits[FLAG]
    rows[FLAG] = differ
    rows["flags"] = (rows["flags"] & ~bit) | np.where(differ, bit, 0)
