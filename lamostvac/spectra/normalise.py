"""From a spectrum as released to a normalised one on the common grid (Liang+ 2024 section 3.3).

The steps, in the paper's order: mask bad pixels and contaminated regions, shift to the rest frame,
spline onto 3800-8700 A in 1 A steps, divide by the running median of 400 pixels, set what exceeds 2
to 1. The same function prepares survey spectra and library spectra, so that normalisation affects
the lines of both in the same way.
"""

import bottleneck
import numpy as np
from numpy.typing import NDArray

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.masks import in_regions
from lamostvac.spectra.rest_frame import RestSpectrum, rest_spectrum
from lamostvac.spectra.settings import Preparation


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


def running_median(
    flux: NDArray[np.floating], good: NDArray[np.bool_], window: int
) -> NDArray[np.float64]:
    """Median of the good pixels within `window` pixels centred on each pixel (last axis).

    At the ends the window is cut off, not mirrored. NaN where a window holds no good pixel.
    """
    half = window // 2
    n = flux.shape[-1]
    # Bottleneck's windows end at their pixel and are cut off at the beginning; it needs at least
    # one full window.
    padded = np.full((*flux.shape[:-1], max(n, half + 1) + half), np.nan)
    np.copyto(padded[..., :n], flux, where=good)
    medians = bottleneck.move_median(padded, 2 * half + 1, min_count=1, axis=-1)
    return np.asarray(medians[..., half : half + n])


def _normalise(
    flux: NDArray[np.float64], ivar: NDArray[np.float64], settings: Preparation
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    good = ivar > 0
    continuum = running_median(flux, good, settings.median_window)
    positive = np.isfinite(continuum) & (continuum > 0)
    if np.count_nonzero(positive & good) < settings.min_good_fraction * np.count_nonzero(good):
        raise SpectrumRejected("negative_continuum")
    scale = np.where(positive, continuum, 1.0)
    with np.errstate(over="ignore"):
        normalised = (flux / scale).astype(np.float32)
        normalised_ivar = (ivar * scale**2).astype(np.float32)
    usable = good & positive & (normalised <= settings.max_normalised_flux)
    usable &= normalised >= settings.lowest_flux
    # Values that float32 cannot hold, or holds only as 0, have no information.
    usable &= np.isfinite(normalised) & np.isfinite(normalised_ivar) & (normalised_ivar > 0)
    return np.where(usable, normalised, np.float32(1.0)), np.where(
        usable, normalised_ivar, np.float32(0.0)
    )
