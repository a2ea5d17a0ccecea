"""The survey's line-spread function, measured on its own spectra.

The library is smoothed to a range of line widths, the stars are fitted with each, and in every
stretch of wavelength the width that leaves the smallest residual is the survey's. No label of anyone
else enters.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.emulator.model import Emulator
from lamostvac.fit.fitter import StarFitter
from lamostvac.fit.settings import FitSettings
from lamostvac.spectra.grid import GRID


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
    (w,) NaN where a window has fewer than 20 usable pixels. Differences are taken between
    neighbouring pixels, which the smooth errors of the flux calibration do not reach.
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
    """The width of the smallest residual, by a parabola through the squares of the three lowest points.

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
    flux, ivar : (n, 4901) prepared spectra of high S/N, taken as of G stars
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
