"""Figures of a star's page: spectrum, main lines, library neighbours, the run's other stars."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from lamostvac.core.vocabulary import LABELS
from lamostvac.report.style import GREY, STYLE, TITLES, temperature_axis
from lamostvac.spectra.grid import GRID, air_to_vacuum
from lamostvac.star.spectrum import Mask, Neighbours, StarSpectrum

OBSERVED, MODEL, RESIDUAL = "#1d2733", "#d9480f", "#1c5d99"
MASK_COLOURS = {
    "telluric": "#74a9d8",
    "dichroic": "#b197d6",
    "diffuse bands": "#d8a657",
    "no data": "#495057",
    "out of range": "#868e96",
    "outliers": "#e03131",
    "not in emulator": "#ced4da",
    "ANDMASK": "#2b8a3e",
    "ORMASK": "#8ce99a",
}
# Air wavelengths, A: Ca II K H; G band, H gamma; H beta; Mg b; H alpha; Ca II triplet.
LINES: dict[str, tuple[float, float, tuple[float, ...]]] = {
    "Ca II H and K": (3905, 4005, (3933.66, 3968.47)),
    r"G band and H$\gamma$": (4270, 4380, (4307.74, 4340.47)),
    r"H$\beta$": (4800, 4925, (4861.33,)),
    "Mg b": (5110, 5240, (5167.32, 5172.68, 5183.60)),
    r"H$\alpha$": (6500, 6630, (6562.80,)),
    "Ca II triplet": (8470, 8695, (8498.02, 8542.09, 8662.14)),
}
_SHOWN_SIGMA = 8.0


def spectrum(star: StarSpectrum) -> Figure:
    """Spectrum as released, normalised with model, residual with expected error, rows of masks."""
    with plt.rc_context(
        STYLE | {"font.size": 10, "axes.labelsize": 10, "xtick.labelsize": 9, "ytick.labelsize": 9}
    ):
        figure = plt.figure(figsize=(15, 9.6))
        grid = GridSpec(4, 1, figure=figure, height_ratios=(2.2, 3.0, 1.9, 2.3))
        raw, normalised, residual, lanes = axes = [
            figure.add_subplot(grid[row]) for row in range(4)
        ]
        for axis in axes[1:]:
            axis.sharex(raw)
        flux = np.where(star.good, star.flux, np.nan)
        raw.plot(star.wave, flux, color=OBSERVED, lw=0.6)
        raw.set_ylim(*_range(flux))
        raw.set_ylabel("flux as released")
        _normalised(normalised, star)
        normalised.set_ylabel("normalised flux")
        normalised.legend(loc="lower right", ncols=3)
        _residual(residual, star)
        _lanes(lanes, star.masks)
        for axis in axes[:3]:
            shade(axis, star.masks)
            axis.tick_params(labelbottom=False)
        lanes.set(xlabel="wavelength at rest in vacuum / A", xlim=(min(star.wave[0], 3700), 9100))
    return figure


def _normalised(axes: Axes, star: StarSpectrum) -> None:
    used = np.where(star.ivar > 0, star.normalised, np.nan)
    axes.plot(GRID, used, color=OBSERVED, lw=0.6, label="observed")
    axes.plot(GRID, star.model, color=MODEL, lw=0.8, label="model")
    out = np.where(star.left_out, star.normalised, np.nan)
    axes.plot(GRID, out, "o", ms=2.2, color=MASK_COLOURS["outliers"], label="left out by the fit")
    low, high = _range(used)
    model_low, model_high = _range(star.model)
    axes.set_ylim(min(low, model_low), max(high, model_high))


def _residual(axes: Axes, star: StarSpectrum) -> None:
    residual = np.where(np.isfinite(star.sigma), star.normalised - star.model, np.nan)
    axes.fill_between(
        GRID, -star.sigma, star.sigma, color=RESIDUAL, alpha=0.25, lw=0, label="expected error"
    )
    axes.plot(GRID, residual, color=OBSERVED, lw=0.5, label="observed - model")
    axes.axhline(0, color=MODEL, lw=0.6)
    known = star.sigma[np.isfinite(star.sigma)]
    if len(known):
        reach = _SHOWN_SIGMA * float(np.median(known))
        axes.set_ylim(-reach, reach)
    axes.set_ylabel("residual")
    axes.legend(loc="lower right", ncols=2)


def _lanes(axes: Axes, masks: Sequence[Mask]) -> None:
    """One row of bars for each mask."""
    for row, mask in enumerate(masks):
        axes.broken_barh(
            _bars(mask), (-row - 0.4, 0.8), color=MASK_COLOURS[mask.name], lw=0.4, edgecolor=None
        )
    axes.set_yticks([-row for row in range(len(masks))], [mask.name for mask in masks])
    axes.set_ylim(-len(masks) + 0.4, 0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e9ecef", lw=0.6)
    axes.set_axisbelow(True)


def _bars(mask: Mask) -> list[tuple[float, float]]:
    """(start, width) of the runs where a mask holds, A."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.where.astype(int), [0]])))
    starts, stops = mask.wave[edges[::2]], mask.wave[edges[1::2] - 1]
    step = float(np.median(np.diff(mask.wave)))
    return [(float(a) - step / 2, float(b - a) + step) for a, b in zip(starts, stops, strict=True)]


