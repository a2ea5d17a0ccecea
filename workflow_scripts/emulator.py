"""Train the emulator on the library."""

from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.emulator import VERSION, model
from lamostvac.emulator.description import describe_distilled, describe_emulator
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
    describe_emulator(trained, settings, log)
    small, distance = distil(trained, settings)
    describe_distilled(small, distance, log)
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
