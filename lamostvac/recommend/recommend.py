"""One recommended value of each label from both systems, the emulator and the networks.

The sources of a label are brought to one scale by relations that are fitted, for each spectral type on its own,
to stars where both are valid; the sources of a system become one value by order of preference, and the two
systems' values a weighted mean whose weights know that both read the same noisy spectrum. Which
source counts where is in `config/recommended.yaml`; the equations are in docs/recommended.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lamostvac.core.errors import UserError, nearest
from lamostvac.core.expressions import parse
from lamostvac.core.files import atomic_hdf5, read_yaml
from lamostvac.core.messages import entry_name, mistake

SYSTEMS = ("emulator", "networks")
_BLOCK = 65536  # rows at a time: the columns of a block stay in the processor's cache
_HUBER = 1.345  # residuals beyond this many sigma count linearly
_CORE = 0.5  # a source counts as valid for fits where its taper is at least this
# A slope hangs on the errors as their ratio to the range of the stars: where less than this part of a source's
# variance is the stars', 10 % of error in the errors would be 5 % of slope, and only an offset is fitted.
_RELIABLE = 0.75
_MAX_CORRELATION = 0.95  # nearer to 1 the weights would live on the last digits of the errors
_SLOPES = (0.2, 5.0)  # of a relation: an order of stars survives it

Columns = Mapping[str, NDArray[Any]] | NDArray[np.void]
Limit = tuple[float | None, float | None, Annotated[float, Field(ge=0)]]


# ---------------------------------------------------------------- definitions


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Entry):
    """A column that a recommended label can come from; the keys are documented in config/recommended.yaml."""

    column: str
    system: Literal["emulator", "networks"]
    bit: int = Field(ge=0, le=7)
    within: dict[str, Limit] = Field(default_factory=dict)
    where: str | None = None
    unless: list[str] = Field(default_factory=list)
    relation: bool = True
    shrunk: bool = True

    @property
    def names(self) -> list[str]:
        """All columns that the source needs."""
        condition = parse(self.where, f"source {self.column}: where").names if self.where else ()
        return list(
            dict.fromkeys([self.column, f"{self.column}_err", *self.within, *self.unless, *condition])
        )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for name, (low, high, taper) in self.within.items():
            if low is not None and high is not None and not high - low >= 2 * taper:
                raise ValueError(f"within.{name}: the range must be at least two tapers wide")
        if self.where is not None:
            try:
                parse(self.where)
            except UserError as error:
                raise ValueError(f"where: {error}") from None
        return self


class Definition(_Entry):
    """A recommended label; the keys are documented in config/recommended.yaml."""

    label: str = Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")
    scale: list[str] = Field(min_length=1)
    order: int = Field(1, ge=0, le=3)
    covariates: list[str] = Field(default_factory=list)
    prior: float = Field(gt=0)
    sources: list[Source] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        columns = [source.column for source in self.sources]
        for name in (*columns, *(str(source.bit) for source in self.sources)):
            if (columns + [str(source.bit) for source in self.sources]).count(name) > 1:
                raise ValueError(f"two sources have the column or bit {name}")
        for name in self.scale:
            if name not in columns:
                raise ValueError(f"scale: there is no source {name}{nearest(name, columns)}")
        return self


@dataclass(frozen=True)
class Settings:
    """How relations and correlations are fitted, for all labels alike (section `recommended` of the configuration).

    Attributes
    ----------
    snr_band, snr_min : relations are fitted to stars with S/N above snr_min in this column
    min_stars : with fewer stars a source is taken as it stands, and cannot be the scale
    min_share : nor can one that is valid for a smaller share of the type's stars
    max_stars : of more stars, this many, evenly along the label, take part
    correlation, min_pairs : n repeat pairs count n against min_pairs pairs that show this correlation and the errors
        as they are quoted
    systematic_correlation : of the parts of the errors that repeats do not show
    disagreement : the systems disagree where they differ by more than this many sigma
    """

    snr_band: str
    snr_min: float
    min_stars: int
    min_share: float
    max_stars: int
    correlation: float
    min_pairs: int
    systematic_correlation: float
    disagreement: float


def load_definitions(path: str | Path, columns: Sequence[str]) -> list[Definition]:
    """The recommended labels that a YAML file defines, with the sources that the run has.

    Parameters
    ----------
    columns : all columns of the catalogue

    Raises
    ------
    UserError
        The file cannot be read, an entry is wrong, or a source that the run has names a column that it does not have;
        the sentence names entry and key.
    """
    content = read_yaml(path, "recommended.definitions:", " with a list `recommended:`")
    if not isinstance(content, dict) or "recommended" not in content:
        raise UserError(f"recommended.definitions: {path} must be YAML with a list `recommended:`")
    entries = content["recommended"]
    found: list[Definition] = []
    for number, entry in enumerate(entries or [], start=1):
        name = entry_name(entry, number, "label")
        try:
            definition = Definition.model_validate(entry)
        except ValidationError as error:
            raise UserError(f"{path}: {name}: {mistake(error, Definition)}") from None
        if any(definition.label == other.label for other in found):
            raise UserError(f"{path}: two entries are for {name}")
        found.append(_present(definition, columns, f"{path}: {name}"))
    return found


def _present(definition: Definition, columns: Sequence[str], where: str) -> Definition:
    """The definition with the sources whose columns are among `columns`."""
    sources = [source for source in definition.sources if source.column in columns]
    for name in [
        *result_columns(definition.label),
        *definition.covariates,
        *(name for source in sources for name in source.names),
    ]:
        if name not in columns:
            raise UserError(f"{where}: the catalogue has no column {name}{nearest(name, columns)}")
    names = [source.column for source in sources]
    scale = [name for name in definition.scale if name in names]
    if not scale:
        raise UserError(f"{where}: scale: the run has none of {', '.join(definition.scale)}")
    return definition.model_copy(update={"sources": sources, "scale": scale})


def result_columns(label: str) -> tuple[str, str, str, str]:
    """Value, error, source and disagreement of a recommended label."""
    return f"{label}_rec", f"{label}_rec_err", f"{label}_rec_source", f"flag_{label}_disagree"


# ---------------------------------------------------------------- validity


def ramp(x: NDArray[np.float64], limit: Limit) -> NDArray[np.float64]:
    """Weight (n,) of a range [low, high] with tapers: 0 outside and at the limits, 1 inside, smooth between.

    3 t^2 - 2 t^3 of the distance t from a limit in units of the taper; a missing x has weight 0.
    """
    low, high, taper = limit
    weight = np.where(np.isfinite(x), 1.0, 0.0)
    for distance in ([] if low is None else [x - low]) + ([] if high is None else [high - x]):
        with np.errstate(over="ignore", invalid="ignore"):
            t = np.clip(distance / taper, 0.0, 1.0) if taper > 0 else (distance >= 0).astype(np.float64)
        weight *= np.where(np.isnan(t), 0.0, t * t * (3.0 - 2.0 * t))
    return weight


def validity(source: Source, columns: Columns) -> NDArray[np.float64]:
    """Weight (n,) in [0, 1] of a source: 0 where it has no value or error, a flag excludes it, or out of its range."""
    value, error = _number(columns, source.column), _number(columns, f"{source.column}_err")
    usable = np.isfinite(value) & np.isfinite(error) & (error > 0)
    for name in source.unless:
        usable &= np.asarray(columns[name]) == 0
    if source.where is not None:
        condition = parse(source.where, f"source {source.column}: where")
        usable &= condition.holds({name: columns[name] for name in condition.names})
    weight = usable.astype(np.float64)
    for name, limit in source.within.items():
        weight *= ramp(_number(columns, name), limit)
    return weight


def _number(columns: Columns, name: str) -> NDArray[np.float64]:
    return np.asarray(columns[name]).astype(np.float64)


# ---------------------------------------------------------------- relations


@dataclass(frozen=True)
class Relation:
    """From a source's label x to the scale: g(x) = x + c . phi(u), u = (clipped variables - centre) / width.

    phi is 1, u_0, ..., u_0^order and then u_1, u_2, ... of the covariates. Outside the limits the correction stays what
    it is at the limit.

    Attributes
    ----------
    coefficients : (k,) in the label's unit
    covariance : (k, k) of the coefficients
    limits : (v, 2) of the label and the covariates
    scatter : standard deviation about the relation beyond what the errors explain
    n : stars that it was fitted to; 0 for the identity
    """

    order: int
    coefficients: NDArray[np.float64]
    covariance: NDArray[np.floating]
    limits: NDArray[np.float64]
    scatter: float = 0.0
    n: int = 0

    @property
    def is_identity(self) -> bool:
        """Whether the source is taken as it stands."""
        return self.n == 0

    def apply(
        self, x: NDArray[np.float64], covariates: Sequence[NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """g(x) (n,), its slope dg/dx (n,) and the variance (n,) of the relation itself, with its scatter."""
        if self.is_identity:
            return x, np.ones_like(x), np.zeros_like(x)
        phi, slope = _basis(x, covariates, self.order, self.limits)
        variance = np.zeros_like(x)
        for i, row in enumerate(self.covariance):
            for j in range(i):
                variance += 2.0 * row[j] * phi[i] * phi[j]
            variance += row[i] * phi[i] ** 2
        value = x.copy()
        for coefficient, column in zip(self.coefficients, phi, strict=True):
            value += coefficient * column
        gradient = 1.0 + sum(
            (c * s for c, s in zip(self.coefficients[1:], slope, strict=False)), start=np.zeros_like(x)
        )
        return value, np.clip(gradient, *_SLOPES), np.maximum(variance, 0.0) + self.scatter**2


def identity(n_variables: int = 1) -> Relation:
    """The relation of a source that is taken as it stands."""
    return Relation(0, np.zeros(1), np.zeros((1, 1)), np.tile([-1.0, 1.0], (n_variables, 1)))


def _basis(
    x: NDArray[np.float64], covariates: Sequence[NDArray[np.float64]], order: int, limits: NDArray[np.float64]
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """phi, k arrays (n,), and d phi_i / dx for i = 1 to order (0 outside the limits)."""
    scaled = []
    for values, (low, high) in zip((x, *covariates), limits, strict=True):
        centre, width = 0.5 * (low + high), 0.5 * (high - low)
        # A star without a covariate is treated as one in the middle.
        scaled.append((np.where(np.isfinite(values), np.clip(values, low, high), centre) - centre) / width)
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
    max_stars: int = 100_000,
) -> Relation:
    """The relation between the true values behind x and y.

    Both have errors, so neither y on x nor a difference against either of them (or their mean) has the right slope.
    What is minimised is the distance from the curve in units of both errors and their correlation (York et al. 2004,
    Am. J. Phys. 72, 367, for a curve): in each iteration each star has a point on the curve, and
    the curve is fitted to the residuals linearised there. Residuals beyond 1.345 sigma count linearly (Huber).
    Covariates are taken as exact.

    Parameters
    ----------
    x, x_err, y, y_err : (n,) finite, errors positive; y is on the wanted scale
    covariates : arrays (n,)
    correlation : of the two errors of a star
    prior : standard deviation of the coefficients about 0

    Returns
    -------
    Relation, the same for any order of the stars
    """
    # Sums depend on the order of their terms in the last digit: the stars get an order of their own.
    order_of = np.lexsort((*covariates, y_err, x_err, y, x))
    if len(order_of) > max_stars:
        order_of = order_of[np.linspace(0, len(order_of) - 1, max_stars).round().astype(np.int64)]
    x, x_err, y, y_err = (array[order_of] for array in (x, x_err, y, y_err))
    covariates = [array[order_of] for array in covariates]
    limits = np.array([_limits(values) for values in (x, *covariates)])
    size = order + 1 + len(covariates)
    ridge = np.eye(size) / prior**2
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
        # The scatter is nobody's in particular: the point on the curve is where the errors alone put it. A star far off
        # moves no farther than one at three sigma, so that it cannot leave the curve's range.
        bounded = residual * np.minimum(1.0, 3.0 / np.maximum(pull, 3.0))
        hidden = x + (slope * x_err**2 - shared) / variance * bounded
        if step < 1e-7 * prior:
            break
    return Relation(order, c, covariance, limits, scatter, len(x))


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """The range of all but the outermost stars, never empty."""
    low, high = np.quantile(values, [0.01, 0.99])
    margin = 1e-6 * max(1.0, abs(low), abs(high)) if high <= low else 0.0
    return float(low - margin), float(high + margin)


def _excess(residual: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """The s for which residual / sqrt(variance + s^2) has a robust width of 1; 0 where it is narrower."""

    def narrow(s: float) -> bool:
        return float(1.4826 * np.median(np.abs(residual) / np.sqrt(variance + s * s))) <= 1.0

    if narrow(0.0):
        return 0.0
    low, high = 0.0, float(1.4826 * np.median(np.abs(residual)))
    while high - low > 1e-6 * high:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if narrow(middle) else (middle, high)
    return high


def reliability(value: NDArray[np.float64], error: NDArray[np.float64], shrunk: bool) -> float:
    """The part of the variance that is the stars' rather than the errors'.

    Of all but the outermost values (n,); the errors' is the square of their median. For `shrunk` values the stars'
    variance is that of the values and of the errors together, for others the difference.
    """
    low, high = _limits(value)
    # Sorted, so that the sum does not depend on the order of the stars.
    variance = float(np.sort(np.clip(value, low, high)).var())
    noise = float(np.median(error)) ** 2
    if shrunk:
        return variance / (variance + noise)
    return max(variance - noise, 0.0) / variance if variance > 0 else 0.0


def unshrunk(
    value: NDArray[np.float64], error: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and errors (n,) about the truth, from such about which the truth scatters.

    A network, and a fit with a prior, give the mean of what the truth can be, given the spectrum: the truth
    scatters about the value by the error whatever the value is, and the values are drawn to the stars' mean. With
    the reliability a, mean + (value - mean) / a scatters about the truth by error / sqrt(a).
    """
    a = max(reliability(value, error, shrunk=True), 0.1)
    low, high = _limits(value)
    mean = float(np.sort(np.clip(value, low, high)).mean())
    return mean + (value - mean) / a, error / np.sqrt(a)


