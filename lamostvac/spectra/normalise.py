"""From a spectrum as released to a normalised one on the common grid (Liang+ 2024 section 3.3).

The steps, in the paper's order: mask bad pixels and contaminated regions, shift to the rest frame,
spline onto 3800-8700 A in 1 A steps, divide by the running median of 400 pixels, set what exceeds 2
to 1. The same function prepares survey spectra and library spectra, so that normalisation affects
the lines of both in the same way.
"""

import numpy as np
from numpy.typing import NDArray

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.continuum import divide, running_median
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.masks import in_regions
from lamostvac.spectra.rest_frame import RestSpectrum, rest_spectrum
from lamostvac.spectra.settings import Preparation

_MASKED = np.ones(1, np.float32)


def prepare_spectrum(
    wave: NDArray[np.float64],
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    redshift: float,
    settings: Preparation,
    coverage: tuple[float, float] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One spectrum on the common grid.

    Parameters
    ----------
    wave : (n,) A, vacuum, observed frame, increasing
    flux, ivar : (n,); ivar <= 0 or not finite, flux not finite or exactly 0 mark bad pixels
    redshift : of the star, Liang+ 2024 equation (4)
    coverage : (low, high) A, rest frame, that the spectrum must reach; the whole grid by default.
        Pixels of the grid outside it are masked, though the running median of those inside uses
        them where the spectrum has them.

    Returns
    -------
    flux : (4901,) float32, divided by the running median; 1 where masked
    ivar : (4901,) float32, of the normalised flux; 0 where masked. It is the information per grid
        pixel: native pixels are 0.9 to 2 A wide, and the sum over an interval equals the native
        sum. So weighted sums over many grid pixels have the right variance although neighbouring
        grid pixels are correlated.

    Raises
    ------
    SpectrumRejected
        nan_flux, zero_flux, no_valid_ivar, wavelength_coverage, too_few_pixels, negative_continuum
    """
    return normalise_spectrum(rest_spectrum(wave, flux, ivar, redshift), settings, coverage)


def normalise_spectrum(
    spectrum: RestSpectrum, settings: Preparation, coverage: tuple[float, float] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`prepare_spectrum` from the rest frame on, with the errors of these later steps."""
    low, high = coverage if coverage is not None else (GRID[0], GRID[-1])
    if spectrum.wave[0] > low or spectrum.wave[-1] < high:
        raise SpectrumRejected(
            "wavelength_coverage", f"{spectrum.wave[0]:.1f} to {spectrum.wave[-1]:.1f} A at rest"
        )
    grid_flux, grid_ivar = spectrum.onto(GRID, GRID[1] - GRID[0])
    grid_ivar[in_regions(GRID * (1.0 + spectrum.redshift), settings.masked_regions)] = 0.0
    wanted = slice(int(GRID.searchsorted(low)), int(GRID.searchsorted(high, side="right")))
    _require_pixels(grid_ivar[wanted], settings)
    normalised, normalised_ivar = _normalise(grid_flux, grid_ivar, settings)
    # Clipping masks pixels too.
    _require_pixels(normalised_ivar[wanted], settings)
    for beyond in (slice(wanted.start), slice(wanted.stop, None)):
        normalised[beyond], normalised_ivar[beyond] = 1.0, 0.0
    return normalised, normalised_ivar


def _require_pixels(ivar: NDArray[np.floating], settings: Preparation) -> None:
    """Reject a spectrum with too small a share of valid pixels."""
    good_fraction = np.count_nonzero(ivar) / len(ivar)
    if good_fraction < settings.min_good_fraction:
        raise SpectrumRejected(
            "too_few_pixels", f"{100 * good_fraction:.1f} % of the pixels usable"
        )


def _normalise(
    flux: NDArray[np.float64], ivar: NDArray[np.float64], settings: Preparation
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    continuum = running_median(flux, ivar > 0, settings.median_window)
    normalised, information, counts = divide(flux, ivar, continuum, settings.flux_limits, _MASKED)
    good, with_continuum, _ = counts
    if with_continuum < settings.min_good_fraction * good:
        raise SpectrumRejected("negative_continuum")
    return normalised, information
