"""The grouped search with other group sizes (Liang et al. 2024, section 4.2)."""

import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.vocabulary import spectral_type_of
from lamostvac.emulator.model import Emulator
from lamostvac.experiments.pools import (
    POOLS,
    sizes_below,
)
from lamostvac.experiments.sample import Sample, make_sample
from lamostvac.fit.crossvalidation import folds_by_star
from lamostvac.grouped import search
from lamostvac.grouped.settings import GroupedSettings
from lamostvac.library.library import SpectralLibrary
from lamostvac.numerics.statistics import robust_sigma

N_DR10 = 11_473_644  # stellar spectra whose labels L24 determined


def trial_positions(n: int, count: int) -> NDArray[np.int64]:
    """Positions of at most `count` of n sorted stars, evenly spaced from the coolest to the
    hottest.
    """
    return np.unique(np.linspace(0, n - 1, min(count, n)).round().astype(np.int64))


def trial_fits(
    emulator: Emulator,
    sample: Sample,
    library_labels: NDArray[np.floating],
    sizes: Sequence[int],
    trial: NDArray[np.int64],
    settings: GroupedSettings,
    seed: int,
    spectral_type: str,
) -> pd.DataFrame:
    """Labels of the same stars when they are fitted in groups of different sizes.

    All stars are cut into groups, and those groups with a star of the trial are fitted.

    Parameters
    ----------
    sizes : N_group; 1 fits each star alone
    trial : positions (m,) in the sample of the stars to compare

    Returns
    -------
    one row per size and star of the trial: `n_group row size seconds` and the labels; `row` is the
    star's in the sample's arrays, `size` the stars of its group, `seconds` the processor time for
    one star of it.
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
            table = pd.DataFrame(
                fit.labels[members - group.start], columns=list(emulator.label_names)
            )
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
    settings: GroupedSettings,
    seed: int,
) -> pd.DataFrame:
    """Library stars fitted in groups, with the labels that the library has for them.

    Parameters
    ----------
    emulators : emulator, the rows of the library used for it and for the candidates, and the rows
        that are fitted: different rows for folds (`fold_rows`), the same rows for a fit in sample
    n_trial : stars of a type to compare, in all folds together

    Returns
    -------
    `trial_fits` of all types with `spectral_type` and `teff_true`, for the sizes that every fold
    has. Groups are of one type, as in the survey; it is the type of the first match, because it
    must be known before the labels.
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
            table = trial_fits(
                emulator, sample, labels[train], sizes, trial, settings, seed, spectral_type
            )
            table["spectral_type"] = spectral_type
            table["teff_true"] = labels[test[table["row"]], 0]
            parts.append(table)
    fits = pd.concat(parts, ignore_index=True)
    # Folds have different numbers of stars; a size that is too large for some of them is not
    # compared.
    complete = fits.groupby(["spectral_type", "n_group"])["row"].transform("size")
    return fits[complete == complete.groupby(fits["spectral_type"]).transform("max")].reset_index(
        drop=True
    )


def fold_rows(
    ids: NDArray[np.str_], folds: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows to train on and rows left out, for each fold with any; a star's visits stay together."""
    fold = folds_by_star(ids, folds, seed)
    for number in range(folds):
        if (fold == number).any():
            yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def group_size_table(fits: pd.DataFrame, sample: str, reference: str | None) -> pd.DataFrame:
    """Dispersion of Teff and time against group size.

    Parameters
    ----------
    fits : rows of `trial_fits` with `spectral_type`
    sample : name of the rows in the table
    reference : column with the Teff to compare with; None compares with the fit of each star alone
        (the rows with `n_group` 1)

    Returns
    -------
    one row per type and size: `sample spectral_type n_group size n offset sigma robust_sigma
    sigma_first robust_first
    seconds_per_1000`. Differences are in K; `_first` are those of the first match; `size` is the
    mean number of stars in the groups, less than `n_group` where a type has fewer; the time is the
    mean over the stars of the trial, which are evenly spaced among all.
    """
    rows = []
    for spectral_type, mine in fits.groupby("spectral_type", sort=False):
        alone = mine[mine["n_group"] == 1].set_index("row")["teff"]
        for size, table in mine.groupby("n_group"):
            truth = (
                alone.loc[table["row"]].to_numpy()
                if reference is None
                else table[reference].to_numpy()
            )
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