def shade(axes: Axes, masks: Sequence[Mask]) -> None:
    """Shades regions that the fit does not use; masks of single pixels have rows of their own."""
    for mask in masks:
        if mask.name in ("telluric", "dichroic", "diffuse bands", "outliers"):
            for start, width in _bars(mask):
                axes.axvspan(
                    start, start + width, color=MASK_COLOURS[mask.name], alpha=0.22, lw=0, zorder=0
                )


def lines(star: StarSpectrum) -> Figure:
    """The main lines that the spectrum covers."""
    with plt.rc_context(STYLE | {"font.size": 10}):
        figure, axes = plt.subplots(2, 3, figsize=(15, 6.4))
        for panel, (name, (low, high, wavelengths)) in zip(axes.flat, LINES.items(), strict=True):
            inside = (GRID >= low) & (GRID <= high)
            shade(panel, star.masks)
            good = np.where(star.ivar > 0, star.normalised, np.nan)[inside]
            model, sigma = star.model[inside], star.sigma[inside]
            panel.fill_between(
                GRID[inside], model - sigma, model + sigma, color=MODEL, alpha=0.2, lw=0, step="mid"
            )
            panel.step(GRID[inside], good, where="mid", color=OBSERVED, lw=0.9)
            panel.plot(GRID[inside], model, color=MODEL, lw=1.1)
            panel.plot(
                GRID[inside], np.where(star.left_out[inside], good, np.nan), "o", ms=3, color=MASK_COLOURS["outliers"]
            )  # fmt: skip
            for line in wavelengths:
                panel.axvline(float(air_to_vacuum(line)), color=GREY, lw=0.6, ls=":", zorder=0)
            panel.set(title=name, xlim=(low, high))
            both = np.concatenate([good, model])
            if np.isfinite(both).any():
                panel.set_ylim(*_range(both, 0.0))
    return figure


