"""Figures of residual trends and of open clusters: labels of members against Teff."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lamostvac.core.vocabulary import GIANT_LOGG
from lamostvac.report.panels import Page, Panel, Scale, scale_of
from lamostvac.report.style import (
    ACCEPTED,
    GREY,
    REJECTED,
    STYLE,
    lay_out_grid,
    message,
    overall_title,
    title_of,
)
from lamostvac.validation.trends import QUANTITIES

_AXES = {
    "teff": r"$T_{\rm eff}$ / K",
    "logg": r"$\log\,g$",
    "feh": "[Fe/H]",
    "snr": "S/N",
    "bp_rp": "BP - RP",
}
_CLUSTERS_PER_PAGE = 6


def trends(title: str, table: pd.DataFrame) -> Figure:
    """Median of the residuals with its error, and their width as a band: a row of panels per label.

    `table` is trends.csv of one dataset. A constant offset is no trend: the dashed line is the
    median of the bins.
    """
    labels = list(dict.fromkeys(table["label"]))
    quantities = [name for name in QUANTITIES if (table["quantity"] == name).any()]
    if not labels or not quantities:
        return message(f"{title}: too few stars in common to show a trend.")
    page = Page(2.7 * len(quantities) + 0.85, 1.75 * len(labels) + 0.8)
    wide, high = 2.7, 1.75
    columns = {name: _column(name, table[table["quantity"] == name]) for name in quantities}
    for line, label in enumerate(labels):
        of_label = table[table["label"] == label]
        middle, rows = float(of_label["offset"].median()), _row(of_label)
        bottom = 0.48 + high * (len(labels) - 1 - line)
        for number, (name, column) in enumerate(columns.items()):
            panel = page.panel(0.85 + wide * number, bottom, wide - 0.1, high - 0.13)
            panel.x, panel.y = column, rows
            _trend(panel, of_label[of_label["quantity"] == name], middle)
            panel.frame(below=line == len(labels) - 1, beside=number == 0)
        page.text(
            0.32, bottom + 0.5 * high, title_of(label).replace(" (", "\n("),
            rotation=90, ha="right", va="center", multialignment="center",
        )  # fmt: skip
    for number, name in enumerate(quantities):
        page.text(0.8 + wide * (number + 0.5), 0.08, _AXES[name], fontsize=9, ha="center")
    page.title(f"{title}: median difference (points) and its width (band)")
    return page.finish()


def _column(name: str, rows: pd.DataFrame) -> Scale:
    x = rows["x"]
    if name in ("teff", "snr") and len(x) and x.min() > 0 and x.max() > 3 * x.min():
        return Scale(x.min() * 0.95, x.max() * 1.05, log=True)
    return scale_of(x)


def _row(rows: pd.DataFrame) -> Scale:
    """The axis of a label's residuals: its bins, not the widest bands, and zero."""
    middle = float(rows["offset"].median())
    width = np.fmin(rows["robust_sigma"], 3 * rows["robust_sigma"].median())
    reach = float(np.nanmax(np.abs(rows["offset"] - middle) + width)) or 1e-3
    return Scale(
        min(middle - reach, -0.1 * reach) - 0.05 * reach,
        max(middle + reach, 0.1 * reach) + 0.05 * reach,
    )


def _trend(panel: Panel, rows: pd.DataFrame, middle: float) -> None:
    across = [panel.x.low, panel.x.high]
    panel.line(across, [0.0, 0.0], "black", 0.8)
    panel.line(across, [middle, middle], GREY, 0.8, "--")
    x, offset, width, error = (
        rows[name].to_numpy(np.float64) for name in ("x", "offset", "robust_sigma", "offset_err")
    )
    panel.band(x, offset - width, offset + width, ACCEPTED, 0.25)
    panel.line(x, offset, ACCEPTED)
    panel.bars(x, offset - error, offset + error, ACCEPTED, 1.0, 2)
    panel.points(x, offset, s=9, color=ACCEPTED, linewidths=1, zorder=3)


def clusters(title: str, pairs: pd.DataFrame, table: pd.DataFrame, labels: Sequence[str]) -> Figure:
    """Cluster members' labels against Teff, [C/N] against log g (Wang et al. 2022, Figures 10-17,
    19).

    Parameters
    ----------
    pairs : pairs of the dataset, `group` the cluster
    table : clusters.csv of the dataset; the clusters with most stars are drawn
    """
    count = table.groupby("cluster")["n_stars"].max().sort_values(ascending=False, kind="stable")
    names = [str(name) for name in count.index[count > 0][:_CLUSTERS_PER_PAGE]]
    labels = [
        label for label in labels if np.isfinite(pairs.loc[pairs["label"] == label, "value"]).any()
    ]
    if not names or not labels:
        return message(f"{title}: no spectrum of a member.")
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(labels),
            len(names),
            figsize=(2.7 * len(names) + 0.8, 1.9 * len(labels) + 0.6),
            sharex="row",
            sharey="row",
            squeeze=False,
        )
        for label, line in zip(labels, grid, strict=True):
            against = "logg" if label == "c_n" else "teff"
            of_label = pairs[
                (pairs["label"] == label)
                & np.isfinite(pairs["value"])
                & np.isfinite(pairs[against])
            ]
            shown = of_label[of_label["group"].isin(names) & ~of_label["fit_flagged"]]
            for name, axes in zip(names, line, strict=True):
                stars = of_label[of_label["group"] == name]
                good, warned = stars[~stars["fit_flagged"]], stars[stars["fit_flagged"]]
                axes.scatter(
                    warned[against],
                    warned["value"],
                    s=8,
                    facecolors="none",
                    edgecolors="#adb5bd",
                    lw=0.5,
                )
                axes.errorbar(
                    good[against],
                    good["value"],
                    yerr=good["error"].where(good["error"] > 0),
                    fmt="none",
                    ecolor="#ced4da",
                    lw=0.6,
                    zorder=1,
                )
                colours = np.where(good["logg"] < GIANT_LOGG, REJECTED, ACCEPTED)
                axes.scatter(good[against], good["value"], s=7, c=colours, linewidths=0, zorder=2)
                row = table[(table["cluster"] == name) & (table["label"] == label)]
                if len(row) and np.isfinite(row["median"].iloc[0]):
                    middle, width = row["median"].iloc[0], row["robust_sigma"].iloc[0]
                    axes.axhline(middle, color="black", lw=0.9)
                    for edge in (middle - width, middle + width):
                        axes.axhline(edge, color="black", lw=0.7, ls="--")
                    axes.text(
                        0.03,
                        0.97,
                        f"{middle:+.2f}, $\\sigma$ {width:.2f}\nerror {row['typical_error'].iloc[0]:.2f}, "
                        f"own {row['intrinsic'].iloc[0]:.2f}",
                        transform=axes.transAxes,
                        va="top",
                        fontsize=7.5,
                        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1},
                    )
                axes.set_xlabel(_AXES[against], fontsize=8)
            if len(shown):
                low, high = np.percentile(shown["value"], [1, 99])
                margin = max(0.25 * (high - low), 0.05)
                line[0].set_ylim(low - margin, high + 2 * margin)
            line[0].set_ylabel(title_of(label).replace(" (", "\n("), fontsize=8)
            # Hot stars are on the left, giants at the top, as usual.
            line[0].invert_xaxis()
        for name, axes in zip(names, grid[0], strict=True):
            axes.set_title(name)
        overall_title(figure, f"{title} (blue dwarfs, red giants)")
        lay_out_grid(figure, grid, 0)
    return figure
