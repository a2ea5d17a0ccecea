"""Bounds of the first coordinate of the grouped search against the number of candidates."""

from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.emulator.model import read_emulator
from lamostvac.experiments import figures
from lamostvac.experiments.grouping import bounds_table
from lamostvac.experiments.sample import read_samples
from lamostvac.library.library import read_library
from lamostvac.report.style import save


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    settings = snakemake.params.settings
    emulator, library = (
        read_emulator(snakemake.input.emulator),
        read_library(snakemake.input.library),
    )
    samples = read_samples(
        list(snakemake.input.spectra), emulator, library, settings["n_stars"], snakemake.params.seed
    )
    log.info("stars: %s", ", ".join(f"{name} {len(sample)}" for name, sample in samples.items()))
    table = bounds_table(
        emulator,
        samples,
        library.label_array(),
        settings["matches"],
        settings["bound_sizes"],
        settings["n_groups"],
        settings["variance"],
        snakemake.params.seed,
    )
    write_csv(snakemake.output.table, table, digits=6)
    save(figures.bounds(table), snakemake.output.figure)


if __name__ == "__main__":
    main(snakemake)
