"""The spectra of a training set: those of the chosen rows that can be used."""

import logging
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.progress import Progress
from lamostvac.core.rejection import REASONS, SpectrumRejected
from lamostvac.spectra.chunk import NEEDED
from lamostvac.spectra.identity import check_header
from lamostvac.spectra.network_grid import (
    NetworkPreparation,
    prepare_network_spectrum,
    seen_pixels,
)
from lamostvac.spectra.reader import read_spectrum
from lamostvac.spectra.settings import HeaderTolerances
from lamostvac.training.accounting import Accounting
from lamostvac.training.schema import TrainingSet
from lamostvac.training.split import by_quality, choose, split_stars, training_table

Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]


def usable_spectra(
    table: pd.DataFrame,
    entry: TrainingSet,
    preparation: NetworkPreparation,
    tolerances: HeaderTolerances,
    log: logging.Logger,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """The usable spectra of the chosen rows; with `spectra: best` the best usable one of each star.

    A spectrum is not usable when its file is rejected, as in the survey (also where its header
    contradicts the catalogue by more than `tolerances`), or when more than `max_bad_fraction` of
    the pixels that the set's networks see are bad. The log gives the unusable ones and their number
    for each reason.

    Returns
    -------
    rows : (n,) of the table, increasing
    flux, ivar : (n, n_pixels)
    """
    place = by_quality(table)
    best = entry.spectra == "best"
    star = np.asarray(table["star"])
    records: list[Any] = list(table[NEEDED].itertuples(index=False))
    progress = Progress(
        log, int((place == 0).sum()) if best else len(table), "stars" if best else "spectra"
    )
    seen = seen_pixels(preparation, entry.network.windows)
    usable: dict[int, Arrays] = {}
    done: set[int] = set()
    rejected: Counter[str] = Counter()
    for number in np.lexsort((place, star)).tolist():
        if best and star[number] in done:
            continue
        row = records[number]
        try:
            flux, ivar = _read(row, preparation, tolerances)
        except SpectrumRejected as rejection:
            log.info("rejected %s (%s): %s", row.spectrum_id, row.path, rejection)
            rejected[REASONS[rejection.reason]] += 1
            continue
        bad = float(np.mean(ivar[seen] <= 0))
        if bad > entry.max_bad_fraction:
            log.info("rejected %s: %.1f %% of its pixels are bad", row.spectrum_id, 100 * bad)
            rejected["more bad pixels than max_bad_fraction"] += 1
            continue
        usable[number] = (flux, ivar)
        done.add(int(star[number]))
        progress.add()
    progress.done()
    for reason, count in sorted(rejected.items()):
        log.info("%d rejected: %s", count, reason)
    rows = np.array(sorted(usable), np.int64)
    shape = (len(rows), preparation.n_pixels)
    fluxes, ivars = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for index, number in enumerate(rows.tolist()):
        # One by one, so that they are not in memory twice.
        fluxes[index], ivars[index] = usable.pop(number)
    return rows, fluxes, ivars


def _read(row: Any, preparation: NetworkPreparation, tolerances: HeaderTolerances) -> Arrays:
    """Flux and ivar (n_pixels,) of one row; `SpectrumRejected` where its file is not good."""
    spectrum = read_spectrum(row.path)
    check_header(spectrum.header, row, tolerances)
    return prepare_network_spectrum(
        spectrum.wave, spectrum.flux, spectrum.ivar, row.redshift, preparation
    )


def own_set(
    candidates: pd.DataFrame,
    entry: TrainingSet,
    preparation: NetworkPreparation,
    tolerances: HeaderTolerances,
    accounting: Accounting,
    seed: int,
    log: logging.Logger,
) -> tuple[pd.DataFrame, NDArray[np.float32], NDArray[np.float32]]:
    """A set with a catalogue of its own: cuts, usable spectra, split.

    Parameters
    ----------
    candidates : a row for each spectrum of a star of the catalogue
    tolerances : between headers and catalogue, as in the survey
    accounting : gets a row for each step
    seed : of the run, for the split

    Returns
    -------
    table : (n rows) the set as it can be published
    flux, ivar : (n, n_pixels)
    """
    assert entry.split is not None  # the schema requires it where there is a catalogue
    chosen, labels = choose(candidates, entry, accounting)
    rows, flux, ivar = usable_spectra(chosen, entry, preparation, tolerances, log)
    chosen = chosen.iloc[rows].reset_index(drop=True)
    labels = labels.iloc[rows].reset_index(drop=True)
    step = "best usable spectrum" if entry.spectra == "best" else "usable spectra"
    accounting.count(step, f"bad pixels <= {entry.max_bad_fraction:g}", chosen)
    split = split_stars(chosen, entry.split, seed, f"training set {entry.name}")
    kept = split != ""
    table = training_table(chosen[kept], labels[kept], split[kept], entry)
    return table, flux[kept], ivar[kept]
