"""Join the chunks of one spectral type into its table; every spectrum is accepted or rejected."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

import lamostvac
from lamostvac.catalog import LABELS, assemble, provenance, read_chunk, set_flags, write_type
from lamostvac.files import read_columns
from lamostvac.log import Progress, rule_log
from lamostvac.registry import load_registry, network_labels
from lamostvac.systematic import systematic_errors


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
    labels = network_labels(params.network_labels)
    registry = load_registry(labels)
    manifest = pd.read_csv(inputs.manifest, dtype={"type": str, "chunk": str}, keep_default_na=False)
    n_spectra = int(manifest.loc[manifest["type"] == spectral_type, "n_spectra"].sum())
    progress = Progress(log, len(inputs.chunks), "chunks")

    def chunks():
        none = [None] * len(inputs.chunks)
        predicted, second = inputs.predicted if labels else none, inputs.second_fits or none
        for *paths, other in zip(inputs.chunks, inputs.prepared, inputs.fits, predicted, second, strict=True):
            yield read_chunk(*paths, labels, other)
            progress.add()

    rows, rejected = assemble(spectral_type, n_spectra, chunks(), registry, params.provenance["library"])
    progress.done()
    systematic_of = systematic_errors(pd.read_csv(inputs.crossvalidation), spectral_type, LABELS)
    if inputs.second_crossvalidation:
        second = pd.read_csv(inputs.second_crossvalidation)
        systematic_of["logg_imig"] = systematic_errors(second, spectral_type, ["logg"])["logg"]
    for label, systematic in systematic_of.items():
        log.info("systematic error of %s: %.4g", label, systematic)
        rows[f"{label}_err"] = np.hypot(rows[f"{label}_err"], np.float32(systematic))
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
    write_type(snakemake.output.table, snakemake.output.rejected, rows, rejected, registry, cards)
    log.info(
        "%s: %d spectra in, %d accepted, %d rejected", spectral_type, n_spectra, len(rows), len(rejected)
    )


if __name__ == "__main__":
    main(snakemake)
