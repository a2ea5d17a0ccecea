"""How good each source of a label really is, from stars that it did not learn from.

The stated errors of two systems are not equally right: a fit's covariance knows nothing of a library
that has no stars of a kind, a network's errors grow where its training set is thin. Stars of the
training sets, with the networks' answers by members that did not learn from them, have labels to
compare with: for each spectral type each source gets a factor on its errors that depends on S/N,
Teff and [Fe/H], and two sources of different systems get the correlation of their errors. A source without such
stars keeps its stated errors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamostvac.recommend.correlations import MAX_CORRELATION, between
from lamostvac.recommend.definitions import CORE, Columns, Definition, Source, number, validity
from lamostvac.recommend.known import (
    LABELS,
    Kinds,
    Supports,
    least_correlation,
)
from lamostvac.recommend.relations import LabelRelations, on_scale
from lamostvac.recommend.scales import FAR, PLACE, ErrorScale, place
from lamostvac.recommend.settings import Settings

Array = NDArray[np.float64]
_SIGMA = 0.67449  # the median of the absolute value of a number from the normal distribution
_EFFICIENCY = (
    0.37  # of medians of absolute values: a correlation from n stars is known to 1 / sqrt(0.37 n)
)
_SPREAD = 0.15  # of correlations from 500 left-out stars of `make real` about those from repeats
_STEPS = 60


@dataclass(frozen=True)
class LeftOut:
    """A network's answers for stars of its training set by members that did not learn from them.

    Attributes
    ----------
    rows : (k,) of the type's table
    value, reference : (k,) the answer and the training set's label
    reference_err : (k,) of the training set's label, NaN where there is none
    star : (k,) number of the star in the training set
    """

    rows: NDArray[np.int64]
    value: Array
    reference: Array
    reference_err: Array
    star: NDArray[np.int64]

    def chosen(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> "LeftOut":
        """Those where `kept` (k,) is True, or those of these numbers."""
        return LeftOut(*(getattr(self, part.name)[kept] for part in fields(self)))

    def within(self, start: int, stop: int) -> "LeftOut":
        """Those of the rows from `start` up to `stop`, counted from `start`."""
        here = self.chosen((self.rows >= start) & (self.rows < stop))
        return replace(here, rows=here.rows - start)

    def numbers(self, n: int) -> NDArray[np.int64]:
        """The stars' numbers (n,) by row of the type's table, -1 for stars that are not in the set."""
        found = np.full(n, -1, np.int64)
        found[self.rows] = self.star
        return found


def with_left_out(
    rows: Columns, names: set[str], left_out: Mapping[str, LeftOut]
) -> dict[str, NDArray[Any]]:
    """The columns `names` of `rows`, training stars with what the network says without them."""
    columns = {name: rows[name] for name in sorted(names)}
    for name, known in left_out.items():
        if name in columns:
            columns[name] = np.array(columns[name], copy=True)
            columns[name][known.rows] = known.value
    return columns


def fit_scale(residual: Array, error: Array, known: Array, at: Array, stars: int) -> ErrorScale:
    """The factor on stated errors under which residuals are as large as they are.

    Parameters
    ----------
    residual, error : (n,) label minus truth, and its stated error
    known : (n,) standard deviation of the truth's own error; 0 where it is not known
    at : (n, k) `place` of the stars; the fourth is a distance, and has no upper limit
    stars : the factor 1, with no slopes, counts as this many stars

    Returns
    -------
    ErrorScale : the logarithm of the factor is linear in `at`. Half of the stars are within 0.67
    errors, whatever the others do: a regression of the median of log |residual / error|
    """
    if len(residual) == 0:
        return ErrorScale()
    centre = np.median(at, axis=0)
    low, high = np.quantile(at, [0.02, 0.98], axis=0)
    high[3:] = low[3:] + FAR  # with the distance errors go on growing, beyond these stars too
    size = at.shape[1] + 1
    scale = ErrorScale(np.zeros(size), centre, np.array([low, high]).T, len(residual))
    design = scale.design(at)
    # Residuals of 0 have no logarithm; one of a thousandth of its error is as good as none.
    distance = np.maximum(np.abs(residual) / error, 1e-3)
    ridge = float(stars) * np.eye(size)
    a = np.zeros(size)
    for _ in range(_STEPS):
        factor = np.exp(design @ a)
        # Of a star whose reference is no better than the label, the residual says little of the label.
        relative = (known / (error * factor)) ** 2
        share = 1.0 / (1.0 + relative)
        left = np.log(distance / _SIGMA) - 0.5 * np.log1p(relative) - design @ a
        slope = design * share[:, None]
        weighted = slope / np.maximum(np.abs(left), 0.05)[:, None]
        new = np.linalg.solve(weighted.T @ slope + ridge, weighted.T @ (left + slope @ a))
        step, a = np.abs(new - a).max(), 0.5 * (a + new)
        if step < 1e-6:
            break
    return ErrorScale(a, centre, scale.limits, len(residual))


def correlation_of(first: Array, second: Array, known: Array, prior: float) -> float:
    """Correlation of two sources' errors, from residuals in units of their errors.

    The mean of what the stars say and of `prior`, each weighted by how well it is known.

    Parameters
    ----------
    first, second : (n,) residuals over errors
    known : (n,) product of the truth's error in units of either, which both residuals have in common
    prior : the correlation without these stars, right to `_SPREAD`
    """
    n = len(first)
    if n == 0:
        return prior
    plus, minus = (
        float(np.median(np.abs(first + sign * second))) ** 2 / _SIGMA**2 for sign in (1, -1)
    )
    shared = 0.25 * (plus - minus) - float(np.median(known))
    stars = 1.0 / (_EFFICIENCY * _SPREAD**2)
    found = (n * np.clip(shared, -1.0, 1.0) + stars * prior) / (n + stars)
    return float(np.clip(found, -MAX_CORRELATION, MAX_CORRELATION))


@dataclass(frozen=True)
class _Known:
    """Residuals (k,) of a source on the scale, stated errors, the truth's errors, NaN where unknown."""

    residual: Array
    error: Array
    truth_err: Array


