"""One value of a label from several measurements of a star."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lamostvac.core.exceptions import UserError
from lamostvac.external.read import numbers_of, read_table
from lamostvac.training.schema import AbsoluteMagnitudes, Combine

_TO_MAGNITUDES = 5 / np.log(10)  # d(5 log10 d) / d(ln d)


def combine_measurements(
    table: pd.DataFrame, combine: Combine, root: str | Path = "."
) -> pd.DataFrame:
    """One row per star from several measurements.

    A label is the mean of the star's measurements, weighted by 1 / (error^2 + floor^2) where errors
    are named; a measurement without one counts with the median error of the others. Its error
    `{label}_err` is the larger of the mean's errors from the measurements' errors and from their
    scatter; `{label}_n` is their number. Other columns come from the star's first row (by content)
    that has them.

    Before that, references are brought onto one scale as `combine.recalibration` says.

    Parameters
    ----------
    table : rows in the order of their content (`canonical_order`)
    root : folder to which a file of offsets is relative
    """
    stars, names = pd.factorize(table[combine.by], sort=True)
    known = stars >= 0
    if table[combine.by].dtype == object or pd.api.types.is_string_dtype(table[combine.by]):
        known &= np.asarray(table[combine.by] != "")
    table, stars = table[known].reset_index(drop=True), stars[known]
    present, stars = np.unique(stars, return_inverse=True)
    result = pd.DataFrame({combine.by: np.asarray(names)[present]})
    measured = list(combine.labels)
    errors = [label.error for label in combine.labels.values() if label.error is not None]
    for name in table.columns:
        if name not in (combine.by, *measured, *errors, combine.reference):
            result[name] = _first_present(np.asarray(table[name]), stars, len(present))
    offsets = _offsets(table, combine, stars, root)
    for label, how in combine.labels.items():
        values = numbers_of(table, label) - offsets[label]
        error = numbers_of(table, how.error) if how.error is not None else None
        mean, spread, number = weighted_means(values, error, stars, len(present), how.floor)
        result[label], result[f"{label}_err"], result[f"{label}_n"] = mean, spread, number
    return result


def _first_present(values: NDArray[Any], stars: NDArray[np.int64], n: int) -> NDArray[Any]:
    """The first value of each star that is not missing; missing where all are."""
    missing = (
        values == ""
        if values.dtype.kind == "O"
        else values == -1
        if values.dtype.kind == "i"
        else None
    )
    if values.dtype.kind == "f":
        missing = np.isnan(values)
    if missing is None:
        missing = np.zeros(len(values), bool)
    # Rows without a value come last; the others keep their order.
    order = np.lexsort((np.arange(len(values)), np.asarray(missing, bool), stars))
    first = np.searchsorted(stars[order], np.arange(n))
    return values[order[first]]


def weighted_means(
    values: NDArray[np.float64],
    errors: NDArray[np.float64] | None,
    stars: NDArray[np.int64],
    n: int,
    floor: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean, error and number of the finite measurements (m,) of each of n stars.

    The error of a mean of one measurement without an error is NaN.
    """
    used = np.isfinite(values)
    which = stars[used]
    number = np.bincount(which, minlength=n)
    given = np.full(len(values), np.nan) if errors is None else errors
    good = np.isfinite(given) & (given > 0)
    typical = float(np.median(given[good & used])) if np.any(good & used) else np.nan
    filled = np.where(good, given, typical if errors is not None else np.nan)
    variance = filled[used] ** 2 + floor**2
    weight = np.where(
        np.isfinite(variance) & (variance > 0), 1 / np.where(variance > 0, variance, 1), 1.0
    )
    total = np.bincount(which, weight, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(which, weight * values[used], n) / total
        formal = np.sqrt(1 / total) if np.isfinite(typical) else np.full(n, np.nan)
        residual = values[used] - mean[which]
        scatter = np.sqrt(np.bincount(which, weight * residual**2, n) / total / (number - 1))
    scatter[number < 2] = np.nan
    error = np.fmax(formal, scatter)
    error[number == 0] = np.nan
    return mean, error, number


def _offsets(
    table: pd.DataFrame, combine: Combine, stars: NDArray[np.int64], root: str | Path
) -> dict[str, NDArray[np.float64]]:
    """What to subtract from each measurement (m,), by label."""
    zero = {label: np.zeros(len(table)) for label in combine.labels}
    if combine.recalibration == "none" or combine.reference is None:
        return zero
    codes, names = pd.factorize(table[combine.reference].astype(str), sort=True)
    if combine.recalibration == "offsets":
        return {
            label: reference_offsets(numbers_of(table, label), stars, codes, combine.min_common)[
                codes
            ]
            for label in combine.labels
        }
    path = Path(root) / combine.recalibration
    given = read_table(
        path, {"reference": "reference", **{label: label for label in combine.labels}}
    )
    given["reference"] = given["reference"].astype(str)
    if given["reference"].duplicated().any():
        twice = given.loc[given["reference"].duplicated(), "reference"].iloc[0]
        raise UserError(f"{path}: the reference {twice} stands twice; keep one row of it")
    rows = given.set_index("reference").reindex(np.asarray(names).astype(str))
    return {
        label: np.nan_to_num(np.asarray(rows[label], np.float64))[codes] for label in combine.labels
    }


def reference_offsets(
    values: ArrayLike,
    stars: ArrayLike,
    references: ArrayLike,
    min_common: int = 5,
    iterations: int = 50,
) -> NDArray[np.float64]:
    """Offset of each reference's scale: values = star + offset + noise, robustly.

    Iteratively reweighted least squares with Huber's weights (1.345 robust standard deviations of
    the residuals). The stars' values are eliminated, so that each step solves a system of the size
    of the number of references. A reference with fewer than `min_common` stars in common with
    others keeps offset 0. Offsets are relative: within each set of references that are linked by
    common stars, their mean, weighted by the number of measurements in common, is zero.

    Parameters
    ----------
    values : (m,) measurements; NaN counts as none
    stars, references : (m,) whole numbers from 0

    Returns
    -------
    (largest reference + 1,) offsets
    """
    values = np.asarray(values, np.float64)
    stars, references = np.asarray(stars, np.int64), np.asarray(references, np.int64)
    offsets = np.zeros(int(references.max(initial=-1)) + 1)
    used = np.isfinite(values)
    while True:
        # A measurement counts when another reference has the star; a reference when enough of its
        # stars do.
        x, s, r = values[used], stars[used], references[used]
        pairs = np.unique(np.column_stack([s, r]), axis=0)
        several = np.bincount(pairs[:, 0], minlength=int(stars.max(initial=-1)) + 1) > 1
        common = np.bincount(pairs[several[pairs[:, 0]], 1], minlength=len(offsets))
        keep = several[s] & (common >= min_common)[r]
        if keep.all():
            break
        used[np.flatnonzero(used)[~keep]] = False
    if not len(x):
        return offsets
    star_names, s = np.unique(s, return_inverse=True)
    names, r = np.unique(r, return_inverse=True)
    n_stars, n = len(star_names), len(names)
    graph = coo_array((np.ones(len(x)), (s, n_stars + r)), shape=(n_stars + n,) * 2).tocsr()
    part = connected_components(graph, directed=False)[1][n_stars:]
    measurements = np.bincount(r, minlength=n).astype(np.float64)
    # One row per linked set: the weighted sum of its offsets, an equation that fixes the free
    # constant.
    pins = np.array([np.where(part == number, measurements, 0.0) for number in np.unique(part)])
    pins /= np.linalg.norm(pins, axis=1, keepdims=True)
    weight = np.ones(len(x))
    solution = np.zeros(n)
    for _ in range(iterations):
        total = np.bincount(s, weight, n_stars)
        design = coo_array((weight / np.sqrt(total)[s], (s, r)), shape=(n_stars, n)).tocsr()
        normal = np.diag(np.bincount(r, weight, n)) - (design.T @ design).toarray()
        star_mean = np.bincount(s, weight * x, n_stars) / total
        right = np.bincount(r, weight * (x - star_mean[s]), n)
        previous, solution = solution, np.linalg.solve(normal + pins.T @ pins, right)
        star = np.bincount(s, weight * (x - solution[r]), n_stars) / total
        residual = x - star[s] - solution[r]
        # For a star with two measurements both residuals are half of their difference.
        freedom = np.sqrt(1 - 1 / np.bincount(s)[s])
        scale = 1.4826 * np.median(np.abs(residual / freedom))
        if scale <= 0:
            break
        reduced = np.abs(residual / freedom) / scale
        weight = np.minimum(1.0, 1.345 / np.maximum(reduced, 1e-12))
        if np.abs(solution - previous).max() < 1e-4 * scale:
            break
    offsets[names] = solution
    return offsets


def absolute_magnitudes(table: pd.DataFrame, settings: AbsoluteMagnitudes) -> pd.DataFrame:
    """M = m - 5 log10(d / 10 pc) - R E(B-V) and its error, for each band.

    The error is the sum in quadrature of those of magnitude, distance and E(B-V). An error without
    a configured column counts as 0; one that is missing in a row makes the result NaN. Every band
    has its number (`AbsoluteMagnitudes.with_coefficients`).
    """

    def column(name: str | None) -> NDArray[np.float64]:
        return np.zeros(len(table)) if name is None else numbers_of(table, name)

    distance = column(settings.distance)
    distance = np.where(distance > 0, distance, np.nan)
    modulus = 5 * np.log10(distance / 10)
    modulus_error = _TO_MAGNITUDES * column(settings.distance_error) / distance
    ebv, ebv_error = column(settings.ebv), column(settings.ebv_error)
    added = {}
    for label, band in settings.bands.items():
        assert band.coefficient is not None, f"{label}: no coefficient"
        added[label] = column(band.magnitude) - modulus - band.coefficient * ebv
        variance = column(band.error) ** 2 + modulus_error**2 + (band.coefficient * ebv_error) ** 2
        added[f"{label}_err"] = np.sqrt(variance)
    return table.assign(**added)
