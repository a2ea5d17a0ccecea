"""First guess and principal components of a chunk's spectra."""

from typing import Any

import h5py
import numpy as np

from lamostvac.cfi import weighted_first_guess
from lamostvac.emulator import label_columns, read_emulator
from lamostvac.files import atomic_hdf5, read_columns, write_columns
from lamostvac.library import read_library
from lamostvac.log import Progress, rule_log
from lamostvac.project import project
from lamostvac.starfit import starting_rows

BATCH = 512


def main(snakemake: Any) -> None:
    """Inputs `spectra library emulator`; the output's rows are those of `spectra`."""
    log = rule_log(snakemake)
    emulator = read_emulator(snakemake.input.emulator)
    library = read_library(snakemake.input.library)
    labels, names = library.label_array(), library.label_names
    logg = library.labels["logg"].to_numpy() if "logg" in names else np.full(len(labels), np.inf)
    parts = []
    with h5py.File(snakemake.input.spectra) as handle:
        identity = read_columns(handle["meta"], ["spectrum_id", "obsid"])
        progress = Progress(log, len(identity), "spectra")
        for first in range(0, len(identity), BATCH):
            flux, ivar = handle["flux"][first : first + BATCH], handle["ivar"][first : first + BATCH]
            rows, correlations = starting_rows(emulator, flux, ivar, library.flux, logg)
            guess = weighted_first_guess(correlations, labels, snakemake.params.n_matches)
            parts.append((*project(emulator, flux, ivar), labels[rows], guess, correlations.max(axis=1)))
            progress.add(len(flux))
    shapes = [(emulator.n_components,), (), (2, len(names)), (len(names),), ()]
    stacked = [
        np.concatenate([part[i] for part in parts]) if parts else np.empty((0, *shape))
        for i, shape in enumerate(shapes)
    ]
    components, residual, starts, guess, best = stacked
    with atomic_hdf5(snakemake.output[0]) as handle:
        handle.create_dataset("components", data=components.astype(np.float32), track_times=False)
        handle.create_dataset("starts", data=starts, track_times=False)
        columns = {
            **identity,
            "residual": residual,
            "correlation": best,
            **label_columns(names, guess, "_cfi"),
        }
        write_columns(handle.create_group("first_guess"), columns)
    progress.done()


if __name__ == "__main__":
    main(snakemake)