# ---------------------------------------------------------------- correlation


@dataclass(frozen=True)
class Correlation:
    """How the errors of two sources go together.

    Attributes
    ----------
    rho : correlation of their random errors
    shares : of each source's quoted error, the part that is random: what repeats of a star show
    n : pairs of repeats that they are from
    systematic : correlation of the parts that are the same in every spectrum of a star
    """

    rho: float
    shares: tuple[float, float]
    n: int = 0
    systematic: float = 0.0

    @property
    def total(self) -> float:
        """Correlation of the quoted errors."""
        first, second = self.shares
        fixed = np.sqrt(max(1.0 - first**2, 0.0) * max(1.0 - second**2, 0.0))
        return float(self.rho * first * second + self.systematic * fixed)


def fit_correlation(
    a: NDArray[np.float64], b: NDArray[np.float64], known: float = 0.0, weight: int = 30
) -> Correlation:
    """Correlation of two sources' random errors from repeats.

    Parameters
    ----------
    a, b : (n,) differences of a star's two spectra over sqrt(e1^2 + e2^2) of the quoted errors, by either source

    Returns
    -------
    Correlation : from robust widths of a, b and of the sum and difference of a and b each in units of its width
        (Gnanadesikan & Kettenring 1972), drawn towards the correlation `known` and shares of 1 as if these had been
        seen in `weight` pairs
    """
    n = len(a)
    widths = [1.4826 * float(np.median(np.abs(values))) if n else 0.0 for values in (a, b)]
    if min(widths) <= 0:
        return Correlation(known, (1.0, 1.0), 0)
    plus, minus = (float(np.median(np.abs(a / widths[0] + sign * b / widths[1]))) ** 2 for sign in (1, -1))
    rho = (n * (plus - minus) / (plus + minus) + weight * known) / (n + weight)
    first, second = (min(1.0, (n * width + weight) / (n + weight)) for width in widths)
    return Correlation(float(np.clip(rho, -_MAX_CORRELATION, _MAX_CORRELATION)), (first, second), n)


