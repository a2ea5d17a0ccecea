"""Train the emulator on the library."""

from typing import Any

import numpy as np

from lamostvac import emulator
from lamostvac.library import read_library
from lamostvac.log import rule_log
from lamostvac.prepare import Preparation


def main(snakemake: Any) -> None:
    log = rule_log(snakemake)
    library = read_library(snakemake.input.library)
    regions = Preparation.from_settings(**snakemake.params.prepare).masked_regions
    trained = emulator.build_emulator(library, regions, log=log, **snakemake.params.settings)
    log.info(
        "%d spectra, %d pixels, %d components with %.2f %% of the variance",
        len(library.ids),
        np.count_nonzero(trained.pixels),
        trained.n_components,
        100 * trained.variance_kept,
    )
    log.info("left out of the components: %.4f of the flux (rms)", np.sqrt(trained.truncation.mean()))
    for name, factor in trained.discrepancy_scale.items():
        log.info("squared error of %s stars relative to the mean: %.2f", name, factor)
    process = trained.process
    log.info(
        "length scale %.3g, amplitude %.3g, noise %.3g (%s); %d points carry the variance",
        process.length_scale,
        process.amplitude,
        process.noise,
        snakemake.params.settings["hyperparameters"],
        len(process.spread.points),
    )
    emulator.write_emulator(
        trained,
        snakemake.output[0],
        {
            "library": library.name,
            "code_version": str(emulator.CODE_VERSION),
            "hyperparameters": snakemake.params.settings["hyperparameters"],
        },
    )


if __name__ == "__main__":
    main(snakemake)
