"""Figures of the comparison of two runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamostvac.compare.labels import Shifts
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.report.density import axis_limits, density, quartiles
from lamostvac.report.style import (
    ACCEPTED,
    GREY,
    REJECTED,
    STYLE,
    TYPE_COLOURS,
    temperature_axis,
    title_of,
)

_SIGMAS = np.linspace(0, 6, 61)


def label_figure(found: Shifts, unit: str) -> Figure:
    """A label's shift against its value, and how many spectra moved by how many errors.

    At least one spectrum has the label in both runs.
    """
    known = np.isfinite(found.shift)
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(11.5, 3.6), gridspec_kw={"width_ratios": (1.5, 1)}
        )
        _against_value(left, found, known, unit)
        _in_errors(right, found)
    return figure


def _against_value(axes: Any, found: Shifts, known: NDArray[np.bool_], unit: str) -> None:
    x, y = np.asarray(found.after[known], np.float64), found.shift[known]
    low, high = axis_limits(x)
    reach = 1.05 * float(np.percentile(np.abs(y), 99.5)) or 1.0
    density(axes, x, y, (low, high, -reach, reach))
    middle = quartiles(x, y)
    if len(middle):
        axes.plot(middle[:, 0], middle[:, 2], color=REJECTED, lw=1.4, label="median")
        axes.fill_between(
            middle[:, 0], middle[:, 1], middle[:, 3], color=REJECTED, alpha=0.25, lw=0,
            label="middle half",
        )  # fmt: skip
        axes.legend(loc="upper right")
    axes.axhline(0, color=GREY, lw=0.8)
    title = title_of(found.label)
    axes.set(xlim=(low, high), ylim=(-reach, reach), xlabel=f"{title}, second run")
    axes.set_ylabel("second - first run" + (f" / {unit}" if unit else " / dex"))
    n_outside = int(np.count_nonzero(np.abs(y) > reach))
    axes.set_title(f"{len(x):,} spectra; {n_outside:,} outside", loc="left")
    if found.label.startswith("teff") and low > 0:
        temperature_axis(axes, x[(x >= low) & (x <= high)])


def _in_errors(axes: Any, found: Shifts) -> None:
    sigmas = np.abs(found.sigmas)
    # First, since a logarithmic axis finds no limits of its own where nothing moved.
    axes.set_ylim(1e-4, 1.4)
    axes.set_yscale("log")
    for number, name in enumerate(TYPE_ORDER):
        values = sigmas[(found.types == number) & ~np.isnan(sigmas)]
        if len(values):
            beyond = [np.mean(values > limit) for limit in _SIGMAS]
            axes.plot(_SIGMAS, beyond, color=TYPE_COLOURS[name], label=f"{name} ({len(values):,})")
    axes.set(xlabel="combined errors", ylabel="share that moved further", xlim=(0, 6))
    for limit in (1, 3):
        axes.axvline(limit, color=GREY, lw=0.8, ls=":")
    axes.legend(loc="upper right", ncols=2)


def counts_figure(counts: Mapping[str, Sequence[int]]) -> Figure:
    """Per spectral type how many spectra came, went and moved; `counts` has them by these words, in
    the order of `TYPE_ORDER`.
    """
    colours = dict(zip(counts, (ACCEPTED, REJECTED, "#b08a2e"), strict=False))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.5, 2.6))
        width = 0.8 / len(counts)
        for place, (word, values) in enumerate(counts.items()):
            x = np.arange(len(TYPE_ORDER)) + (place - (len(counts) - 1) / 2) * width
            bars = axes.bar(x, values, width, color=colours[word], label=word)
            axes.bar_label(bars, [f"{value:,}" for value in values], fontsize=7)
        axes.set_xticks(np.arange(len(TYPE_ORDER)), TYPE_ORDER)
        axes.set(ylabel="spectra")
        most = max(max(values) for values in counts.values())
        axes.set_ylim(0, 1.18 * max(most, 1))  # not around zero where nothing came, went or moved
        axes.legend(loc="upper right", ncols=3)
    return figure
