"""Measure the survey's line width by wavelength, and show what assuming another one does to the labels."""

import logging
from typing import Any

import h5py
import matplotlib as mpl
import numpy as np
import pandas as pd

from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.emulator.model import build_emulator
from lamostvac.emulator.settings import Emulator
from lamostvac.experiments.line_spread import best_width, measure
from lamostvac.fit.settings import FitSettings
from lamostvac.library.formats.choose import read_raw
from lamostvac.library.library import prepare_library
from lamostvac.library.resolution import constant_fwhm
from lamostvac.report.style import save
from lamostvac.spectra.settings import Preparation

WIDTHS = (2.5, 2.8, 3.1, 3.4, 3.7, 4.0, 4.4, 4.8, 5.3)  # A
EDGES = np.array(
    [
        3800,
        3950,
        4100,
        4250,
        4450,
        4700,
        5000,
        5350,
        5700,
        6050,
        6400,
        6850,
        7360,
        7800,
        8250,
        8700.0,
    ]
)
N_STARS = 200


def best_spectra(paths: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Flux and ivar (n, 4901) of the spectra with the highest S/N, at most `N_STARS`."""
    kept: list[tuple[float, str, int]] = []
    for path in paths:
        with h5py.File(path) as handle:
            snr = [np.median(np.sqrt(row)) for row in handle["ivar"]]
        kept += [(-value, path, index) for index, value in enumerate(snr)]
    flux, ivar = [], []
    for _, path, index in sorted(kept)[:N_STARS]:
        with h5py.File(path) as handle:
            flux.append(handle["flux"][index])
            ivar.append(handle["ivar"][index])
    return np.array(flux), np.array(ivar)


def draw(table: pd.DataFrame, best: pd.DataFrame) -> Any:
    """Residual against trial width in each window, and the best width against wavelength."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.95, len(best)))
    for colour, (low, window) in zip(colours, table.groupby("low"), strict=True):
        left.plot(
            window["fwhm"],
            window["residual"] / window["residual"].min(),
            ".-",
            color=colour,
            label=f"{low:.0f}",
        )
    left.set_xlabel("library smoothed to FWHM / A")
    left.set_ylabel("residual / smallest residual")
    left.legend(title="from / A", fontsize=7, ncols=2)
    right.plot(0.5 * (best["low"] + best["high"]), best["fwhm"], "ko-")
    right.plot(best["low"], best["low"] / 1800.0, "--", color="#868e96", label="R = 1800")
    right.set_xlabel("rest wavelength / A")
    right.set_ylabel("FWHM of the survey / A")
    right.legend()
    return figure


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
