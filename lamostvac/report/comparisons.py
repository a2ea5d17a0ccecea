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
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lamostvac.core.vocabulary import LABELS
from lamostvac.report.panels import Page, Panel, Scale
from lamostvac.report.style import (
    ACCEPTED,
    GREY,
    REJECTED,
    STYLE,
    TITLES,
    VIRIDIS,
    digits_of,
    message,
    point_size,
    title_of,
)
from lamostvac.validation.statistics import pulls_of, statistics
from lamostvac.validation.subsets import snr_bins
from lamostvac.validation.truth import DISTANCES

_DENSE = 4_000  # the same for a panel of a comparison
_SNR = LogNorm(5, 200)
_CROSS = "#1864ab"
_WIDE, _HIGH = 3.5, 5.2  # inches of a label's panels


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
    page = Page(_WIDE * columns + 0.9, _HIGH * lines + 0.3)
    page.title(title)
    coloured = False
    for number, label in enumerate(labels):
        line, column = divmod(number, columns)
        left, bottom = 0.65 + _WIDE * column, _HIGH * (lines - 1 - line) + 0.5
        upper = page.panel(left, bottom + 1.85, _WIDE - 0.5, 2.55)
        lower = page.panel(left, bottom, _WIDE - 0.5, 1.7)
        table = labelled(pairs, label)
        table = table[np.isfinite(table["difference"])]
        coloured |= _beside(upper, lower, label, table)
        upper.note(0.5, 1.03, title_of(label), fontsize=10, ha="center", va="bottom")
        if number >= len(labels) - columns:
            page.text(
                left + 0.5 * lower.width,
                bottom - 0.26,
                "reference",
                fontsize=9,
                ha="center",
                va="top",
            )
        if column == 0:
            difference = "relative diff." if label in DISTANCES else "difference"
            for panel, text in ((upper, ours), (lower, difference)):
                page.text(
                    0.08, panel.bottom + 0.5 * panel.height, text,
                    fontsize=9, rotation=90, ha="left", va="center",
                )  # fmt: skip
    if coloured:
        _colour_bar(page, page.height - _HIGH + 0.2, 4.4)
    return page.finish()


def _beside(upper: Panel, lower: Panel, label: str, table: pd.DataFrame) -> bool:
    """A label's panels: values and differences against the reference; whether S/N colours points."""
    good = table[~table["fit_flagged"]]
    upper.x = upper.y = lower.x = _one_to_one(label, table)
    low, high = upper.x.low, upper.x.high
    spread = 1.15 * max(float(np.percentile(np.abs(table["difference"]), 98)), 1e-3)
    lower.y = Scale(-spread, spread)
    coloured = _points(upper, "value", table)
    _points(lower, "difference", table)
    upper.line([low, high], [low, high], "black", 0.8)
    lower.line([low, high], [0.0, 0.0], "black", 0.8)
    numbers = statistics(good["difference"], np.zeros(len(good)), good.get("star"))
    lower.line([low, high], [numbers["offset"]] * 2, "#d9480f", 0.9, "--")
    digits = 2 if label in DISTANCES else digits_of(label, table["reference"])
    stars = f" ({numbers['n_stars']:,} stars)" if numbers["n_stars"] < numbers["n"] else ""
    upper.note(
        0.04,
        0.96,
        f"n = {numbers['n']:,}{stars}\n"
        f"offset {numbers['offset']:+.{digits}f} ± {numbers['offset_err']:.{digits + (digits > 0)}f}\n"
        f"\u03c3 {numbers['sigma']:.{digits}f}, robust {numbers['robust_sigma']:.{digits}f}",
        va="top",
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5},
    )
    _typical_errors(upper, good)
    upper.frame(below=False)
    lower.frame()
    return coloured


def _one_to_one(label: str, table: pd.DataFrame) -> Scale:
    """The scale of values and reference, logarithmic for temperatures and distances over a wide
    range.
    """
    low, high = (
        float(value) for value in np.percentile(table[["value", "reference"]], [0.5, 99.5])
    )
    if (title_of(label) == TITLES["teff"] or label in DISTANCES) and low > 0 and high > 3 * low:
        return Scale(low * 0.9, high * 1.1, log=True)
    margin = 0.06 * (high - low) or 0.1
    return Scale(low - margin, high + margin)


def _points(panel: Panel, y: str, table: pd.DataFrame) -> bool:
    """Points of a panel, or their density; whether points are coloured by S/N."""
    good, warned = table[~table["fit_flagged"]], table[table["fit_flagged"]]
    if len(good) > _DENSE:
        inside = good[
            good["reference"].between(panel.x.low, panel.x.high)
            & good[y].between(panel.y.low, panel.y.high)
        ]
        x_scale: Any = "log" if panel.x.log else "linear"
        y_scale: Any = "log" if panel.y.log else "linear"
        panel.overlay().hexbin(
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
        return False
    panel.points(
        warned["reference"], warned[y], s=8, facecolors="none", edgecolors="#adb5bd",
        linewidths=0.5, zorder=1,
    )  # fmt: skip
    coloured = bool(good["snr"].notna().any())
    how: dict[str, Any] = {"norm": _SNR, "cmap": VIRIDIS} if coloured else {"color": ACCEPTED}
    panel.points(
        good["reference"], good[y], good["snr"].clip(5, 200) if coloured else None,
        s=point_size(len(good)), linewidths=0, zorder=1.5, **how,
    )  # fmt: skip
    return coloured


def _colour_bar(page: Page, bottom: float, height: float) -> None:
    """What the colours of points say of S/N, at the right."""
    axes = page.figure.add_axes(
        (
            (page.width - 0.72) / page.width,
            bottom / page.height,
            0.12 / page.width,
            height / page.height,
        )
    )
    bar = page.figure.colorbar(
        ScalarMappable(_SNR, VIRIDIS), cax=axes, label="S/N (g)", ticks=[5, 10, 20, 50, 100, 200]
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.label.set_fontsize(9)
    axes.tick_params(labelsize=8)
    bar.minorticks_off()


def _typical_errors(panel: Panel, table: pd.DataFrame) -> None:
    """The median errors of both sides as a cross in the lower right corner, where there are any."""
    ours = table["error"][np.isfinite(table["error"]) & (table["error"] > 0)]
    theirs = table["reference_error"] if "reference_error" in table else table["error"] * np.nan
    theirs = theirs[np.isfinite(theirs) & (theirs > 0)]
    x, y = (scale.at(share) for scale, share in ((panel.x, 0.85), (panel.y, 0.12)))
    for errors, values, at, upright in (
        (theirs, table["reference"], x, False),
        (ours, table["value"], y, True),
    ):
        if not len(errors):
            continue
        # On logarithmic axes a relative error has the same length everywhere.
        half = (errors / values[errors.index]).median() * at if panel.x.log else errors.median()
        ends = [at - half, at + half]
        places = panel.place([x, x], ends) if upright else panel.place(ends, [y, y])
        panel.segments(places, _CROSS, 1.2, "-", 5)
        cap = np.array([2 / 72, 0.0] if upright else [0.0, 2 / 72])
        for end in places:
            panel.segments(np.stack([end - cap, end + cap]), _CROSS, 1.0, "-", 5)


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
