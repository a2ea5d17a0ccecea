"""Pixels that are unlike any star: cosmic rays, unrecorded bad pixels, emission lines.

Liang+ 2024 (sections 4.3, 4.6.2) name them as the cause of their worst errors. They are found by
comparison with the fitted model: a pixel is an outlier when it differs by many times the error of
noise, emulator and calibration. Its neighbours are left out too as long as they differ in the same
direction, so that a line is removed with its wings.
"""

import numpy as np
from numpy.typing import NDArray

_CLIP_SIGMA = 3.0
_BLOCK = 32  # spectra at a time, whose arrays stay in the processor's cache
_GROW_SIGMA = (
    2.0  # neighbours of an outlier go with it while they differ by more, in the same direction
)


def find_outliers(
    difference: NDArray[np.floating],
    weight: NDArray[np.floating],
    spread: NDArray[np.floating],
    sigma: float,
    hats: NDArray[np.floating] | None = None,
    rows: NDArray[np.integer] | None = None,
) -> NDArray[np.bool_]:
    """Outliers (n, p) of spectra.

    Parameters
    ----------
    difference : (n, p) flux less model
    weight : (n, p) 1 / variance of the noise, 0 for pixels that are not used
    spread : (p,) variance of all other expected differences
    sigma : standard deviations from which a pixel is an outlier
    hats : (m, p) overlapping functions that add up to 1; a curve on their scale, which is an error
        of the flux calibration, is subtracted from the difference first
    rows : (m,) of the spectra that are looked at, for a result (m, p); all by default
    """
    rows = np.arange(len(difference)) if rows is None else rows
    found = np.empty((len(rows), difference.shape[1]), dtype=bool)
    for first in range(0, len(rows), _BLOCK):
        part = rows[first : first + _BLOCK]
        found[first : first + _BLOCK] = _outliers(
            difference[part], weight[part], spread, sigma, hats
        )
    return found


def _outliers(
    difference: NDArray[np.floating],
    weight: NDArray[np.floating],
    spread: NDArray[np.floating],
    sigma: float,
    hats: NDArray[np.floating] | None,
) -> NDArray[np.bool_]:
    """`find_outliers` of a block of spectra."""
    looked_at = weight > 0
    variance = 1.0 / np.where(looked_at, weight, np.float32(1.0)) + spread
    if hats is not None:
        # Clipped, so that an outlier does not bend the curve.
        reach = _CLIP_SIGMA * np.sqrt(variance)
        count = weight @ hats.T
        level = (np.clip(difference, -reach, reach) * weight) @ hats.T / np.maximum(count, 1e-30)
        difference = difference - level @ hats
    squared = difference * difference / variance
    squared *= looked_at
    core = squared > sigma**2
    rows = np.flatnonzero(core.any(axis=1))
    core[rows] = _grown(core[rows], squared[rows] > _GROW_SIGMA**2, difference[rows] > 0)
    return core


def _grown(
    core: NDArray[np.bool_], wing: NDArray[np.bool_], above: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Runs (n, p) of pixels that are in `core` or `wing`, lie to one side, and hold a pixel of
    `core`.
    """
    side = np.where(core | wing, np.where(above, np.int8(1), np.int8(-1)), np.int8(0))
    begins = np.ones(side.shape, dtype=bool)
    begins[:, 1:] = side[:, 1:] != side[:, :-1]
    # Runs of all spectra have one numbering; each spectrum begins a run of its own.
    run = np.cumsum(begins.ravel(), dtype=np.int32) - 1
    has_core = np.zeros(run[-1] + 1 if len(run) else 0, dtype=bool)
    has_core[run[core.ravel()]] = True
    return (has_core[run] & (side.ravel() != 0)).reshape(side.shape)


def hat_functions(wave: NDArray[np.float64], spacing: float) -> NDArray[np.float32]:
    """Triangles (m, p), `spacing` apart and twice as wide, that add up to 1 everywhere on `wave`
    (p,).
    """
    position = (wave - wave[0]) / spacing
    knots = np.arange(int(np.ceil(position[-1])) + 1)
    return np.maximum(1.0 - np.abs(position - knots[:, None]), 0.0).astype(np.float32)
