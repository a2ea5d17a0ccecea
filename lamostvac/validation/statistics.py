"""Offsets, scatters and pulls in numbers."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lamostvac.core.vocabulary import LABELS
from lamostvac.numerics.statistics import offset_and_scatter_errors, robust_sigma

PULL_COLUMNS = ["label", "subset", "n", "mean", "width"]


def statistics(
    value: ArrayLike, reference: ArrayLike, star: ArrayLike | None = None, seed: int = 0
) -> dict[str, float]:
    """n, offset, sigma, robust_sigma of value - reference (n,) where both are finite; errors.

    Parameters
    ----------
    star : (n,) number of each spectrum's star, negative for one of its own; None: each row is a
        star. The errors offset_err and sigma_err come from resampling the n_stars stars
        (`numerics.statistics`)
    """
    difference = np.asarray(value, np.float64) - np.asarray(reference, np.float64)
    known = np.isfinite(difference)
    difference = difference[known]
    if not difference.size:
        empty = dict.fromkeys(
            ("offset", "sigma", "robust_sigma", "offset_err", "sigma_err"), float("nan")
        )
        return {"n": 0, **empty, "n_stars": 0}
    stars = None if star is None else np.asarray(star)[known]
    offset_err, sigma_err, n_stars = offset_and_scatter_errors(difference, stars, seed)
    return {
        "n": difference.size,
        "offset": float(np.median(difference)),
        "sigma": float(difference.std()),
        "robust_sigma": robust_sigma(difference),
        "offset_err": offset_err,
        "sigma_err": sigma_err,
        "n_stars": n_stars,
    }


def pull_statistics(value: ArrayLike, error: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """n, mean, robust width of (value - truth) / error where finite with a positive error."""
    value, error, truth = (np.asarray(array, np.float64) for array in (value, error, truth))
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = (value - truth) / error
    pull = pull[np.isfinite(pull) & (error > 0)]
    if not pull.size:
        return {"n": 0, "mean": np.nan, "width": np.nan}
    return {"n": pull.size, "mean": float(pull.mean()), "width": robust_sigma(pull)}


def _recommended(table: pd.DataFrame, label: str) -> pd.DataFrame:
    if label == "alpha_fe" and "flag_alpha_fe" in table:
        return table[table["flag_alpha_fe"] == 0]
    return table


def pull_rows(
    subsets: Mapping[str, pd.DataFrame], labels: Iterable[str] = LABELS
) -> list[dict[str, Any]]:
    """Rows of pulls.csv from tables with `{label}`, `{label}_err` and `ref_{label}`.

    [alpha/Fe] counts only where flag_alpha_fe recommends it.
    """
    rows = []
    for label in labels:
        for subset, table in subsets.items():
            used = _recommended(table, label)
            rows.append(
                {"label": label, "subset": subset}
                | pull_statistics(used[label], used[f"{label}_err"], used[f"ref_{label}"])
            )
    return rows


def pulls_of(table: pd.DataFrame) -> NDArray[np.float64]:
    """(value - reference) / error of a table of pairs (n,), if finite and with a positive error."""
    usable = table[(table["error"] > 0) & ~table["fit_flagged"]]
    pull = ((usable["value"] - usable["reference"]) / usable["error"]).to_numpy(np.float64)
    return pull[np.isfinite(pull)]
