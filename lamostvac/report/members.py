"""Members of open clusters beside isochrones, and outliers among them beside training stars."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamostvac.catalog.registry import NetworkLabel
from lamostvac.numerics.statistics import robust_sigma
from lamostvac.report.style import (
    ACCEPTED,
    REJECTED,
    STYLE,
    TITLES,
    VIRIDIS,
    message,
    overall_title,
    point_size,
    temperature_axis,
    title_of,
)
from lamostvac.validation.clusters import outlying
from lamostvac.validation.isochrones import of_metallicity

_COLUMNS = 3
_CLUSTERS_PER_PAGE = 6
_GRAVITY, _TEFF = "phys.gravity", "phys.temperature.effective"


def cluster_kiel(title: str, pairs: pd.DataFrame, isochrones: pd.DataFrame | None = None) -> Figure:
    """Teff against log g of clusters' members by [Fe/H] (Liang et al. 2024, Figures 26 and 27).

    Each cluster has the isochrones of the metallicity nearest to its median [Fe/H].

    Parameters
    ----------
    pairs : pairs of the dataset, `group` the cluster; those of one [Fe/H] are drawn, the
        recommended one where there is one
    isochrones : what `lamostvac.validation.isochrones.read_isochrones` returns
    """
    metals = [name for name in dict.fromkeys(pairs["label"]) if title_of(name).startswith("[Fe/H]")]
    label = "feh_rec" if "feh_rec" in metals else metals[0] if metals else ""
    known = np.isfinite(pairs[["value", "teff", "logg"]].to_numpy(np.float64)).all(axis=1)
    stars = pairs[known & (pairs["label"] == label).to_numpy()]
    count = stars["group"].value_counts(sort=False).sort_index()
    names = list(count.sort_values(ascending=False, kind="stable").index[:_CLUSTERS_PER_PAGE])
    if not names:
        return message(f"{title}: no member has Teff, log g and [Fe/H].")
    stars = stars[stars["group"].isin(names)]
    low, high = np.percentile(stars["value"], [5, 95])
    shade = Normalize(low, max(high, low + 0.1))
    with plt.rc_context(STYLE):
        columns = min(_COLUMNS, len(names))
        lines = -(-len(names) // columns)
        figure, grid = plt.subplots(
            lines,
            columns,
            figsize=(3.9 * columns + 0.9, 3.5 * lines + 0.4),
            sharex=True,
            sharey=True,
            squeeze=False,
        )
        for axes in grid.flat[len(names) :]:
            axes.axis("off")
        mappable: Any = None
        for axes, name in zip(grid.flat, names, strict=False):
            members = stars[stars["group"] == name]
            good, warned = members[~members["fit_flagged"]], members[members["fit_flagged"]]
            axes.scatter(
                warned["teff"], warned["logg"], s=9, facecolors="none", edgecolors="#adb5bd", lw=0.6
            )
            mappable = axes.scatter(
                good["teff"], good["logg"], s=12, c=good["value"], norm=shade, cmap=VIRIDIS, lw=0,
                zorder=3,
            )  # fmt: skip
            middle = float(good["value"].median())
            if isochrones is not None:
                _curves(axes, of_metallicity(isochrones, middle))
            width = robust_sigma(good["value"].to_numpy(np.float64))
            numbers = f", {middle:+.2f}, $\\sigma$ {width:.2f}" if len(good) else ""
            axes.set_title(f"{name}, {len(members):,} spectra{numbers}", fontsize=9)
        _limits(grid[0, 0], stars["teff"], stars["logg"])
        for number, axes in enumerate(grid.flat[: len(names)]):
            if number >= len(names) - columns:
                axes.set_xlabel(TITLES["teff"])
                axes.tick_params(labelbottom=True)
            if number % columns == 0:
                axes.set_ylabel(TITLES["logg"])
        figure.colorbar(mappable, ax=list(grid.flat), label=title_of(label), pad=0.01, aspect=35)
        overall_title(figure, title)
    return figure


def _curves(axes: Axes, isochrones: Mapping[float, pd.DataFrame]) -> None:
    """Isochrones by log age, the oldest reddest."""
    colours = plt.colormaps["plasma"](np.linspace(0.05, 0.85, max(len(isochrones), 1)))
    for (age, points), colour in zip(isochrones.items(), colours, strict=False):
        axes.plot(points["teff"], points["logg"], color=colour, lw=1.0, label=f"{age:.2f}")
    if isochrones:
        metallicity = next(iter(isochrones.values()))["mh"].iloc[0]
        axes.legend(loc="upper left", title=f"log age, [M/H] {metallicity:+.2f}", title_fontsize=7)


def _limits(axes: Axes, teff: pd.Series, logg: pd.Series) -> None:
    """The range of the stars, hot on the left and giants at the top; isochrones go beyond it."""
    for values, apply, least in ((teff, axes.set_xlim, 100.0), (logg, axes.set_ylim, 0.2)):
        low, high = np.percentile(values, [0.5, 99.5])
        margin = max(0.06 * (high - low), least)
        apply(high + margin, low - margin)


def cluster_outliers(
    title: str,
    pairs: pd.DataFrame,
    labels: Sequence[NetworkLabel],
    training: Mapping[str, pd.DataFrame],
) -> Figure:
    """Members whose label is three sigma off their cluster's, beside the training stars (Wang et
    al. 2022, Figures 11 and 18).

    Labels below (blue) and above (red) the cluster's, filled where no flag of the label warns, in
    the plane of Teff and log g; black are the stars of the label's training set.

    Parameters
    ----------
    pairs : pairs of the dataset, `group` the cluster
    labels : networks' labels; those with pairs, and a log g in their set, have a panel
    training : set to its table, with `split`, its labels, and the catalogue's `teff`
    """
    panels = [
        (label, plane, part)
        for label in labels
        if (plane := _plane(label, labels, training)) is not None
        and len(part := pairs[(pairs["label"] == label.label) & np.isfinite(pairs["value"])])
    ]
    if not panels:
        return message(f"{title}: no member has a label of a network with log g in its set.")
    with plt.rc_context(STYLE):
        columns = min(_COLUMNS, len(panels))
        lines = -(-len(panels) // columns)
        figure, grid = plt.subplots(
            lines, columns, figsize=(3.8 * columns, 3.4 * lines + 0.7), squeeze=False
        )
        for axes in grid.flat[len(panels) :]:
            axes.axis("off")
        for axes, (label, (x, y), part) in zip(grid.flat, panels, strict=False):
            axes.scatter(x, y, s=point_size(len(x)), color="#343a40", lw=0, label="training")
            side = outlying(part["value"], part["group"])
            seen = np.isfinite(part[["teff", "logg"]]).all(axis=1).to_numpy()
            warned = part["fit_flagged"].to_numpy(bool)
            for sign, colour, name in ((-1, ACCEPTED, "below"), (1, REJECTED, "above")):
                far = part[(side == sign) & seen]
                faces = np.where(warned[(side == sign) & seen], "none", colour)
                axes.scatter(
                    far["teff"], far["logg"], s=45, marker="*", facecolors=list(faces),
                    edgecolors=colour, lw=0.7,
                )  # fmt: skip
                axes.scatter([], [], s=45, marker="*", color=colour, lw=0.7, label=name)
            axes.set_xscale("log")
            members = part[seen & (side != 0)]
            temperature_axis(axes, np.concatenate([x, members["teff"]]))
            axes.invert_yaxis()
            axes.set(xlabel=TITLES["teff"], ylabel=TITLES["logg"])
            n_far = int(np.count_nonzero(side))
            axes.set_title(f"{title_of(label.label)}: {n_far} of {len(part):,}", fontsize=9)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower right", ncols=3)
        overall_title(figure, f"{title}: labels three sigma off their cluster's")
    return figure


def _plane(
    label: NetworkLabel, labels: Sequence[NetworkLabel], training: Mapping[str, pd.DataFrame]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Teff and log g of the stars that a label's network learned from; None without a log g."""
    own = {other.ucd: other.label for other in labels if other.set == label.set}
    if label.set not in training or _GRAVITY not in own:
        return None
    table = training[label.set]
    teff, logg = table[own.get(_TEFF, "teff")], table[own[_GRAVITY]]
    known = (table["split"] == "train") & np.isfinite(teff) & np.isfinite(logg) & (teff > 0)
    if not known.any():
        return None
    return teff[known].to_numpy(np.float64), logg[known].to_numpy(np.float64)
