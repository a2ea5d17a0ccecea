"""Labels of a chunk's stars, with errors, misfit and status; a few model spectra for the report."""

from collections import Counter
from typing import Any

import h5py
import numpy as np

from lamostvac.emulator import label_columns, read_emulator
from lamostvac.errors import REASONS
from lamostvac.files import atomic_hdf5, read_columns, rejected_table, write_columns
from lamostvac.grouping import fit_at, read_labels
from lamostvac.log import Progress, rule_log
from lamostvac.refine import STATUS_NAMES
from lamostvac.starfit import FitSettings, StarFits, fit_stars

BATCH = 1024
N_EXAMPLES = 3
LABELS = ("teff", "logg", "feh", "alpha_fe")


def fit_columns(names: tuple[str, ...], fits: StarFits) -> dict[str, np.ndarray]:
    """Columns of the fit; labels that the library does not have are NaN."""
    missing = np.full(len(fits.status), np.nan)
    columns = {f"{label}{suffix}": missing for label in LABELS for suffix in ("", "_err", "_cfi")}
    columns |= label_columns(names, fits.labels) | label_columns(names, fits.errors, "_err")
    return columns | {
        "chi2": fits.chi2,
        "chi2_first": fits.chi2_first,
        "n_pixels": fits.n_pixels.astype(np.int32),
        "n_iterations": fits.n_iterations.astype(np.int32),
        "fit_status": fits.status,
    }


def main(snakemake: Any) -> None:
    """Inputs `spectra project emulator grouped`, the last one empty without a grouped search."""
    log = rule_log(snakemake)
    settings = FitSettings(**snakemake.params.settings)
    emulator = read_emulator(snakemake.input.emulator)
    factor = emulator.discrepancy_scale[snakemake.wildcards.type]
    with h5py.File(snakemake.input.project) as handle:
        starts = handle["starts"][()]
        first_guess = read_columns(handle["first_guess"])
    method, stars = snakemake.params.method, None
    if method != "refine":
        stars = read_labels(
            snakemake.input.grouped, snakemake.wildcards.chunk, first_guess["spectrum_id"].tolist()
        )
        starts = stars.labels[:, None]

    def fit(flux: np.ndarray, ivar: np.ndarray, rows: slice) -> StarFits:
        if method == "grouped":
            return fit_at(emulator, flux, ivar, stars[rows], factor, settings)
        return fit_stars(emulator, flux, ivar, starts[rows], factor, settings)

    parts = []
    with h5py.File(snakemake.input.spectra) as handle:
        progress = Progress(log, len(starts), "spectra")
        for first in range(0, len(starts), BATCH):
            batch = slice(first, first + BATCH)
            parts.append(fit(handle["flux"][batch], handle["ivar"][batch], batch))
            progress.add(len(parts[-1].status))
        # The least noisy of the first batch show best what the model can and cannot do.
        noise = np.median(1.0 / np.maximum(handle["ivar"][:BATCH], 1e-6), axis=1)
        examples = np.sort(np.argsort(noise, kind="stable")[:N_EXAMPLES])
        example_flux, example_ivar = handle["flux"][examples], handle["ivar"][examples]
    if not parts:
        parts = [fit(example_flux, example_ivar, slice(0, 0))]
    fits = StarFits(
        **{name: np.concatenate([getattr(p, name) for p in parts]) for name in StarFits.__dataclass_fields__}
    )
    columns = {"spectrum_id": first_guess["spectrum_id"].to_numpy(), "obsid": first_guess["obsid"].to_numpy()}
    columns |= fit_columns(emulator.label_names, fits)
    columns |= {name: first_guess[name].to_numpy() for name in first_guess.columns if name.endswith("_cfi")}
    if stars is not None:
        columns["fit_group"] = stars.fit_group
    # An error that cannot be computed means that the spectrum does not constrain the labels; without a
    # pixel in the emulator's range it is the prior alone that does.
    failed = ~(np.isfinite(fits.labels).all(axis=1) & np.isfinite(fits.errors).all(axis=1))
    failed |= fits.n_pixels == 0
    rejected = [
        (columns["spectrum_id"][i], columns["obsid"][i], "fit", "fit_failed", "labels not constrained")
        for i in np.flatnonzero(failed)
    ]
    for row in rejected:
        log.info("rejected %s: %s", row[0], REASONS[row[3]])
    with atomic_hdf5(snakemake.output[0]) as handle:
        write_columns(handle.create_group("fit"), {name: values[~failed] for name, values in columns.items()})
        write_columns(handle.create_group("rejected"), rejected_table(rejected))
        shown = ~failed[examples]
        stars = examples[shown]
        models = np.ones((len(stars), len(emulator.pixels)), dtype=np.float32)
        if len(stars):
            models[:, emulator.pixels] = emulator.spectra(fits.labels[stars])
        group = handle.create_group("examples")
        write_columns(group, {"spectrum_id": columns["spectrum_id"][stars]})
        group.create_dataset("flux", data=example_flux[shown], track_times=False)
        group.create_dataset("model", data=models, track_times=False)
        group.create_dataset("used", data=(example_ivar[shown] > 0) & emulator.pixels, track_times=False)
    progress.done()
    counts = Counter(int(code) for code in fits.status[~failed])
    log.info(", ".join(f"{counts[code]} {name}" for code, name in enumerate(STATUS_NAMES)))
    log.info("%d in, %d accepted, %d rejected", len(starts), np.count_nonzero(~failed), len(rejected))


if __name__ == "__main__":
    main(snakemake)
