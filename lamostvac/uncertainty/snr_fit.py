"""Fit of the random error as a function of S/N to scatters in bins."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, nnls

from lamostvac.uncertainty.widths import Array

MIN_BINS = 4  # one more than there are coefficients
# With an exponent nearer 0 the term is nearly constant and cannot be distinguished from a.
_EXPONENTS = (0.05, 4.0)
_REWEIGHTINGS = 20


@dataclass(frozen=True)
class Bins:
    """Widths of residuals in bins of S/N.

    Attributes
    ----------
    snr : (k,) geometric mean S/N of a bin's pairs, at which a power law has its typical value
    sigma, error : (k,) width of the residuals and its error, in the residuals' unit
    n : (k,) independent residuals of the bin (sum of weights)
    """

    snr: Array
    sigma: Array
    error: Array
    n: Array

    def __len__(self) -> int:
        return len(self.snr)


def fit_curve(bins: Bins) -> tuple[Array, Array, float]:
    """a, b, c of sigma = a + c / SNR^b by weighted least squares; a, c >= 0 and 0.05 <= b <= 4.

    A bin's weight comes from the curve, not from its own width, since a bin that is narrow by
    chance would otherwise count more than one that is wide by chance. Fit and weights alternate
    until both converge. The first values are the best of a grid of exponents, for each of which a
    and c follow by non-negative least squares.

    Returns
    -------
    coefficients : (3,) a, b, c; NaN with fewer than four bins or widths of zero
    covariance : (3, 3) from the bins' errors, as if there were no bounds; NaN where the data do not
        determine the three (c = 0)
    chi2 : per degree of freedom; NaN without any

    Notes
    -----
    Errors are not scaled by chi2: where it is far above 1, a + c / SNR^b does not describe the
    widths.
    """
    unknown = np.full(3, np.nan), np.full((3, 3), np.nan), float("nan")
    if len(bins) < MIN_BINS or not (bins.sigma > 0).all() or len(np.unique(bins.snr)) < MIN_BINS:
        return unknown
    # S/N in units of its middle, where the curve is best known; c itself refers to S/N = 1.
    middle = float(np.exp(np.mean(np.log(bins.snr))))
    x = bins.snr / middle
    relative = bins.error / bins.sigma
    model = bins.sigma
    start = _first_values(x, bins.sigma, bins.error)
    for _ in range(_REWEIGHTINGS):
        noise = relative * model
        fitted = least_squares(
            _misfit,
            start,
            jac=_misfit_slope,
            args=(x, bins.sigma, noise),
            bounds=([0, 0, _EXPONENTS[0]], [np.inf, np.inf, _EXPONENTS[1]]),
            x_scale=np.array([start[0] + start[1], start[0] + start[1], 1.0]),
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
        )
        done = np.allclose(fitted.x, start, rtol=1e-8, atol=1e-10 * bins.sigma.max())
        start = fitted.x
        model = start[0] + start[1] * x ** -start[2]
        if done:
            break
    a, c_middle, b = start
    noise = relative * model
    chi2 = float(np.sum(((model - bins.sigma) / noise) ** 2))
    free = len(bins) - 3
    with np.errstate(over="ignore"):
        coefficients = np.array([a, b, c_middle * middle**b])
    covariance = _inverse(_jacobian(start, x) / noise[:, None])
    # From (a, c at the middle, b) to (a, b, c).
    turn = np.array([[1, 0, 0], [0, 0, 1], [0, middle**b, coefficients[2] * np.log(middle)]])
    return coefficients, turn @ covariance @ turn.T, chi2 / free


def _first_values(x: Array, sigma: Array, error: Array) -> Array:
    """a, c and b in units of the middle S/N: the best of a grid of exponents."""
    best = np.inf, np.array([0.0, 0.0, 1.0])
    for b in np.geomspace(*_EXPONENTS, 60):
        design = np.column_stack([np.ones_like(x), x**-b])
        linear, misfit = nnls(design / error[:, None], sigma / error)
        if misfit < best[0]:
            best = misfit, np.array([*linear, b])
    # The search begins inside its bounds.
    low, high = _EXPONENTS
    floor = 1e-6 * float(sigma.min())
    first = best[1]
    return np.array(
        [max(first[0], floor), max(first[1], floor), np.clip(first[2], low * 1.01, high * 0.99)]
    )


def _misfit(p: Array, x: Array, sigma: Array, noise: Array) -> Array:
    return (p[0] + p[1] * x ** -p[2] - sigma) / noise


def _misfit_slope(p: Array, x: Array, sigma: Array, noise: Array) -> Array:
    return _jacobian(p, x) / noise[:, None]


def _jacobian(p: Array, x: Array) -> Array:
    power = x ** -p[2]
    return np.column_stack([np.ones_like(x), power, -p[1] * power * np.log(x)])


def _inverse(weighted: Array) -> Array:
    """Inverse of J^T J (3, 3); NaN when a column is zero or they are not independent."""
    size = np.linalg.norm(weighted, axis=0)
    if (size <= 1e-9 * size.max()).any():
        return np.full((3, 3), np.nan)
    values, vectors = np.linalg.eigh((weighted / size).T @ (weighted / size))
    if values[0] < 1e-13:
        return np.full((3, 3), np.nan)
    return (vectors / values) @ vectors.T / np.outer(size, size)
