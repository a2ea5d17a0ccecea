"""From candidates to a training set: cuts, spectra, split, clipping."""

import logging
import os
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import parse
from lamostvac.core.files import sha256
from lamostvac.core.hdf5 import atomic_hdf5
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.core.rejection import REASONS, SpectrumRejected
from lamostvac.spectra.network_grid import NetworkPreparation, prepare_network_spectrum
from lamostvac.spectra.normalise import check_identity
from lamostvac.spectra.reader import read_spectrum
from lamostvac.training.accounting import Accounting
from lamostvac.training.files import read_training, write_training
from lamostvac.training.schema import TrainingSet
from lamostvac.training.split import (
    by_quality,
    child_table,
    choose,
    count_split,
    split_stars,
    training_table,
)

_NEEDED = [
    "spectrum_id",
    "obsid",
    "lmjd",
    "planid",
    "spid",
    "fiberid",
    "z",
    "path",
]  # to read a spectrum


def seen_pixels(entry: TrainingSet, preparation: NetworkPreparation) -> np.ndarray:
    """Which pixels (n_pixels,) the set's networks see."""
    if entry.network.windows is None:
        return np.ones(preparation.n_pixels, bool)
    return preparation.pixels_in(entry.network.windows)


def read_spectra(
    table: pd.DataFrame, entry: TrainingSet, preparation: NetworkPreparation, log: logging.Logger
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Counter[str]]:
    """The usable spectra of the chosen rows; with `spectra: best` the best usable one of each star.

    Returns
    -------
    rows : (n,) of the table, increasing
    flux, ivar : (n, n_pixels) float32
    rejected : how many were not usable, by reason
    """
    seen = seen_pixels(entry, preparation)
    place = by_quality(table)
    best = entry.spectra == "best"
    star = np.asarray(table["star"])
    records = table[_NEEDED].to_dict("records")
    progress = Progress(
        log, int((place == 0).sum()) if best else len(table), "stars" if best else "spectra"
    )
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    done: set[int] = set()
    rejected: Counter[str] = Counter()
    for number in np.lexsort((place, star)).tolist():
        if best and star[number] in done:
            continue
        row = records[number]
        try:
            spectrum = read_spectrum(row["path"])
            check_identity(
                spectrum.header,
                row["lmjd"],
                row["planid"],
                row["spid"],
                row["fiberid"],
                row["obsid"],
            )
            flux, ivar = prepare_network_spectrum(
                spectrum.wave, spectrum.flux, spectrum.ivar, row["z"], preparation
            )
        except SpectrumRejected as rejection:
            log.info("rejected %s (%s): %s", row["spectrum_id"], row["path"], rejection)
            rejected[REASONS[rejection.reason]] += 1
            continue
        bad = float(np.mean(ivar[seen] <= 0))
        if bad > entry.max_bad_fraction:
            log.info("rejected %s: %.1f %% of its pixels are bad", row["spectrum_id"], 100 * bad)
            rejected["more bad pixels than max_bad_fraction"] += 1
            continue
        found[number] = (flux, ivar)
        done.add(int(star[number]))
        progress.add()
    progress.done()
    rows = np.array(sorted(found), np.int64)
    shape = (len(rows), preparation.n_pixels)
    fluxes, ivars = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for place_in, number in enumerate(rows.tolist()):
        fluxes[place_in], ivars[place_in] = found.pop(number)
    return rows, fluxes, ivars, rejected


def clip(
    table: pd.DataFrame,
    flux: np.ndarray,
    ivar: np.ndarray,
    entry: TrainingSet,
    preparation: NetworkPreparation,
    params: Any,
    log: logging.Logger,
) -> pd.DataFrame:
    """The table with `split` set to `binary` or `clipped` for training stars unlike their label."""
    if entry.clip is None:
        return table
    # TensorFlow takes seconds to import, and only such a set needs it.
    from lamostvac.networks.clipping import clip_training
    from lamostvac.networks.problem import TrainingSpectra
    from lamostvac.networks.settings import NetworkTraining

    rows = np.flatnonzero(table["split"] == "train")
    train = table.iloc[rows]
    excepted = np.zeros(len(rows), bool)
    if entry.clip.except_ is not None:
        excepted = parse(entry.clip.except_, f"training set {entry.name}: clip: except").holds(
            train
        )
    layers = entry.network.layers or params.clip["layers"]
    verdict = clip_training(
        train[entry.clip.label].to_numpy(np.float64),
        excepted,
        TrainingSpectra(
            flux[rows], ivar[rows], train["star"].to_numpy(), train["snr"].to_numpy(np.float32)
        ),
        preparation.wave,
        seen_pixels(entry, preparation),
        NetworkTraining(**{**params.clip, "layers": tuple(layers)}),
        zlib.crc32(f"{params.seed} {entry.name} clip".encode()),
        entry.clip.binary_magnitude,
        entry.clip.sigma,
        log=log,
    )
    split = table["split"].to_numpy(dtype=object, copy=True)
    split[rows] = np.where(verdict == "", "train", verdict)
    return table.assign(split=split)


