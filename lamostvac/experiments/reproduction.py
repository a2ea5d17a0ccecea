"""The experiments by which Liang+ 2024 (L24, sections 4.1 and 4.2) choose and judge their method.

Each function takes arrays and returns the table that a figure of theirs is drawn from;
docs/experiments.md has the results. The survey's stars are given as `Sample`, in the order of the
grouped search.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.emulator.model import Emulator
from lamostvac.experiments.pools import _CELLS, TEFF_BINS, teff_bin
from lamostvac.fit import priors
from lamostvac.grouped import search

ENOUGH = 100  # library stars within the prior intervals, L24's criterion for the number of matches
FOLDS = 5  # sub-datasets of the reproduction error (L24 section 4.2.2 item 1)

Form = Literal["published", "centred"]


# Figure 2


def prior_counts(emulator: Emulator, labels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number (N,) of library stars within the prior intervals of each library star, with itself.

    The intervals (limits included) are those of the first guess, `priors.prior_intervals`.

    Parameters
    ----------
    labels : (N, L) of the library, in the order of the emulator's
    """
    scaled = emulator.to_scaled(labels)
    counts = np.empty(len(labels), dtype=np.int64)
    for first in range(0, len(labels), _CELLS):
        rows = slice(first, first + _CELLS)
        low, high = priors.prior_intervals(emulator, labels[rows])
        inside = np.ones((len(low), len(scaled)), dtype=bool)
        for label in range(scaled.shape[1]):
            values = scaled[:, label]
            inside &= (values >= low[:, label, None]) & (values <= high[:, label, None])
        counts[rows] = inside.sum(axis=1)
    return counts


def prior_counts_table(teff: NDArray[np.floating], counts: NDArray[np.int64]) -> pd.DataFrame:
    """Share of the intervals with more than `ENOUGH` library stars, for all and by bin of Teff.

    Returns one row per subset: `subset n median above` (`above` is a share, NaN where there is no
    star).
    """
    bins = teff_bin(teff)
    subsets = {"all": np.ones(len(teff), dtype=bool)}
    subsets |= {name: bins == number for number, name in enumerate(TEFF_BINS)}
    rows = []
    for name, members in subsets.items():
        inside = counts[members]
        known = len(inside) > 0
        rows.append(
            {
                "subset": name,
                "n": len(inside),
                "median": float(np.median(inside)) if known else np.nan,
                "above": float((inside > ENOUGH).mean()) if known else np.nan,
            }
        )
    return pd.DataFrame(rows)


# Groups


# Figure 3


# Figures 8 and 9


def reproduction_errors(
    candidates: NDArray[np.floating], variance: float, form: Form, seed: Sequence[int]
) -> NDArray[np.float64]:
    """Theta Q+ Q - Theta for candidates that Q was not made from (L24 section 4.2.2 item 1).

    The t candidates are divided at random into five parts; Q comes from four of them.

    Parameters
    ----------
    candidates : (t, N, L) labels, t >= 5
    variance, form : of the components, `search.reduce_labels`; `centred` subtracts the mean of the
        four parts from both, `published` subtracts nothing

    Returns
    -------
    (t // 5, 5, N, L) errors, second axis the part that was left out. Up to four candidates, drawn
    at random, are left out altogether where t is not a multiple of 5.

    Raises
    ------
    ValueError
        There are fewer than five candidates.
    """
    t, n, n_labels = candidates.shape
    if t < FOLDS:
        raise ValueError(f"{t} candidates cannot be dealt into {FOLDS} parts")
    theta = np.asarray(candidates, dtype=np.float64)
    share = t // FOLDS
    parts = np.random.default_rng(list(seed)).permutation(t)[: share * FOLDS].reshape(FOLDS, share)
    errors = np.empty((share, FOLDS, n, n_labels))
    for number, part in enumerate(parts):
        others = theta[np.sort(np.delete(parts, number, axis=0).ravel())]
        basis = search.reduce_labels(others, variance, form).basis
        q = basis.reshape(len(basis), n * n_labels)
        centre = others.mean(axis=0) if form == "centred" else np.zeros((n, n_labels))
        rest = (theta[part] - centre).reshape(share, -1)
        errors[:, number] = (rest @ np.linalg.pinv(q) @ q - rest).reshape(share, n, n_labels)
    return errors


# Figure 4


# Figures 5 and 6