def neighbours(star: StarSpectrum | None, near: Neighbours, name: str) -> Figure:
    """The star above library stars of nearest labels, each drawn over the star in grey."""
    k = len(near.names)
    with plt.rc_context(STYLE | {"font.size": 10}):
        figure, axes = plt.subplots(figsize=(15, 1.6 + 1.15 * (k + 1)))
        step = 0.75
        own = None if star is None else np.where(star.ivar > 0, star.normalised, np.nan)
        if own is not None:
            axes.plot(GRID, own, color=OBSERVED, lw=0.7)
            _tag(axes, name, 0.0)
        for row in range(k):
            shift = -step * (row + 1)
            if own is not None:
                axes.plot(GRID, own + shift, color="#ced4da", lw=0.7)
            axes.plot(
                GRID,
                np.where(near.ivar[row] > 0, near.flux[row], np.nan) + shift,
                color=RESIDUAL,
                lw=0.6,
            )
            _tag(axes, f"{near.names[row]}, distance {near.distance[row]:.2f}", shift)
        curves = [] if own is None else [own]
        curves += [
            np.where(near.ivar[row] > 0, near.flux[row], np.nan) - step * (row + 1)
            for row in range(k)
        ]
        low, high = _range(np.concatenate(curves))
        axes.set(
            xlabel="wavelength at rest in vacuum / A",
            ylabel="normalised flux, shifted",
            xlim=(GRID[0], GRID[-1]),
            ylim=(low - 0.05, high + 0.15),
        )
    return figure


def _tag(axes: Axes, said: str, shift: float) -> None:
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
    axes.text(
        0.995,
        1.12 + shift,
        said,
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="bottom",
        bbox=box,
    )


def place(
    sample: pd.DataFrame,
    row: Any,
    repeats: pd.DataFrame,
    near: Neighbours | None,
    suffix: str,
    others: str = "stars of the run",
) -> Figure:
    """The star among others: Kiel diagram and abundances.

    Parameters
    ----------
    sample : the other stars, columns teff, logg, feh, alpha_fe with `suffix`
    row : of the catalogue
    others : what they are, for the legend
    suffix : "_rec" for recommended labels, "" for the emulator's
    """
    names = [f"{label}{suffix}" for label in LABELS]
    size = 5 if len(sample) > 500 else 25
    with plt.rc_context(STYLE | {"font.size": 10}):
        figure, (kiel, abundance) = plt.subplots(1, 2, figsize=(15, 6.2))
        for axes, (x, y), (i, j) in ((kiel, names[:2], (0, 1)), (abundance, names[2:], (2, 3))):
            known = np.isfinite(sample[x].to_numpy(float)) & np.isfinite(sample[y].to_numpy(float))
            axes.scatter(
                sample.loc[known, x], sample.loc[known, y], s=size, color="#adb5bd", alpha=0.5, lw=0, rasterized=True,
                label=others,
            )  # fmt: skip
            if near is not None and {LABELS[i], LABELS[j]} <= set(near.label_names):
                columns = [near.label_names.index(LABELS[n]) for n in (i, j)]
                axes.plot(
                    *near.labels[:, columns].T, "^", ms=6, mfc="none", color=RESIDUAL, label="nearest in the library"
                )  # fmt: skip
            if len(repeats):
                axes.plot(
                    repeats[x],
                    repeats[y],
                    "D",
                    ms=6,
                    mfc="none",
                    color="#2b8a3e",
                    label="same star, other spectra",
                )
            axes.errorbar(
                [float(row[x])], [float(row[y])], xerr=_error(row, x), yerr=_error(row, y),
                fmt="o", ms=8, color=MODEL, mec="white", capsize=3, label="this spectrum", zorder=5,
            )  # fmt: skip
        kiel.set_xscale("log")
        known = sample[names[0]].to_numpy(float)
        known = known[np.isfinite(known)]
        if len(known):
            temperature_axis(kiel, known)
        kiel.invert_yaxis()
        kiel.set(xlabel=TITLES["teff"], ylabel=TITLES["logg"])
        abundance.set(xlabel=TITLES["feh"], ylabel=TITLES["alpha_fe"])
        kiel.legend(loc="lower left")
    return figure


def _error(row: Any, name: str) -> list[float] | None:
    """An error bar's length in a list; None where it is unknown."""
    value = float(row[f"{name}_err"])
    return [value] if np.isfinite(value) else None


def _range(values: NDArray[np.floating], tail: float = 0.2) -> tuple[float, float]:
    """Limits of an axis that do not depend on a few outlying pixels."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = np.percentile(known, [tail, 100 - tail])
    margin = 0.06 * max(high - low, 1e-6)
    return float(low - margin), float(high + margin)
