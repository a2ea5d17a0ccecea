"""Residuals against quantities on which they may depend: a small offset can hide a slope or
step.
"""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lamostvac.validation.statistics import statistics
from lamostvac.validation.subsets import warned
from lamostvac.validation.truth import DISTANCES

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


def quantity(
    table: pd.DataFrame, name: str, snr_band: str, kept: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """The quantity (n,) against which residuals are drawn, of the rows `kept` or of all.

    Labels are the reference's where it has them (a residual is correlated with our value, from
    which it is computed), else the recommended ones, else the emulator's; `bp_rp` is the observed
    colour.
    """

    def column(wanted: str) -> NDArray[np.float64]:
        values = table[wanted].to_numpy()
        return np.asarray(values if kept is None else values[kept], np.float64)

    if name == "snr":
        return column(snr_band)
    nothing = np.full(len(table) if kept is None else np.count_nonzero(kept), np.nan)
    if name == "bp_rp":
        if "mag_bp" not in table or "mag_rp" not in table:
            return nothing
        bp, rp = (table[band].to_numpy() for band in ("mag_bp", "mag_rp"))
        colour = bp - rp
        return np.asarray(colour if kept is None else colour[kept], np.float64)
    for wanted in (f"ref_{name}", f"ref_{name}_rec", f"{name}_rec", name):
        if wanted in table and np.isfinite(values := column(wanted)).any():
            return values
    return nothing


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
        kept = ~warned(table, label).to_numpy(bool)
        if label == "alpha_fe" and "flag_alpha_fe" in table:
            kept &= (table["flag_alpha_fe"] == 0).to_numpy(bool)
        # Single columns of these rows: copies of whole tables of millions would take the time.
        value, reference = (table[name].to_numpy()[kept] for name in (label, f"ref_{label}"))
        star = table["star"].to_numpy()[kept] if "star" in table else None
        if label in DISTANCES:
            value, reference = value / reference, np.ones(len(reference))
        finite = np.isfinite(value) & np.isfinite(reference)
        for name in QUANTITIES:
            x = quantity(table, name, snr_band, kept)
            known = np.isfinite(x) & finite
            if name == "snr":
                known &= x > 0
            values = x[known]
            edges = bin_edges(values)
            if not len(edges):
                continue
            which = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
            # Rows by bin, in their order: small numbers are sorted without comparisons.
            order = np.argsort(which.astype(np.uint8), kind="stable")
            places, values = np.flatnonzero(known)[order], values[order]
            ends = np.cumsum(np.bincount(which, minlength=len(edges) - 1)).tolist()
            for number, (start, end) in enumerate(itertools.pairwise([0, *ends])):
                members = places[start:end]
                if len(members) < 3:
                    continue
                stars = None if star is None else star[members]
                found = statistics(value[members], reference[members], stars, seed)
                rows.append(
                    {
                        "dataset": dataset,
                        "label": label,
                        "quantity": name,
                        "low": edges[number],
                        "high": edges[number + 1],
                        "x": float(np.median(values[start:end])),
                        **{key: found[key] for key in TREND_COLUMNS[6:]},
                    }
                )
    return rows
