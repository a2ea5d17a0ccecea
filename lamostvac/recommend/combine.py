"""One recommended value of each label from both systems, the emulator and the networks.

The sources of a label are brought to one scale by relations that are fitted, separately for each
spectral type, to stars where both are valid. The sources of a system become one value by order of
preference. The recommended value is a weighted mean of both systems; its weights allow for the
correlation of their errors, since both read the same noisy spectrum. `config/recommended.yaml` says
which source is used where; the equations are in docs/recommended.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamostvac.recommend.definitions import (
    SYSTEMS,
    Columns,
    Definition,
    Source,
    number,
    result_columns,
    validity,
)
from lamostvac.recommend.relations import LabelRelations, between
from lamostvac.recommend.settings import Recommended, Settings

_SECTION = Recommended()  # for defaults of parameters

_BLOCK = 65536  # rows at a time: the columns of a block stay in the processor's cache


@dataclass(frozen=True)
class _System:
    """One system's value, error, validity (n,), and each source's share and error, on the scale."""

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
    """The value of a system: the first source has its validity as weight, the next the remainder.

    Errors of sources of one system are added linearly, because the sources differ in their training
    and not in the spectrum that they use.
    """
    left, value, error = np.ones(n), np.zeros(n), np.zeros(n)
    shares, errors = {}, {}
    for source in sources:
        valid = validity(source, columns)
        some = valid > 0
        x = np.where(some, number(columns, source.column), 0.0)
        x_err = np.where(some, number(columns, f"{source.column}_err"), 0.0)
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
    columns: Columns,
    definition: Definition,
    fitted: LabelRelations,
    disagreement: float = _SECTION.disagreement,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Recommended value, error, source bits and disagreement (n,) of a label.

    Parameters
    ----------
    columns : columns (n,) of the catalogue, errors and flags included

    Returns
    -------
    value, error : float32; NaN where no source is valid
    source : sum of 2^bit of the sources that have a weight; 0 where there is none
    disagree : 1 where both systems are valid and differ by more than `disagreement` sigma of their
        difference. The value remains the weighted mean, and its error is multiplied by the Birge
        ratio |difference| / sigma, to the degree that both are valid
    """
    covariates = [number(columns, name) for name in definition.covariates]
    n = len(columns[definition.sources[0].column])
    one, two = (
        _system(columns, [s for s in definition.sources if s.system == name], fitted, covariates, n)
        for name in SYSTEMS
    )
    shared = np.zeros(len(one.value))
    for a, share_a in one.shares.items():
        for b, share_b in two.shares.items():
            correlation = between(fitted.correlations, a, b).total
            shared += correlation * share_a * one.errors[a] * share_b * two.errors[b]
    both = one.valid * two.valid
    difference = two.value - one.value
    v1, v2 = one.error**2, two.error**2
    variance = np.maximum(v1 + v2 - 2.0 * shared, 1e-12 * (v1 + v2))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        best = np.clip(np.where(both > 0, (v1 - shared) / variance, 0.0), 0.0, 1.0)
        either = one.valid + two.valid - both
        # The weight of the networks: `best` where both are fully valid, 1 or 0 where only one is
        # valid, and smooth in between even where `best` is 0 or 1.
        weight = np.where(either > 0, two.valid * (1.0 - one.valid * (1.0 - best)) / either, 0.0)
        weight = np.where(
            one.valid <= 0, 1.0, np.where(two.valid <= 0, 0.0, np.clip(weight, 0.0, 1.0))
        )
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

    `fitted` are that type's relations of each of `definitions`. Labels, errors and flags of both
    systems must be final.
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
