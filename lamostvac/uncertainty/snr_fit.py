"""Fit of the random error as a function of S/N to scatters in bins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from lamostvac.uncertainty.widths import Array

MIN_BINS = 4  # one more than there are coefficients
# With an exponent nearer 0 the term is nearly constant and cannot be distinguished from a.
_EXPONENTS = (0.05, 4.0)
_GRID = np.geomspace(*_EXPONENTS, 60)
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
    until both converge. For an exponent a and c follow by non-negative least squares, so that the
    search is for b alone (variable projection; Golub & Pereyra 1973). It begins at the best of a
    grid of exponents.

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
    log_x = np.log(x)
    b = _best_of_grid(log_x, bins.sigma, bins.error**-2)
    before, step = np.full(3, np.inf), 0.02
    for _ in range(_REWEIGHTINGS):
        weight = (relative * model) ** -2
        b = _exponent_near(b, step, log_x, bins.sigma, weight)
        a, c_middle = _linear(b, log_x, bins.sigma, weight)
        if c_middle == 0:  # no b is downhill of such a one, but another may be lower
            b = _best_of_grid(log_x, bins.sigma, weight)
            b = _exponent_near(b, step, log_x, bins.sigma, weight)
            a, c_middle = _linear(b, log_x, bins.sigma, weight)
        now = np.array([a, c_middle, b])
        # Next time b is looked for where it will be if it moves no more than now.
        step = float(np.clip(abs(b / before[2] - 1), 1e-8, 0.02)) if before[2] < np.inf else step
        model = a + c_middle * x**-b
        if np.allclose(now, before, rtol=1e-8, atol=1e-10 * bins.sigma.max()):
            break
        before = now
    noise = relative * model
    chi2 = float(np.sum(((model - bins.sigma) / noise) ** 2))
    free = len(bins) - 3
    with np.errstate(over="ignore"):
        coefficients = np.array([a, b, c_middle * middle**b])
    covariance = _inverse(_jacobian(now, x) / noise[:, None])
    # From (a, c at the middle, b) to (a, b, c).
    turn = np.array([[1, 0, 0], [0, 0, 1], [0, middle**b, coefficients[2] * np.log(middle)]])
    return coefficients, turn @ covariance @ turn.T, chi2 / free


def _linear(
    b: float | Array, log_x: Array, sigma: Array, weight: Array
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """a and c, both >= 0, with the least sum of weighted squares for exponents b (...)."""
    power = np.exp(-np.asarray(b)[..., None] * log_x)
    total = weight.sum()
    mean, level = power @ weight / total, float(sigma @ weight / total)
    apart = power - mean[..., None]
    spread = (apart * apart) @ weight
    c = (apart * (sigma - level)) @ weight / np.where(spread > 0, spread, 1.0)
    # The least squares with one of the two at 0 where it would be negative; widths are positive.
    a = np.where(c > 0, level - c * mean, level)
    alone = (power * sigma) @ weight / ((power * power) @ weight)
    return np.maximum(a, 0.0), np.where(a < 0, alone, np.maximum(c, 0.0))


def _best_of_grid(log_x: Array, sigma: Array, weight: Array) -> float:
    """The b of the grid with the least sum of weighted squares."""
    a, c = _linear(_GRID, log_x, sigma, weight)
    misfit = a[:, None] + c[:, None] * np.exp(-_GRID[:, None] * log_x) - sigma
    return float(_GRID[np.argmin((misfit * misfit) @ weight)])


def _exponent_near(start: float, step: float, log_x: Array, sigma: Array, weight: Array) -> float:
    """The b of the least sum of weighted squares downhill from `start`, first looked for within a relative `step`."""

    def slope(b: float) -> float:
        """Half the derivative by b; that of a and c does not count where they are the best."""
        a, c = _linear(b, log_x, sigma, weight)
        power = c * np.exp(-b * log_x)
        return -float(((a + power - sigma) * power * log_x) @ weight)

    b, here = start, slope(start)
    while here:
        ahead = float(np.clip(b * (1 + step) if here < 0 else b / (1 + step), *_EXPONENTS))
        if ahead == b:
            return b  # at the end of what is allowed
        there = slope(ahead)
        if here * there <= 0:
            return float(brentq(slope, b, ahead, xtol=1e-13, rtol=1e-13))
        b, here, step = ahead, there, 3 * step
    return b


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
