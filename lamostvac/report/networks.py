"""The report's figures of networks: learning curves, training sets and accuracy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lamostvac.catalog.registry import NetworkLabel
from lamostvac.numerics.statistics import robust_sigma
from lamostvac.report.comparisons import labelled, pulls_by_snr
from lamostvac.report.panels import Page, Panel, Scale, scale_of
from lamostvac.report.style import (
    ACCEPTED,
    GREY,
    REJECTED,
    STYLE,
    digits_of,
    message,
    overall_title,
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
    page, panels = _small_panels(len(histories))
    for panel, (label, history) in zip(panels, histories.items(), strict=True):
        curves = {name: np.asarray(history[name], np.float64) for name in _CURVES}
        epochs = np.arange(1, max(found.shape[1] for found in curves.values()) + 1)
        panel.x = scale_of(epochs)
        panel.y = scale_of(np.concatenate([found.ravel() for found in curves.values()]), log=True)
        for name, (colour, _) in _CURVES.items():
            for curve in curves[name]:
                panel.line(epochs[: len(curve)], curve, colour, 0.8)
        panel.note(0.5, 1.03, label, fontsize=9, ha="center", va="bottom")
        panel.frame()
    _legend(page, {text: colour for colour, text in _CURVES.values()})
    return _named(page, "epoch", "loss")


_CURVES = {"loss": (ACCEPTED, "training"), "validation": (REJECTED, "validation")}
_WIDE, _HIGH = 2.3, 2.0  # inches of a small panel with its labels


def _small_panels(n: int) -> tuple[Page, list[Panel]]:
    """A page of `n` panels, six in a line, from the top, with room for a legend and two names."""
    columns = min(n, 6)
    lines = -(-n // columns)
    page = Page(_WIDE * columns + 0.45, _HIGH * lines + 0.5)
    return page, [
        page.panel(
            0.75 + _WIDE * (number % columns),
            0.5 + _HIGH * (lines - 1 - number // columns),
            _WIDE - 0.5,
            _HIGH - 0.45,
        )
        for number in range(n)
    ]


def _named(page: Page, across: str, upwards: str) -> Figure:
    """The page with what its panels show along their axes."""
    page.text(0.5 * page.width, 0.06, across, fontsize=9, ha="center")
    page.text(0.06, 0.5 * page.height, upwards, fontsize=9, rotation=90, va="center")
    return page.finish()


def _legend(page: Page, colours: Mapping[str, str], **options: Any) -> None:
    """Names of colours at the top right, as lines or, with a marker, as points."""
    handles = [
        Line2D([], [], color=colour, label=name, **options) for name, colour in colours.items()
    ]
    page.axes.legend(
        handles=handles, loc="upper right", ncols=len(handles), fontsize=8, frameon=False,
        borderaxespad=0.1,
    )  # fmt: skip


def predictions(title: str, pairs: pd.DataFrame, labels: Sequence[str]) -> Figure:
    """Predicted against reference labels of a training set (Wang et al. 2022, Figures A1-A4).

    `pairs` are those of one dataset, with the subsets `train`, `left out` and `test`.
    """
    labels = [name for name in labels if np.isfinite(labelled(pairs, name)["difference"]).any()]
    if not labels:
        return message(f"{title}: no star of the catalogue has a label to compare.")
    # The number of columns that leaves the fewest places empty; of equal ones the larger.
    columns = min(len(labels), min((5, 4, 3), key=lambda count: -len(labels) % count))
    lines = -(-len(labels) // columns)
    page = Page(2.9 * columns + 0.3, 3.9 * lines + 0.7)
    page.title(title)
    shown = set()
    for number, label in enumerate(labels):
        line, column = divmod(number, columns)
        left, bottom = 0.75 + 2.9 * column, 3.9 * (lines - 1 - line) + 0.75
        upper = page.panel(left, bottom + 1.3, 2.4, 2.05)
        lower = page.panel(left, bottom, 2.4, 1.1)
        shown |= _predicted(upper, lower, labelled(pairs, label), label)
        page.text(left + 1.2, bottom - 0.26, "reference", fontsize=9, ha="center", va="top")
    page.text(
        0.06, 0.5 * page.height, "predicted, and predicted minus reference",
        fontsize=9, rotation=90, va="center",
    )  # fmt: skip
    _legend(
        page, {name: colour for name, colour in SUBSETS.items() if name in shown}, marker="o", ls="",
        ms=3.5, mew=0,
    )  # fmt: skip
    return page.finish()


def _predicted(upper: Panel, lower: Panel, table: pd.DataFrame, label: str) -> set[str]:
    """A label's panels; the subsets that it has."""
    table = table[np.isfinite(table["difference"])]
    digits = digits_of(label, table["reference"])
    # The axes' range follows from the reference; predictions far outside show in the numbers only.
    low, high = table["reference"].min(), table["reference"].max()
    margin = 0.08 * (high - low) or 0.1
    ends = [low - margin, high + margin]
    spread = 1.2 * max(float(np.percentile(np.abs(table["difference"]), 98)), 1e-3)
    upper.x = lower.x = Scale(*ends)
    upper.y, lower.y = Scale(ends[0], ends[1] + 0.35 * (high - low)), Scale(-spread, spread)
    lines, subsets = [], set()
    for number, (subset, colour) in enumerate(SUBSETS.items()):
        part = table[table["subset"] == subset]
        if part.empty:
            continue
        subsets.add(subset)
        size = min(point_size(len(part)), 6)
        for panel, y in ((upper, "value"), (lower, "difference")):
            panel.points(
                part["reference"], part[y], s=size, color=colour, linewidths=0,
                zorder=1 + 0.1 * number,
            )  # fmt: skip
        numbers = statistics(part["value"], part["reference"])
        # A label with small values needs one more digit than its axis.
        lines.append(
            f"{subset}: {numbers['offset']:+.{digits}f} \u00b1 "
            f"{numbers['sigma']:.{digits + (digits > 0)}f} ({numbers['n']:,})"
        )
    upper.line(ends, ends, "black", 0.8)
    lower.line(ends, [0.0, 0.0], "black", 0.8)
    upper.note(0.03, 0.98, "\n".join(lines), va="top", fontsize=7)
    upper.note(0.5, 1.03, label, fontsize=9, ha="center", va="bottom")
    upper.frame(below=False)
    lower.frame()
    return subsets


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
    page, panels = _small_panels(len(drawn))
    for panel, (label, table) in zip(panels, drawn.items(), strict=True):
        snr, difference = (
            table["snr"].to_numpy(np.float64),
            table["difference"].to_numpy(np.float64),
        )
        limit = max(float(np.percentile(np.abs(difference), 97)), 1e-3) * 1.2
        panel.x = Scale(max(snr.min() * 0.9, 1), snr.max() * 1.1, log=True)
        panel.y = Scale(-limit, limit)
        panel.points(
            snr, difference, s=min(point_size(len(snr)), 5), color=ACCEPTED, alpha=0.5, linewidths=0,
            zorder=1,
        )  # fmt: skip
        which = np.digitize(snr, edges)
        bins = [number for number in range(1, len(edges)) if np.count_nonzero(which == number) > 4]
        middle = [np.median(snr[which == number]) for number in bins]
        median = np.array([np.median(difference[which == number]) for number in bins])
        spread = np.array([robust_sigma(difference[which == number]) for number in bins])
        panel.line([panel.x.low, panel.x.high], [0.0, 0.0], "black", 0.7)
        panel.line(middle, median, REJECTED, 1.2)
        panel.points(middle, median, s=9, color=REJECTED, zorder=3)
        for sign in (-1, 1):
            panel.line(middle, median + sign * spread, REJECTED, 0.9, "--")
        panel.note(0.5, 1.03, label, fontsize=9, ha="center", va="bottom")
        digits = digits_of(label, table["reference"])
        panel.note(
            0.97,
            0.97,
            f"{robust_sigma(difference):.{digits}f} ({len(snr):,})",
            ha="right",
            va="top",
            fontsize=7.5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1},
        )
        panel.frame()
    return _named(page, "S/N (g)", "network minus truth")


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
