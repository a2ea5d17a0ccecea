"""Time and dispersion of Teff when stars are fitted in groups of different sizes."""

import numpy as np
import pandas as pd

from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.emulator.model import build_emulator, read_emulator
from lamostvac.emulator.settings import Emulator
from lamostvac.experiments import figures
from lamostvac.experiments.group_size import (
    N_DR10,
    fold_rows,
    group_size_table,
    library_trial,
    trial_fits,
    trial_positions,
)
from lamostvac.experiments.sample import read_samples
from lamostvac.grouped.settings import GroupedSettings
from lamostvac.library.library import read_library
from lamostvac.report.style import save
from lamostvac.spectra.settings import Preparation


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params, seed = snakemake.params, snakemake.params.seed
    settings = params.settings
    emulator = read_emulator(snakemake.input.emulator)
    library = read_library(snakemake.input.library)
    regions = Preparation.model_validate(params.prepare).masked_regions
    search = GroupedSettings(
        matches=settings["n_candidates"], max_extrapolation=params.max_extrapolation,
        **{name: settings[name] for name in ("variance", "form", "search")},
    )  # fmt: skip
    sizes = sorted({1, *settings["group_sizes"]})
    everyone = np.arange(len(library.ids))
    section = Emulator.model_validate(params.emulator)
    folds = (
        (build_emulator(library, regions, section, rows=train), train, test)
        for train, test in fold_rows(library.ids, settings["folds"], seed)
    )
    tables = []
    for sample, emulators in (
        ("library, in sample", [(emulator, everyone, everyone)]),
        ("library, held out", folds),
    ):
        fits = library_trial(emulators, library, sizes, settings["trial_stars"], search, seed)
        tables.append(group_size_table(fits, sample, "teff_true"))
        log.info("%s: done", sample)
    spectra = list(snakemake.input.spectra)
    samples = read_samples(spectra, emulator, library, settings["n_stars"], seed)
    parts = []
    for name, stars in samples.items():
        trial = trial_positions(len(stars), settings["trial_stars"])
        fits = trial_fits(emulator, stars, library.label_array(), sizes, trial, search, seed, name)
        parts.append(fits.assign(spectral_type=name))
        log.info("survey, %s: done", name)
    if parts:
        tables.append(group_size_table(pd.concat(parts, ignore_index=True), "survey", None))
    table = pd.concat(tables, ignore_index=True)
    log.info("\n%s", table.to_string(index=False))
    write_csv(snakemake.output.table, table, digits=6)
    save(figures.group_size(table, N_DR10), snakemake.output.figure)


if __name__ == "__main__":
    main(snakemake)
