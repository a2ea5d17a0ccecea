"""The library of the survey's own spectra: those of a training set that train, prepared as all others."""

import pandas as pd

from lamostvac.core.files import sha256
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.library.library import write_library
from lamostvac.library.survey import survey_library
from lamostvac.spectra.chunk import NEEDED
from lamostvac.spectra.settings import Preparation
from lamostvac.training.files import read_training


def main(snakemake: Job) -> None:
    """Inputs: the set's `table`, and the `candidates` that say where its spectra are."""
    log = rule_log(snakemake)
    inputs, settings = snakemake.input, snakemake.params.settings
    table = read_training(inputs.table)
    table = table[table["split"] == "train"]
    names = {
        f"{column}{suffix}": f"{label}{suffix}"
        for label, column in snakemake.params.columns.items()
        for suffix in ("", "_err")
    }
    labels = table[["spectrum_id", "snr", *names]].rename(columns=names)
    stars = labels.merge(
        pd.read_parquet(inputs.candidates)[NEEDED], on="spectrum_id", validate="1:1"
    )
    progress = Progress(log, len(stars), "library spectra")
    library = survey_library(
        stars,
        settings["name"],
        settings["labels"],
        Preparation.model_validate(snakemake.params.prepare),
        settings["min_snr"],
        log,
        progress.add,
    )
    progress.done()
    library.attributes["source_sha256"] = sha256(inputs.table)
    library.attributes["labels_sha256"] = ""
    write_library(library, snakemake.output[0])
    log.info("%d spectra in the library", len(library.ids))


if __name__ == "__main__":
    main(snakemake)
