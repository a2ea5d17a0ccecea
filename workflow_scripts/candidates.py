"""The library stars that each star of a chunk resembles, of which a grouped search combines its labels."""

import numpy as np

from lamostvac.core.hdf5 import atomic_hdf5
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.emulator.model import read_emulator
from lamostvac.grouped.correlation import best_matches, references
from lamostvac.grouped.search import filled_candidates
from lamostvac.library.library import read_library
from lamostvac.spectra.chunk import open_prepared

BATCH = 256


def main(snakemake: Job) -> None:
    """Inputs `meta library emulator`; the output's rows are those of `meta`."""
    log = rule_log(snakemake)
    emulator = read_emulator(snakemake.input.emulator)
    library = read_library(snakemake.input.library)
    labels = library.label_array()
    ready = references(library.flux[:, emulator.pixels])
    count = min(snakemake.params.matches, len(labels))
    parts = [np.empty((0, count), dtype=np.int32)]
    with open_prepared(**snakemake.params.prepared, log=log) as handle:
        progress = Progress(log, len(handle["flux"]), "spectra")
        for first in range(0, len(handle["flux"]), BATCH):
            batch = slice(first, first + BATCH)
            flux, ivar = (
                handle["flux"][batch][:, emulator.pixels],
                handle["ivar"][batch][:, emulator.pixels],
            )
            similar, _ = best_matches(flux, ivar > 0, ready, count)
            parts.append(filled_candidates(emulator, similar, labels).astype(np.int32))
            progress.add(len(flux))
    with atomic_hdf5(snakemake.output[0]) as handle:
        handle.create_dataset("candidates", data=np.concatenate(parts), track_times=False)
    progress.done()


if __name__ == "__main__":
    main(snakemake)
