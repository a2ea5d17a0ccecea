"""Reproduction error of the candidates' Teff against the number of candidates."""

from typing import Any

from lamostvac import experiment_figures
from lamostvac.emulator import read_emulator
from lamostvac.experiment_sample import read_samples
from lamostvac.experiments import matches_table
from lamostvac.figures import save
from lamostvac.files import atomic
from lamostvac.library import read_library
from lamostvac.log import rule_log


def main(snakemake: Any) -> None:
    log = rule_log(snakemake)
    settings, seed = snakemake.params.settings, snakemake.params.seed
    emulator, library = read_emulator(snakemake.input.emulator), read_library(snakemake.input.library)
    samples = read_samples(list(snakemake.input.spectra), emulator, library, settings["n_stars"], seed)
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
    with atomic(snakemake.output.table) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    save(experiment_figures.matches(table), snakemake.output.figure)


if __name__ == "__main__":
    main(snakemake)
