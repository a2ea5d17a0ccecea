"""The experiments by which Liang+ 2024 (L24, sections 4.1 and 4.2) choose and judge their method.

Each function takes arrays and returns the table that a figure of theirs is drawn from; docs/experiments.md
says what came out. The survey's stars come as `Sample`, sorted as the grouped search sorts them.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.vocabulary import spectral_type_of
from lamostvac.emulator.model import Emulator
from lamostvac.experiments.sample import Sample, make_sample
from lamostvac.fit import priors
from lamostvac.fit.crossvalidation import folds_by_star
from lamostvac.grouped import search
from lamostvac.library.library import SpectralLibrary
from lamostvac.validation.validation import robust_sigma

TEFF_EDGES = np.array([0.0, 4000.0, 6000.0, 10000.0, np.inf])
"""Limits (K) of the bins that L24 judge the emulator in (their Figures 5 and 6)."""
TEFF_BINS = ("Teff < 4000", "4000-6000", "6000-10000", "Teff >= 10000")
POOLS = {"OB": "OB", "A": "A", "F": "FGK", "G": "FGK", "K": "FGK", "M": "M"}
"""Spectral type -> the panel of L24's Figures 8 and 9 that it belongs to."""
ENOUGH = 100  # library stars within the prior intervals, L24's measure of how many matches there can be
FOLDS = 5  # sub-datasets of the reproduction error (L24 section 4.2.2 item 1)

Form = Literal["published", "centred"]

_CELLS = 512  # label vectors compared with all others at once; bounds memory
_BATCH = 256  # spectra emulated at once
FLUX_BINS = np.linspace(0.0, 2.0, 201)
_DIFFERENCES = np.linspace(-1.0, 1.0, 4001)


def teff_bin(teff: NDArray[np.floating]) -> NDArray[np.int64]:
    """Number (n,) of the bin of `TEFF_BINS` for effective temperatures (K)."""
    return np.digitize(teff, TEFF_EDGES) - 1


# Figure 2


