"""Reproduction error of the candidates' labels, stars grouped by their priors and at random."""

from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.emulator.model import read_emulator
from lamostvac.experiments import figures
from lamostvac.experiments.grouping import grouping_errors, grouping_table
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
    for name, sample in samples.items():
        log.info("%s: %d stars", name, len(sample))
        if len(sample) < 2 * settings["n_group"]:
            log.info("%s: so few that groups are half of them", name)
    labels = library.label_array()
    errors = grouping_errors(
        {
            name: s.candidates(emulator, labels, settings["n_candidates"])
            for name, s in samples.items()
        },
        settings["n_group"],
        settings["n_groups"],
        settings["variance"],
        settings["form"],
        seed,
    )
    table = grouping_table(errors, library.label_names)
    log.info("standard deviation of the reproduction error:\n%s", table.to_string(index=False))
    write_csv(snakemake.output.table, table, digits=6)
    save(figures.grouping(errors, library.label_names), snakemake.output.figure)


if __name__ == "__main__":
    main(snakemake)