# ---------------------------------------------------------------- one label of one type


@dataclass(frozen=True)
class LabelRelations:
    """All that is fitted for a label and a spectral type.

    Attributes
    ----------
    scale : the source whose scale the label is on
    relations : by source
    correlations : by two sources in the order of the definition
    """

    label: str
    scale: str
    relations: dict[str, Relation]
    correlations: dict[tuple[str, str], Correlation]


def fit_label(
    rows: Columns,
    definition: Definition,
    settings: Settings,
    pairs: tuple[NDArray[np.integer], NDArray[np.integer]] | None = None,
) -> LabelRelations:
    """Relations and correlations of a label on the rows of one spectral type.

    Parameters
    ----------
    rows : columns (n,) of the catalogue with errors and flags, of one spectral type
    pairs : rows of the first and of the second spectrum (p,) of each pair of repeats, in any order; None: no repeats
    """
    sources = definition.sources
    values = {s.column: _number(rows, s.column) for s in sources}
    errors = {s.column: _number(rows, f"{s.column}_err") for s in sources}
    core = {s.column: validity(s, rows) >= _CORE for s in sources}
    correlations = {
        (one.column, other.column): _correlation_of(
            one.column, other.column, values, errors, core, pairs, settings
        )
        for one, other in combinations(sources, 2)
    }
    covariates = [_number(rows, name) for name in definition.covariates]
    bright = _number(rows, settings.snr_band) > settings.snr_min
    for array in covariates:
        bright &= np.isfinite(array)
    wanted = max(settings.min_stars, settings.min_share * bright.sum())
    scale = next(
        (name for name in definition.scale if (core[name] & bright).sum() >= wanted), definition.scale[-1]
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
        reliable = all(reliability(*pair, kind) >= _RELIABLE for pair, kind in zip(both, kinds, strict=True))
        if reliable:
            both = [unshrunk(*pair) if kind else pair for pair, kind in zip(both, kinds, strict=True)]
        (x, x_err), (y, y_err) = both
        relations[name] = fit_relation(
            x,
            x_err,
            y,
            y_err,
            [array[common] for array in covariates],
            _between(correlations, name, scale).total,
            definition.order if reliable else 0,
            definition.prior,
            settings.max_stars,
        )
    return LabelRelations(definition.label, scale, relations, correlations)


def _correlation_of(
    a: str,
    b: str,
    values: Mapping[str, NDArray[np.float64]],
    errors: Mapping[str, NDArray[np.float64]],
    core: Mapping[str, NDArray[np.bool_]],
    pairs: tuple[NDArray[np.integer], NDArray[np.integer]] | None,
    settings: Settings,
) -> Correlation:
    fixed = settings.systematic_correlation
    if pairs is None:
        return Correlation(settings.correlation, (1.0, 1.0), 0, fixed)
    first, second = (np.asarray(part, np.int64) for part in pairs)
    good = core[a] & core[b]
    used = good[first] & good[second]
    first, second = first[used], second[used]
    da, db = (
        (values[s][first] - values[s][second]) / np.hypot(errors[s][first], errors[s][second]) for s in (a, b)
    )
    return replace(fit_correlation(da, db, settings.correlation, settings.min_pairs), systematic=fixed)


def _between(correlations: Mapping[tuple[str, str], Correlation], a: str, b: str) -> Correlation:
    return correlations[(a, b)] if (a, b) in correlations else correlations[(b, a)]


def fit(
    rows: Columns,
    definitions: Sequence[Definition],
    settings: Settings,
    pairs: tuple[NDArray[np.integer], NDArray[np.integer]] | None = None,
) -> list[LabelRelations]:
    """`fit_label` for each label."""
    return [fit_label(rows, definition, settings, pairs) for definition in definitions]


# ---------------------------------------------------------------- combination


@dataclass(frozen=True)
class _System:
    """One system's value, error and validity (n,), and of each source its share and its own error, on the scale."""

    value: NDArray[np.float64]
    error: NDArray[np.float64]
    valid: NDArray[np.float64]
    shares: dict[str, NDArray[np.float64]]
    errors: dict[str, NDArray[np.float64]]


def _system(
    columns: Columns,
    sources: Sequence[Source],
    fitted: LabelRelations,
    covariates: Sequence[NDArray[np.float64]],
    n: int,
) -> _System:
    """The value of a system: the first source takes its validity, the next what that one leaves.

    Errors of sources of one system, which differ in what they were taught and not in what they see, are added linearly.
    """
    left, value, error = np.ones(n), np.zeros(n), np.zeros(n)
    shares, errors = {}, {}
    for source in sources:
        valid = validity(source, columns)
        some = valid > 0
        x = np.where(some, _number(columns, source.column), 0.0)
        x_err = np.where(some, _number(columns, f"{source.column}_err"), 0.0)
        on_scale, slope, variance = fitted.relations[source.column].apply(x, covariates)
        share = valid * left
        left = left * (1.0 - valid)
        shares[source.column], errors[source.column] = share, slope * x_err
        value += share * on_scale
        error += share * np.sqrt((slope * x_err) ** 2 + variance)
    valid = np.sum(list(shares.values()), axis=0) if shares else np.zeros(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(valid > 0, 1.0 / np.where(valid > 0, valid, 1.0), 0.0)
    return _System(
        value * inverse, error * inverse, valid, {k: s * inverse for k, s in shares.items()}, errors
    )


def combine(
    columns: Columns, definition: Definition, fitted: LabelRelations, disagreement: float = 3.0
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Recommended value, error, source bits and disagreement (n,) of a label.

    Parameters
    ----------
    columns : columns (n,) of the catalogue, errors and flags included

    Returns
    -------
    value, error : float32; NaN where no source is valid
    source : sum of 2^bit of the sources that have a weight; 0 where there is none
    disagree : 1 where both systems are valid and differ by more than `disagreement` sigma of their difference.
        The value stays the weighted mean, and its error grows by the Birge ratio |difference| / sigma as far as
        both are valid
    """
    covariates = [_number(columns, name) for name in definition.covariates]
    n = len(columns[definition.sources[0].column])
    one, two = (
        _system(columns, [s for s in definition.sources if s.system == name], fitted, covariates, n)
        for name in SYSTEMS
    )
    shared = np.zeros(len(one.value))
    for a, share_a in one.shares.items():
        for b, share_b in two.shares.items():
            correlation = _between(fitted.correlations, a, b).total
            shared += correlation * share_a * one.errors[a] * share_b * two.errors[b]
    both = one.valid * two.valid
    difference = two.value - one.value
    v1, v2 = one.error**2, two.error**2
    variance = np.maximum(v1 + v2 - 2.0 * shared, 1e-12 * (v1 + v2))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        best = np.clip(np.where(both > 0, (v1 - shared) / variance, 0.0), 0.0, 1.0)
        either = one.valid + two.valid - both
        # The weight of the networks: `best` where both are fully valid, 1 or 0 where one has faded out, and
        # smooth between even where `best` is 0 or 1.
        weight = np.where(either > 0, two.valid * (1.0 - one.valid * (1.0 - best)) / either, 0.0)
        weight = np.where(one.valid <= 0, 1.0, np.where(two.valid <= 0, 0.0, np.clip(weight, 0.0, 1.0)))
        value = (1.0 - weight) * one.value + weight * two.value
        spread = ((1.0 - weight) * one.error) ** 2 + (weight * two.error) ** 2
        error = np.sqrt(np.maximum(spread + 2.0 * weight * (1.0 - weight) * shared, 0.0))
        sigmas = np.where(both > 0, np.abs(difference) / np.sqrt(variance), 0.0)
        disagree = sigmas > disagreement
        error = np.where(disagree, error * (1.0 + (sigmas - 1.0) * both), error)
        value32, error32 = value.astype(np.float32), error.astype(np.float32)
    usable = (either > 0) & np.isfinite(value32) & np.isfinite(error32) & (error32 > 0)
    source = np.zeros(len(usable), np.uint8)
    for item in definition.sources:
        system, share = (one, 1.0 - weight) if item.system == SYSTEMS[0] else (two, weight)
        used = usable & (system.shares[item.column] * share > 0)
        source |= np.where(used, np.uint8(1 << item.bit), np.uint8(0))
    missing = np.float32(np.nan)
    return (
        np.where(usable, value32, missing),
        np.where(usable, error32, missing),
        source,
        (disagree & usable).astype(np.uint8),
    )


def apply(
    rows: NDArray[np.void],
    fitted: Sequence[LabelRelations],
    definitions: Sequence[Definition],
    settings: Settings,
) -> None:
    """Fill the recommended columns of `rows` (n,) of one spectral type in place.

    `fitted` are that type's relations of each of `definitions`. Labels, errors and flags of both systems must be final.
    """
    found = {item.label: item for item in fitted}
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        for definition in definitions:
            names = {name for source in definition.sources for name in source.names}
            names |= set(definition.covariates)
            columns = {name: np.ascontiguousarray(block[name]) for name in sorted(names)}
            results = combine(columns, definition, found[definition.label], settings.disagreement)
            for name, values in zip(result_columns(definition.label), results, strict=True):
                block[name] = values


# ---------------------------------------------------------------- files


def save(path: str | Path, fitted: Sequence[LabelRelations]) -> None:
    """Write relations to HDF5: a group per label with `relations/{source}` and `correlations/{a} {b}`."""
    with atomic_hdf5(path) as handle:
        for item in sorted(fitted, key=lambda item: item.label):
            group = handle.create_group(item.label)
            group.attrs["scale"] = item.scale
            for name, relation in sorted(item.relations.items()):
                part = group.create_group(f"relations/{name}")
                part.attrs["order"] = relation.order
                part.attrs["scatter"] = relation.scatter
                part.attrs["n"] = relation.n
                for key in ("coefficients", "covariance", "limits"):
                    part.create_dataset(key, data=getattr(relation, key), track_times=False)
            for (a, b), correlation in sorted(item.correlations.items()):
                part = group.create_group(f"correlations/{a} {b}")
                part.attrs["rho"] = correlation.rho
                part.attrs["shares"] = correlation.shares
                part.attrs["systematic"] = correlation.systematic
                part.attrs["n"] = correlation.n


def load(path: str | Path) -> list[LabelRelations]:
    """The relations that `save` wrote, labels in alphabetical order."""
    with h5py.File(path) as handle:
        return [_load_label(handle[label], label) for label in sorted(handle)]


def _load_label(group: h5py.Group, label: str) -> LabelRelations:
    relations = {
        name: Relation(
            int(part.attrs["order"]),
            part["coefficients"][()],
            part["covariance"][()],
            part["limits"][()],
            float(part.attrs["scatter"]),
            int(part.attrs["n"]),
        )
        for name, part in group["relations"].items()
    }
    correlations = {}
    for name, part in group.get("correlations", {}).items():
        a, b = name.split(" ")
        first, second = (float(share) for share in part.attrs["shares"])
        correlations[(a, b)] = Correlation(
            float(part.attrs["rho"]), (first, second), int(part.attrs["n"]), float(part.attrs["systematic"])
        )
    return LabelRelations(label, str(group.attrs["scale"]), relations, correlations)
