"""How much of the distance from others' labels is noise: scatters beside the Cramer-Rao bound."""

from collections.abc import Callable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamostvac.numerics.statistics import robust_sigma
from lamostvac.report.style import ACCEPTED, REJECTED, STYLE, message, plain_log_axis, title_of
from lamostvac.uncertainty.repeats import RepeatPairs

_GROUPS = {"O, B, A": ("OB", "A"), "F, G, K": ("F", "G", "K"), "M": ("M",)}
_LEAST = 15  # values in a bin of S/N
_BINS = 8
_NOT_OTHERS = ("repeats", "crossvalidation_", "training_")  # data sets that are our own labels

Array = NDArray[np.float64]


def bounds(table: pd.DataFrame, pairs: Mapping[str, RepeatPairs], others: pd.DataFrame) -> Figure:
    """Scatter of repeats and against others' labels beside the bound, by S/N, label and type.

    Parameters
    ----------
    table : rows of the catalogue with `snr` (in g, as in `others`), `spectral_type`, labels, and
        `{label}_bound`; a label that is not to be used is NaN
    pairs : label to pairs of repeats among the rows
    others : labels beside others', columns `dataset label value reference snr spectral_type`
    """
    types = table["spectral_type"].to_numpy(str)
    labels = [name for name in pairs if np.isfinite(table[f"{name}_bound"]).sum() >= _LEAST]
    groups = {name: of for name, of in _GROUPS.items() if np.isin(types, of).sum() >= _LEAST}
    if not labels or not groups:
        return message("Too few spectra have a bound on the errors of their labels.")
    with plt.rc_context(STYLE):
        size = (3.2 * len(labels), 2.6 * len(groups) + 0.4)
        figure, grid = plt.subplots(len(groups), len(labels), figsize=size, squeeze=False)
        for line, (group, of) in zip(grid, groups.items(), strict=True):
            for axes, label in zip(line, labels, strict=True):
                rows = np.isin(types, of)
                _panel(axes, table, label, rows, pairs[label], others, of)
                axes.set_title(f"{title_of(label)}, {group}")
            line[0].set_ylabel("standard deviation")
        for axes in grid[-1]:
            axes.set_xlabel("S/N in g")
        handles: dict[str, Any] = {}
        for axes in grid.flat:
            handles |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _panel(
    axes: Axes,
    table: pd.DataFrame,
    label: str,
    rows: NDArray[np.bool_],
    pairs: RepeatPairs,
    others: pd.DataFrame,
    types: tuple[str, ...],
) -> None:
    snr, bound = (table[name].to_numpy(np.float64) for name in ("snr", f"{label}_bound"))
    residual = pairs.residual(table[label].to_numpy(np.float64))
    same = rows[pairs.earlier]
    drawn: list[tuple[Array, Array, Callable[[Array], Any], str, str, str]] = [
        (snr[rows], bound[rows], np.median, "-", "black", "Cramer-Rao bound"),
        (pairs.snr[same], residual[same], _about_zero, "o-", ACCEPTED, "repeats"),
    ]
    compared = _largest(others, label, types)
    if len(compared):
        difference = (compared["value"] - compared["reference"]).to_numpy(np.float64)
        against = f"against {compared['dataset'].iloc[0]}"
        at = compared["snr"].to_numpy(np.float64)
        drawn.append((at, difference, robust_sigma, "s-", REJECTED, against))
    shown: list[tuple[Array, Array]] = []
    for at, values, statistic, marker, colour, name in drawn:
        x, y = _binned(at, values, statistic)
        if len(x):
            axes.plot(x, y, marker, ms=4, lw=1.3, color=colour, label=name)
            shown.append((x, y))
    axes.set(xscale="log", yscale="log")
    if shown:
        x, y = np.concatenate(shown, axis=1)
        plain_log_axis(axes.xaxis, x.min(), x.max())
        plain_log_axis(axes.yaxis, y.min(), y.max())


def _largest(others: pd.DataFrame, label: str, types: tuple[str, ...]) -> pd.DataFrame:
    """The rows of a label of some types: of the truth or, without it, of the largest data set of
    others' labels.
    """
    rows = others[(others["label"] == label) & others["spectral_type"].isin(types)]
    rows = rows[~rows["dataset"].str.startswith(_NOT_OTHERS)]
    sizes = rows["dataset"].value_counts()
    if not len(sizes):
        return rows
    return rows[rows["dataset"] == ("truth" if "truth" in sizes else sizes.idxmax())]


def _about_zero(differences: Array) -> float:
    """Robust standard deviation about 0 of differences between equals."""
    return float(1.4826 * np.median(np.abs(differences)))


def _binned(snr: Array, values: Array, statistic: Callable[[Array], Any]) -> tuple[Array, Array]:
    """Median S/N and the statistic in bins of equally many values; empty with too few."""
    known = np.isfinite(values) & (snr > 0)
    order = np.argsort(snr[known], kind="stable")
    snr, values = snr[known][order], values[known][order]
    parts = np.array_split(np.arange(len(snr)), min(_BINS, len(snr) // _LEAST) or 1)
    if len(snr) < _LEAST:
        return np.empty(0), np.empty(0)
    found = np.array([[np.median(snr[part]), statistic(values[part])] for part in parts])
    return found[:, 0], found[:, 1]
