"""Principal components of a chunk's spectra, which the grouped search compares."""

import numpy as np

from lamostvac.core.hdf5 import atomic_hdf5, read_columns, write_columns
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.emulator.model import read_emulator
from lamostvac.grouped.components import project
from lamostvac.spectra.chunk import open_prepared

BATCH = 512


def main(snakemake: Job) -> None:
    """Inputs `meta emulator`; the output's rows are those of `meta`."""
    log = rule_log(snakemake)
    emulator = read_emulator(snakemake.input.emulator)
    components, residual = [np.empty((0, emulator.n_components))], [np.empty(0)]
    with open_prepared(**snakemake.params.prepared, log=log) as handle:
        identity = read_columns(handle["meta"], ["spectrum_id", "obsid"])
        progress = Progress(log, len(identity), "spectra")
        for first in range(0, len(identity), BATCH):
            batch = slice(first, first + BATCH)
            found = project(emulator, handle["flux"][batch], handle["ivar"][batch])
            components.append(found[0])
            residual.append(found[1])
            progress.add(len(found[1]))
    with atomic_hdf5(snakemake.output[0]) as handle:
        handle.create_dataset(
            "components", data=np.concatenate(components).astype(np.float32), track_times=False
        )
        columns = identity.assign(residual=np.concatenate(residual))
        write_columns(handle.create_group("spectra"), columns)
    progress.done()


if __name__ == "__main__":
    main(snakemake)
