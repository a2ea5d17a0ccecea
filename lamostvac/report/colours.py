"""Temperatures against dereddened colour, of this catalogue and of another beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamostvac.core.vocabulary import GIANT_LOGG
from lamostvac.external.read import read_table
from lamostvac.report.density import axis_limits, density, quartiles
from lamostvac.report.style import ACCEPTED, REJECTED, STYLE, message, overall_title

# Where Liang et al. (2024) divide the figure, in K.
HOT = 7500


def read_isochrone(path: str | Path) -> pd.DataFrame:
    """`teff` (K) and `bp_rp` (mag, intrinsic) of an isochrone, in the file's order.

    Raises
    ------
    UserError
        The table lacks one of these columns.
    """
    return read_table(path, {"teff": "teff", "bp_rp": "bp_rp"})


def colour_teff(
    table: pd.DataFrame, reddening: float, isochrone: pd.DataFrame | None = None
) -> Figure:
    """Teff against dereddened BP - RP (Liang et al. 2024, Figure 23), on either side of 7500 K.

    `table` has `teff_rec`, `logg_rec`, `mag_bp`, `mag_rp`, `ebv`; `reddening` is
    E(BP - RP) / E(B-V); `isochrone` is what `read_isochrone` returns.
    """
    colour = (table["mag_bp"] - table["mag_rp"] - reddening * table["ebv"]).to_numpy(np.float64)
    teff, logg = table["teff_rec"].to_numpy(np.float64), table["logg_rec"].to_numpy(np.float64)
    known = np.isfinite(colour) & np.isfinite(teff)
    if known.sum() < 2:
        return message("No star has Teff, BP - RP and E(B-V).")
    colour, teff, logg = colour[known], teff[known], logg[known]
    panels = _sides(teff)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(1, len(panels), figsize=(5.4 * len(panels), 4.2), squeeze=False)
        for axes, (name, part) in zip(grid[0], panels, strict=True):
            x, y = colour[part], teff[part]
            limits = (*axis_limits(x), *axis_limits(y))
            _panel(axes, x, y, logg[part], limits, isochrone)
            axes.set(xlabel="(BP - RP)$_0$", title=f"{name}, {part.sum():,}")
        grid[0, 0].set_ylabel(r"$T_{\rm eff}$ / K")
    return figure


def colour_teff_beside(
    title: str,
    pairs: pd.DataFrame,
    types: Sequence[str],
    reddening: float,
    isochrone: pd.DataFrame | None = None,
) -> Figure:
    """A reference's Teff and ours against dereddened BP - RP (Liang et al. 2024, Figure 23).

    The rows of panels are the stars on either side of 7500 K by the reference, so that both panels
    of a row have the same stars, on the same axes.

    Parameters
    ----------
    pairs : of one dataset; the recommended Teff is drawn, or the emulator's where there is none
    types : spectral types that are drawn
    reddening : E(BP - RP) / E(B-V)
    isochrone : what `read_isochrone` returns
    """
    stars = pairs[np.isfinite(pairs[["value", "reference", "bp_rp", "ebv"]]).all(axis=1)]
    stars = stars[stars["spectral_type"].isin(types)]
    label = "teff_rec" if (stars["label"] == "teff_rec").any() else "teff"
    stars = stars[stars["label"] == label]
    colour = (stars["bp_rp"] - reddening * stars["ebv"]).to_numpy(np.float64)
    logg = stars["logg"].to_numpy(np.float64)
    theirs, ours = (stars[name].to_numpy(np.float64) for name in ("reference", "value"))
    sides = _sides(theirs)
    if not sides:
        return message(f"{title}: too few stars with both Teff, BP - RP and E(B-V).")
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(sides), 2, figsize=(10.8, 3.9 * len(sides) + 0.3), squeeze=False
        )
        for line, (name, part) in zip(grid, sides, strict=True):
            x = colour[part]
            limits = (*axis_limits(x), *axis_limits(np.concatenate([theirs[part], ours[part]])))
            for axes, whose, teff in zip(
                line, ("reference", "this catalogue"), (theirs, ours), strict=True
            ):
                _panel(axes, x, teff[part], logg[part], limits, isochrone)
                axes.set_title(f"{whose}: {part.sum():,} spectra, reference {name}")
            line[0].set_ylabel(r"$T_{\rm eff}$ / K")
        for axes in grid[-1]:
            axes.set_xlabel("(BP - RP)$_0$")
        overall_title(figure, f"{title}, {' '.join(types)} stars")
    return figure


def _sides(teff: NDArray[np.float64]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Name and stars of the parts on either side of 7500 K that have at least two."""
    parts = ((f"below {HOT} K", teff < HOT), (f"from {HOT} K", teff >= HOT))
    return [(name, part) for name, part in parts if part.sum() > 1]


def _panel(
    axes: Axes,
    x: NDArray[Any],
    y: NDArray[Any],
    logg: NDArray[Any],
    limits: tuple[float, float, float, float],
    isochrone: pd.DataFrame | None,
) -> None:
    """Density of the stars, medians and quartiles of dwarfs and giants, and the isochrone."""
    mappable = density(axes, x, y, limits)
    for chosen, colour, label in (
        (logg >= GIANT_LOGG, ACCEPTED, "dwarfs, median and quartiles"),
        (logg < GIANT_LOGG, REJECTED, "giants"),
    ):
        lines = quartiles(x[chosen], y[chosen])
        if len(lines):
            axes.plot(lines[:, 0], lines[:, 2], color="white", lw=3.5)
            axes.plot(lines[:, 0], lines[:, 2], color=colour, lw=1.8, label=label)
            for column in (1, 3):
                axes.plot(lines[:, 0], lines[:, column], color=colour, lw=0.8, ls="--")
    if isochrone is not None:
        axes.plot(isochrone["bp_rp"], isochrone["teff"], color="black", lw=1.4, label="isochrone")
    axes.set(xlim=limits[:2], ylim=limits[2:])
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", frameon=True, framealpha=0.8)
    if mappable is not None:
        axes.figure.colorbar(mappable, ax=axes, label="stars", pad=0.02)
