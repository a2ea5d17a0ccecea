"""One recommended value of each label from all systems, such as the emulator and the networks.

The sources of a label are brought to one scale by relations that are fitted, separately for each
spectral type, to stars where both are valid. The sources of a system become one value by order of
preference. The recommended value is a weighted mean of the systems; its weights allow for the
correlation of their errors, since all read the same noisy spectrum. `config/recommended.yaml` says
which source is used where; the equations are in docs/recommended.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lamostvac.recommend.definitions import (
    Columns,
    Definition,
    Source,
    number,
    result_columns,
    validity,
)
from lamostvac.recommend.known import LABELS, Kinds, KnownStars, Supports
from lamostvac.recommend.learned import LeftOut, learn, with_left_out
from lamostvac.recommend.relations import LabelRelations, fit_label, on_scale
from lamostvac.recommend.scales import PLACE, place
from lamostvac.recommend.settings import Recommended, Settings
from lamostvac.recommend.weights import LEAST, weights_of

_SECTION = Recommended()  # for defaults of parameters

Combined = tuple[
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.uint8],
    NDArray[np.uint8],
    NDArray[np.uint8],
    NDArray[np.float32],
]
_BLOCK = 65536  # rows at a time: the columns of a block stay in the processor's cache


@dataclass(frozen=True)
class _System:
    """One system's value, error, the random part of it, what may be missing for want of known stars
    beside the error, the share of sources with few known stars, validity (n,), and each source's
    share and error, on the scale.
    """

    value: NDArray[np.float64]
    error: NDArray[np.float64]
    random: NDArray[np.float64]
    missing: NDArray[np.float64]
    few: NDArray[np.float64]
    valid: NDArray[np.float64]
    shares: dict[str, NDArray[np.float64]]
    errors: dict[str, NDArray[np.float64]]


def _system(
    columns: Columns,
    sources: Sequence[Source],
    fitted: LabelRelations,
    covariates: Sequence[NDArray[np.float64]],
    snr_band: str,
    supports: Supports,
) -> _System:
    """The value of a system: the first source has its validity as weight, the next the remainder.

    Errors of sources of one system are added linearly, because the sources differ in their training
    and not in the spectrum that they use. `snr_band` is what learned factors depend on.
    """
    n = len(columns[sources[0].column])
    left, value, error, random = np.ones(n), np.zeros(n), np.zeros(n), np.zeros(n)
    missing, few = np.zeros(n), np.zeros(n)
    shares, errors = {}, {}
    for source in sources:
        name = source.column
        own = validity(source, columns)
        share = own * left
        left = left - share
        source_value, whole, stated, common = on_scale(
            columns, source, own, fitted, covariates, supports
        )
        support = fitted.support(name, supports, n)
        missing += share * support.missing
        few += share * support.few
        random += share * np.where(own > 0, stated * _random_share(columns, name), 0.0)
        if name in fitted.scales:
            # What the factor was learned on has the relation's own error in it. What all stars have in
            # common, which follows from stated errors, those do not show.
            factor = fitted.scales[name].factor(place(columns, snr_band, source.distance))
            whole, common = whole * factor, common * factor
            stated = whole
        shares[name], errors[name] = share, stated
        value += share * source_value
        error += share * np.hypot(whole, common)
    valid = np.sum(list(shares.values()), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(valid > 0, 1.0 / np.where(valid > 0, valid, 1.0), 0.0)
    return _System(
        value * inverse,
        error * inverse,
        random * inverse,
        missing * inverse,
        few * inverse,
        valid,
        {k: s * inverse for k, s in shares.items()},
        errors,
    )


def _random_share(columns: Columns, name: str) -> NDArray[np.float64]:
    """The share (n,) of a source's stated error that differs from spectrum to spectrum of a star.

    Without the column that says so all of it.
    """
    error = number(columns, f"{name}_err")
    random = f"{name}_err_random"
    known = columns.dtype.names if isinstance(columns, np.ndarray) else columns
    return number(columns, random) / error if random in (known or ()) else np.ones(len(error))


def _covariance(systems: Sequence[_System], fitted: LabelRelations) -> NDArray[np.float64]:
    """Covariance (n, s, s) of the systems' errors.

    What they miss for want of known stars they have in common, since they learned from the same.
    """
    found = np.empty((len(systems[0].value), len(systems), len(systems)))
    for i, one in enumerate(systems):
        found[:, i, i] = one.error**2 + one.missing**2
        for j, two in enumerate(systems[:i]):
            shared = np.zeros(len(found))
            for a, share_a in one.shares.items():
                for b, share_b in two.shares.items():
                    correlation = fitted.correlation(a, b)
                    shared += correlation * share_a * one.errors[a] * share_b * two.errors[b]
            found[:, i, j] = found[:, j, i] = shared + one.missing * two.missing
    return found


def _disagreement(
    systems: Sequence[_System], covariance: NDArray[np.float64], limit: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Whether two valid systems differ by more than `limit` of the difference's sigma (n,), and the
    factor (n,) on the recommended value's error that follows from the largest such difference.

    A difference of z sigma is one of right errors with the likelihood exp(-z^2 / 2); that errors are
    wrong is as likely as that at the limit, whatever z. So they are with the probability p = 1 / (1 +
    exp((limit^2 - z^2) / 2)), and then the error is z times larger (Birge ratio), to the degree that
    both are valid.
    """
    beyond, factor = np.zeros(len(covariance), bool), np.ones(len(covariance))
    for i, j in combinations(range(len(systems)), 2):
        one, two = systems[i], systems[j]
        both = one.valid * two.valid
        v1, v2 = covariance[:, i, i], covariance[:, j, j]
        variance = np.maximum(v1 + v2 - 2.0 * covariance[:, i, j], LEAST * (v1 + v2))
        sigmas = np.where(both > 0, np.abs(two.value - one.value) / np.sqrt(variance), 0.0)
        beyond |= sigmas > limit
        # No exponent that overflows, whatever limit a configuration has.
        right = np.exp(np.minimum(0.5 * (limit - sigmas) * (limit + sigmas), 700.0))
        wrong = 1.0 / (1.0 + right)
        factor = np.maximum(factor, 1.0 + both * wrong * (sigmas - 1.0))
    return beyond, factor


