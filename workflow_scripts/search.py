"""The grouped search for some of a type's groups."""

from lamostvac.core.hdf5 import open_hdf5
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.emulator.model import read_emulator
from lamostvac.grouped.batch import search_batch, write_batch
from lamostvac.grouped.groups import batch_groups
from lamostvac.grouped.settings import GroupedSettings
from lamostvac.library.library import read_library_labels


def main(snakemake: Job) -> None:
    """Inputs `stars emulator library`; the output has the stars of the job's groups, in their order."""
    log = rule_log(snakemake)
    params, wildcards = snakemake.params, snakemake.wildcards
    emulator = read_emulator(snakemake.input.emulator)
    labels = read_library_labels(snakemake.input.library)
    settings = GroupedSettings.model_validate(params.settings)
    with open_hdf5(snakemake.input.stars) as stars:
        n_stars, number = len(stars["spectrum_id"]), int(wildcards.batch)
        groups = batch_groups(n_stars, params.group_size, params.groups_per_job, number)
        progress = Progress(log, sum(rows.stop - rows.start for _, rows in groups), "spectra")
        batch = search_batch(
            emulator,
            stars,
            groups,
            labels,
            settings,
            params.seed,
            wildcards.type,
            log,
            progress.add,
        )
    write_batch(snakemake.output[0], batch)
    progress.done()


if __name__ == "__main__":
    main(snakemake)
