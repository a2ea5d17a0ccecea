"""Read the spectral library, match it to the survey, prepare its spectra."""

from lamostvac.core.files import sha256
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.library.formats.choose import read_raw
from lamostvac.library.library import prepare_library, write_library
from lamostvac.library.resolution import resolving_power_fwhm, tabulated_fwhm
from lamostvac.library.source import source_sha256
from lamostvac.spectra.settings import Preparation


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    settings = snakemake.params.settings
    spectra = str(snakemake.input.spectra)
    labels = str(snakemake.input.labels[0]) if snakemake.input.labels else None
    raw = read_raw(spectra, labels, settings, log)
    log.info("%d spectra of %s read from %s", len(raw.ids), settings["name"], spectra)
    resolution = settings["resolution"]
    survey_fwhm = None
    if resolution["match"]:
        table = resolution["survey_fwhm"]
        survey_fwhm = (
            tabulated_fwhm(table)
            if table
            else resolving_power_fwhm(resolution["survey_resolving_power"])
        )
    progress = Progress(log, len(raw.ids), "library spectra")
    library = prepare_library(
        raw,
        settings["name"],
        settings["labels"],
        Preparation.model_validate(snakemake.params.prepare),
        survey_fwhm,
        settings["min_snr"],
        log,
        progress.add,
    )
    progress.done()
    library.attributes["matched"] = resolution["match"]
    library.attributes["source_sha256"] = source_sha256(spectra)
    library.attributes["labels_sha256"] = sha256(labels) if labels else ""
    write_library(library, snakemake.output[0])
    log.info("%d spectra in the library", len(library.ids))


if __name__ == "__main__":
    main(snakemake)
