"""The grouped search over a chunk's own spectra: components, candidates, groups, labels."""

from pathlib import Path

from lamostvac.core.hdf5 import read_columns
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.emulator.model import read_emulator
from lamostvac.grouped.batch import search_chunk
from lamostvac.grouped.groups import write_labels
from lamostvac.grouped.settings import GroupedSettings
from lamostvac.library.library import read_library
from lamostvac.spectra.chunk import open_prepared


def main(snakemake: Job) -> None:
    """Inputs `meta library emulator whole`; the output's rows are those of `meta`."""
    log = rule_log(snakemake)
    params, wildcards = snakemake.params, snakemake.wildcards
    emulator = read_emulator(snakemake.input.emulator)
    whole = read_emulator(snakemake.input.whole)
    library = read_library(snakemake.input.library)
    settings = GroupedSettings.model_validate(params.settings)
    with open_prepared(**params.prepared, log=log) as handle:
        names = read_columns(handle["meta"], ["spectrum_id"])["spectrum_id"].to_numpy()
        progress = Progress(log, len(names), "spectra")
        order, stars = search_chunk(
            emulator,
            whole,
            library,
            handle["flux"],
            handle["ivar"],
            names.astype("S"),
            wildcards.chunk,
            params.group_size,
            settings,
            params.seed,
            wildcards.type,
            log,
            progress.add,
        )
    write_labels(snakemake.output[0], order, stars, library.label_names)
    if params.last:
        Path(params.prepared["spectra"]).unlink(missing_ok=True)
    progress.done()
    log.info("%d spectra", len(names))


if __name__ == "__main__":
    main(snakemake)
