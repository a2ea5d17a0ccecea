"""Labels of a chunk's stars, with errors, misfit and status; a few model spectra for the report."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from lamostvac.core.hdf5 import atomic_hdf5, read_columns, write_columns
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.manifest import rejected_table
from lamostvac.core.progress import Progress
from lamostvac.core.rejection import REASONS
from lamostvac.core.vocabulary import LABELS, STATUS_NAMES
from lamostvac.emulator.model import label_columns, read_emulator
from lamostvac.fit.fitter import FitSettings, StarFits, StarFitter, join
from lamostvac.grouped.groups import fit_at, read_labels
from lamostvac.spectra.chunk import open_prepared

BATCH = 1024
N_EXAMPLES = 3


def fit_columns(names: tuple[str, ...], fits: StarFits) -> dict[str, np.ndarray]:
    """Columns of the fit; labels that the library does not have are NaN."""
    missing = np.full(len(fits.status), np.nan)
    columns = {
        f"{label}{suffix}": missing
        for label in LABELS
        for suffix in ("", "_err", "_random", "_first")
    }
    columns |= label_columns(names, fits.labels) | label_columns(names, fits.errors, "_err")
    columns |= label_columns(names, fits.random, "_random") | label_columns(
        names, fits.first, "_first"
    )
    return columns | {
        "chi2": fits.chi2,
        "chi2_first": fits.chi2_first,
        "n_pixels": fits.n_pixels.astype(np.int32),
        "n_outliers": fits.n_outliers.astype(np.int32),
        "outlier_fraction": fits.n_outliers / np.maximum(fits.n_pixels + fits.n_outliers, 1),
        "n_iterations": fits.n_iterations.astype(np.int32),
        "fit_status": fits.status,
    }


def main(snakemake: Job) -> None:
    """Inputs `meta emulator grouped`, the last one empty without a grouped search."""
    log = rule_log(snakemake)
    params, wildcards = snakemake.params, snakemake.wildcards
    settings = FitSettings(**params.settings)
    if params.method == "grouped":
        settings = replace(settings, max_iterations=0, outlier_sigma=0.0)
    emulator = read_emulator(snakemake.input.emulator)
    fitter = StarFitter(emulator, settings)
    with open_prepared(**params.prepared, log=log) as handle:
        identity = read_columns(handle["meta"], ["spectrum_id", "obsid"])
        stars = None
        if params.method != "refine":
            stars = read_labels(
                snakemake.input.grouped, wildcards.chunk, identity["spectrum_id"].tolist()
            )
        progress = Progress(log, len(identity), "spectra")
        parts = []
        for first in range(0, max(len(identity), 1), BATCH):
            rows = slice(first, first + BATCH)
            flux, ivar = handle["flux"][rows], handle["ivar"][rows]
            if stars is None:
                parts.append(fitter.fit(flux, ivar, wildcards.type))
            elif params.method == "grouped":
                parts.append(fit_at(fitter, flux, ivar, stars[rows], wildcards.type))
            else:
                parts.append(fitter.fit(flux, ivar, wildcards.type, stars[rows].labels[:, None]))
            progress.add(len(flux))
        # The least noisy of the first batch show best what the model can and cannot do.
        noise = np.median(1.0 / np.maximum(handle["ivar"][:BATCH], 1e-6), axis=1)
        examples = np.sort(np.argsort(noise, kind="stable")[:N_EXAMPLES])
        example_flux, example_ivar = handle["flux"][examples], handle["ivar"][examples]
    fits = join(parts)
    columns = {name: identity[name].to_numpy() for name in ("spectrum_id", "obsid")}
    columns |= fit_columns(emulator.label_names, fits)
    if stars is not None:
        columns["fit_group"] = stars.fit_group
    # An error that cannot be computed means that the spectrum does not constrain the labels; without a
    # pixel in the emulator's range it is the prior alone that does.
    unknown = ~(np.isfinite(fits.labels).all(axis=1) & np.isfinite(fits.errors).all(axis=1))
    unknown |= fits.n_pixels == 0
    seen = np.maximum(fits.n_pixels + fits.n_outliers, 1)
    spoiled = ~unknown & (fits.n_outliers > params.max_outlier_fraction * seen)
    failed = unknown | spoiled
    rejected = [
        (
            columns["spectrum_id"][i],
            columns["obsid"][i],
            "fit",
            "fit_failed" if unknown[i] else "too_many_outliers",
            "labels not constrained" if unknown[i] else f"{fits.n_outliers[i]} of {seen[i]} pixels",
        )
        for i in np.flatnonzero(failed)
    ]
    for row in rejected:
        log.info("rejected %s: %s", row[0], REASONS[row[3]])
    with atomic_hdf5(snakemake.output[0]) as handle:
        write_columns(
            handle.create_group("fit"), {name: values[~failed] for name, values in columns.items()}
        )
        write_columns(handle.create_group("rejected"), rejected_table(rejected))
        shown = ~failed[examples]
        best = examples[shown]
        models = np.ones((len(best), len(emulator.pixels)), dtype=np.float32)
        if len(best):
            models[:, emulator.pixels] = emulator.spectra(fits.labels[best])
        group = handle.create_group("examples")
        write_columns(group, {"spectrum_id": columns["spectrum_id"][best]})
        group.create_dataset("flux", data=example_flux[shown], track_times=False)
        group.create_dataset("model", data=models, track_times=False)
        group.create_dataset(
            "used", data=(example_ivar[shown] > 0) & emulator.pixels, track_times=False
        )
    if params.last:
        Path(params.prepared["spectra"]).unlink(missing_ok=True)
    progress.done()
    counts = Counter(int(code) for code in fits.status[~failed])
    log.info(", ".join(f"{counts[code]} {name}" for code, name in enumerate(STATUS_NAMES)))
    log.info(
        "%d spectra with outliers, %d pixels of them left out",
        np.count_nonzero(fits.n_outliers),
        fits.n_outliers.sum(),
    )
    log.info(
        "%d in, %d accepted, %d rejected", len(identity), np.count_nonzero(~failed), len(rejected)
    )


if __name__ == "__main__":
    main(snakemake)
