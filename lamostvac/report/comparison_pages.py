"""Figures of residual trends and of open clusters: labels of members against Teff."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lamostvac.core.vocabulary import GIANT_LOGG
from lamostvac.report.panels import Page, Panel, Scale, scale_of
from lamostvac.report.style import (
    ACCEPTED,
    GREY,
    REJECTED,
    message,
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
    wide, high = 2.7, 1.9
    page = Page(wide * len(names) + 0.85, high * len(labels) + 0.7)
    for line, label in enumerate(labels):
        against = "logg" if label == "c_n" else "teff"
        of_label = pairs[
            (pairs["label"] == label) & np.isfinite(pairs["value"]) & np.isfinite(pairs[against])
        ]
        of_label = of_label[of_label["group"].isin(names)]
        # Hot stars and dwarfs are on the left, as usual.
        x = scale_of(of_label[against])
        shown = of_label.loc[~of_label["fit_flagged"], "value"]
        y = _cluster_axis(shown if len(shown) else of_label["value"])
        bottom = high * (len(labels) - 1 - line) + 0.48
        for number, name in enumerate(names):
            left = 0.85 + wide * number
            panel = page.panel(left, bottom, wide - 0.1, high - 0.52)
            panel.x, panel.y = Scale(x.high, x.low), y
            row = table[(table["cluster"] == name) & (table["label"] == label)]
            _members(panel, of_label[of_label["group"] == name], against, row)
            panel.frame(beside=number == 0)
            page.text(left + 0.5 * panel.width, bottom - 0.38, _AXES[against], ha="center")
            if line == 0:
                panel.note(0.5, 1.03, name, fontsize=10, ha="center", va="bottom")
        page.text(
            0.32, bottom + 0.5 * (high - 0.52), title_of(label).replace(" (", "\n("),
            rotation=90, ha="right", va="center", multialignment="center",
        )  # fmt: skip
    page.title(f"{title} (blue dwarfs, red giants)")
    return page.finish()


def _cluster_axis(values: pd.Series) -> Scale:
    if not len(values):
        return Scale(0.0, 1.0)
    low, high = np.percentile(values, [1, 99])
    margin = max(0.25 * (high - low), 0.05)
    return Scale(low - margin, high + 2 * margin)


def _members(panel: Panel, stars: pd.DataFrame, against: str, row: pd.DataFrame) -> None:
    """A cluster's stars, and of its row in clusters.csv the median and the scatter."""
    good, warned = stars[~stars["fit_flagged"]], stars[stars["fit_flagged"]]
    panel.points(
        warned[against], warned["value"], s=8, facecolors="none", edgecolors="#adb5bd",
        linewidths=0.5, zorder=1.5,
    )  # fmt: skip
    value, error = good["value"], good["error"].where(good["error"] > 0)
    panel.bars(good[against], value - error, value + error, "#ced4da", 0.6, 1)
    giant = good["logg"] < GIANT_LOGG
    for kind, colour in ((~giant, ACCEPTED), (giant, REJECTED)):
        panel.points(good[against][kind], value[kind], s=7, color=colour, linewidths=0, zorder=2)
    if not len(row) or not np.isfinite(row["median"].iloc[0]):
        return
    middle, width = row["median"].iloc[0], row["robust_sigma"].iloc[0]
    across = [panel.x.low, panel.x.high]
    panel.line(across, [middle, middle], "black", 0.9, order=2.2)
    for edge in (middle - width, middle + width):
        panel.line(across, [edge, edge], "black", 0.7, "--", order=2.2)
    panel.note(
        0.03,
        0.97,
        f"{middle:+.2f}, \u03c3 {width:.2f}\nerror {row['typical_error'].iloc[0]:.2f}, "
        f"own {row['intrinsic'].iloc[0]:.2f}",
        va="top",
        fontsize=7.5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1},
    )
