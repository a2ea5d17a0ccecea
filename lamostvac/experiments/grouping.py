"""The errors caused by sorting and grouping."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.emulator.model import Emulator
from lamostvac.experiments.pools import POOLS, QUANTILES, draw_groups, sizes_below
from lamostvac.experiments.reproduction import FOLDS, Form, reproduction_errors
from lamostvac.experiments.sample import Sample
from lamostvac.fit import priors
from lamostvac.grouped import search


def bounds_table(
    emulator: Emulator,
    samples: Mapping[str, Sample],
    library_labels: NDArray[np.floating],
    matches: Sequence[int],
    sizes: Sequence[int],
    n_groups: int,
    variance: float,
    seed: int,
) -> pd.DataFrame:
    """Bounds of the first coordinate d_1 for each number of candidates t and group size.

    Parameters
    ----------
    samples : spectral type -> stars
    matches : values of t; those above the library's size are left out
    sizes : N_group; of sizes above a type's number of stars only the smallest is used, for all
        stars
    n_groups : number of groups drawn for each size

    Returns
    -------
    one row per form, type, size and t: `form spectral_type n_group n_groups matches low high`, the
    medians over the groups of the smallest and largest d_1 of the candidates, divided by
    sqrt(N_group). Q has orthonormal rows, so d_1 grows as sqrt(N_group) and only this quotient can
    be compared between sizes.
    """
    forms: tuple[Form, ...] = ("published", "centred")
    rows = []
    for spectral_type, sample in samples.items():
        for t in _possible(matches, len(library_labels)):
            candidates = sample.candidates(emulator, library_labels, t)
            for size in sizes_below(len(sample), sizes):
                groups = draw_groups(len(sample), size, n_groups, [seed, size])
                number = min(size, len(sample))
                for form in forms:
                    limits = []
                    for group in groups:
                        reduced = search.reduce_labels(
                            candidates[group].swapaxes(0, 1), variance, form
                        )
                        # Without any variance there is no coordinate and nothing to search.
                        limits.append(
                            (reduced.low[0], reduced.high[0]) if len(reduced.low) else (0.0, 0.0)
                        )
                    low, high = np.median(limits, axis=0) / np.sqrt(number)
                    rows.append((form, spectral_type, number, len(groups), t, low, high))
    return pd.DataFrame(
        rows, columns=["form", "spectral_type", "n_group", "n_groups", "matches", "low", "high"]
    )


def _possible(matches: Iterable[int], n_library: int) -> list[int]:
    return [t for t in sorted(set(matches)) if t <= n_library]


def grouping_errors(
    candidates: Mapping[str, NDArray[np.floating]],
    size: int,
    n_groups: int,
    variance: float,
    form: Form,
    seed: int,
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Standard deviation of the reproduction error for groups by prior and at random (Figure 8).

    Parameters
    ----------
    candidates : spectral type -> (n, t, L) labels of the candidates, stars sorted
    size, n_groups : number of stars in a group, half of a type's stars if there are fewer than
        twice as many; largest number of groups of each kind and type

    Returns
    -------
    (pool of `POOLS`, grouping) -> (columns, L), one row per star, group and part. Groupings:
    `prior` is the published one; `random` are stars of the same type in any order, the same number
    of groups; `any type` are as many groups of stars of all types, where each column is assigned to
    the star's own pool.
    """
    found: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    total = 0

    def add(pool: str, grouping: str, errors: NDArray[np.float64]) -> None:
        spread = errors.std(axis=0)
        found.setdefault((pool, grouping), []).append(spread.reshape(-1, spread.shape[-1]))

    for spectral_type, labels in candidates.items():
        if not len(labels):
            continue
        # A group of all stars is the same for every grouping.
        own = min(size, max(len(labels) // 2, 1))
        groups = draw_groups(len(labels), own, n_groups, [seed, size])
        total += len(groups)
        for number, group in enumerate(groups):
            draw = [seed, number, *spectral_type.encode()]
            members = np.random.default_rng(draw).permutation(len(labels))[
                : group.stop - group.start
            ]
            for grouping, rows in (("prior", group), ("random", np.sort(members))):
                theta = labels[rows].swapaxes(0, 1)
                add(
                    POOLS[spectral_type],
                    grouping,
                    reproduction_errors(theta, variance, form, [seed, number]),
                )
    stars = [(name, row) for name, labels in candidates.items() for row in range(len(labels))]
    for number in range(total):
        chosen = np.sort(np.random.default_rng([seed, number]).permutation(len(stars))[:size])
        theta = np.stack([candidates[stars[i][0]][stars[i][1]] for i in chosen], axis=1)
        errors = reproduction_errors(theta, variance, form, [seed, number])
        pools = np.array([POOLS[stars[i][0]] for i in chosen])
        for pool in np.unique(pools):
            add(str(pool), "any type", errors[:, :, pools == pool])
    return {key: np.concatenate(parts) for key, parts in found.items()}


def grouping_table(
    errors: Mapping[tuple[str, str], NDArray[np.floating]], names: Sequence[str]
) -> pd.DataFrame:
    """Median and middle 68 % of the standard deviations of `grouping_errors`, per label.

    Returns rows `pool grouping label n low median high`, n the number of columns.
    """
    rows = []
    for (pool, grouping), values in errors.items():
        for name, column in zip(names, values.T, strict=True):
            low, median, high = np.percentile(column, [16, 50, 84])
            rows.append((pool, grouping, name, len(column), low, median, high))
    return pd.DataFrame(rows, columns=["pool", "grouping", "label", "n", "low", "median", "high"])


def matches_table(
    emulator: Emulator,
    samples: Mapping[str, Sample],
    library_labels: NDArray[np.floating],
    matches: Sequence[int],
    size: int,
    n_groups: int,
    variance: float,
    form: Form,
    seed: int,
) -> pd.DataFrame:
    """Median absolute reproduction error of Teff per column, by number of candidates (Figure 9).

    Returns one row per pool of `POOLS` and t: `pool matches n q05 q25 q50 q75 q95 inside`. The
    quantiles (K) are over the n columns (star, group and part); `inside` is the share of candidates
    in the prior intervals about the first match.
    """
    rows = []
    for t in _possible(matches, len(library_labels)):
        if t < FOLDS:
            continue
        found: dict[str, list[NDArray[np.float64]]] = {}
        shares: dict[str, list[float]] = {}
        for spectral_type, sample in samples.items():
            if not len(sample):
                continue
            candidates = sample.candidates(emulator, library_labels, t)
            shares.setdefault(POOLS[spectral_type], []).append(_share_inside(emulator, candidates))
            for number, group in enumerate(draw_groups(len(sample), size, n_groups, [seed, size])):
                theta = candidates[group].swapaxes(0, 1)
                errors = reproduction_errors(theta, variance, form, [seed, number])[..., 0]
                found.setdefault(POOLS[spectral_type], []).append(
                    np.median(np.abs(errors), axis=0).ravel()
                )
        for pool, parts in found.items():
            medians = np.concatenate(parts)
            quantiles = np.percentile(medians, QUANTILES)
            rows.append((pool, t, len(medians), *quantiles, np.mean(shares[pool])))
    names = [f"q{q:02d}" for q in QUANTILES]
    table = pd.DataFrame(rows, columns=["pool", "matches", "n", *names, "inside"])
    return table.sort_values(["pool", "matches"], ignore_index=True)


def _share_inside(emulator: Emulator, candidates: NDArray[np.float64]) -> float:
    low, high = priors.prior_intervals(emulator, candidates[:, 0])
    scaled = emulator.to_scaled(candidates.reshape(-1, candidates.shape[2])).reshape(
        candidates.shape
    )
    return float(((scaled >= low[:, None]) & (scaled <= high[:, None])).all(axis=2).mean())
