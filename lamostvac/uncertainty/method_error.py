"""The error of the method: what remains after subtraction of reference and random errors."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from lamostvac.uncertainty.widths import _RELATIVE_ERROR, weighted_width


def published_method_error(residual: ArrayLike) -> tuple[float, float]:
    """Method error as published, and its error: the standard deviation of training residuals (n,).

    The stars are those the network learned from, so this is a lower limit.
    """
    values = np.asarray(residual, np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return float("nan"), float("nan")
    sigma = float(values.std(ddof=1))
    return sigma, sigma * _RELATIVE_ERROR["deviation"] / float(np.sqrt(len(values)))


def method_error(
    residual: ArrayLike, reference_error: ArrayLike, random: ArrayLike
) -> tuple[float, float]:
    """What remains of the residuals of left-out stars without reference and random errors.

    The sigma_m for which residual / sqrt(sigma_m^2 + reference_error^2 + random^2) has robust width
    1; 0 where the width is at most 1 with sigma_m = 0.

    Parameters
    ----------
    residual : (n,) network minus reference of stars that no member was trained on; their median is
        subtracted
    reference_error : (n,) the reference's quoted error, or one for all; NaN counts as 0
    random : (n,) random error at the spectrum's S/N (`RandomErrorModel.evaluate`); NaN counts as 0

    Returns
    -------
    sigma_m, its error: NaN with fewer than ten stars
    """
    values = np.asarray(residual, np.float64)
    known = np.nan_to_num(reference_error) ** 2 + np.nan_to_num(random) ** 2
    known = np.broadcast_to(known, values.shape)
    use = np.isfinite(values)
    values, known = values[use], known[use]
    if len(values) < 10:
        return float("nan"), float("nan")
    values = values - np.median(values)

    def width(sigma: float) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            pull = np.nan_to_num(
                values / np.sqrt(sigma**2 + known), nan=0.0, posinf=np.inf, neginf=-np.inf
            )
        return weighted_width(pull)

    def solve(target: float) -> float:
        """The sigma at which the width, which falls with sigma, is `target`, or 0 if it is
        below.
        """
        if not width(0.0) > target:
            return 0.0
        high = float(np.abs(values).max()) * 1.5 / target
        # Without any known error the width at 0 is infinite.
        low = 0.0 if np.isfinite(width(0.0)) else 1e-12 * high
        return float(brentq(lambda sigma: width(sigma) - target, low, high, xtol=1e-13 * high))

    # Relative error of the width at the solution; sigma_m is computed for widths higher and lower
    # by it.
    share = _RELATIVE_ERROR["robust"] / np.sqrt(len(values))
    return solve(1.0), 0.5 * (solve(1 / (1 + share)) - solve(1 + share))
