"""Pools of stars, and functions that several experiments use."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from lamostvac.grouped import search

TEFF_EDGES = np.array([0.0, 4000.0, 6000.0, 10000.0, np.inf])
"""Limits (K) of the bins that L24 judge the emulator in (their Figures 5 and 6)."""
TEFF_BINS = ("Teff < 4000", "4000-6000", "6000-10000", "Teff >= 10000")
POOLS = {"OB": "OB", "A": "A", "F": "FGK", "G": "FGK", "K": "FGK", "M": "M"}
"""Spectral type -> the panel of L24's Figures 8 and 9 that it belongs to."""
_CELLS = 512  # label vectors compared with all others at once; bounds memory
_BATCH = 256  # spectra emulated at once


def teff_bin(teff: NDArray[np.floating]) -> NDArray[np.int64]:
    """Number (n,) of the bin of `TEFF_BINS` for effective temperatures (K)."""
    return np.digitize(teff, TEFF_EDGES) - 1


def sizes_below(n: int, sizes: Iterable[int]) -> list[int]:
    """The group sizes that differ for `n` stars: up to the first that contains all of them."""
    ordered = sorted(set(sizes))
    return [size for i, size in enumerate(ordered) if i == 0 or ordered[i - 1] < n]


def draw_groups(n: int, size: int, count: int, seed: Sequence[int]) -> list[slice]:
    """At most `count` of the full groups of n sorted stars, chosen at random, in their order.

    Without a full group it is one group of all stars, if there are any.
    """
    whole = [part for part in search.group_slices(n, size) if part.stop - part.start == size]
    if not whole:
        return search.group_slices(n, max(n, 1))
    chosen = np.random.default_rng(list(seed)).permutation(len(whole))[:count]
    return [whole[i] for i in np.sort(chosen)]


QUANTILES = (5, 25, 50, 75, 95)