def prior_counts(emulator: Emulator, labels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number (N,) of library stars within the prior intervals about each library star, itself included.

    The intervals (limits included) are those of the first guess, `priors.prior_intervals`.

    Parameters
    ----------
    labels : (N, L) of the library, in the order of the emulator's
    """
    scaled = emulator.to_scaled(labels)
    counts = np.empty(len(labels), dtype=np.int64)
    for first in range(0, len(labels), _CELLS):
        rows = slice(first, first + _CELLS)
        low, high = priors.prior_intervals(emulator, labels[rows])
        inside = np.ones((len(low), len(scaled)), dtype=bool)
        for label in range(scaled.shape[1]):
            values = scaled[:, label]
            inside &= (values >= low[:, label, None]) & (values <= high[:, label, None])
        counts[rows] = inside.sum(axis=1)
    return counts


def prior_counts_table(teff: NDArray[np.floating], counts: NDArray[np.int64]) -> pd.DataFrame:
    """Share of the intervals with more than `ENOUGH` library stars, for all and for each bin of Teff.

    Returns one row per subset: `subset n median above` (`above` is a share, NaN where there is no star).
    """
    bins = teff_bin(teff)
    subsets = {"all": np.ones(len(teff), dtype=bool)}
    subsets |= {name: bins == number for number, name in enumerate(TEFF_BINS)}
    rows = []
    for name, members in subsets.items():
        inside = counts[members]
        known = len(inside) > 0
        rows.append(
            {
                "subset": name,
                "n": len(inside),
                "median": float(np.median(inside)) if known else np.nan,
                "above": float((inside > ENOUGH).mean()) if known else np.nan,
            }
        )
    return pd.DataFrame(rows)


# Groups


def sizes_below(n: int, sizes: Iterable[int]) -> list[int]:
    """Those of the group sizes that `n` stars can tell apart: the first that takes all of them is the last."""
    ordered = sorted(set(sizes))
    return [size for i, size in enumerate(ordered) if i == 0 or ordered[i - 1] < n]


def draw_groups(n: int, size: int, count: int, seed: Sequence[int]) -> list[slice]:
    """At most `count` of the full groups that n sorted stars are cut into, at random, in their order.

    Without a full group it is all stars, when there are any.
    """
    whole = [part for part in search.group_slices(n, size) if part.stop - part.start == size]
    if not whole:
        return search.group_slices(n, max(n, 1))
    chosen = np.random.default_rng(list(seed)).permutation(len(whole))[:count]
    return [whole[i] for i in np.sort(chosen)]


# Figure 3


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
    sizes : N_group; of those above a type's number of stars the smallest stands for all stars
    n_groups : groups that are drawn of each size

    Returns
    -------
    one row per form, type, size and t: `form spectral_type n_group n_groups matches low high`, the medians
    over the groups of the smallest and largest d_1 of the candidates, divided by sqrt(N_group). Q has
    orthonormal rows, so d_1 grows as sqrt(N_group) and only this quotient can be compared between sizes.
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
                        reduced = search.reduce_labels(candidates[group].swapaxes(0, 1), variance, form)
                        # Without any variance there is no coordinate, and nothing to be searched.
                        limits.append((reduced.low[0], reduced.high[0]) if len(reduced.low) else (0.0, 0.0))
                    low, high = np.median(limits, axis=0) / np.sqrt(number)
                    rows.append((form, spectral_type, number, len(groups), t, low, high))
    return pd.DataFrame(
        rows, columns=["form", "spectral_type", "n_group", "n_groups", "matches", "low", "high"]
    )


def _possible(matches: Iterable[int], n_library: int) -> list[int]:
    return [t for t in sorted(set(matches)) if t <= n_library]


# Figures 8 and 9


def reproduction_errors(
    candidates: NDArray[np.floating], variance: float, form: Form, seed: Sequence[int]
) -> NDArray[np.float64]:
    """Theta Q+ Q - Theta on candidates that Q was not made of (L24 section 4.2.2 item 1).

    The t candidates are dealt at random into five parts; Q comes from four of them.

    Parameters
    ----------
    candidates : (t, N, L) labels, t >= 5
    variance, form : of the components, `grouped.reduce_labels`; `centred` takes the mean of the four
        parts off both, `published` takes nothing off

    Returns
    -------
    (t // 5, 5, N, L) errors, second axis the part that was left out. Up to four candidates, drawn at
    random, are left out altogether where t is not a multiple of 5.

    Raises
    ------
    ValueError
        for fewer than five candidates.
    """
    t, n, n_labels = candidates.shape
    if t < FOLDS:
        raise ValueError(f"{t} candidates cannot be dealt into {FOLDS} parts")
    theta = np.asarray(candidates, dtype=np.float64)
    share = t // FOLDS
    parts = np.random.default_rng(list(seed)).permutation(t)[: share * FOLDS].reshape(FOLDS, share)
    errors = np.empty((share, FOLDS, n, n_labels))
    for number, part in enumerate(parts):
        others = theta[np.sort(np.delete(parts, number, axis=0).ravel())]
        basis = search.reduce_labels(others, variance, form).basis
        q = basis.reshape(len(basis), n * n_labels)
        centre = others.mean(axis=0) if form == "centred" else np.zeros((n, n_labels))
        rest = (theta[part] - centre).reshape(share, -1)
        errors[:, number] = (rest @ np.linalg.pinv(q) @ q - rest).reshape(share, n, n_labels)
    return errors


def grouping_errors(
    candidates: Mapping[str, NDArray[np.floating]],
    size: int,
    n_groups: int,
    variance: float,
    form: Form,
    seed: int,
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Standard deviation of the reproduction error, stars grouped by their priors and at random (Figure 8).

    Parameters
    ----------
    candidates : spectral type -> (n, t, L) labels of the candidates, stars sorted
    size, n_groups : stars in a group, half of a type's stars where there are fewer than twice as many; at
        most so many groups of each kind and type

    Returns
    -------
    (pool of `POOLS`, grouping) -> (columns, L), one row per star, group and part. Groupings: `prior` is the
    published one; `random` are stars of the same type in any order, the same number of groups; `any type`
    are as many groups of stars of all types, whose columns are counted to the star's own pool.
    """
    found: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    total = 0

    def add(pool: str, grouping: str, errors: NDArray[np.float64]) -> None:
        spread = errors.std(axis=0)
        found.setdefault((pool, grouping), []).append(spread.reshape(-1, spread.shape[-1]))

    for spectral_type, labels in candidates.items():
        if not len(labels):
            continue
        # A group of all stars is the same however it is made.
        own = min(size, max(len(labels) // 2, 1))
        groups = draw_groups(len(labels), own, n_groups, [seed, size])
        total += len(groups)
        for number, group in enumerate(groups):
            draw = [seed, number, *spectral_type.encode()]
            members = np.random.default_rng(draw).permutation(len(labels))[: group.stop - group.start]
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


QUANTILES = (5, 25, 50, 75, 95)


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
    """Median absolute reproduction error of Teff in each column, against the number of candidates (Figure 9).

    Returns one row per pool of `POOLS` and t: `pool matches n q05 q25 q50 q75 q95 inside`. The quantiles (K)
    are over the n columns (star, group and part); `inside` is the share of candidates in the prior intervals
    about the first match.
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
                found.setdefault(POOLS[spectral_type], []).append(np.median(np.abs(errors), axis=0).ravel())
        for pool, parts in found.items():
            medians = np.concatenate(parts)
            quantiles = np.percentile(medians, QUANTILES)
            rows.append((pool, t, len(medians), *quantiles, np.mean(shares[pool])))
    names = [f"q{q:02d}" for q in QUANTILES]
    table = pd.DataFrame(rows, columns=["pool", "matches", "n", *names, "inside"])
    return table.sort_values(["pool", "matches"], ignore_index=True)


def _share_inside(emulator: Emulator, candidates: NDArray[np.float64]) -> float:
    low, high = priors.prior_intervals(emulator, candidates[:, 0])
    scaled = emulator.to_scaled(candidates.reshape(-1, candidates.shape[2])).reshape(candidates.shape)
    return float(((scaled >= low[:, None]) & (scaled <= high[:, None])).all(axis=2).mean())


# Figure 4


def trial_positions(n: int, count: int) -> NDArray[np.int64]:
    """Positions of at most `count` of n sorted stars, evenly spaced from the coolest to the hottest."""
    return np.unique(np.linspace(0, n - 1, min(count, n)).round().astype(np.int64))


def trial_fits(
    emulator: Emulator,
    sample: Sample,
    library_labels: NDArray[np.floating],
    sizes: Sequence[int],
    trial: NDArray[np.int64],
    settings: search.GroupedSettings,
    seed: int,
    spectral_type: str,
) -> pd.DataFrame:
    """Labels of the same stars when they are fitted in groups of different sizes.

    Of the groups that all stars are cut into, those with a star of the trial are fitted.

    Parameters
    ----------
    sizes : N_group; 1 fits each star alone
    trial : positions (m,) in the sample of the stars that count

    Returns
    -------
    one row per size and star of the trial: `n_group row size seconds` and the labels; `row` is the star's in
    the sample's arrays, `size` the stars of its group, `seconds` the processor time for one star of it.
    """
    candidates = sample.candidates(emulator, library_labels, settings.matches)
    parts = []
    for size in sizes_below(len(sample), sizes):
        for number, group in enumerate(search.group_slices(len(sample), size)):
            members = trial[(trial >= group.start) & (trial < group.stop)]
            if not len(members):
                continue
            started = time.process_time()
            fit = search.fit_group(
                emulator,
                sample.components[group],
                sample.residual[group],
                candidates[group],
                settings,
                search.group_seed(seed, spectral_type, number),
            )
            stars = group.stop - group.start
            table = pd.DataFrame(fit.labels[members - group.start], columns=list(emulator.label_names))
            table.insert(0, "n_group", size)
            table.insert(1, "row", sample.rows[members])
            table.insert(2, "size", stars)
            table.insert(3, "seconds", (time.process_time() - started) / stars)
            table["first_teff"] = candidates[members, 0, 0]
            parts.append(table)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def library_trial(
    emulators: Iterable[tuple[Emulator, NDArray[np.integer], NDArray[np.integer]]],
    library: SpectralLibrary,
    sizes: Sequence[int],
    n_trial: int,
    settings: search.GroupedSettings,
    seed: int,
) -> pd.DataFrame:
    """Library stars fitted in groups, with the labels that the library has for them.

    Parameters
    ----------
    emulators : emulator, the rows of the library that it and the candidates are from, and the rows that are
        fitted: folds when these are different (`fold_rows`), in sample when they are the same
    n_trial : stars of a type that count, over all folds together

    Returns
    -------
    `trial_fits` of all types with `spectral_type` and `teff_true`, for the sizes that every fold has. Groups
    are of one type, as the survey's; it is that of the first match, as it must be known before the labels.
    """
    labels = library.label_array()
    folds = list(emulators)
    parts = []
    for emulator, train, test in folds:
        everyone = make_sample(
            emulator,
            library.flux[test],
            library.ivar[test],
            library.ids[test],
            library.flux[train],
            labels[train],
        )
        types = spectral_type_of(labels[train][everyone.similarity.argmax(axis=1), 0])
        for spectral_type in POOLS:
            sample = everyone.part(np.flatnonzero(types == spectral_type))
            if not len(sample):
                continue
            trial = trial_positions(len(sample), -(-n_trial // len(folds)))
            table = trial_fits(emulator, sample, labels[train], sizes, trial, settings, seed, spectral_type)
            table["spectral_type"] = spectral_type
            table["teff_true"] = labels[test[table["row"]], 0]
            parts.append(table)
    fits = pd.concat(parts, ignore_index=True)
    # Folds have different numbers of stars; a size that some of them do not reach is not compared.
    complete = fits.groupby(["spectral_type", "n_group"])["row"].transform("size")
    return fits[complete == complete.groupby(fits["spectral_type"]).transform("max")].reset_index(drop=True)


def fold_rows(
    ids: NDArray[np.str_], folds: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows to train on and rows left out, for each fold that has any; visits of a star stay together."""
    fold = folds_by_star(ids, folds, seed)
    for number in range(folds):
        if (fold == number).any():
            yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def group_size_table(fits: pd.DataFrame, sample: str, reference: str | None) -> pd.DataFrame:
    """Dispersion of Teff and time against group size.

    Parameters
    ----------
    fits : rows of `trial_fits` with `spectral_type`
    sample : what the rows are called in the table
    reference : column with the Teff to compare with; None compares with the fit of each star alone (the
        rows with `n_group` 1)

    Returns
    -------
    one row per type and size: `sample spectral_type n_group size n offset sigma robust_sigma sigma_first
    robust_first seconds_per_1000`. Differences are in K; `_first` are those of the first match; `size` is the
    mean number of stars in the groups, less than `n_group` where a type has fewer; the time is the mean over
    the stars of the trial, which are evenly spaced among all.
    """
    rows = []
    for spectral_type, mine in fits.groupby("spectral_type", sort=False):
        alone = mine[mine["n_group"] == 1].set_index("row")["teff"]
        for size, table in mine.groupby("n_group"):
            truth = alone.loc[table["row"]].to_numpy() if reference is None else table[reference].to_numpy()
            difference = table["teff"].to_numpy() - truth
            first = table["first_teff"].to_numpy() - truth
            rows.append(
                {
                    "sample": sample,
                    "spectral_type": spectral_type,
                    "n_group": size,
                    "size": float(table["size"].mean()),
                    "n": len(table),
                    "offset": float(difference.mean()),
                    "sigma": float(difference.std()),
                    "robust_sigma": robust_sigma(difference),
                    "sigma_first": float(first.std()),
                    "robust_first": robust_sigma(first),
                    "seconds_per_1000": 1000.0 * float(table["seconds"].mean()),
                }
            )
    return pd.DataFrame(rows)


# Figures 5 and 6


def emulator_uncertainty(emulator: Emulator, spectral_type: str) -> NDArray[np.float64]:
    """Standard deviation (p,) of a library spectrum of a type about the emulator, as the emulator knows it.

    The diagonal of B cov B' (L24 equation 1) with the covariance of the emulator's error, which contains what
    the process is unsure of, plus the variance that the components leave out. The library's noise is in neither.
    """
    covariance = emulator.discrepancy[spectral_type]
    variance = ((covariance @ emulator.basis) * emulator.basis).sum(axis=0)
    return np.sqrt(variance + emulator.truncation[spectral_type])


class FluxComparison:
    """Emulated against library flux in bins of Teff, added up over batches of spectra.

    Attributes
    ----------
    counts : (4, 200, 200) pixels by bin of Teff, library flux and emulated flux, both in `FLUX_BINS`
    """

    def __init__(self) -> None:
        bins = len(TEFF_BINS)
        self.counts = np.zeros((bins, len(FLUX_BINS) - 1, len(FLUX_BINS) - 1), dtype=np.int64)
        self._differences = np.zeros((bins, len(_DIFFERENCES) - 1), dtype=np.int64)
        self._sums = np.zeros((bins, 5))
        self._spectra = np.zeros(bins, dtype=np.int64)

    def add(self, emulator: Emulator, library: SpectralLibrary, rows: NDArray[np.integer]) -> None:
        """Compare some of the library's spectra (rows) with what `emulator` makes of their labels."""
        labels = library.label_array()[rows]
        bins, types = teff_bin(labels[:, 0]), spectral_type_of(labels[:, 0])
        sigma = {str(name): emulator_uncertainty(emulator, name) for name in np.unique(types)}
        for number in np.unique(bins):
            members = np.flatnonzero(bins == number)
            for first in range(0, len(members), _BATCH):
                batch = members[first : first + _BATCH]
                flux = library.flux[rows[batch]][:, emulator.pixels]
                ivar = library.ivar[rows[batch]][:, emulator.pixels]
                good = ivar > 0
                own = np.array([sigma[name] for name in types[batch]])[good]
                expected = np.sqrt(own**2 + 1.0 / ivar[good])
                self._add(int(number), flux[good], emulator.spectra(labels[batch])[good], expected)
            self._spectra[number] += len(members)

    def _add(
        self,
        number: int,
        flux: NDArray[np.floating],
        model: NDArray[np.float64],
        sigma: NDArray[np.float64],
    ) -> None:
        difference = model - flux
        self._sums[number] += [
            len(flux),
            difference.sum(),
            (difference**2).sum(),
            ((difference / sigma) ** 2).sum(),
            np.count_nonzero(np.abs(difference) < 0.03),
        ]
        self.counts[number] += np.histogram2d(flux, model, bins=(FLUX_BINS, FLUX_BINS))[0].astype(np.int64)
        self._differences[number] += np.histogram(difference, bins=_DIFFERENCES)[0]

    def table(self, sample: str) -> pd.DataFrame:
        """Emulated minus library flux per bin of Teff.

        Returns rows `sample teff_bin n_spectra n_pixels mean sigma middle within pull`: `middle` is half the
        width of the middle 68.3 % of the differences, `within` the share of pixels whose difference is below
        0.03, `pull` the root mean square of the difference in units of `emulator_uncertainty` and the
        spectrum's noise.
        """
        rows = []
        for number, name in enumerate(TEFF_BINS):
            n, total, squares, pulls, within = self._sums[number]
            if n == 0:
                continue
            share = np.cumsum(self._differences[number]) / max(self._differences[number].sum(), 1)
            low, high = np.interp([0.1585, 0.8415], share, _DIFFERENCES[1:])
            rows.append(
                {
                    "sample": sample,
                    "teff_bin": name,
                    "n_spectra": int(self._spectra[number]),
                    "n_pixels": int(n),
                    "mean": total / n,
                    "sigma": float(np.sqrt(max(squares / n - (total / n) ** 2, 0.0))),
                    "middle": 0.5 * (high - low),
                    "within": within / n,
                    "pull": float(np.sqrt(pulls / n)),
                }
            )
        return pd.DataFrame(rows)


def example_rows(teff: NDArray[np.floating]) -> list[int]:
    """For each bin of Teff with stars, the row of the star at the bin's median Teff."""
    bins, rows = teff_bin(teff), []
    for number in range(len(TEFF_BINS)):
        members = np.flatnonzero(bins == number)
        if len(members):
            order = members[np.argsort(teff[members], kind="stable")]
            rows.append(int(order[len(order) // 2]))
    return rows
