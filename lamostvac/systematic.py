"""The part of a label's error that repeats with every spectrum: what the library cannot teach.

Liang+ 2024 section 4.3 take the systematic error from the cross-validation on the library and add it
in quadrature to the random one (equation 5). Here it is what the cross-validation shows beyond the
errors that the fits themselves predicted and those that the library quotes for its labels, one number
per label and spectral type. Where a library quotes none, it contains the errors of its labels.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

CODE_VERSION = 2

MIN_STARS = 20  # a type with fewer library stars takes the numbers of all types


def systematic_errors(table: pd.DataFrame, spectral_type: str, labels: Sequence[str]) -> dict[str, float]:
    """Systematic error of each label for a spectral type.

    Parameters
    ----------
    table : cross-validation, columns `spectral_type`, `{label}_true`, `{label}_true_err`, `{label}`, `{label}_err`
    labels : those wanted; one that the table does not have gets NaN

    Returns
    -------
    label -> s such that differences divided by sqrt(err^2 + true_err^2 + s^2) have a robust width of 1; 0
    where the errors are large enough without it.
    """
    members = table[table["spectral_type"] == spectral_type]
    if len(members) < MIN_STARS:
        members = table
    result = {}
    for label in labels:
        if label not in members:
            result[label] = np.nan
            continue
        difference = (members[label] - members[f"{label}_true"]).to_numpy(np.float64)
        own = members[f"{label}_true_err"].fillna(0.0).to_numpy(np.float64)
        error = np.hypot(members[f"{label}_err"].to_numpy(np.float64), own)
        usable = np.isfinite(difference) & np.isfinite(error)
        result[label] = _excess(difference[usable], error[usable])
    return result


def _excess(difference: np.ndarray, error: np.ndarray) -> float:
    """The s for which difference / sqrt(error^2 + s^2) has a robust width of 1, by bisection."""

    def width(s: float) -> float:
        pull = difference / np.sqrt(error**2 + s**2)
        return float(1.4826 * np.median(np.abs(pull - np.median(pull))))

    if len(difference) == 0:
        return float("nan")
    if width(0.0) <= 1.0:
        return 0.0
    low, high = 0.0, float(10.0 * np.abs(difference).max())
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if width(middle) > 1.0 else (low, middle)
    return high
