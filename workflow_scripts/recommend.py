"""Errors, flags and recommended values of one type's stars."""

import numpy as np

from lamostvac.catalog.files import read_rows, write_rows
from lamostvac.catalog.flags import flag_further, set_flags
from lamostvac.catalog.left_out import read_left_out
from lamostvac.catalog.registry import emulator_labels, run_registry
from lamostvac.catalog.rows import apply_curves, apply_errors
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.library.library import read_catalogue_labels, read_library_labels, read_places
from lamostvac.recommend import combine, files
from lamostvac.recommend.definitions import Definition
from lamostvac.recommend.settings import Settings
from lamostvac.uncertainty.model_files import load_models
from lamostvac.uncertainty.repeats import repeat_pairs
from lamostvac.uncertainty.snr_threshold import threshold_in_use
from lamostvac.uncertainty.type_errors import read_type_errors


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params, inputs = snakemake.params, snakemake.input
    registry = run_registry(params)
    rows = read_rows(inputs.collected, registry)
    models, found = read_type_errors(inputs.errors)
    apply_errors(rows, models)
    if inputs.curves:
        kept = apply_curves(rows, load_models(inputs.curves), params.keep_errors)
        log.info("labels without a curve: %s", kept)
    wanted = found if params.snr_flag == "found" else np.nan
    dwarf_snr, giant_snr = threshold_in_use(params.snr_threshold, wanted)
    log.info("flag_snr: S/N of dwarfs and giants not above %.3g and %.3g", dwarf_snr, giant_snr)
    labels = read_catalogue_labels(inputs.library)
    set_flags(
        rows, registry, labels, params.snr_band, dwarf_snr, giant_snr, params.alpha_max_teff,
        params.outlier_fraction, params.cold_giant_max_teff, params.cold_giant_logg,
    )  # fmt: skip
    for system, path in zip(emulator_labels(params.emulators), inputs.further, strict=True):
        flag_further(rows, system, read_library_labels(path), read_places(path))
    definitions = [Definition.model_validate(entry) for entry in params.definitions]
    settings = Settings(snr_band=params.snr_band, **params.settings)
    pairs = repeat_pairs(rows["ra"], rows["dec"], rows["lmjd"])
    left_out = read_left_out(
        rows["spectrum_id"], dict(zip(params.trained_here, inputs.left_out, strict=True))
    )
    fitted = combine.fit_all(rows, definitions, settings, pairs, left_out, labels)
    combine.apply(rows, fitted, definitions, settings, left_out, labels)
    files.save(snakemake.output.relations, fitted)
    for line in files.in_words(fitted):
        log.info(line)
    write_rows(snakemake.output.table, rows, registry, {})
    known = {item.label: int(np.isfinite(rows[f"{item.label}_rec"]).sum()) for item in fitted}
    log.info(
        "%d rows, %d recommended, %d without a flag; recommended values: %s",
        len(rows),
        int(rows["recommended"].sum()),
        int((rows["flags"] == 0).sum()),
        known,
    )


if __name__ == "__main__":
    main(snakemake)
