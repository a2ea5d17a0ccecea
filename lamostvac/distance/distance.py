"""Distances from absolute magnitudes, and positions in the Galaxy (Wang et al. 2022, 6 and 7).

With m the apparent and M the absolute magnitude, A = R E(B-V): mu = m - M - A = 5 log10(d / 10 pc).
As published, mu comes from Ks alone; it can also come from all bands, where the errors of M are
correlated between bands because they come from one spectrum.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamostvac.distance.band_fit import fit_bands, nearest_semidefinite
from lamostvac.distance.settings import Distance
from lamostvac.external.sky import unit_vectors

# The Galaxy's centre (Reid & Brunthaler 2004), in degrees, and the roll angle with which the pole
# is at b = 90: astropy's `Galactocentric` v4.0.
_CENTRE_RA, _CENTRE_DEC, _ROLL = 266.4051, -28.936175, 58.5986320306
Array = NDArray[np.float64]
_BLOCK = 1024  # stars at a time; no result depends on it
_RATIO_STARS = 100_000  # medians over so many are known to a thousandth
_PER_MAGNITUDE = np.log(10) / 5  # d(ln d) / d(mu)


@dataclass(frozen=True)
class Modulus:
    """Distance moduli of n stars, mag; NaN where there is none. `n_bands` (n,): bands used."""

    value: Array
    error: Array
    n_bands: NDArray[np.int64]


def modulus_of_band(
    apparent: Array,
    apparent_err: Array,
    absolute: Array,
    absolute_err: Array,
    coefficient: Array,
    ebv: Array,
    ebv_err: Array,
) -> Modulus:
    """mu = m - M - R E(B-V) from one band, errors in quadrature; every argument (n,), mag."""
    with np.errstate(invalid="ignore"):
        good = (apparent_err > 0) & (absolute_err > 0) & (ebv_err >= 0)
        value = apparent - absolute - coefficient * ebv
        error = np.sqrt(apparent_err**2 + absolute_err**2 + (coefficient * ebv_err) ** 2)
    good &= np.isfinite(value) & np.isfinite(error)
    return Modulus(
        np.where(good, value, np.nan), np.where(good, error, np.nan), good.astype(np.int64)
    )


def modulus_of_bands(
    apparent: Array,
    apparent_err: Array,
    absolute: Array,
    absolute_err: Array,
    coefficients: Array,
    ebv: Array,
    ebv_err: Array,
    correlation: Array,
    clip: float,
    guarded: bool = True,
    typical_err: Array | None = None,
) -> Modulus:
    """mu from all bands that a star has, by generalised least squares.

    C = D K D + diag(sigma_m^2) + sigma_E^2 R R^T, with D the errors of the absolute magnitudes and
    K their correlation between bands: errors of apparent magnitudes are independent, that of E(B-V)
    is common. E(B-V) is not solved for: the colours have already given it, with their dependence on
    the labels, and the errors of the colours that follow from the networks' magnitudes are less
    well known.

    With errors so strongly correlated, small differences between the bands' D would give some bands
    large weights and others negative ones, and D is not known that well. So the weights follow from
    K_ij min(D_i, D_j)^2 in place of D K D: the excess of a band's error over another's is treated
    as independent. The error of the result is that of these weights under C itself, in which D should
    be `typical_err`: the weights prefer the bands whose D came out small by chance.

    Parameters
    ----------
    apparent, apparent_err, absolute, absolute_err, coefficients : (n, bands) mag; a band without
        one of them, or whose error is not positive, counts as missing
    ebv, ebv_err : (n,) mag; NaN gives no modulus
    correlation : (bands, bands) positive definite (`estimate_correlation`)
    clip : a band that deviates from the others' prediction by more standard deviations is left out;
        two at most
    guarded : False takes the weights from C
    typical_err : (n, bands) `errors_of_level`, for the error of the result; None: `absolute_err`
    """
    typical_err = absolute_err if typical_err is None else typical_err
    n = len(apparent)
    value, error, number = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, np.int64)
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        with np.errstate(invalid="ignore"):
            good = (
                (apparent_err[rows] > 0) & (absolute_err[rows] > 0) & (ebv_err[rows] >= 0)[:, None]
            )
            good &= np.isfinite(apparent_err[rows]) & np.isfinite(absolute_err[rows])
            good &= np.isfinite(ebv_err[rows])[:, None]
            y = apparent[rows] - absolute[rows] - coefficients[rows] * ebv[rows, None]
        y = np.where(good, y, np.nan)
        # Matrices as (bands, bands, n), which fit_bands likes best.
        scale = np.where(good, absolute_err[rows], 1.0).T
        dust = np.where(good, coefficients[rows] * ebv_err[rows, None], 0.0).T
        others = dust[:, None] * dust[None, :]
        diagonal = np.arange(len(others))
        others[diagonal, diagonal] += np.where(good, apparent_err[rows], 1.0).T ** 2
        typical = np.where(good, typical_err[rows], 1.0).T
        full = correlation[:, :, None] * typical[:, None] * typical[None, :] + others
        smaller = np.minimum(scale[:, None], scale[None, :])
        stated = smaller**2 if guarded else scale[:, None] * scale[None, :]
        weighing = correlation[:, :, None] * stated + others
        found = fit_bands(
            y,
            np.ones((*y.shape, 1)),
            np.moveaxis(weighing, -1, 0),
            clip,
            min_bands=1,
            error_covariance=np.moveaxis(full, -1, 0),
        )
        value[rows], error[rows], number[rows] = (
            found.values[:, 0],
            found.errors[:, 0],
            found.n_bands,
        )
    return Modulus(value, error, number)


def errors_of_level(errors: Array) -> Array:
    """Errors (n, bands) that are each star's level times each band's ratio to the others.

    A star's errors in several bands have one cause, its spectrum, but each is estimated on its own
    and scatters by some 12 % about the others. The level is the median over a star's bands, the
    ratio the median over all stars, or an even sample of many; NaN stays NaN.
    """
    if len(errors) == 0:
        return errors
    known = np.isfinite(errors) & (errors > 0)
    logarithm = np.log(np.where(known, errors, np.nan))
    ratio, some = np.zeros(errors.shape[1]), logarithm[:: len(errors) // _RATIO_STARS + 1]
    # A star's level depends on which bands it has until their ratios are known.
    for _ in range(2):
        ratio = _medians(some - _medians(some - ratio, 1)[:, None], 0)
    level = _medians(logarithm - ratio, 1)
    return np.where(known, np.exp(level[:, None] + ratio), np.nan)


def _medians(values: Array, axis: int) -> Array:
    """Medians of what is not NaN along an axis that is not empty; NaN where there is nothing else.

    As np.nanmedian, which warns of rows of NaN.
    """
    ordered = np.sort(values, axis=axis)
    count = np.isfinite(values).sum(axis=axis, keepdims=True)
    low, high = (
        np.take_along_axis(ordered, np.maximum(middle, 0), axis)
        for middle in ((count - 1) // 2, count // 2)
    )
    return ((low + high) / 2).squeeze(axis)


def estimate_correlation(
    residuals: Array, own: Array | None = None, shrinkage: float = 0.02, limit: float = 5.0
) -> Array:
    """Correlation (bands, bands) of the errors of absolute magnitudes.

    It is estimated from residuals of stars left out of training (predicted less true), or from
    differences of repeated spectra, which lack the errors that all spectra of a star have in
    common. An element is the mean product of two bands' residuals, each divided by its band's
    robust standard deviation, over the stars that have both bands; those beyond `limit` standard
    deviations are left out. The result is made positive definite by mixing in the share `shrinkage`
    of the identity. Bands with fewer than 20 stars in common get the mean correlation of the
    others, or 1 less the shrinkage where none has as many.

    Parameters
    ----------
    residuals : (m, bands), NaN where missing
    own : (bands,) part of the residuals' variance that is independent between bands and absent from
        the published values, such as that of single networks when the mean of several is published.
        At most 80 % of a band's variance.
    """
    known = np.isfinite(residuals)
    n_bands = residuals.shape[1]
    scaled, share = np.full(residuals.shape, np.nan), np.zeros(n_bands)
    for band in range(n_bands):
        values = residuals[known[:, band], band]
        if len(values):
            centre = np.median(values)
            spread = 1.4826 * np.median(np.abs(values - centre))
            if spread > 0:
                scaled[:, band] = (residuals[:, band] - centre) / spread
                if own is not None and np.isfinite(own[band]):
                    share[band] = np.clip(own[band] / spread**2, 0, 0.8)
    with np.errstate(invalid="ignore"):
        used = np.isfinite(scaled) & (np.abs(scaled) <= limit)
    values, mask = np.where(used, scaled, 0.0), used.astype(np.float64)
    pairs = mask.T @ mask
    products = values.T @ values
    squares = (values**2).T @ mask
    # Numerator and denominator over the same stars.
    below = np.sqrt(squares * squares.T)
    measured = (pairs >= 20) & (below > 0)
    kept = np.sqrt(np.multiply.outer(1 - share, 1 - share))
    found = np.where(measured, products / np.where(below > 0, below, 1) / kept, 0.0)
    found = np.clip(found, -1, 1)
    others = measured & ~np.eye(n_bands, dtype=bool)
    typical = float(found[others].mean()) if others.any() else 1.0
    found = np.where(measured, found, typical)
    np.fill_diagonal(found, 1.0)
    found = nearest_semidefinite(found)
    size = np.sqrt(np.diagonal(found))
    found = found / size[:, None] / size[None, :]
    return (1 - shrinkage) * found + shrinkage * np.eye(n_bands)


def distance_kpc(modulus: ArrayLike, error: ArrayLike) -> tuple[Array, Array]:
    """Distance and its error (n,) in kpc.

    d = 10^(mu / 5 - 2) is the median when mu has a Gaussian error; the 16 and 84 % quantiles are d
    10^(-error / 5) and d 10^(error / 5). The error given is half the width between them to first
    order, d ln(10) / 5 error. Where it is 20 %, the upper half is 22 % and the lower 18 %.
    """
    distance = 10 ** (np.asarray(modulus, np.float64) / 5 - 2)
    return distance, distance * _PER_MAGNITUDE * np.asarray(error, np.float64)


def galactocentric(
    ra: ArrayLike,
    dec: ArrayLike,
    distance: Array,
    error: Array,
    sun: Distance,
) -> tuple[Array, Array]:
    """Right-handed Cartesian positions about the Galaxy's centre, and their errors.

    X grows from the Sun, which is at -sqrt(r0^2 - z_sun^2), through the centre: "toward the
    direction opposite to the Sun" (Wang et al. 2022, section 7). Y grows in the direction of
    rotation, Z to the north Galactic pole.

    Parameters
    ----------
    ra, dec : (n,) ICRS degrees
    distance, error : (n,) kpc
    sun : the Sun's distance from the centre and height above the plane

    Returns
    -------
    position, error : (n, 3) kpc; the errors are those of the distance along the line of sight, and
        are fully correlated
    """
    rotation, offset = _frame(sun)
    direction = unit_vectors(ra, dec) @ rotation.T
    distance, error = np.asarray(distance, np.float64), np.asarray(error, np.float64)
    return direction * distance[:, None] + offset, np.abs(direction) * error[:, None]


def _frame(sun: Distance) -> tuple[Array, Array]:
    """Rotation (3, 3) from ICRS, and the Sun's position (3,) in kpc (astropy's Galactocentric)."""

    def turn(axis: int, degrees: float) -> Array:
        angle = np.radians(degrees)
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        matrix = np.eye(3)
        matrix[i, i] = matrix[j, j] = np.cos(angle)
        matrix[i, j], matrix[j, i] = np.sin(angle), -np.sin(angle)
        return matrix

    to_centre = turn(0, _ROLL) @ turn(1, -_CENTRE_DEC) @ turn(2, _CENTRE_RA)
    height = sun.z_sun / 1000 / sun.r0
    # The Sun is above the plane, so the line to the centre is inclined to it.
    tilt = turn(1, -np.degrees(np.arcsin(height)))
    return tilt @ to_centre, tilt @ np.array([-sun.r0, 0.0, 0.0])
