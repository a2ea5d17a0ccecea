"""Emulated against library spectra, by the emulator of the run and by emulators without the star."""

from typing import Any

import numpy as np
import pandas as pd

from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.emulator.model import build_emulator, read_emulator
from lamostvac.emulator.settings import Emulator
from lamostvac.experiments import figures
from lamostvac.experiments.flux import FluxComparison, example_rows, example_star
from lamostvac.experiments.group_size import fold_rows
from lamostvac.library.library import read_library
from lamostvac.report.style import save
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.settings import Preparation


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params = snakemake.params
    emulator, library = (
        read_emulator(snakemake.input.emulator),
        read_library(snakemake.input.library),
    )
    regions = Preparation.model_validate(params.prepare).masked_regions
    labels = library.label_array()
    comparisons = {"in sample": FluxComparison(), "held out": FluxComparison()}
    comparisons["in sample"].add(emulator, library, np.arange(len(labels)))
    chosen = example_rows(labels[:, 0])
    stars: dict[int, dict[str, Any]] = {}
    progress = Progress(log, len(labels), "library spectra")
    for train, test in fold_rows(library.ids, params.settings["folds"], params.seed):
        fold = build_emulator(
            library, regions, Emulator.model_validate(params.emulator), rows=train
        )
        comparisons["held out"].add(fold, library, test)
        for row in np.intersect1d(chosen, test):
            stars[int(row)] = example_star(emulator, fold, library, int(row))
        progress.add(len(test))
    progress.done()
    table = pd.concat([one.table(sample) for sample, one in comparisons.items()], ignore_index=True)
    log.info("emulated minus library flux:\n%s", table.to_string(index=False))
    write_csv(snakemake.output.table, table, digits=6)
    save(
        figures.reproduction({name: one.counts for name, one in comparisons.items()}, table),
        snakemake.output.figure,
    )
    examples = [stars[row] for row in chosen if row in stars]
    save(figures.examples(GRID[emulator.pixels], examples), snakemake.output.examples)


if __name__ == "__main__":
    main(snakemake)