def own_table(
    snakemake: Job, entry: TrainingSet, preparation: NetworkPreparation, log: logging.Logger
) -> Any:
    """Table, flux, ivar and accounting of a set with a catalogue of its own."""
    assert entry.split is not None
    params = snakemake.params
    accounting = Accounting.read(entry.name, snakemake.input.steps)
    candidates = pd.read_parquet(snakemake.input.candidates)
    chosen, labels = choose(candidates, entry, accounting)
    rows, flux, ivar, rejected = read_spectra(chosen, entry, preparation, log)
    for reason, count in sorted(rejected.items()):
        log.info("%d rejected: %s", count, reason)
    chosen, labels = (
        chosen.iloc[rows].reset_index(drop=True),
        labels.iloc[rows].reset_index(drop=True),
    )
    step = "best usable spectrum" if entry.spectra == "best" else "usable spectra"
    accounting.count(step, f"bad pixels <= {entry.max_bad_fraction:g}", chosen)
    split = split_stars(chosen, entry.split, params.seed, f"training set {entry.name}")
    kept = split != ""
    table = training_table(chosen[kept], labels[kept], split[kept], entry)
    flux, ivar = flux[kept], ivar[kept]
    table = clip(table, flux, ivar, entry, preparation, params, log)
    count_split(table, accounting)
    return table, flux, ivar, accounting


def parent_table(snakemake: Job, entry: TrainingSet) -> Any:
    """Table, flux, ivar and accounting of a set that takes its rows from a parent."""
    accounting = Accounting(entry.name)
    table, rows = child_table(read_training(snakemake.input.table), entry, accounting)
    with h5py.File(snakemake.input.spectra) as handle:
        # h5py takes increasing row numbers, which these are.
        flux, ivar = (handle[name][rows] for name in ("flux", "ivar"))
    return table, flux, ivar, accounting


def main(snakemake: Job) -> None:
    """Inputs `candidates steps`, or a parent's `table spectra`; outputs `table spectra cuts`."""
    log = rule_log(snakemake)
    params = snakemake.params
    entry = TrainingSet.model_validate(params.entry)
    # TensorFlow reads these when it is imported.
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(
        snakemake.threads
    )
    preparation = NetworkPreparation.from_settings(**params.preparation)
    if entry.parent is None:
        table, flux, ivar, accounting = own_table(snakemake, entry, preparation, log)
    else:
        table, flux, ivar, accounting = parent_table(snakemake, entry)
    accounting.write(snakemake.output.cuts)
    if not entry.optional and not (table["split"] == "train").any():
        raise UserError(
            f"training set {entry.name}: no star is left to train on; {snakemake.output.cuts} says which cut takes them"
        )
    files = [Path(str(path)) for path in snakemake.input.get("files", [])]
    cards = [("PARENT", entry.parent, "rows and spectra are this set's")] if entry.parent else []
    for number, path in enumerate(files, start=1):
        cards.append((f"FILE{number}", path.name, "input"))
        cards.append((f"SHA{number}", sha256(path), ""))
    write_training(snakemake.output.table, table, entry, cards)
    with atomic_hdf5(snakemake.output.spectra) as handle:
        for name, values in (("flux", flux), ("ivar", ivar)):
            handle.create_dataset(name, data=values, track_times=False)
    counts = table["split"].value_counts()
    log.info(", ".join(f"{name}: {count} spectra" for name, count in counts.sort_index().items()))


if __name__ == "__main__":
    main(snakemake)
