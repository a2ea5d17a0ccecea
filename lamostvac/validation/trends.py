"""Residuals against quantities on which they may depend: a small offset can hide a slope or
step.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lamostvac.validation.statistics import statistics
from lamostvac.validation.subsets import warned
from lamostvac.validation.truth import DISTANCES, relative

TREND_COLUMNS = [
    "dataset", "label", "quantity", "low", "high", "x", "n", "n_stars", "offset", "offset_err", "robust_sigma",
]  # fmt: skip
QUANTITIES = ("teff", "logg", "feh", "snr", "bp_rp")
MOST_BINS = 12
FEWEST = 12  # spectra in a bin; the width of fewer is meaningless


def bin_edges(x: ArrayLike, most: int = MOST_BINS, fewest: int = FEWEST) -> NDArray[np.float64]:
    """Edges (k + 1,) of bins with equal numbers of x (n,), all finite; empty if too few for two.

    Equal values are in one bin, so some bins may hold more than others.
    """
    values = np.sort(np.asarray(x, np.float64))
    n_bins = min(most, len(values) // fewest)
    if n_bins < 2:
        return np.empty(0)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, n_bins + 1)))
    return edges if len(edges) > 2 else np.empty(0)


def quantity(table: pd.DataFrame, name: str, snr_band: str) -> NDArray[np.float64]:
    """The quantity (n,) against which residuals are drawn.

    Labels are the reference's where it has them (a residual is correlated with our value, from
    which it is computed), else the recommended ones, else the emulator's; `bp_rp` is the observed
    colour.
    """
    if name == "snr":
        return table[snr_band].to_numpy(np.float64)
    if name == "bp_rp":
        if "mag_bp" not in table or "mag_rp" not in table:
            return np.full(len(table), np.nan)
        return (table["mag_bp"] - table["mag_rp"]).to_numpy(np.float64)
    for column in (f"ref_{name}", f"ref_{name}_rec", f"{name}_rec", name):
        if column in table and np.isfinite(table[column]).any():
            return table[column].to_numpy(np.float64)
    return np.full(len(table), np.nan)


def trend_rows(
    dataset: str, table: pd.DataFrame, labels: Iterable[str], snr_band: str, seed: int = 0
) -> list[dict[str, Any]]:
    """Rows of trends.csv: median and width of value - reference in bins of each quantity.

    Parameters
    ----------
    table : `{label}` and `ref_{label}`, `star` where stars have several rows, and the columns of
        `quantity`; rows with a warning on the label are left out, as in the figures' numbers
    """
    rows = []
    for label in labels:
        used = table[~warned(table, label)]
        if label == "alpha_fe" and "flag_alpha_fe" in used:
            used = used[used["flag_alpha_fe"] == 0]
        if label in DISTANCES:
            used = relative(used, label)
        for name in QUANTITIES:
            x = quantity(used, name, snr_band)
            known = np.isfinite(x) & np.isfinite(used[label]) & np.isfinite(used[f"ref_{label}"])
            if name == "snr":
                known &= x > 0
            part, values = used[known], x[known]
            edges = bin_edges(values)
            if not len(edges):
                continue
            which = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
            for number in range(len(edges) - 1):
                members = part[which == number]
                if len(members) < 3:
                    continue
                found = statistics(
                    members[label], members[f"ref_{label}"], members.get("star"), seed
                )
                rows.append(
                    {
                        "dataset": dataset,
                        "label": label,
                        "quantity": name,
                        "low": edges[number],
                        "high": edges[number + 1],
                        "x": float(np.median(values[which == number])),
                        **{key: found[key] for key in TREND_COLUMNS[6:]},
                    }
                )
    return rows
