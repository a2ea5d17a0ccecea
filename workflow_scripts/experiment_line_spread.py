"""Measure the survey's line width by wavelength, and show what assuming another one does to the labels."""

import logging
from typing import Any

import pandas as pd

from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.emulator.model import build_emulator
from lamostvac.emulator.settings import Emulator
from lamostvac.experiments.line_spread import EDGES, WIDTHS, best_spectra, best_width, draw, measure
from lamostvac.fit.settings import FitSettings
from lamostvac.library.formats.choose import read_raw
from lamostvac.library.library import prepare_library
from lamostvac.library.resolution import constant_fwhm
from lamostvac.report.style import save
from lamostvac.spectra.settings import Preparation


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params = snakemake.params
    labels = str(snakemake.input.labels[0]) if snakemake.input.labels else None
    raw = read_raw(str(snakemake.input.library), labels, params.library, log)
    settings = Preparation.model_validate(params.prepare)
    flux, ivar = best_spectra(list(snakemake.input.spectra))
    progress = Progress(log, len(WIDTHS), "trial widths")
    quiet = logging.getLogger("lamostvac.quiet")

    def emulators(width: float) -> Any:
        library = prepare_library(
            raw, params.library["name"], params.library["labels"], settings, constant_fwhm(width),
            params.library["min_snr"], quiet,
        )  # fmt: skip
        emulator = build_emulator(
            library, settings.masked_regions, Emulator.model_validate(params.emulator)
        )
        progress.add()
        return emulator

    table = measure(emulators, flux, ivar, WIDTHS, EDGES, FitSettings.model_validate(params.fit))
    progress.done()
    windows = [
        (low, high, best_width(rows["fwhm"].to_numpy(), rows["residual"].to_numpy()))
        for (low, high), rows in table.groupby(["low", "high"])
    ]
    best = pd.DataFrame(windows, columns=["low", "high", "fwhm"])
    log.info("%d spectra; best width by window:\n%s", len(flux), best.to_string(index=False))
    medians = table.drop(columns=["low", "high", "residual"]).drop_duplicates()
    log.info("median labels by assumed width:\n%s", medians.to_string(index=False))
    for frame, path in ((table, snakemake.output.table), (best, snakemake.output.best)):
        write_csv(path, frame, digits=6)
    save(draw(table, best), snakemake.output.figure)


if __name__ == "__main__":
    main(snakemake)
