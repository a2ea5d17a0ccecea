"""One spectral type's table of the catalogue: errors and flags put to the joined rows."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

import lamostvac
from lamostvac.catalog import LABELS, provenance, read_rows, set_flags, write_rows
from lamostvac.files import read_columns
from lamostvac.log import rule_log
from lamostvac.registry import load_registry, network_labels
from lamostvac.systematic import systematic_errors
from lamostvac.unique import set_unique


def library_labels(path: str) -> np.ndarray:
    """Labels (m, 4) of the library's stars; NaN where it has none."""
    with h5py.File(path) as handle:
        table = read_columns(handle["labels"])
    return np.column_stack(
        [table[label] if label in table else np.full(len(table), np.nan) for label in LABELS]
    )


def main(snakemake: Any) -> None:
    log = rule_log(snakemake)
    spectral_type = snakemake.wildcards.type
    params, inputs = snakemake.params, snakemake.input
    registry = load_registry(network_labels(params.network_labels))
    rows = read_rows(inputs.collected, registry)
    systematic_of = systematic_errors(pd.read_csv(inputs.crossvalidation), spectral_type, LABELS)
    if inputs.second_crossvalidation:
        second = pd.read_csv(inputs.second_crossvalidation)
        systematic_of["logg_imig"] = systematic_errors(second, spectral_type, ["logg"])["logg"]
    for label, systematic in systematic_of.items():
        log.info("systematic error of %s: %.4g", label, systematic)
        rows[f"{label}_err"] = np.hypot(rows[f"{label}_err"], np.float32(systematic))
    set_unique(rows)
    dwarf_snr, giant_snr = params.snr_threshold
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
    project = Path(lamostvac.__file__).resolve().parent.parent
    cards = provenance(project, lamostvac.__version__, **params.provenance)
    write_rows(snakemake.output.table, rows, registry, cards)
    log.info("%s: %d rows, %d without a flag", spectral_type, len(rows), int((rows["flags"] == 0).sum()))


if __name__ == "__main__":
    main(snakemake)
