"""Errors, flags and recommended values of one type's stars."""

import h5py
import numpy as np

from lamostvac.catalog.files import read_rows, write_rows
from lamostvac.catalog.flags import set_flags
from lamostvac.catalog.registry import load_registry, network_labels
from lamostvac.catalog.rows import apply_curves, apply_errors
from lamostvac.core.hdf5 import read_columns
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.vocabulary import LABELS
from lamostvac.recommend import combine, files
from lamostvac.recommend import definitions as recommend_definitions
from lamostvac.recommend import relations as recommend_relations
from lamostvac.recommend.settings import Settings
from lamostvac.uncertainty.model_files import read_models
from lamostvac.uncertainty.models import read_errors
from lamostvac.uncertainty.repeats import repeat_pairs
from lamostvac.uncertainty.snr_threshold import threshold_in_use


def library_labels(path: str) -> np.ndarray:
    """Labels (m, 4) of the library's stars; NaN where it has none."""
    with h5py.File(path) as handle:
        table = read_columns(handle["labels"])
    return np.column_stack(
        [table[label] if label in table else np.full(len(table), np.nan) for label in LABELS]
    )


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params, inputs = snakemake.params, snakemake.input
    registry = load_registry(network_labels(params.network_labels))
    rows = read_rows(inputs.collected, registry)
    with h5py.File(inputs.errors) as handle:
        models, curves = read_errors(handle["errors"]), read_models(handle["curves"])
        found = float(handle.attrs["snr_threshold"])
    apply_errors(rows, models, params.snr_band)
    if params.errors["networks"] == "published":
        apply_curves(rows, curves, params.snr_band)
    wanted = found if params.snr_flag == "found" else np.nan
    dwarf_snr, giant_snr = threshold_in_use(params.snr_threshold, wanted)
    log.info("flag_snr: S/N of dwarfs and giants not above %.3g and %.3g", dwarf_snr, giant_snr)
    set_flags(
        rows,
        registry,
        library_labels(inputs.library),
        params.snr_band,
        dwarf_snr,
        giant_snr,
        params.alpha_max_teff,
        params.outlier_fraction,
    )
    definitions = [
        recommend_definitions.Definition.model_validate(entry) for entry in params.definitions
    ]
    settings = Settings(snr_band=params.snr_band, **params.settings)
    pairs = repeat_pairs(rows["ra"], rows["dec"], rows["lmjd"])
    relations = recommend_relations.fit(rows, definitions, settings, pairs)
    combine.apply(rows, relations, definitions, settings)
    files.save(snakemake.output.relations, relations)
    for item in relations:
        for source, relation in item.relations.items():
            log.info(
                "%s: %s to the scale of %s from %d stars, %s",
                item.label, source, item.scale, relation.n, np.round(relation.coefficients, 4).tolist(),
            )  # fmt: skip
    write_rows(snakemake.output.table, rows, registry, {})
    known = {item.label: int(np.isfinite(rows[f"{item.label}_rec"]).sum()) for item in relations}
    log.info(
        "%d rows, %d without a flag; recommended: %s",
        len(rows),
        int((rows["flags"] == 0).sum()),
        known,
    )


if __name__ == "__main__":
    main(snakemake)
