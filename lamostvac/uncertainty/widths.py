"""Widths of residuals: robust, or the standard deviation."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamostvac.uncertainty.settings import Errors

_SECTION = Errors()  # for defaults of parameters

# Relative error of a width times the root of the number of values, for Gaussian values: 1.4826
# times the median absolute value has 37 % of the efficiency of the root of the mean square.
_RELATIVE_ERROR = {"robust": 1.1664, "deviation": 0.7071}
Width = Literal["robust", "deviation"]
Array = NDArray[np.float64]


def weighted_width(
    residual: ArrayLike, weight: ArrayLike | None = None, width: Width = _SECTION.width
) -> float:
    """Width of residuals (n,) about zero, since differences between spectra have no preferred sign.

    `robust` is 1.4826 times the weighted median absolute value, `deviation` the root of the
    weighted mean square. NaN without values.
    """
    size = np.abs(np.asarray(residual, np.float64))
    if not size.size:
        return float("nan")
    parts = np.ones(len(size)) if weight is None else np.asarray(weight, np.float64)
    if width == "deviation":
        return float(np.sqrt(np.average(size**2, weights=parts)))
    order = np.argsort(size, kind="stable")
    size, parts = size[order], parts[order]
    # Each value is at the middle of its own weight; with equal weights this is the usual median.
    below = np.cumsum(parts) - 0.5 * parts
    return 1.4826 * float(np.interp(0.5 * parts.sum(), below, size))
