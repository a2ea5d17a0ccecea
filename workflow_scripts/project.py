"""Principal components of a chunk's spectra, which the grouped search compares."""

from lamostvac.core.hdf5 import atomic_hdf5, read_columns, write_columns
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.emulator.model import read_emulator
from lamostvac.grouped.components import project_chunk
from lamostvac.spectra.chunk import open_prepared


def main(snakemake: Job) -> None:
    """Inputs `meta emulator`; the output's rows are those of `meta`."""
    log = rule_log(snakemake)
    emulator = read_emulator(snakemake.input.emulator)
    with open_prepared(**snakemake.params.prepared, log=log) as handle:
        identity = read_columns(handle["meta"], ["spectrum_id", "obsid"])
        progress = Progress(log, len(identity), "spectra")
        components, residual = project_chunk(emulator, handle["flux"], handle["ivar"], progress.add)
    with atomic_hdf5(snakemake.output[0]) as handle:
        handle.create_dataset("components", data=components, track_times=False)
        write_columns(handle.create_group("spectra"), identity.assign(residual=residual))
    progress.done()


if __name__ == "__main__":
    main(snakemake)
