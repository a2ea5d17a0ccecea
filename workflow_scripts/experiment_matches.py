"""Reproduction error of the candidates' Teff against the number of candidates."""

from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.emulator.model import read_emulator
from lamostvac.experiments import figures
from lamostvac.experiments.grouping import matches_table
from lamostvac.experiments.sample import read_samples
from lamostvac.library.library import read_library
from lamostvac.report.style import save


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    settings, seed = snakemake.params.settings, snakemake.params.seed
    emulator, library = (
        read_emulator(snakemake.input.emulator),
        read_library(snakemake.input.library),
    )
    samples = read_samples(
        list(snakemake.input.spectra), emulator, library, settings["n_stars"], seed
    )
    table = matches_table(
        emulator,
        samples,
        library.label_array(),
        settings["matches"],
        settings["n_group"],
        settings["n_groups"],
        settings["variance"],
        settings["form"],
        seed,
    )
    log.info("median absolute reproduction error of Teff (K):\n%s", table.to_string(index=False))
    write_csv(snakemake.output.table, table, digits=6)
    save(figures.matches(table), snakemake.output.figure)


if __name__ == "__main__":
    main(snakemake)
