"""The emulator's error for a star of the survey: a covariance of components by spectral type.

It is the covariance of the emulator's leave-one-out residuals, less the contributions of the
library's noise and of its label errors, plus that of the errors of velocity and line width, which a
survey's spectrum has and a library's does not. Errors of that kind move many pixels together.
"""

import numpy as np
from numpy.typing import NDArray

from lamostvac.core.vocabulary import TYPE_LIMITS
from lamostvac.numerics.gaussian_process import GaussianProcess

_MIN_PER_TYPE = 8  # a type with fewer library stars has no covariance of its own
# A type's covariance is its own to the share n / (n + this * k): k (k + 1) / 2 numbers need many
# stars.
_STARS_PER_COMPONENT = 3.0
_WINSOR = 3.0  # residuals longer than this times their type's median are shortened to it
_LEAST = 1e-3  # share of the mean variance that every direction of a covariance has at least
_SPEED_OF_LIGHT = 299792.458  # km/s
_FWHM = 2.3548  # of a Gaussian in standard deviations


def residual_covariance(
    process: GaussianProcess,
    scaled: NDArray[np.float64],
    residuals: NDArray[np.float64],
    basis: NDArray[np.float64],
    ivar: NDArray[np.floating],
    label_errors: NDArray[np.float64],
    label_share: float,
    types: NDArray[np.str_],
) -> dict[str, NDArray[np.float64]]:
    """Covariance (k, k) of the emulator's error for each spectral type.

    The residual of a star that was left out is the sum of the emulator's error, of properties that
    four labels do not describe, of the noise of its spectrum, and of the effect of its label
    errors. The last two do not apply to a star of the survey, which has noise of its own and whose
    labels are sought; they are subtracted as far as the library knows them. The covariance of a
    type with few stars is shrunk towards that of all types, scaled by the ratio of the two that the
    type's residuals show in the directions in which labels move a spectrum.

    Parameters
    ----------
    scaled : (n, d) scaled labels of the library's stars
    residuals : (n, k) leave-one-out
    ivar : (n, p) of the library's spectra
    label_errors : (n, d) of the scaled labels
    label_share : share of the effect of the label errors that is subtracted. That effect cannot be
        distinguished from properties which the labels do not describe and which look like a change
        of labels; 1 trusts the quoted errors fully
    """
    k = len(basis)
    size = np.linalg.norm(residuals, axis=1)
    jacobian = process.predict_with_jacobian(scaled)[1]

    def covariance_of(members: NDArray[np.bool_]) -> NDArray[np.float64]:
        limit = _WINSOR * np.median(size[members])
        shortened = (
            residuals[members] * np.minimum(1.0, limit / np.maximum(size[members], 1e-300))[:, None]
        )
        noise = _noise_variance(ivar[members]).sum(axis=0)
        noise /= np.maximum((ivar[members] > 0).sum(axis=0), 1)
        moved = (jacobian[members] * label_errors[members][:, :, None]).reshape(-1, k)
        count = np.count_nonzero(members)
        total = shortened.T @ shortened / count
        return _positive(
            total - (basis * noise) @ basis.T - label_share * moved.T @ moved / count,
            np.trace(total) / k,
        )

    everyone = np.ones(len(types), dtype=bool)
    pooled = covariance_of(everyone)
    factor = _factors(jacobian, residuals, pooled, types)
    result = {}
    for name in TYPE_LIMITS:
        members = types == name
        n = np.count_nonzero(members)
        share = n / (n + _STARS_PER_COMPONENT * k) if n >= _MIN_PER_TYPE else 0.0
        own = covariance_of(members) if share > 0 else pooled
        result[name] = share * own + (1.0 - share) * factor[name] * pooled
    return result