def learn(
    columns: Columns,
    definition: Definition,
    fitted: LabelRelations,
    left_out: Mapping[str, LeftOut],
    settings: Settings,
    library: NDArray[np.floating] | None = None,
) -> LabelRelations:
    """`fitted` with factors on the sources' errors and correlations learned from left-out stars.

    Parameters
    ----------
    columns : columns (n,) of one type's stars, with the answers of `left_out` for training stars
    left_out : by source; sources of networks that are not in it have no stars to learn from
    library : labels (m, k) of the first emulator's library

    Returns
    -------
    LabelRelations with `scales` and `learned`, unchanged where no source has left-out stars
    """
    own = {s.column: left_out[s.column] for s in definition.sources if s.column in left_out}
    if not own:
        return fitted
    rows = np.unique(np.concatenate([known.rows for known in own.values()]))
    names = {name for source in definition.sources for name in source.names}
    names |= {*definition.covariates, settings.snr_band, *PLACE}
    if fitted.known or library is not None:
        names |= {*LABELS, definition.label}
    part = {name: columns[name][rows] for name in names}
    n = len(columns[settings.snr_band])
    numbers = {name: item.numbers(n)[rows] for name, item in own.items()}
    supports = Kinds(part).supports(definition, fitted.known, numbers, library)
    truths = {
        name: _truth(part, definition, fitted, name, known, rows, supports)
        for name, known in own.items()
    }
    known, scales, factors = {}, {}, {}
    for source in definition.sources:
        name = source.column
        chosen = {name: truths[name]} if name in truths else truths
        known[name] = _residuals(part, definition, fitted, source, chosen, supports)
        found, at = known[name], place(part, settings.snr_band, source.distance)
        used = np.isfinite(found.residual) & np.isfinite(at).all(axis=1)
        scales[name] = fit_scale(
            found.residual[used], found.error[used], found.truth_err[used], at[used],
            settings.min_left_out,
        )  # fmt: skip
        factors[name] = scales[name].factor(at)
    learned = {
        (one.column, two.column): _pair(
            [known[s.column] for s in (one, two)],
            [factors[s.column] for s in (one, two)],
            between(fitted.correlations, one.column, two.column).total,
        )
        for one, two in combinations(definition.sources, 2)
        if one.system != two.system
    }
    return replace(fitted, scales=scales, learned=learned)


def _truth(
    part: Columns,
    definition: Definition,
    fitted: LabelRelations,
    name: str,
    known: LeftOut,
    rows: NDArray[np.int64],
    supports: Supports,
) -> tuple[Array, Array]:
    """A training set's labels of the rows on the scale of the recommended value, and their errors."""
    here = np.searchsorted(rows, known.rows)
    reference, error = np.full(len(rows), np.nan), np.zeros(len(rows))
    reference[here] = known.reference
    error[here] = np.nan_to_num(known.reference_err)
    covariates = [number(part, covariate) for covariate in definition.covariates]
    both = least_correlation(supports, (name, fitted.scale), len(rows))
    value, slope, *_ = fitted.relations[name].apply(reference, covariates, both, error)
    return value, slope * error


def _residuals(
    part: Columns,
    definition: Definition,
    fitted: LabelRelations,
    source: Source,
    truths: Mapping[str, tuple[Array, Array]],
    supports: Supports,
) -> _Known:
    """A source against the first of the `truths` that a star has, where the source is valid."""
    covariates = [number(part, name) for name in definition.covariates]
    valid = validity(source, part)
    value, error, *_ = on_scale(part, source, valid, fitted, covariates, supports)
    truth, truth_err = np.full(len(value), np.nan), np.zeros(len(value))
    for reference, reference_err in truths.values():
        free = np.isnan(truth)
        truth = np.where(free, reference, truth)
        truth_err = np.where(free, reference_err, truth_err)
    usable = (valid >= CORE) & (error > 0)
    return _Known(np.where(usable, value - truth, np.nan), error, truth_err)


def _pair(known: list[_Known], factors: list[Array], prior: float) -> float:
    """The correlation of two sources' errors."""
    (one, two), (f1, f2) = known, factors
    used = np.isfinite(one.residual) & np.isfinite(two.residual) & np.isfinite(f1 * f2)
    e1, e2 = (one.error * f1)[used], (two.error * f2)[used]
    shared = (one.truth_err * two.truth_err)[used] / (e1 * e2)
    return correlation_of(one.residual[used] / e1, two.residual[used] / e2, shared, prior)
