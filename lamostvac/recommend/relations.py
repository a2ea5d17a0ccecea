"""Relations between systems, fitted to stars that both have, and correlations of their errors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lamostvac.core.ordering import by_value
from lamostvac.recommend.correlations import Correlation, between, correlation_from_repeats
from lamostvac.recommend.definitions import (
    CORE,
    Columns,
    Definition,
    Source,
    number,
    validity,
)
from lamostvac.recommend.known import KnownStars, Support, Supports, least_correlation
from lamostvac.recommend.scales import ErrorScale
from lamostvac.recommend.settings import Recommended, Settings

_SECTION = Recommended()  # for defaults of parameters

_HUBER = 1.345  # residuals beyond this many sigma have linear loss
# A fitted slope depends on the ratio of the errors to the stars' true scatter. Where less than this
# share of a source's variance is true scatter, a mistake of 10 % in the errors would change the
# slope by 5 %, so only an offset is fitted.
_RELIABLE = 0.75
_SLOPES = (0.2, 5.0)  # allowed for a relation, so that it keeps the order of stars


@dataclass(frozen=True)
class Relation:
    """From a source's label x to the scale: g(x) = x + c . phi(u), u = (clipped variables - centre)
    / width.

    phi is 1, u_0, ..., u_0^order and then u_1, u_2, ... of the covariates. Outside the limits the
    correction is that at the limit.

    Attributes
    ----------
    coefficients : (k,) in the label's unit
    covariance : (k, k) of the coefficients
    limits : (v, 2) of the label and the covariates
    scatter : standard deviation about the relation beyond what the errors explain
    common : standard deviation of each coefficient as far as all stars have it in common, because
        what was fitted is in part no difference of scales (`fit_relation`)
    n : stars that it was fitted to; 0 for the identity
    shift : root mean square of the correction over these stars, its own error included: by how much
        the two scales differ where nothing is known of them
    """

    order: int
    coefficients: NDArray[np.float64]
    covariance: NDArray[np.floating]
    limits: NDArray[np.float64]
    scatter: float = 0.0
    n: int = 0
    shift: float = 0.0
    common: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether the source is taken unchanged."""
        return self.n == 0

    def apply(
        self,
        x: NDArray[np.float64],
        covariates: Sequence[NDArray[np.float64]],
        correlation: NDArray[np.float64] | None = None,
        error: NDArray[np.float64] | float = 0.0,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """g(x), its slope, the relation's own variance with its scatter, and the variance that stars
        have in common, each (n,).

        The slope is that between x - `error` and x + `error` (n,), since dg/dx has a step at the
        limits: the slope times the error is half the difference of g there.
        `correlation` (n,) is that of the correction at a star with the one at the stars that both
        sources know (`known.Support`; None: 1). The correction is a Gaussian process of mean zero
        and standard deviation `shift`: of what is known at those stars the correlation's part is
        applied, and the variance grows to shift^2 where nothing is known.
        """
        if self.is_identity:
            return x, np.ones_like(x), np.zeros_like(x), np.zeros_like(x)
        r = np.ones_like(x) if correlation is None else correlation
        phi, _ = _basis(x, covariates, self.order, self.limits)
        variance = np.zeros_like(x)
        for i, row in enumerate(self.covariance):
            for j in range(i):
                variance += 2.0 * row[j] * phi[i] * phi[j]
            variance += row[i] * phi[i] ** 2
        value = x.copy()
        for coefficient, column in zip(self.coefficients, phi, strict=True):
            value += r * coefficient * column
        gradient = 1.0 + r * self._slope(x, error)
        variance = r**2 * np.maximum(variance, 0.0) + (1.0 - r**2) * self.shift**2
        common = (r * self.common) ** 2 * sum(column**2 for column in phi)
        return value, np.clip(gradient, *_SLOPES), variance + self.scatter**2, common

    def _slope(
        self, x: NDArray[np.float64], error: NDArray[np.float64] | float
    ) -> NDArray[np.float64]:
        """That of the correction (n,) between x - error and x + error."""
        low, high = self.limits[0]
        centre, width = 0.5 * (low + high), 0.5 * (high - low)
        reach = np.maximum(np.abs(error), 1e-6 * width)
        below, above = ((np.clip(x + side, low, high) - centre) / width for side in (-reach, reach))
        rise = sum(
            c * (above**power - below**power)
            for power, c in enumerate(self.coefficients[1 : self.order + 1], start=1)
        )
        return rise / (2.0 * reach)


def identity(n_variables: int = 1) -> Relation:
    """The relation of a source that is taken unchanged."""
    return Relation(0, np.zeros(1), np.zeros((1, 1)), np.tile([-1.0, 1.0], (n_variables, 1)))


def _basis(
    x: NDArray[np.float64],
    covariates: Sequence[NDArray[np.float64]],
    order: int,
    limits: NDArray[np.float64],
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """phi, k arrays (n,), and d phi_i / dx for i = 1 to order (0 outside the limits)."""
    scaled = []
    for values, (low, high) in zip((x, *covariates), limits, strict=True):
        centre, width = 0.5 * (low + high), 0.5 * (high - low)
        # A missing covariate is replaced by the middle value.
        scaled.append(
            (np.where(np.isfinite(values), np.clip(values, low, high), centre) - centre) / width
        )
    u, width = scaled[0], 0.5 * (limits[0, 1] - limits[0, 0])
    phi = [u**power for power in range(order + 1)] + scaled[1:]
    inside = ((x > limits[0, 0]) & (x < limits[0, 1])) / width
    return phi, [power * u ** (power - 1) * inside for power in range(1, order + 1)]


def fit_relation(
    x: NDArray[np.float64],
    x_err: NDArray[np.float64],
    y: NDArray[np.float64],
    y_err: NDArray[np.float64],
    covariates: Sequence[NDArray[np.float64]] = (),
    correlation: float = 0.0,
    order: int = 1,
    prior: float = 1.0,
    max_stars: int = _SECTION.max_stars,
    drawn: float = 0.0,
) -> Relation:
    """The relation between the true values behind x and y.

    Both have errors, so neither y on x nor a difference against either of them (or their mean) has
    the right slope. What is minimised is the distance from the curve in units of both errors and
    their correlation (York et al. 2004, Am. J. Phys. 72, 367, for a curve): in each iteration each
    star has a point on the curve, and the curve is fitted to the residuals linearised there.
    Residuals beyond 1.345 sigma have linear loss (Huber). Covariates are taken as exact.

    What is found is the difference of the scales and how far both were drawn (`drawn_by_prior`). No
    number of stars tells the two apart, but how large each may be: the share prior^2 / (prior^2 +
    drawn^2) of the coefficients is applied, and `common` is what remains unknown.

    Parameters
    ----------
    x, x_err, y, y_err : (n,) finite, errors positive; y is on the wanted scale
    covariates : arrays (n,)
    correlation : of the two errors of a star
    prior : standard deviation of the coefficients about 0, as far as they are the scales'
    drawn : the same of what priors did to x and y

    Returns
    -------
    Relation, the same for any order of the stars
    """
    # The last digit of sums depends on the order of their terms, so the stars are sorted.
    order_of = by_value(x, [y, x_err, y_err, *reversed(covariates)])
    if len(order_of) > max_stars:
        order_of = order_of[np.linspace(0, len(order_of) - 1, max_stars).round().astype(np.int64)]
    x, x_err, y, y_err = (array[order_of] for array in (x, x_err, y, y_err))
    covariates = [array[order_of] for array in covariates]
    limits = np.array([_limits(values) for values in (x, *covariates)])
    size = order + 1 + len(covariates)
    ridge = np.eye(size) / (prior**2 + drawn**2)
    c, hidden, scatter = np.zeros(size), x.copy(), 0.0
    covariance: NDArray[np.floating] = np.linalg.inv(ridge)
    shared = correlation * x_err * y_err
    for _ in range(100):
        phi, slopes = _basis(hidden, covariates, order, limits)
        design = np.array(phi)
        slope = np.clip(1.0 + sum(ci * s for ci, s in zip(c[1:], slopes, strict=False)), *_SLOPES)
        variance = y_err**2 + slope**2 * x_err**2 - 2.0 * slope * shared
        residual = y - hidden - c @ design - slope * (x - hidden)
        scatter = _excess(residual, variance)
        total = variance + scatter**2
        pull = np.abs(residual) / np.sqrt(total)
        weight = np.minimum(1.0, _HUBER / np.maximum(pull, _HUBER)) / total
        covariance = np.linalg.inv((design * weight) @ design.T + ridge)
        new = covariance @ (design @ (weight * (residual + c @ design)))
        step, c = np.abs(new - c).max(), new
        # The scatter belongs to neither source, so the point on the curve follows from the errors
        # alone. An outlier moves no farther than a star at three sigma, so that it cannot leave the
        # curve's range.
        bounded = residual * np.minimum(1.0, 3.0 / np.maximum(pull, 3.0))
        hidden = x + (slope * x_err**2 - shared) / variance * bounded
        if step < 1e-7 * prior:
            break
    share = prior**2 / (prior**2 + drawn**2)
    c, covariance, common = share * c, share**2 * covariance, float(np.sqrt(share) * drawn)
    design = np.array(_basis(x, covariates, order, limits)[0])
    squares = (c @ design) ** 2 + np.einsum("in,ij,jn->n", design, covariance, design)
    shift = float(np.sqrt((squares + common**2 * (design**2).sum(axis=0)).mean()))
    return Relation(order, c, covariance, limits, scatter, len(x), shift, common)


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """The range of all but the outermost stars, never empty."""
    low, high = np.quantile(values, [0.01, 0.99])
    margin = 1e-6 * max(1.0, abs(low), abs(high)) if high <= low else 0.0
    return float(low - margin), float(high + margin)


def _excess(residual: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """The s for which residual / sqrt(variance + s^2) has robust width 1; 0 if it is narrower.

    A residual is within 1 / 1.4826 of its width where s^2 is at least (1.4826 residual)^2 -
    variance, which has to be so for half of them.
    """
    return float(np.sqrt(max(np.median((1.4826 * residual) ** 2 - variance), 0.0)))


def _variances(value: NDArray[np.float64], error: NDArray[np.float64]) -> tuple[float, float]:
    """That of all but the outermost values (n,), and the square of the errors' median."""
    low, high = _limits(value)
    # Sorted, so that the sum does not depend on the order of the stars.
    return float(np.sort(np.clip(value, low, high)).var()), float(np.median(error)) ** 2


def drawn_by_prior(value: NDArray[np.float64], error: NDArray[np.float64]) -> float:
    """By how much all values (n,) of the `shrunk` kind may be off together.

    A value is the mean of what the spectrum says and of the stars that the system learned from, and
    these have the share 1 - a of it, with the reliability a. Their mean may well differ from that
    of these stars by the scatter s of these, and that draws the values by (1 - a) s: for errors e
    by e^2 / s, little where they are small, and all of e where the spectrum says nothing.
    """
    variance, noise = _variances(value, error)
    return noise / float(np.sqrt(variance + noise))


def reliability(value: NDArray[np.float64], error: NDArray[np.float64], shrunk: bool) -> float:
    """The share of the variance that is true scatter of the stars and not due to errors.

    The variance is that of all but the outermost values (n,), the errors' variance the square of
    their median. For `shrunk` values the stars' variance is the sum of both, for others the
    difference.
    """
    variance, noise = _variances(value, error)
    if shrunk:
        return variance / (variance + noise)
    return max(variance - noise, 0.0) / variance if variance > 0 else 0.0


def unshrunk(
    value: NDArray[np.float64], error: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and errors (n,) that scatter about the truth, from values shrunk towards the mean.

    A network, or a fit with a prior, gives the posterior mean given the spectrum: the truth
    scatters about the value by the error, whatever the value is, and the values are shrunk towards
    the stars' mean. With the reliability a, mean + (value - mean) / a scatters about the truth by
    error / sqrt(a).
    """
    a = max(reliability(value, error, shrunk=True), 0.1)
    low, high = _limits(value)
    mean = float(np.sort(np.clip(value, low, high)).mean())
    return mean + (value - mean) / a, error / np.sqrt(a)


@dataclass(frozen=True)
class LabelRelations:
    """All that is fitted for a label and a spectral type.

    Attributes
    ----------
    scale : the source whose scale the label is on
    relations : by source
    correlations : by two sources in the order of the definition
    scales, learned : factors on the sources' errors, and correlations of the errors of sources of
        different systems, from left-out stars (`learned.py`); empty: errors are as stated
    known : the stars that a source learned from, for those whose training the run did
    """

    label: str
    scale: str
    relations: dict[str, Relation]
    correlations: dict[tuple[str, str], Correlation]
    scales: dict[str, ErrorScale] = field(default_factory=dict)
    learned: dict[tuple[str, str], float] = field(default_factory=dict)
    known: dict[str, KnownStars] = field(default_factory=dict)

    def support(self, name: str, supports: Supports, n: int) -> Support:
        """That of a source on the scale (n,): of its own known stars. A source whose stars are not
        listed, such as an emulator of the survey's own spectra, rests on those of the scale that its
        relation was fitted to.
        """
        if name not in supports and not self.relations[name].is_identity:
            name = self.scale
        return supports.get(name, Support.everywhere(n))

    def correlation(self, a: str, b: str) -> float:
        """Correlation of the errors of two sources of different systems."""
        for pair in ((a, b), (b, a)):
            if pair in self.learned:
                return self.learned[pair]
        return between(self.correlations, a, b).total


def on_scale(
    columns: Columns,
    source: Source,
    valid: NDArray[np.float64],
    fitted: LabelRelations,
    covariates: Sequence[NDArray[np.float64]],
    supports: Supports,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A source's value on the scale, its stated error with the relation's own, the stated error
    without that, and what all stars have in common of the relation's error beside both (n,); those
    of the value 0 where its validity `valid` (n,) is 0.
    """
    some = valid > 0
    x = np.where(some, number(columns, source.column), 0.0)
    x_err = np.where(some, number(columns, f"{source.column}_err"), 0.0)
    both = least_correlation(supports, (source.column, fitted.scale), len(x))
    relation = fitted.relations[source.column]
    value, slope, variance, common = relation.apply(x, covariates, both, x_err)
    stated = slope * x_err
    return value, np.sqrt(stated**2 + variance), stated, np.sqrt(common)


def fit_label(
    rows: Columns,
    definition: Definition,
    settings: Settings,
    pairs: tuple[NDArray[np.integer], NDArray[np.integer]] | None = None,
    supports: Supports | None = None,
) -> LabelRelations:
    """Relations and correlations of a label on the rows of one spectral type.

    Parameters
    ----------
    rows : columns (n,) of the catalogue with errors and flags, of one spectral type
    pairs : rows of the first and of the second spectrum (p,) of each pair of repeats, in any order;
        None: no repeats
    supports : of the rows by source; the scale, and relations between two sources, are taken from
        stars of which both know enough of the kind. None: from all
    """
    sources = definition.sources
    values = {s.column: number(rows, s.column) for s in sources}
    errors = {s.column: number(rows, f"{s.column}_err") for s in sources}
    core = {s.column: validity(s, rows) >= CORE for s in sources}
    correlations = {
        (one.column, other.column): correlation_from_repeats(
            one.column, other.column, values, errors, core, pairs, settings
        )
        for one, other in combinations(sources, 2)
    }
    covariates = [number(rows, name) for name in definition.covariates]
    bright = number(rows, settings.snr_band) > settings.snr_min
    for array in covariates:
        bright &= np.isfinite(array)
    for name, support in (supports or {}).items():
        core[name] = core[name] & ~support.few
    wanted = max(settings.min_stars, settings.min_share * bright.sum())
    scale = next(
        (name for name in definition.scale if (core[name] & bright).sum() >= wanted),
        definition.scale[-1],
    )
    shrunk = {source.column: source.shrunk for source in sources}
    relations = {}
    for source in sources:
        name = source.column
        common = core[name] & core[scale] & bright
        if name == scale or not source.relation or common.sum() < settings.min_stars:
            relations[name] = identity(1 + len(covariates))
            continue
        both = [(values[column][common], errors[column][common]) for column in (name, scale)]
        kinds = source.shrunk, shrunk[scale]
        reliable = all(
            reliability(*pair, kind) >= _RELIABLE for pair, kind in zip(both, kinds, strict=True)
        )
        drawn = [drawn_by_prior(*pair) for pair, kind in zip(both, kinds, strict=True) if kind]
        if reliable:
            both = [
                unshrunk(*pair) if kind else pair for pair, kind in zip(both, kinds, strict=True)
            ]
        (x, x_err), (y, y_err) = both
        relations[name] = fit_relation(
            x,
            x_err,
            y,
            y_err,
            [array[common] for array in covariates],
            between(correlations, name, scale).total,
            definition.order if reliable else 0,
            definition.prior,
            settings.max_stars,
            float(np.linalg.norm(drawn)),
        )
    return LabelRelations(definition.label, scale, relations, correlations)
