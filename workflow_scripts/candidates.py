"""The library stars that each star of a chunk resembles, of which a grouped search combines its labels."""

from pathlib import Path

from lamostvac.core.hdf5 import atomic_hdf5, read_columns
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.emulator.model import read_emulator
from lamostvac.grouped.candidates import chunk_candidates
from lamostvac.library.library import read_library
from lamostvac.spectra.chunk import open_prepared


def main(snakemake: Job) -> None:
    """Inputs `meta library emulator`; the output's rows are those of `meta`."""
    log = rule_log(snakemake)
    emulator = read_emulator(snakemake.input.emulator)
    library = read_library(snakemake.input.library)
    matches = snakemake.params.matches
    with open_prepared(**snakemake.params.prepared, log=log) as handle:
        flux, ivar = handle["flux"], handle["ivar"]
        progress = Progress(log, len(flux), "spectra")
        names = read_columns(handle["meta"], ["spectrum_id"])["spectrum_id"].to_numpy()
        rows = chunk_candidates(flux, ivar, library, emulator, matches, progress.add)
    with atomic_hdf5(snakemake.output[0]) as handle:
        handle.create_dataset("candidates", data=rows, track_times=False)
        handle.create_dataset("spectrum_id", data=names.astype("S"), track_times=False)
    if snakemake.params.last:
        Path(snakemake.params.prepared["spectra"]).unlink(missing_ok=True)
    progress.done()


if __name__ == "__main__":
    main(snakemake)
