"""Figures of comparisons. Functions take arrays and tables and return a figure; `save` writes it.

Equal input gives equal bytes: no time stamps, no random thinning.
"""

from collections.abc import Iterable
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lamostvac.core.vocabulary import LABELS
from lamostvac.report.style import (
    ACCEPTED,
    GREY,
    REJECTED,
    STYLE,
    TITLES,
    digits_of,
    message,
    overall_title,
    plain_log_axis,
    point_size,
    title_of,
)
from lamostvac.validation.statistics import pulls_of, statistics
from lamostvac.validation.subsets import snr_bins
from lamostvac.validation.truth import DISTANCES

_DENSE = 4_000  # the same for a panel of a comparison


def comparison(
    title: str,
    pairs: pd.DataFrame,
    labels: Iterable[str] = LABELS,
    ours: str = "this catalogue",
) -> Figure:
    """One-to-one and residuals of each label against a reference (Wang et al. 2022, Figures 6-9).

    `pairs` is what `lamostvac.validation.comparisons.pairs` returns, for one dataset. Axes cover
    the central 99 % of the values; stars whose fit carries a warning are open grey circles. Points
    are coloured by S/N; for more than `_DENSE` points their density is drawn. The cross is the
    typical (median) error of both sides. Residuals of distances are relative. `ours` names the
    catalogue that the values are from.
    """
    labels = [name for name in labels if np.isfinite(labelled(pairs, name)["difference"]).any()]
    if not labels:
        return message(f"{title}: no star of the catalogue has a label to compare.")
    columns = min(len(labels), 4)
    lines = -(-len(labels) // columns)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            2 * lines,
            columns,
            figsize=(3.5 * columns + 0.9, 5.2 * lines),
            squeeze=False,
            height_ratios=[3, 2] * lines,
        )
        for axes in (*grid[0::2].flat[len(labels) :], *grid[1::2].flat[len(labels) :]):
            axes.axis("off")
        mappable = None
        uppers, lowers = grid[0::2].flat, grid[1::2].flat
        for number, (label, upper, lower) in enumerate(zip(labels, uppers, lowers, strict=False)):
            lower.sharex(upper)
            upper.tick_params(labelbottom=False)
            table = labelled(pairs, label)
            table = table[np.isfinite(table["difference"])]
            good = table[~table["fit_flagged"]]
            low, high, is_log = _one_to_one(upper, label, table)
            spread = max(float(np.percentile(np.abs(table["difference"]), 98)), 1e-3)
            points = _points(upper, "value", table, is_log, (low, high, low, high))
            _points(lower, "difference", table, is_log, (low, high, -1.15 * spread, 1.15 * spread))
            mappable = points if points is not None else mappable
            lower.set_ylim(-1.15 * spread, 1.15 * spread)
            lower.axhline(0, color="black", lw=0.8)
            numbers = statistics(good["difference"], np.zeros(len(good)), good.get("star"))
            lower.axhline(numbers["offset"], color="#d9480f", lw=0.9, ls="--")
            digits = 2 if label in DISTANCES else digits_of(label, table["reference"])
            stars = f" ({numbers['n_stars']:,} stars)" if numbers["n_stars"] < numbers["n"] else ""
            upper.text(
                0.04,
                0.96,
                f"n = {numbers['n']:,}{stars}\n"
                f"offset {numbers['offset']:+.{digits}f} $\\pm$ {numbers['offset_err']:.{digits + (digits > 0)}f}\n"
                rf"$\sigma$ {numbers['sigma']:.{digits}f}, robust {numbers['robust_sigma']:.{digits}f}",
                transform=upper.transAxes,
                va="top",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5},
            )
            _typical_errors(upper, good)
            upper.set_title(title_of(label))
            if number >= len(labels) - columns:
                lower.set_xlabel("reference")
            if number % columns == 0:
                upper.set_ylabel(ours)
                lower.set_ylabel("relative diff." if label in DISTANCES else "difference")
        if mappable is not None:
            ticks = [5, 10, 20, 50, 100, 200]
            bar = figure.colorbar(
                mappable, ax=list(grid[:2, -1]), label="S/N (g)", ticks=ticks, pad=0.02, aspect=35
            )
            bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            bar.ax.minorticks_off()
        overall_title(figure, title)
    return figure


def _one_to_one(axes: Axes, label: str, table: pd.DataFrame) -> tuple[float, float, bool]:
    """Draws the line of equality; limits of both axes, and whether they are logarithmic (for
    temperatures and distances over a wide range).
    """
    low, high = (
        float(value) for value in np.percentile(table[["value", "reference"]], [0.5, 99.5])
    )
    is_log = (
        (title_of(label) == TITLES["teff"] or label in DISTANCES) and low > 0 and high > 3 * low
    )
    if is_log:
        low, high = low * 0.9, high * 1.1
        axes.set(xscale="log", yscale="log")
        plain_log_axis(axes.xaxis, low, high)
        plain_log_axis(axes.yaxis, low, high)
    else:
        margin = 0.06 * (high - low) or 0.1
        low, high = low - margin, high + margin
    axes.plot([low, high], [low, high], color="black", lw=0.8)
    axes.set(xlim=(low, high), ylim=(low, high))
    return low, high, is_log