def combine(
    columns: Columns,
    definition: Definition,
    fitted: LabelRelations,
    disagreement: float = _SECTION.disagreement,
    snr_band: str = "",
    own: Mapping[str, NDArray[np.int64]] | None = None,
    library: NDArray[np.floating] | None = None,
    kinds: Kinds | None = None,
) -> Combined:
    """Recommended value, error, source bits, disagreement, extrapolation, random error (n,).

    Parameters
    ----------
    columns : columns (n,) of the catalogue, errors and flags included
    snr_band : the S/N that learned factors depend on; not needed where `fitted` has none
    own : the stars' numbers (n,) in a source's training set, -1 for those that are not in it
    library : labels (m, k) of the first emulator's library
    kinds : of these stars; for several labels of the same stars, so that none is searched for twice

    Returns
    -------
    value, error : float32; NaN where no source is valid
    source : sum of 2^bit of the sources that have a weight; 0 where there is none
    disagree : 1 where two valid systems differ by more than `disagreement` sigma of their
        difference. The value remains the weighted mean, and its error is multiplied by a factor that
        rises around the limit from 1 to the Birge ratio |difference| / sigma (`_disagreement`)
    extrapolated : 1 where sources that learned from few stars of the kind (`known.py`) have more
        than half of the weight. What they may miss is in their errors, and so in the weights
    random : float32, standard deviation from spectrum to spectrum of a star: the weighted sum of the
        sources' stated random errors, as if they were fully correlated, since all read the same
        noise. Learned factors, disagreement and extrapolation do not change it
    """
    covariates = [number(columns, name) for name in definition.covariates]
    n = len(columns[definition.sources[0].column])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        supports = (kinds or Kinds(columns)).supports(definition, fitted.known, own or {}, library)
        systems = [
            _system(
                columns,
                [s for s in definition.sources if s.system == name],
                fitted,
                covariates,
                snr_band,
                supports,
            )
            for name in definition.systems
        ]
        covariance = _covariance(systems, fitted)
        weights = weights_of(np.stack([s.valid for s in systems], axis=1), covariance)
        value = sum(weights[:, i] * system.value for i, system in enumerate(systems))
        variance = np.einsum("ni,nij,nj->n", weights, covariance, weights)
        error = np.sqrt(np.maximum(variance, 0.0))
        random = sum(weights[:, i] * system.random for i, system in enumerate(systems))
        disagree, factor = _disagreement(systems, covariance, disagreement)
        error *= factor
        few = sum(weights[:, i] * system.few for i, system in enumerate(systems)) > 0.5
        value32, error32 = np.asarray(value, np.float32), error.astype(np.float32)
    some = weights.sum(axis=1) > 0
    usable = some & np.isfinite(value32) & np.isfinite(error32) & (error32 > 0)
    source = np.zeros(n, np.uint8)
    for item in definition.sources:
        number_of = definition.systems.index(item.system)
        used = usable & (systems[number_of].shares[item.column] * weights[:, number_of] > 0)
        source |= np.where(used, np.uint8(1 << item.bit), np.uint8(0))
    missing = np.float32(np.nan)
    return (
        np.where(usable, value32, missing),
        np.where(usable, error32, missing),
        source,
        (disagree & usable).astype(np.uint8),
        (few & usable).astype(np.uint8),
        np.where(usable, np.asarray(random, np.float32), missing),
    )


