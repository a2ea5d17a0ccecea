"""All spectra in the planes of the networks' own labels (Wang et al. 2022, Figures 25 and 26)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamostvac.catalog.registry import NetworkLabel
from lamostvac.core.vocabulary import GIANT_LOGG
from lamostvac.report.density import axis_limits, density
from lamostvac.report.style import STYLE, message, title_of

_COLUMNS = 3
_TICKS = (3000, 3500, 4000, 5000, 6000, 8000, 10000, 15000, 20000, 30000)
_TEFF, _GRAVITY, _METAL = "phys.temperature.effective", "phys.gravity", "phys.abund.Fe"


@dataclass(frozen=True)
class Diagram:
    """A panel: a column, or the difference of two, against another.

    Attributes
    ----------
    kind : kiel, magnitude or abundance
    gravity, giants : the log g by which giants, or dwarfs, are shown alone; "" for all spectra
    """

    x: tuple[str, ...]
    y: str
    kind: str
    gravity: str = ""
    giants: bool = False

    @property
    def log_teff(self) -> bool:
        """Whether the abscissa is a temperature, of which the logarithm is drawn."""
        return self.kind != "abundance" and len(self.x) == 1

    @property
    def columns(self) -> tuple[str, ...]:
        """The labels that the panel shows or depends on."""
        return tuple(name for name in (*self.x, self.y, self.gravity) if name)


def diagrams(labels: Sequence[NetworkLabel]) -> list[Diagram]:
    """The panels that a run's networks have labels for.

    Teff against each log g, Teff and BP - RP against M_G, and the [alpha/M] of each set against its
    [Fe/H] for dwarfs and giants. Where no network gives Teff or log g, it is the recommended one.
    """
    names = [label.label for label in labels]
    of = {
        kind: [label for label in labels if label.ucd == kind] for kind in (_TEFF, _GRAVITY, _METAL)
    }
    teff = of[_TEFF][0].label if of[_TEFF] else "teff_rec"
    found = [Diagram((teff,), label.label, "kiel") for label in of[_GRAVITY]]
    if "abs_mag_g_gaia" in names:
        found.append(Diagram((teff,), "abs_mag_g_gaia", "magnitude"))
        if {"abs_mag_bp", "abs_mag_rp"} <= set(names):
            found.append(Diagram(("abs_mag_bp", "abs_mag_rp"), "abs_mag_g_gaia", "magnitude"))
    for label in labels:
        metals = [metal.label for metal in of[_METAL] if metal.set == label.set]
        if label.label.startswith("alpha_") and metals:
            own = [gravity.label for gravity in of[_GRAVITY] if gravity.set == label.set]
            gravity = own[0] if own else "logg_rec"
            found += [
                Diagram((metals[0],), label.label, "abundance", gravity, giants)
                for giants in (False, True)
            ]
    return found


def needed_columns(found: Iterable[Diagram]) -> list[str]:
    """The catalogue's columns that diagrams are drawn from: labels, and the networks' own flags."""
    names = dict.fromkeys(name for diagram in found for name in diagram.columns)
    return [*names, *(f"flag_{name}" for name in names if not name.endswith("_rec"))]


def network_planes(table: pd.DataFrame, found: Sequence[Diagram]) -> Figure:
    """Number of spectra in the planes of networks' labels (Wang et al. 2022, Figures 25 and 26).

    `table` has `needed_columns`. Flagged labels, which are outside the networks' training range, are
    left out.
    """
    shown = [
        (diagram, *values) for diagram in found if len((values := _values(table, diagram))[0]) > 1
    ]
    if not shown:
        return message("No spectrum has the networks' labels of any of these planes.")
    lines = -(-len(shown) // _COLUMNS)
    columns = min(_COLUMNS, len(shown))
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            lines, columns, figsize=(4.1 * columns, 3.7 * lines), squeeze=False
        )
        for axes in grid.flat[len(shown) :]:
            axes.axis("off")
        for axes, (diagram, x, y) in zip(grid.flat, shown, strict=False):
            limits = (*axis_limits(x), *axis_limits(y))
            mappable = density(axes, x, y, limits)
            axes.set(xlim=limits[:2], ylim=limits[2:])
            part = ""
            if diagram.kind == "abundance":
                part = "giants, " if diagram.giants else "dwarfs, "
            else:
                axes.invert_yaxis()
            if diagram.log_teff:
                _temperatures(axes, x)
            axes.set(
                title=f"{part}{len(x):,} spectra",
                xlabel=" - ".join(map(title_of, diagram.x)),
                ylabel=title_of(diagram.y),
            )
            if mappable is not None:
                figure.colorbar(mappable, ax=axes, label="spectra", pad=0.02)
    return figure


def _values(
    table: pd.DataFrame, diagram: Diagram
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Abscissa, log10 of a temperature, and ordinate (n,) of the spectra that a panel shows."""
    flags = [f"flag_{name}" for name in diagram.columns if f"flag_{name}" in table]
    known = np.isfinite(table[list(diagram.columns)].to_numpy(np.float64)).all(axis=1)
    known &= ~table[flags].to_numpy(bool).any(axis=1)
    if diagram.gravity:
        known &= (table[diagram.gravity].to_numpy() < GIANT_LOGG) == diagram.giants
    if diagram.log_teff:
        known &= table[diagram.x[0]].to_numpy() > 0
    x, *less = (table.loc[known, name].to_numpy(np.float64) for name in diagram.x)
    x = np.log10(x) if diagram.log_teff else x - sum(less)
    return x, table.loc[known, diagram.y].to_numpy(np.float64)


def _temperatures(axes: Axes, log_teff: NDArray[np.float64]) -> None:
    """Temperatures in K at an axis of their logarithms, hot on the left."""
    low, high = 10 ** log_teff.min(), 10 ** log_teff.max()
    ticks = [tick for tick in _TICKS if low <= tick <= high] or [round(low)]
    axes.set_xticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])
    axes.invert_xaxis()
