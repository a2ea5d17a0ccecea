"""The report's figures of networks: learning curves, training sets and accuracy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

from lamostvac.catalog.registry import NetworkLabel
from lamostvac.numerics.statistics import robust_sigma
from lamostvac.report.comparisons import labelled, pulls_by_snr
from lamostvac.report.style import (
    ACCEPTED,
    GREY,
    REJECTED,
    STYLE,
    digits_of,
    message,
    overall_title,
    plain_log_axis,
    point_size,
    temperature_axis,
)
from lamostvac.validation.statistics import statistics

# The subsets that a figure of predictions draws, in this order.
SUBSETS = {"train": "#adb5bd", "left out": ACCEPTED, "test": REJECTED}
# Colour and magnitude of the Hertzsprung-Russell diagrams (Wang et al. 2022, Figure 3).
_DIAGRAMS = (
    ("abs_mag_bp", "abs_mag_rp", "abs_mag_g_gaia"),
    ("abs_mag_j", "abs_mag_ks", "abs_mag_ks"),
    ("abs_mag_b_apass", "abs_mag_v_apass", "abs_mag_v_apass"),
    ("abs_mag_g_sdss", "abs_mag_i_sdss", "abs_mag_r_sdss"),
    ("abs_mag_w1", "abs_mag_w2", "abs_mag_w1"),
)
_TEFF = "phys.temperature.effective"
_GRAVITY = "phys.gravity"
_ABUNDANCE = "phys.abund"


def _grid(
    n: int, columns: int, width: float, height: float, **options: Any
) -> tuple[Figure, list[Axes]]:
    columns = min(columns, n)
    lines = -(-n // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(width * columns, height * lines + 0.5), squeeze=False, **options
    )
    for axes in grid.flat[n:]:
        axes.axis("off")
    return figure, list(grid.flat[:n])


def learning_curves(histories: Mapping[str, Mapping[str, NDArray[np.floating]]]) -> Figure:
    """Loss on training and validation stars by epoch, one panel per network, one line per member.

    `histories` is label to `loss` and `validation` (members, epochs), NaN after the end.
    """
    if not histories:
        return message("There are no networks.")
    with plt.rc_context(STYLE):
        figure, panels = _grid(len(histories), 6, 2.3, 1.9)
        for axes, (label, history) in zip(panels, histories.items(), strict=True):
            for name, colour in (("loss", ACCEPTED), ("validation", REJECTED)):
                curves = np.asarray(history[name])
                epochs = np.arange(1, curves.shape[1] + 1)
                for number, curve in enumerate(curves):
                    text = (
                        {"loss": "training", "validation": "validation"}[name]
                        if number == 0
                        else None
                    )
                    axes.plot(epochs, curve, color=colour, lw=0.8, alpha=0.8, label=text)
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            plain_log_axis(axes.yaxis, low, high)
            axes.set_title(label, fontsize=9)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        figure.supxlabel("epoch", fontsize=9)
        figure.supylabel("loss", fontsize=9)
    return figure


def predictions(title: str, pairs: pd.DataFrame, labels: Sequence[str]) -> Figure:
    """Predicted against reference labels of a training set (Wang et al. 2022, Figures A1-A4).

    `pairs` are those of one dataset, with the subsets `train`, `left out` and `test`.
    """
    labels = [name for name in labels if np.isfinite(labelled(pairs, name)["difference"]).any()]
    if not labels:
        return message(f"{title}: no star of the catalogue has a label to compare.")
    with plt.rc_context(STYLE):
        # The number of columns that leaves the fewest places empty; of equal ones the larger.
        columns = min(len(labels), min((5, 4, 3), key=lambda count: -len(labels) % count))
        lines = -(-len(labels) // columns)
        figure, grid = plt.subplots(
            2 * lines,
            columns,
            figsize=(2.9 * columns, 3.9 * lines + 0.6),
            squeeze=False,
            height_ratios=[3, 1.4] * lines,
        )
        for axes in grid.flat:
            axes.axis("off")
        for number, label in enumerate(labels):
            line, column = divmod(number, columns)
            upper, lower = grid[2 * line, column], grid[2 * line + 1, column]
            upper.axis("on")
            lower.axis("on")
            _predicted(upper, lower, labelled(pairs, label), label)
        figure.legend(
            *grid[0, 0].get_legend_handles_labels(),
            loc="outside lower right",
            ncols=3,
            markerscale=2,
        )
        _title(figure, title)
        for axes in grid[1::2].flat:
            axes.set_xlabel("reference")
        figure.supylabel("predicted, and predicted minus reference", fontsize=9)
    return figure


def _predicted(upper: Axes, lower: Axes, table: pd.DataFrame, label: str) -> None:
    table = table[np.isfinite(table["difference"])]
    digits = digits_of(label, table["reference"])
    lines = []
    for subset, colour in SUBSETS.items():
        part = table[table["subset"] == subset]
        if part.empty:
            continue
        size = min(point_size(len(part)), 6)
        for axes, y in ((upper, "value"), (lower, "difference")):
            axes.scatter(
                part["reference"], part[y], s=size, color=colour, linewidths=0, label=subset
            )
        numbers = statistics(part["value"], part["reference"])
        # A label with small values needs one more digit than its axis.
        lines.append(
            f"{subset}: {numbers['offset']:+.{digits}f} $\\pm$ "
            f"{numbers['sigma']:.{digits + (digits > 0)}f} ({numbers['n']:,})"
        )
    # The axes' range follows from the reference; predictions far outside show in the numbers only.
    low, high = table["reference"].min(), table["reference"].max()
    margin = 0.08 * (high - low) or 0.1
    limits = (low - margin, high + margin)
    upper.plot(limits, limits, color="black", lw=0.8)
    upper.set(xlim=limits, ylim=(limits[0], limits[1] + 0.35 * (high - low)))
    upper.tick_params(labelbottom=False)
    spread = max(float(np.percentile(np.abs(table["difference"]), 98)), 1e-3)
    lower.set(xlim=limits, ylim=(-1.2 * spread, 1.2 * spread))
    lower.axhline(0, color="black", lw=0.8)
    upper.text(0.03, 0.98, "\n".join(lines), transform=upper.transAxes, va="top", fontsize=7)
    upper.set_title(label, fontsize=9)


@dataclass(frozen=True)
class Plane:
    """A panel of a training set's figure: columns, or differences of columns, on both axes."""

    x: tuple[str, ...]
    y: str
    x_name: str
    y_name: str
    kind: str = ""


