"""Learn how large the errors of one type's labels are, from repeats and from stars of known labels."""

from typing import Any

import numpy as np
import pandas as pd

from lamostvac.catalog import LABELS, fingerprint, read_columns_of
from lamostvac.error_models import (
    LabelErrors,
    Residuals,
    learn,
    left_out_residuals,
    library_residuals,
    pair_residuals,
    summary,
    write_errors,
)
from lamostvac.files import atomic, atomic_hdf5
from lamostvac.log import rule_log
from lamostvac.refine import CONVERGED
from lamostvac.registry import load_registry, network_labels
from lamostvac.repeats import similar_pairs

NOTHING = Residuals(np.empty((0, 0)), *[np.empty(0)] * 6)
# Labels that the scale of errors depends on, of those that the library has.
THETA = LABELS


def main(snakemake: Any) -> None:
    log = rule_log(snakemake)
    spectral_type = snakemake.wildcards.type
    params, inputs = snakemake.params, snakemake.input
    networks = network_labels(params.network_labels)
    registry = load_registry(networks)
    own = [*LABELS, *(["logg_imig"] if inputs.second_crossvalidation else [])]
    names = [label for name in own for label in (name, f"{name}_err", f"{name}_random")]
    names += [f"{label.label}{part}" for label in networks for part in ("", "_random")]
    table = read_columns_of(
        inputs.collected,
        registry,
        ["spectrum_id", "ra", "dec", "lmjd", params.snr_band, "fit_status", *names],
    )
    library = pd.read_csv(inputs.crossvalidation)
    theta = [label for label in THETA if label in library and np.isfinite(table[label]).any()]
    points = (
        np.column_stack([table[label] for label in theta]).astype(np.float64).reshape(len(table["ra"]), -1)
    )
    points[table["fit_status"] != CONVERGED] = np.nan
    snr = table[params.snr_band].astype(np.float64)
    identity = fingerprint(table["spectrum_id"])
    place = table["ra"], table["dec"], table["lmjd"], snr
    pairs = similar_pairs(*place, params.settings["pair_snr_tolerance"], identity=identity)
    log.info("%d spectra, %d pairs of one star with S/N alike", len(snr), len(pairs))

    def repeats(label: str) -> Residuals:
        return pair_residuals(table[label], points, table[f"{label}_random"], pairs)

    models: dict[str, LabelErrors] = {}
    for label in own:
        source, name = library, label
        if label == "logg_imig":
            source, name = pd.read_csv(inputs.second_crossvalidation), "logg"
        if name in source:
            known = library_residuals(source, spectral_type, name, theta)
            models[label] = learn(label, theta, params.settings["emulator"], repeats(label), known)
    stars = pd.DataFrame({"spectrum_id": table["spectrum_id"].astype(str)}).assign(
        **{label: points[:, place] for place, label in enumerate(theta)}
    )
    left_out = dict(zip(params.trained_here, inputs.left_out, strict=True))
    for label in (label.label for label in networks):
        known = (
            left_out_residuals(pd.read_parquet(left_out[label]), stars, theta)
            if label in left_out
            else NOTHING
        )
        models[label] = learn(label, theta, params.settings["networks"], repeats(label), known)
    rows = pd.DataFrame(summary(models, spectral_type))
    for row in rows.itertuples():
        log.info(
            "%s: random times %.3g (%d pairs), systematic times %.3g (%d stars)",
            row.label, row.factor_random, row.n_random, row.factor_systematic, row.n_systematic,
        )  # fmt: skip
    with atomic_hdf5(snakemake.output.models) as handle:
        write_errors(handle.create_group("errors"), models)
    with atomic(snakemake.output.summary) as temporary:
        rows.to_csv(temporary, index=False, float_format="%.5g", lineterminator="\n")


if __name__ == "__main__":
    main(snakemake)
