"""The line-spread function: smoothing a sharper library to the survey's resolution.

A line that the library resolves better than the survey is deeper in the library, and the fit would
compensate for that with a wrong metallicity. So every library is smoothed by the missing width
before it is resampled and normalised. Where the library's lines are broader it is left unchanged.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FWHM_PER_SIGMA = float(np.sqrt(8.0 * np.log(2.0)))
Fwhm = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def constant_fwhm(fwhm: float) -> Fwhm:
    """A line width that is constant in A, as in MILES."""
    return lambda wave: np.full_like(wave, fwhm)


def resolving_power_fwhm(resolving_power: float) -> Fwhm:
    """A line width that grows with the wavelength: lambda / R."""
    return lambda wave: wave / resolving_power


def tabulated_fwhm(table: Sequence[tuple[float, float]]) -> Fwhm:
    """A line width (A), linear between (wavelength, FWHM) pairs and constant beyond the ends."""
    nodes = np.array(sorted(table), dtype=float)
    return lambda wave: np.interp(wave, nodes[:, 0], nodes[:, 1])


def smoothing_fwhm(wave: NDArray[np.float64], library: Fwhm, survey: Fwhm) -> NDArray[np.float64]:
    """Width (A, FWHM) of the Gaussian that broadens the library's lines to the survey's, or 0."""
    return np.sqrt(np.clip(survey(wave) ** 2 - library(wave) ** 2, 0.0, None))


def broaden(wave: ArrayLike, flux: ArrayLike, fwhm: ArrayLike) -> NDArray[np.float64]:
    """Convolve with a Gaussian whose width changes with wavelength.

    Parameters
    ----------
    wave : (p,) A, increasing
    flux : (..., p); NaN would spread and is not allowed
    fwhm : (p,) A, of the Gaussian at each output pixel

    Returns
    -------
    (..., p); the kernel sums to 1 at every pixel, also at the ends. The profile is integrated over
    the pixels rather than sampled at their centres, because it may be narrower than a pixel; so
    lines are wider than requested by up to 0.68 pixels in quadrature (2 % from 2.5 A to 2.9 A with
    the 0.9 A pixels of MILES). This holds both when the survey's width is measured
    (`lamostvac/experiments/line_spread.py`) and when it is used.
    """
    wave = np.asarray(wave, dtype=float)
    flux = np.asarray(flux, dtype=float)
    sigma = np.asarray(fwhm, dtype=float) / FWHM_PER_SIGMA / np.gradient(wave)  # in pixels
    reach = int(np.ceil(4.0 * sigma.max())) + 1
    offsets = np.arange(-reach, reach + 1)
    width = np.maximum(sigma, 1e-3)[:, None]
    kernel = _normal_cdf((offsets + 0.5) / width) - _normal_cdf((offsets - 0.5) / width)
    padded = np.pad(flux, [(0, 0)] * (flux.ndim - 1) + [(reach, reach)], mode="edge")
    result = np.zeros_like(flux)
    for k in range(len(offsets)):
        result += kernel[:, k] * padded[..., k : k + len(wave)]
    return result / kernel.sum(axis=1)


def _normal_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import ndtr

    return np.asarray(ndtr(x))