def names_of(definitions: Sequence[Definition], settings: Settings) -> set[str]:
    """All columns that relations, factors and recommended values are made from."""
    names = {settings.snr_band, *PLACE, *LABELS, *(item.label for item in definitions)}
    for definition in definitions:
        names |= {name for source in definition.sources for name in source.names}
        names |= set(definition.covariates)
    return names


def fit_all(
    rows: NDArray[np.void],
    definitions: Sequence[Definition],
    settings: Settings,
    pairs: tuple[NDArray[np.integer], NDArray[np.integer]] | None = None,
    left_out: Mapping[str, LeftOut] | None = None,
    library: NDArray[np.floating] | None = None,
) -> list[LabelRelations]:
    """Relations of one spectral type, with `weights: learned` also factors on errors.

    Parameters
    ----------
    rows : (n,) of the catalogue, errors and flags included
    pairs : see `relations.fit_label`
    left_out : by label of a network
    library : labels (m, k) of the first emulator's library
    """
    known = left_out or {}
    columns = with_left_out(rows, names_of(definitions, settings), known)
    n = len(columns[settings.snr_band])
    own = {name: item.numbers(n) for name, item in known.items()}
    kinds, found = Kinds(columns), []
    for definition in definitions:
        trained = _known_stars(columns, definition, known)
        supports = kinds.supports(definition, trained, own, library)
        fitted = fit_label(columns, definition, settings, pairs, supports)
        fitted = replace(fitted, known=trained)
        if settings.weights == "learned":
            fitted = learn(columns, definition, fitted, known, settings, library)
        found.append(fitted)
    return found


def _known_stars(
    columns: Columns, definition: Definition, left_out: Mapping[str, LeftOut]
) -> dict[str, KnownStars]:
    """The stars of the sources that the run has trained, by source."""
    names = {*LABELS, definition.label}
    found = {}
    for name in (source.column for source in definition.sources if source.column in left_out):
        part = {column: columns[column][left_out[name].rows] for column in names}
        found[name] = KnownStars.of(part, definition.label, left_out[name].star)
    return found


def apply(
    rows: NDArray[np.void],
    fitted: Sequence[LabelRelations],
    definitions: Sequence[Definition],
    settings: Settings,
    left_out: Mapping[str, LeftOut] | None = None,
    library: NDArray[np.floating] | None = None,
) -> None:
    """Fill the recommended columns of `rows` (n,) of one spectral type in place.

    `fitted` are that type's relations of each of `definitions`. Labels, errors and flags of all
    systems must be final. A training star's recommended value is made from what the network says
    without it (`left_out`, by label), so that its error holds. `library` has the labels (m, k) of
    the first emulator's library.
    """
    found = {item.label: item for item in fitted}
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        known = {name: k.within(start, start + _BLOCK) for name, k in (left_out or {}).items()}
        kinds = Kinds(block)
        for definition in definitions:
            names = names_of([definition], settings)
            random = {f"{source.column}_err_random" for source in definition.sources}
            names |= random.intersection(rows.dtype.names or ())
            columns = with_left_out(block, names, known)
            own = {name: item.numbers(len(block)) for name, item in known.items()}
            results = combine(
                {name: np.ascontiguousarray(values) for name, values in columns.items()},
                definition, found[definition.label], settings.disagreement, settings.snr_band, own,
                library, kinds,
            )  # fmt: skip
            for name, values in zip(result_columns(definition.label), results, strict=True):
                block[name] = values