def _points(
    axes: Axes, y: str, table: pd.DataFrame, is_log: bool, extent: tuple[float, float, float, float]
) -> Any:
    """Points of a panel, coloured by S/N, or their density; the mappable for a colour bar, or
    None.
    """
    good, warned = table[~table["fit_flagged"]], table[table["fit_flagged"]]
    if len(good) > _DENSE:
        inside = good[
            good["reference"].between(extent[0], extent[1]) & good[y].between(extent[2], extent[3])
        ]
        x_scale: Any = "log" if is_log else "linear"
        y_scale: Any = "log" if is_log and y == "value" else "linear"
        axes.hexbin(
            inside["reference"],
            inside[y],
            gridsize=60,
            xscale=x_scale,
            yscale=y_scale,
            norm=LogNorm(),
            mincnt=1,
            cmap="magma_r",
            linewidths=0,
        )
        return None
    axes.scatter(
        warned["reference"], warned[y], s=8, facecolors="none", edgecolors="#adb5bd", linewidths=0.5
    )
    coloured = good["snr"].notna().any()
    points = axes.scatter(
        good["reference"],
        good[y],
        s=point_size(len(good)),
        c=good["snr"].clip(5, 200) if coloured else ACCEPTED,
        norm=LogNorm(5, 200) if coloured else None,
        cmap="viridis" if coloured else None,
        linewidths=0,
    )
    return points if coloured else None


def _typical_errors(axes: Axes, table: pd.DataFrame) -> None:
    """The median errors of both sides as a cross in the lower right corner, where there are any."""
    ours = table["error"][np.isfinite(table["error"]) & (table["error"] > 0)]
    theirs = table["reference_error"] if "reference_error" in table else table["error"] * np.nan
    theirs = theirs[np.isfinite(theirs) & (theirs > 0)]
    if not len(ours) and not len(theirs):
        return
    to_data = axes.transAxes + axes.transData.inverted()
    x, y = to_data.transform((0.85, 0.12))
    # On logarithmic axes a relative error has the same length everywhere.
    is_log = axes.get_xscale() == "log"
    across = (theirs / table["reference"][theirs.index]).median() * x if is_log else theirs.median()
    up = (ours / table["value"][ours.index]).median() * y if is_log else ours.median()
    axes.errorbar(
        [x],
        [y],
        xerr=[across] if len(theirs) else None,
        yerr=[up] if len(ours) else None,
        color="#1864ab",
        lw=1.2,
        capsize=2,
        fmt="none",
        zorder=5,
    )


def labelled(pairs: pd.DataFrame, label: str) -> pd.DataFrame:
    """The pairs of one label with their `difference`, which for distances is relative."""
    table = pairs[pairs["label"] == label]
    difference = table["value"] - table["reference"]
    return table.assign(
        difference=difference / table["reference"] if label in DISTANCES else difference
    )


def pulls(pairs: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Distribution of (value - truth) / error, and its mean and width by S/N.

    Parameters
    ----------
    pairs : pairs of the dataset `truth`
    table : pulls.csv
    """
    labels = [name for name in LABELS if len(pulls_of(pairs[pairs["label"] == name]))]
    if not labels:
        return message("No star has a label, an error and a true value.")
    x = np.linspace(-5, 5, 201)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(2, len(labels), figsize=(3.2 * len(labels), 5), squeeze=False)
        for label, (upper, lower) in zip(labels, grid.T, strict=True):
            values = pulls_of(pairs[pairs["label"] == label])
            upper.hist(
                np.clip(values, -5, 5),
                np.linspace(-5, 5, 41),
                density=True,
                color=ACCEPTED,
                alpha=0.8,
            )
            upper.plot(
                x,
                np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
                color="black",
                lw=1,
                label="unit normal",
            )
            row = table[(table["label"] == label) & (table["subset"] == "all")]
            if len(row):
                upper.text(
                    0.03,
                    0.97,
                    f"n = {int(row['n'].iloc[0]):,}\nmean {row['mean'].iloc[0]:+.2f}\nwidth {row['width'].iloc[0]:.2f}",
                    transform=upper.transAxes,
                    va="top",
                    fontsize=8,
                )
            upper.set(title=TITLES[label], xlabel="(value - truth) / error", yticks=[])
            pulls_by_snr(lower, table[table["label"] == label])
        grid[0, -1].legend(loc="upper right")
        grid[1, -1].legend(loc="upper right")
        grid[1, 0].set_ylabel("pull")
    return figure


def pulls_by_snr(axes: Axes, table: pd.DataFrame, prefix: str = "") -> None:
    """Mean and width of a label's pulls by S/N, from subsets of pulls.csv with a prefix."""
    names = list(snr_bins())
    rows = table.set_index("subset").reindex([prefix + name for name in names])
    positions = np.arange(len(names))
    axes.axhline(1, color=GREY, lw=0.7)
    axes.axhline(0, color=GREY, lw=0.7)
    axes.plot(
        positions, rows["width"], marker="o", ms=4, color=ACCEPTED, label="width (1 is right)"
    )
    axes.plot(
        positions, rows["mean"], marker="s", ms=3.5, color=REJECTED, label="mean (0 is right)"
    )
    axes.set_xticks(positions, [name.removeprefix("S/N").strip() for name in names], rotation=30)
    axes.set_xlabel("S/N")
    axes.set_xlim(-0.4, len(names) - 0.6)
    finite = rows[["width", "mean"]].to_numpy(np.float64)
    top = np.nanmax(finite, initial=1.4)
    axes.set_ylim(min(-0.6, np.nanmin(finite, initial=0) - 0.2), top * 1.35)
