"""All that a run has learned, in one file."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lamostvac.catalog.files import read_cards, read_rows
from lamostvac.catalog.registry import run_registry
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.paths import REFERENCES_PATH
from lamostvac.label.make import library_tables, named, regression_of
from lamostvac.label.pack import PackSettings, write_pack
from lamostvac.provenance.record import read_record
from lamostvac.provenance.references import bibliography, load_references
from lamostvac.uncertainty.snr_threshold import threshold_in_use
from lamostvac.uncertainty.type_errors import read_type_errors


def of_types(snakemake: Job) -> dict[str, Any]:
    """S/N thresholds and regressions of chi2 of the types, by the names that settings of packs have."""
    params, inputs = snakemake.params, snakemake.input
    registry, types = run_registry(params), params.settings["types"]
    thresholds, chi2 = {}, {}
    for name, errors, path in zip(types, inputs.errors, inputs.rows, strict=True):
        found = read_type_errors(errors)[1] if params.snr_flag == "found" else np.nan
        thresholds[name] = threshold_in_use(params.snr_thresholds[name], found)
        rows = read_rows(path, registry)
        chi2[name] = regression_of(rows, params.settings["snr_band"], thresholds[name])
    return {"snr_thresholds": thresholds, "chi2": chi2}


def main(snakemake: Job) -> None:
    """Files of the run in the order of the params that name them; output: the pack."""
    log = rule_log(snakemake)
    params, inputs = snakemake.params, snakemake.input
    types = params.settings["types"]
    record = read_record(inputs.record)
    found = {
        "provenance": read_cards(inputs.catalogue),
        "packages": record.packages,
        "references": bibliography(record, load_references(REFERENCES_PATH)),
        **of_types(snakemake),
    }
    settings = PackSettings.model_validate(params.settings | found)
    labels = [entry["label"] for entry in params.network_labels]
    libraries = dict(zip(params.libraries, inputs.libraries, strict=True))
    crossvalidations = dict(zip(params.survey_libraries, inputs.crossvalidations, strict=True))
    members = {
        **named("emulator", params.emulator_names, inputs.emulators),
        **named("network", labels, inputs.networks),
        **named("left_out", settings.trained, inputs.left_out, ".parquet"),
        **named("errors", types, inputs.errors),
        **named("curves", ["networks"][: len(inputs.curves)], inputs.curves),
        **named("relations", types, inputs.relations),
    }
    with tempfile.TemporaryDirectory() as folder:
        members |= library_tables(Path(folder), libraries, crossvalidations)
        size = write_pack(Path(snakemake.output[0]), settings, members)
    log.info("%d files, %.1f MB", len(members), size / 1e6)


if __name__ == "__main__":
    main(snakemake)
