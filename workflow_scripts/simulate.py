"""Write the simulated release: LAMOST files and catalogue, catalogues of others, truth."""

import shutil
from pathlib import Path

from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.simulate.observing_plan import n_spectra
from lamostvac.simulate.settings import SimulationSettings
from lamostvac.simulate.survey import simulate_release


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    settings = SimulationSettings(**snakemake.params.settings)
    folder = Path(snakemake.output.truth).parent
    # spectra of an earlier simulation with other settings would lie about unlisted
    shutil.rmtree(folder / "lamost", ignore_errors=True)
    progress = Progress(log, n_spectra(settings), "spectra")
    truth = simulate_release(folder, settings, settings.seed, progress.add)
    progress.done()
    log.info("%d LAMOST spectra of %d stars", len(truth), truth["star_id"].nunique())


if __name__ == "__main__":
    main(snakemake)