def planes(labels: Sequence[NetworkLabel]) -> list[Plane]:
    """The planes that show the coverage of a training set.

    Teff and log g; abundances against the first of them; Hertzsprung-Russell diagrams in the bands
    of Wang et al.; other labels against Teff. Teff is the set's own or, as `teff`, the catalogue's.
    """
    names = [label.label for label in labels]
    hot = [label.label for label in labels if label.ucd == _TEFF]
    teff = hot[0] if hot else "teff"
    shown = {teff}
    found = []
    for label in labels:
        if label.ucd == _GRAVITY:
            found.append(Plane((teff,), label.label, teff, label.label, "kiel"))
            shown.add(label.label)
    abundances = [label.label for label in labels if label.ucd.startswith(_ABUNDANCE)]
    if len(abundances) == 1 or hot:
        found += [Plane((teff,), name, teff, name, "teff") for name in abundances]
    elif abundances:
        first = next(
            (label.label for label in labels if label.ucd == f"{_ABUNDANCE}.Z"), abundances[0]
        )
        found += [Plane((first,), name, first, name) for name in abundances if name != first]
    shown |= set(abundances)
    for blue, red, magnitude in _DIAGRAMS:
        if {blue, red, magnitude} <= set(names):
            short = [name.removeprefix("abs_mag_") for name in (blue, red)]
            found.append(Plane((blue, red), magnitude, " - ".join(short), magnitude, "magnitude"))
            shown |= {blue, red, magnitude}
    if not found:
        found = [Plane((teff,), name, teff, name, "teff") for name in names if name not in shown]
    return found


def training_planes(title: str, table: pd.DataFrame, labels: Sequence[NetworkLabel]) -> Figure:
    """Distribution of a training set's stars (Wang et al. 2022, Figures 1-3).

    Parameters
    ----------
    table : `split`, the set's labels, and the catalogue's `teff` (NaN where unknown)
    """
    panels_wanted = planes(labels)
    if not panels_wanted:
        return message(f"{title}: there is no plane to draw.")
    with plt.rc_context(STYLE):
        figure, panels = _grid(len(panels_wanted), 3, 3.7, 3.3)
        for axes, plane in zip(panels, panels_wanted, strict=True):
            x = table[plane.x[0]] - (table[plane.x[1]] if len(plane.x) > 1 else 0)
            y = table[plane.y]
            known = np.isfinite(x) & np.isfinite(y)
            for split, colour in (
                ("train", ACCEPTED),
                ("test", REJECTED),
                ("binary", GREY),
                ("clipped", GREY),
            ):
                part = known & (table["split"] == split)
                if not part.any():
                    continue
                axes.scatter(
                    x[part],
                    y[part],
                    s=min(point_size(int(part.sum())), 7),
                    color=colour,
                    marker="x" if split == "binary" else "o",
                    linewidths=0.6 if split == "binary" else 0,
                    label=f"{split} ({int(part.sum()):,})",
                )
            axes.set(xlabel=plane.x_name, ylabel=plane.y_name)
            if plane.kind in ("kiel", "teff") and (positive := known & (x > 0)).any():
                axes.set_xscale("log")
                temperature_axis(axes, x[positive].to_numpy(np.float64))
            if plane.kind in ("kiel", "magnitude"):
                axes.invert_yaxis()
            axes.legend(loc="best", fontsize=7)
        _title(figure, title)
    return figure


