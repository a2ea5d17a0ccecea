"""A spectrum in the rest frame of its star, ready to be put onto any grid.

Both pipelines need the same star on different grids; checks, interpolation over bad pixels and the
spline are done once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra import native


@dataclass(frozen=True)
class RestSpectrum:
    """A spectrum at rest with interpolated bad pixels.

    Attributes
    ----------
    wave : (n,) A, vacuum, rest frame, increasing
    flux : (n,) the pixels, straight lines across the bad ones
    slope : (n,) per A, at the pixels, of the cubic spline through `flux`
    ivar : (n,) inverse variance of the pixels; 0 where bad
    redshift : by which the observed wavelengths were divided
    """

    wave: NDArray[np.float64]
    flux: NDArray[np.float64]
    slope: NDArray[np.float64]
    ivar: NDArray[np.float64]
    redshift: float

    def onto(
        self, grid: NDArray[np.float64], width: float | NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Flux and inverse variance (m,) on a grid (m,) whose pixels are `width` A wide.

        A grid pixel that is interpolated from a bad one, or lies outside the spectrum, has inverse
        variance 0. The inverse variance is the information per grid pixel: native pixels are 0.9 to
        2 A wide, and the sum over an interval equals the native sum. So weighted sums over many
        grid pixels have the right variance although neighbouring grid pixels are correlated.
        """
        if library := native.compiled():
            pixels = (self.wave, self.flux, self.slope, self.ivar)
            return native.onto(library, pixels, grid, width)
        return self._onto(grid, width)

    def _onto(
        self, grid: NDArray[np.float64], width: float | NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        wave = self.wave
        position = np.minimum(np.maximum(grid, wave[0]), wave[-1])
        left = _interval(wave, position)
        right = left + 1
        start = wave.take(left)
        step = wave.take(right) - start
        weight = (position - start) / step
        opposite = 1.0 - weight
        # The cubic of an interval by the values and slopes at its ends (Hermite).
        first, last = self.flux.take(left), self.flux.take(right)
        rise = last - first
        bend = opposite * (step * self.slope.take(left) - rise)
        bend += weight * (rise - step * self.slope.take(right))
        flux = opposite * first + weight * last + weight * opposite * bend
        before, after = self.ivar.take(left), self.ivar.take(right)
        ivar = (opposite * before + weight * after) / step * width
        # A grid point that falls on a good pixel does not need its neighbour.
        ivar[((before == 0) & (weight < 1.0)) | ((after == 0) & (weight > 0.0))] = 0.0
        outside = position != grid
        flux[outside], ivar[outside] = 0.0, 0.0
        return flux, ivar


def rest_spectrum(
    wave: NDArray[np.float64],
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    redshift: float,
) -> RestSpectrum:
    """A released spectrum brought to rest (Liang+ 2024 equation 4).

    Parameters
    ----------
    wave : (n,) A, vacuum, observed frame, increasing; at least four
    flux, ivar : (n,); ivar <= 0 or not finite, flux not finite or exactly 0 mark bad pixels
    redshift : of the star

    Raises
    ------
    SpectrumRejected
        bad_redshift, nan_flux, zero_flux, no_valid_ivar
    """
    if not np.isfinite(redshift) or redshift <= -1:
        raise SpectrumRejected("bad_redshift", f"z = {redshift}")
    good = good_pixels(flux, ivar)
    rest = wave / (1.0 + redshift)
    # Bad pixels are interpolated linearly before the spline, so that a cosmic ray does not cause
    # ringing.
    bridged = np.where(good, flux, 0.0).astype(np.float64)
    if library := native.compiled():
        slope = native.bridge_with_slopes(library, rest, bridged, good)
    else:
        slope = _bridge_with_slopes(rest, bridged, good)
    information = np.where(good, ivar, 0.0).astype(np.float64)
    return RestSpectrum(rest, bridged, slope, information, redshift)


def good_pixels(flux: NDArray[np.floating], ivar: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Pixels (n,) with flux and inverse variance; `rest_spectrum` says what is not.

    Raises
    ------
    SpectrumRejected
        nan_flux, zero_flux, no_valid_ivar, too_few_pixels where there is none
    """
    measured = np.isfinite(flux)
    if not measured.any():
        raise SpectrumRejected("nan_flux")
    measured &= flux != 0
    if not measured.any():
        raise SpectrumRejected("zero_flux")
    valid = np.isfinite(ivar) & (ivar > 0)
    if not valid.any():
        raise SpectrumRejected("no_valid_ivar")
    good: NDArray[np.bool_] = valid & measured
    if not good.any():
        raise SpectrumRejected("too_few_pixels", "no pixel has both flux and ivar")
    return good


def _bridge_with_slopes(
    x: NDArray[np.float64], y: NDArray[np.float64], good: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Bridges the pixels of y (n,) that are not good, in place; slopes (n,) of the spline through it."""
    bad = np.flatnonzero(~good)
    if len(bad):
        known = np.flatnonzero(good)
        y[bad] = np.interp(x[bad], x[known], y[known])
    return _slopes(x, y)


def _interval(wave: NDArray[np.float64], position: NDArray[np.float64]) -> NDArray[np.intp]:
    """The pixel (m,) left of each position, such that wave[left] < position <= wave[left + 1].

    `position` (m,) lies within `wave`; a position on its first pixel belongs to the first interval.
    LAMOST's wavelengths are logarithmic to some 1e-4 of a pixel. So a logarithm gives the right
    interval for nearly all positions and only the others are searched for, in a third of the time.
    """
    n = len(wave)
    origin, end = np.log(wave[[0, -1]])
    left = ((np.log(position) - origin) * ((n - 1) / (end - origin))).astype(np.intp)
    left = np.minimum(np.maximum(left, 0), n - 2)
    missed = np.flatnonzero((position <= wave.take(left)) | (position > wave.take(left + 1)))
    left[missed] = np.maximum(wave.searchsorted(position[missed]) - 1, 0)
    return left


def _slopes(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Derivatives (n,) at the knots of the cubic spline through (x, y) with not-a-knot ends.

    The same equations as in `scipy.interpolate.CubicSpline` (de Boor 1978, A Practical Guide to
    Splines, chapter IV), in a quarter of the time: SciPy also checks its input and sets up all
    polynomials, of which `onto` needs few.
    """
    step = x[1:] - x[:-1]
    chord = (y[1:] - y[:-1]) / step
    below, diagonal, above, right = (
        np.empty(len(step)),
        np.empty(len(x)),
        np.empty(len(step)),
        np.empty(len(x)),
    )
    below[:-1] = step[1:]
    above[1:] = step[:-1]
    diagonal[1:-1] = 2.0 * (step[:-1] + step[1:])
    right[1:-1] = 3.0 * (step[1:] * chord[:-1] + step[:-1] * chord[1:])
    # At the second and the last but one knot the third derivative is continuous.
    first, last = x[2] - x[0], x[-1] - x[-3]
    diagonal[0], above[0] = step[1], first
    right[0] = ((step[0] + 2.0 * first) * step[1] * chord[0] + step[0] ** 2 * chord[1]) / first
    diagonal[-1], below[-1] = step[-2], last
    right[-1] = (step[-1] ** 2 * chord[-2] + (2.0 * last + step[-1]) * step[-2] * chord[-1]) / last
    return np.asarray(lapack.dgtsv(below, diagonal, above, right, True, True, True, True)[3])
