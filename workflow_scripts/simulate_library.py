"""Write the simulated library: MaStar's spectra and parameters."""

from pathlib import Path

from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.simulate.mastar import write_library
from lamostvac.simulate.settings import SimulationSettings


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    settings = SimulationSettings(**snakemake.params.settings)
    n = int(settings.n_library * (1 + settings.library_repeat_fraction))
    progress = Progress(log, n, "spectra")
    truth = write_library(
        Path(snakemake.output.spectra).parent, settings, settings.seed, progress.add
    )
    progress.done()
    log.info("%d library spectra", len(truth["snr"]))


if __name__ == "__main__":
    main(snakemake)
