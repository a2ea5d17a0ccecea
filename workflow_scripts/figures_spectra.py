"""Observed and model spectra of one example of each spectral type, and the spectra most unlike any star."""

from pathlib import Path
from typing import Any

from lamostvac.catalog.files import read_table
from lamostvac.core.hdf5 import open_hdf5
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.emulator.model import read_emulator
from lamostvac.fit.settings import FitSettings
from lamostvac.report.catalogue import anomalous, most_anomalous, spectra
from lamostvac.report.style import save
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.settings import Preparation
from lamostvac.star.anomaly import read_anomaly


def first_example(path: str) -> dict[str, Any] | None:
    """The first example that a fit stored in its group `examples`, or None."""
    with open_hdf5(path) as handle:
        group = handle.get("examples")
        if group is None or not len(group["spectrum_id"]):
            return None
        return {
            "spectrum_id": group["spectrum_id"][0].decode(),
            "spectral_type": Path(path).parent.name,
            **{name: group[name][0] for name in ("flux", "model", "used")},
        }


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    examples = [example for path in inputs.fits if (example := first_example(path)) is not None]
    save(spectra(GRID, examples), outputs.spectra)
    columns = ["spectrum_id", "outlier_fraction", "chi2", "best_spectrum", params.snr_band]
    names = most_anomalous(read_table(inputs.catalogue, columns), params.snr_band)
    emulator = read_emulator(inputs.emulator)
    preparation = Preparation.model_validate(params.preparation)
    fit = FitSettings.model_validate(params.fit)
    found = []
    for name in names:
        example = read_anomaly(
            name, inputs.catalogue, inputs.manifest, params.chunks, preparation, emulator, fit
        )
        if example is None:
            log.warning("%s cannot be read any more, so the figure does not show it", name)
        else:
            found.append(example)
    save(anomalous(found), outputs.anomalous)
    log.info("%d examples, %d anomalous spectra", len(examples), len(found))


if __name__ == "__main__":
    main(snakemake)
