"""The fit of a set of prepared spectra, from first guesses to labels with errors.

One function for the survey's stars and for the library's own in cross-validation, so that what is
tested is what is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamostvac import refine
from lamostvac.cfi import correlation
from lamostvac.emulator import Emulator

DWARF_LOGG = 3.5  # first guesses are taken on both sides of it, because chi2 often has a minimum on each
_BATCH = 256  # stars fitted at once; bounds memory


@dataclass(frozen=True)
class FitSettings:
    """Settings of the fit; see the configuration's section `fit` for their meaning."""

    prior: str = "density"
    prior_bandwidth: float = 0.3
    flux_floor: float = 0.01
    calibration_scale: float = 60.0
    calibration_error: float = 0.03
    max_iterations: int = 30
    max_extrapolation: float = 0.1


@dataclass(frozen=True)
class StarFits:
    """Labels of n stars.

    Attributes
    ----------
    labels, errors : (n, d)
    status : (n,) int8, codes of `refine`
    chi2, chi2_first : (n,) sum of squared differences of normalised flux and model over the pixels
        used (Liang+ 2024 equation 2 for one star), at the solution and at the first guess
    n_pixels, n_iterations : (n,)
    """

    labels: NDArray[np.float64]
    errors: NDArray[np.float64]
    status: NDArray[np.int8]
    chi2: NDArray[np.float64]
    chi2_first: NDArray[np.float64]
    n_pixels: NDArray[np.int64]
    n_iterations: NDArray[np.int64]


def starting_rows(
    emulator: Emulator,
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    library_flux: NDArray[np.floating],
    library_logg: NDArray[np.floating],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Most similar library stars (n, 2), a dwarf's and a giant's row, and correlations with all (n, N).

    A library with stars on one side of `DWARF_LOGG` only gives the same row twice.
    """
    good = ivar[:, emulator.pixels] > 0
    correlations = correlation(flux[:, emulator.pixels], good, library_flux[:, emulator.pixels])
    best = np.empty((len(flux), 2), dtype=np.int64)
    for side, members in enumerate((library_logg >= DWARF_LOGG, library_logg < DWARF_LOGG)):
        rows = np.flatnonzero(members) if members.any() else np.arange(len(library_logg))
        best[:, side] = rows[correlations[:, rows].argmax(axis=1)]
    return best, correlations


def fit_stars(
    emulator: Emulator,
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    starts: NDArray[np.floating],
    discrepancy_scale: float | NDArray[np.float64],
    settings: FitSettings,
) -> StarFits:
    """Fit prepared spectra.

    Parameters
    ----------
    flux, ivar : (n, 4901)
    starts : (n, s, d) labels of s first guesses for each star; the prior intervals are about each
    discrepancy_scale : factor on the emulator's covariance, one for all or (n,)
    """
    n = len(flux)
    scale = np.broadcast_to(np.asarray(discrepancy_scale, dtype=float), (n,))
    parts = []
    for first in range(0, n, _BATCH):
        batch = slice(first, first + _BATCH)
        for value in np.unique(scale[batch]):
            rows = first + np.flatnonzero(scale[batch] == value)
            parts.append(
                (rows, _fit_batch(emulator, flux[rows], ivar[rows], starts[rows], float(value), settings))
            )
    if not parts:
        empty = np.empty((0, len(emulator.label_names)))
        return StarFits(
            empty, empty, np.empty(0, np.int8), *(np.empty(0),) * 2, *(np.empty(0, np.int64),) * 2
        )
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    joined = join([part for _, part in parts])
    return StarFits(**{name: getattr(joined, name)[order] for name in StarFits.__dataclass_fields__})


def join(parts: Sequence[StarFits]) -> StarFits:
    """The stars of several fits in one, in their order."""
    names = StarFits.__dataclass_fields__
    return StarFits(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _fit_batch(
    emulator: Emulator,
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    starts: NDArray[np.floating],
    discrepancy_scale: float,
    settings: FitSettings,
) -> StarFits:
    condensed = refine.condense(
        emulator,
        flux,
        ivar,
        discrepancy_scale,
        settings.flux_floor,
        settings.calibration_scale,
        settings.calibration_error,
    )
    prior = None
    if settings.prior == "density":
        prior = refine.DensityPrior(emulator.library_scaled, settings.prior_bandwidth)
    low, high = refine.box(emulator, settings.max_extrapolation)
    fits = []
    for start in range(starts.shape[1]):
        guess = np.asarray(starts[:, start], dtype=float)
        limits = (low, high)
        if settings.prior == "intervals":
            nearby = refine.prior_intervals(emulator, guess)
            limits = (np.maximum(low, nearby[0]), np.minimum(high, nearby[1]))
        fits.append(
            refine.refine(
                emulator, condensed, emulator.to_scaled(guess), *limits, prior, settings.max_iterations
            )
        )
    best = refine.best_of(fits)
    first = emulator.process.predict(emulator.to_scaled(starts[:, 0]))
    return StarFits(
        labels=emulator.from_scaled(best.scaled),
        errors=refine.label_errors(emulator, best),
        status=best.status,
        chi2=misfit(emulator, flux, ivar, best.components),
        chi2_first=misfit(emulator, flux, ivar, first),
        n_pixels=condensed.n_pixels,
        n_iterations=best.n_iterations,
    )


def misfit(
    emulator: Emulator,
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    components: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n,) sum of squared differences between spectra and models, over the pixels used."""
    used = ivar[:, emulator.pixels] > 0
    difference = flux[:, emulator.pixels] - (emulator.mean + components @ emulator.basis)
    return np.asarray(np.where(used, difference**2, 0.0).sum(axis=1))
