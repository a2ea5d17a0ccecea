"""The survey's line-spread function, measured with its own spectra.

The library is smoothed to a range of line widths, and the stars are fitted with each. In every
window of wavelength the width with the smallest residual is the survey's. No labels of other
catalogues are used.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.hdf5 import open_hdf5
from lamostvac.emulator.model import Emulator
from lamostvac.fit.fitter import StarFitter
from lamostvac.fit.settings import FitSettings
from lamostvac.spectra.grid import GRID

WIDTHS = (2.5, 2.8, 3.1, 3.4, 3.7, 4.0, 4.4, 4.8, 5.3)  # A
EDGES = np.array(
    [
        3800,
        3950,
        4100,
        4250,
        4450,
        4700,
        5000,
        5350,
        5700,
        6050,
        6400,
        6850,
        7360,
        7800,
        8250,
        8700.0,
    ]
)
N_STARS = 200


def residual_by_window(
    emulator: Emulator,
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    labels: NDArray[np.float64],
    edges: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Median over the stars of the rms residual in each window.

    Parameters
    ----------
    flux, ivar : (n, 4901)
    labels : (n, d) at which the emulator is compared
    edges : (w + 1,) A

    Returns
    -------
    (w,) NaN where a window has fewer than 20 usable pixels. Residuals are differences between
    neighbouring pixels, which the smooth errors of the flux calibration hardly affect.
    """
    wave = GRID[emulator.pixels]
    used = ivar[:, emulator.pixels] > 0
    residual = flux[:, emulator.pixels] - emulator.spectra(labels)
    step = np.diff(wave) == 1.0
    both = used[:, 1:] & used[:, :-1] & step
    squared = np.where(both, np.diff(residual, axis=1) ** 2, 0.0)
    result = np.full(len(edges) - 1, np.nan)
    for window, (low, high) in enumerate(pairwise(edges)):
        inside = (wave[1:] >= low) & (wave[1:] < high)
        count = both[:, inside].sum(axis=1)
        if inside.any() and np.median(count) >= 20:
            result[window] = np.median(
                np.sqrt(squared[:, inside].sum(axis=1) / np.maximum(count, 1))
            )
    return result


def best_width(widths: NDArray[np.float64], residuals: NDArray[np.float64]) -> float:
    """The width of the smallest residual, by a parabola through the three lowest points' squares.

    NaN where the smallest is at the end of the range, because then it is only a limit.
    """
    squared = residuals**2
    if not np.isfinite(squared).all():
        return float("nan")
    lowest = int(np.argmin(squared))
    if lowest in (0, len(widths) - 1):
        return float("nan")
    a, b, _ = np.polyfit(widths[lowest - 1 : lowest + 2], squared[lowest - 1 : lowest + 2], 2)
    return float(-b / (2.0 * a))


def measure(
    emulators: Callable[[float], Emulator],
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    widths: Sequence[float],
    edges: NDArray[np.float64],
    settings: FitSettings,
) -> pd.DataFrame:
    """Residuals for each trial width.

    Parameters
    ----------
    emulators : width (A) -> emulator of the library smoothed to it
    flux, ivar : (n, 4901) prepared spectra of high S/N, treated as G stars
    widths : trial widths (A)
    edges : of the windows (A)

    Returns
    -------
    one row per width and window: `fwhm low high residual`, with the medians over the stars of the
    fitted labels in `median_{label}`
    """
    rows = []
    for width in widths:
        emulator = emulators(width)
        fits = StarFitter(emulator, settings).fit(flux, ivar, "G")
        residuals = residual_by_window(emulator, flux, ivar, fits.labels, edges)
        medians = dict(zip(emulator.label_names, np.median(fits.labels, axis=0), strict=True))
        for (low, high), residual in zip(pairwise(edges), residuals, strict=True):
            row = {"fwhm": width, "low": low, "high": high, "residual": residual}
            rows.append(row | {f"median_{name}": value for name, value in medians.items()})
    return pd.DataFrame(rows)


def best_spectra(paths: list[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Flux and ivar (n, 4901) of the spectra with the highest S/N, at most `N_STARS`."""
    kept: list[tuple[float, str, int]] = []
    for path in paths:
        with open_hdf5(path) as handle:
            snr = [np.median(np.sqrt(row)) for row in handle["ivar"]]
        kept += [(-value, path, index) for index, value in enumerate(snr)]
    flux, ivar = [], []
    for _, path, index in sorted(kept)[:N_STARS]:
        with open_hdf5(path) as handle:
            flux.append(handle["flux"][index])
            ivar.append(handle["ivar"][index])
    return np.array(flux), np.array(ivar)


def draw(table: pd.DataFrame, best: pd.DataFrame) -> Any:
    """Residual against trial width in each window, and the best width against wavelength."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.95, len(best)))
    for colour, (low, window) in zip(colours, table.groupby("low"), strict=True):
        left.plot(
            window["fwhm"],
            window["residual"] / window["residual"].min(),
            ".-",
            color=colour,
            label=f"{low:.0f}",
        )
    left.set_xlabel("library smoothed to FWHM / A")
    left.set_ylabel("residual / smallest residual")
    left.legend(title="from / A", fontsize=7, ncols=2)
    right.plot(0.5 * (best["low"] + best["high"]), best["fwhm"], "ko-")
    right.plot(best["low"], best["low"] / 1800.0, "--", color="#868e96", label="R = 1800")
    right.set_xlabel("rest wavelength / A")
    right.set_ylabel("FWHM of the survey / A")
    right.legend()
    return figure
