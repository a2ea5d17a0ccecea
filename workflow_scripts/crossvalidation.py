"""Fit each library star with an emulator that has not seen it."""

from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.emulator import VERSION
from lamostvac.emulator.model import Emulator, write_emulator
from lamostvac.emulator.settings import Emulator as EmulatorSettings
from lamostvac.fit.crossvalidation import cross_validate
from lamostvac.fit.settings import FitSettings
from lamostvac.library.library import read_library
from lamostvac.numerics.statistics import robust_sigma
from lamostvac.spectra.settings import Preparation


def main(snakemake: Job) -> None:
    """Outputs `table`, and `without`: the emulators without the stars of each fold, where they are wanted."""
    log = rule_log(snakemake)
    library = read_library(snakemake.input.library)
    regions = Preparation.model_validate(snakemake.params.prepare).masked_regions
    attributes = {"library": library.name, "code_version": str(VERSION)}
    wanted = dict(enumerate(snakemake.output.get("without", [])))

    def keep(fold: int, emulator: Emulator) -> None:
        if fold in wanted:
            write_emulator(emulator, wanted[fold], attributes | {"without_fold": str(fold)})

    progress = Progress(log, len(library.ids), "library spectra")
    settings = EmulatorSettings.model_validate(snakemake.params.settings)
    table = cross_validate(
        library,
        regions,
        settings,
        settings.folds,
        snakemake.params.seed,
        FitSettings.model_validate(snakemake.params.fit),
        settings if snakemake.params.distilled else None,
        progress.add,
        snakemake.params.resolving_power,
        keep,
    )
    progress.done()
    for label in library.label_names:
        difference = (table[label] - table[f"{label}_true"]).to_numpy()
        log.info("%s: robust sigma %.3f over all types", label, robust_sigma(difference))
    write_csv(snakemake.output.table, table, digits=6)


if __name__ == "__main__":
    main(snakemake)
