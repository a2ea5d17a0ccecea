"""Train the emulator on the library."""

import numpy as np

from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.emulator import VERSION, model
from lamostvac.emulator.distil import distil
from lamostvac.emulator.settings import Emulator
from lamostvac.library.library import read_library
from lamostvac.spectra.settings import Preparation


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    library = read_library(snakemake.input.library)
    regions = Preparation.model_validate(snakemake.params.prepare).masked_regions
    settings = Emulator.model_validate(snakemake.params.settings)
    trained = model.build_emulator(
        library, regions, settings, log=log, resolving_power=snakemake.params.resolving_power
    )
    log.info(
        "%d spectra, %d pixels, %d components with %.2f %% of the variance",
        len(library.ids),
        np.count_nonzero(trained.pixels),
        trained.n_components,
        100 * trained.variance_kept,
    )
    for name, covariance in trained.discrepancy.items():
        log.info(
            "error of %s stars: %.4f of the flux in the components, %.4f outside (rms)",
            name,
            np.sqrt(np.trace(covariance) / len(trained.mean)),
            np.sqrt(trained.truncation[name].mean()),
        )
    process = trained.process
    log.info(
        "process %s: length scale %.3g, amplitude %.3g, noise %.3g (%s), %d points",
        settings.process,
        process.length_scale,
        process.amplitude,
        process.noise,
        settings.hyperparameters,
        len(process.inputs),
    )
    small, distance = distil(trained, settings)
    log.info(
        "distilled: %d directions of emulated spectra, %d with errors, %d points; largest differences %s",
        small.n_signal,
        small.n_components,
        len(small.process.inputs),
        ", ".join(f"{name} {value:.2g}" for name, value in distance.items()),
    )
    attributes = {
        "library": library.name,
        "code_version": str(VERSION),
        "hyperparameters": settings.hyperparameters,
    }
    model.write_emulator(trained, snakemake.output.whole, attributes)
    distances = {f"distance_{name}": f"{value:.6g}" for name, value in distance.items()}
    model.write_emulator(small, snakemake.output.distilled, attributes | distances)


if __name__ == "__main__":
    main(snakemake)