def _positive(matrix: NDArray[np.float64], mean_variance: float) -> NDArray[np.float64]:
    """The symmetric matrix, its eigenvalues raised to at least a small share of `mean_variance`."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, _LEAST * mean_variance)) @ vectors.T)


def _factors(
    jacobian: NDArray[np.float64],
    residuals: NDArray[np.float64],
    discrepancy: NDArray[np.float64],
    types: NDArray[np.str_],
) -> dict[str, float]:
    """The emulator's squared error for a type of star, relative to the average.

    What counts is the error of the labels that a residual causes: to first order it is H^-1 J' S^-1
    r with J the process's Jacobian, S the discrepancy and H = J' S^-1 J. In units of its standard
    deviation H^-1/2 its variance is the same for all types that S describes equally well.
    """
    whitened = jacobian @ np.linalg.inv(discrepancy)
    hessian = whitened @ jacobian.swapaxes(1, 2)
    # Fewer components than labels would leave it singular.
    size = np.einsum("nii->n", hessian)[:, None, None]
    root = np.linalg.cholesky(hessian + 1e-9 * np.maximum(size, 1e-300) * np.eye(hessian.shape[1]))
    pull = np.linalg.solve(root, np.matvec(whitened, residuals)[..., None])[..., 0]

    def variance(values: NDArray[np.float64]) -> float:
        return float((1.4826 * np.median(np.abs(values))) ** 2)

    overall = variance(pull)
    counts = {name: np.count_nonzero(types == name) for name in TYPE_LIMITS}
    return {
        name: variance(pull[types == name]) / overall if counts[name] >= _MIN_PER_TYPE else 1.0
        for name in TYPE_LIMITS
    }


def _members(types: NDArray[np.str_], name: str) -> NDArray[np.bool_]:
    """The stars (n,) of a type, or all where it has too few."""
    members = types == name
    return members if members.sum() >= _MIN_PER_TYPE else np.ones(len(types), dtype=bool)


def _noise_variance(ivar: NDArray[np.floating]) -> NDArray[np.floating]:
    """1 / ivar, and 0 where a pixel is masked."""
    good = ivar > 0
    return np.where(good, 1.0 / np.where(good, ivar, 1.0), 0.0)


def truncated_variance(
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    mean: NDArray[np.float64],
    basis: NDArray[np.float64],
    types: NDArray[np.str_],
) -> dict[str, NDArray[np.float64]]:
    """Variance (p,) of the library's pixels outside the basis, less the noise in it, for each type.

    Parameters
    ----------
    flux, ivar : (n, p) the library's spectra
    mean, basis : (p,), (k, p)
    """
    result = {}
    for name in TYPE_LIMITS:
        members = _members(types, name)
        excess = np.zeros(len(mean))
        for rows in np.array_split(np.flatnonzero(members), -(-members.sum() // 1024)):
            centred = flux[rows] - mean
            lost = centred - (centred @ basis.T) @ basis
            excess += (lost**2 - _noise_variance(ivar[rows])).sum(axis=0)
        result[name] = np.maximum(excess / members.sum(), 0.0)
    return result


def line_covariance(
    components: NDArray[np.float64],
    mean: NDArray[np.float64],
    basis: NDArray[np.float64],
    wave: NDArray[np.float64],
    types: NDArray[np.str_],
    velocity_error: float,
    line_width_error: float,
    resolving_power: float,
) -> dict[str, NDArray[np.float64]]:
    """Covariance (k, k) of the components caused by errors of velocity and line width, by type.

    A velocity v changes the spectrum by -v/c wave dF/dwave. A line-spread function wider by a small
    share s changes it by s sigma^2 d2F/dwave2 (broadening is diffusion). Both changes are linear in
    the emulated spectrum, so they are matrices in the space of components; the covariance is the
    mean over a type's stars.

    Parameters
    ----------
    components : (n, k) emulated, of the library's stars
    mean, basis : (p,), (k, p)
    wave : (p,) A
    velocity_error : standard deviation, km/s
    line_width_error : standard deviation, as a share of the line width
    resolving_power : wave / FWHM of the survey's lines
    """
    rows = np.concatenate([mean[None], basis])
    slope = _derivative(rows, wave)
    curvature = _derivative(slope, wave)
    sigma = wave / resolving_power / _FWHM
    changes = (
        (velocity_error / _SPEED_OF_LIGHT * wave * slope) @ basis.T,
        (line_width_error * sigma**2 * curvature) @ basis.T,
    )
    k = len(basis)
    result = {name: np.zeros((k, k)) for name in TYPE_LIMITS}
    for change in changes:
        moved = change[0] + components @ change[1:]
        for name in TYPE_LIMITS:
            chosen = moved[_members(types, name)]
            result[name] += chosen.T @ chosen / len(chosen)
    return result


def _derivative(rows: NDArray[np.float64], wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """d/dwave of rows (m, p) within runs of neighbouring pixels; 0 in a run of one pixel."""
    result = np.zeros_like(rows)
    step = np.diff(wave)
    for stretch in np.split(np.arange(len(wave)), np.flatnonzero(step > 1.5 * step.min()) + 1):
        if len(stretch) > 1:
            result[:, stretch] = np.gradient(rows[:, stretch], wave[stretch], axis=1)
    return result