def residuals_by_snr(pairs: pd.DataFrame, labels: Iterable[str]) -> Figure:
    """Difference from truth against S/N for each network's label, for stars without its flags.

    The lines are median and robust scatter in bins of S/N.
    """
    drawn = {}
    for label in labels:
        table = labelled(pairs, label)
        table = table[np.isfinite(table["difference"]) & ~table["fit_flagged"] & (table["snr"] > 0)]
        if len(table):
            drawn[label] = table
    if not drawn:
        return message("No star without a flag has a label of a network and a true value.")
    edges = np.array([5, 10, 20, 40, 80, 160, 1000])
    with plt.rc_context(STYLE):
        figure, panels = _grid(len(drawn), 6, 2.3, 2.0)
        for axes, (label, table) in zip(panels, drawn.items(), strict=True):
            snr, difference = (
                table["snr"].to_numpy(np.float64),
                table["difference"].to_numpy(np.float64),
            )
            axes.scatter(
                snr, difference, s=min(point_size(len(snr)), 5), color=ACCEPTED, alpha=0.5, lw=0
            )
            which = np.digitize(snr, edges)
            bins = [
                number for number in range(1, len(edges)) if np.count_nonzero(which == number) > 4
            ]
            middle = [np.median(snr[which == number]) for number in bins]
            median = np.array([np.median(difference[which == number]) for number in bins])
            spread = np.array([robust_sigma(difference[which == number]) for number in bins])
            axes.axhline(0, color="black", lw=0.7)
            axes.plot(middle, median, color=REJECTED, lw=1.2, marker="o", ms=3)
            for sign in (-1, 1):
                axes.plot(middle, median + sign * spread, color=REJECTED, lw=0.9, ls="--")
            axes.set_xscale("log")
            low, high = max(snr.min() * 0.9, 1), snr.max() * 1.1
            axes.set_xlim(low, high)
            plain_log_axis(axes.xaxis, low, high)
            axes.xaxis.set_major_locator(FixedLocator([3, 10, 30, 100, 300]))
            limit = max(float(np.percentile(np.abs(difference), 97)), 1e-3) * 1.2
            axes.set_ylim(-limit, limit)
            axes.set_title(label, fontsize=9)
            digits = digits_of(label, table["reference"])
            axes.text(
                0.97,
                0.97,
                f"{robust_sigma(difference):.{digits}f} ({len(snr):,})",
                transform=axes.transAxes,
                ha="right",
                va="top",
                fontsize=7.5,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1},
            )
        figure.supxlabel("S/N (g)", fontsize=9)
        figure.supylabel("network minus truth", fontsize=9)
    return figure


def network_pulls(table: pd.DataFrame, labels: Iterable[str]) -> Figure:
    """Mean and width of (value - truth) / error by S/N per network label; `table` is pulls.csv."""
    unflagged = table[table["subset"].str.startswith("unflagged") & (table["n"] > 0)]
    present = [label for label in labels if (unflagged["label"] == label).any()]
    if not present:
        return message(
            "No star without a flag has a label of a network, an error and a true value."
        )
    with plt.rc_context(STYLE):
        figure, panels = _grid(len(present), 6, 2.3, 2.0)
        for axes, label in zip(panels, present, strict=True):
            pulls_by_snr(axes, unflagged[unflagged["label"] == label], "unflagged ")
            axes.set_title(label, fontsize=9)
            axes.set_xlabel("")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
        figure.supxlabel("S/N (g)", fontsize=9)
        figure.supylabel("pull", fontsize=9)
    return figure


def _title(figure: Figure, title: str) -> None:
    """A title in as many lines as the figure's width requires, 11 characters per inch."""
    overall_title(figure, title)
