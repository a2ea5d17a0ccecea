"""A spectrum in the rest frame of its star, ready to be put onto any grid.

Both pipelines need the same star on different grids; checks, bridging of bad pixels and the spline
are done once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from lamostvac.errors import SpectrumRejected


@dataclass(frozen=True)
class RestSpectrum:
    """A spectrum at rest with its bad pixels bridged.

    Attributes
    ----------
    wave : (n,) A, vacuum, rest frame, increasing
    good : (n,) whether the pixel was measured
    ivar : (n,) inverse variance; 0 where not good
    redshift : by which the observed wavelengths were divided
    spline : cubic spline through the pixels, straight lines across the bad ones
    """

    wave: NDArray[np.float64]
    good: NDArray[np.bool_]
    ivar: NDArray[np.float64]
    redshift: float
    spline: CubicSpline

    def onto(
        self, grid: NDArray[np.float64], width: float | NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Flux and inverse variance (m,) on a grid (m,) whose pixels are `width` A wide.

        A grid pixel that leans on a bad one, or lies outside the spectrum, has inverse variance 0. The
        inverse variance is the information per grid pixel: native pixels are 0.9 to 2 A wide, and the
        sum over a stretch of spectrum is the native sum, so that weighted sums over many grid pixels
        have the right variance although neighbouring grid pixels are correlated.
        """
        rest = self.wave
        inside = (grid >= rest[0]) & (grid <= rest[-1])
        position = grid[inside]
        right = np.clip(np.searchsorted(rest, position), 1, len(rest) - 1)
        left = right - 1
        step = rest[right] - rest[left]
        weight = (position - rest[left]) / step
        # A grid point that falls on a good pixel does not need its neighbour.
        usable = (self.good[left] | (weight >= 1.0)) & (self.good[right] | (weight <= 0.0))
        density = ((1.0 - weight) * self.ivar[left] + weight * self.ivar[right]) / step
        flux = np.zeros(len(grid))
        ivar = np.zeros(len(grid))
        flux[inside] = self.spline(position)
        ivar[inside] = np.where(usable, density, 0.0)
        return flux, ivar * width


def rest_spectrum(
    wave: NDArray[np.float64], flux: NDArray[np.floating], ivar: NDArray[np.floating], redshift: float
) -> RestSpectrum:
    """A released spectrum brought to rest (Liang+ 2024 equation 4).

    Parameters
    ----------
    wave : (n,) A, vacuum, observed frame, increasing
    flux, ivar : (n,); ivar <= 0 or not finite, flux not finite or exactly 0 mark bad pixels
    redshift : of the star

    Raises
    ------
    SpectrumRejected
        bad_redshift, nan_flux, zero_flux, no_valid_ivar
    """
    if not np.isfinite(redshift) or redshift <= -1:
        raise SpectrumRejected("bad_redshift", f"z = {redshift}")
    finite = np.isfinite(flux)
    if not finite.any():
        raise SpectrumRejected("nan_flux")
    if not np.any(flux[finite] != 0):
        raise SpectrumRejected("zero_flux")
    valid = np.isfinite(ivar) & (ivar > 0)
    if not valid.any():
        raise SpectrumRejected("no_valid_ivar")
    rest = wave / (1.0 + redshift)
    good = valid & finite & (flux != 0)
    if not good.any():
        raise SpectrumRejected("too_few_pixels", "no pixel has both flux and ivar")
    # Bad pixels are bridged by straight lines before the spline, lest a cosmic ray rings.
    bridged = np.where(good, flux, 0.0).astype(np.float64)
    if not good.all():
        bridged[~good] = np.interp(rest[~good], rest[good], bridged[good])
    information = np.where(good, ivar, 0.0).astype(np.float64)
    return RestSpectrum(rest, good, information, redshift, CubicSpline(rest, bridged))
