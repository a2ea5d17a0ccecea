"""Random errors of all networks' labels over all types, beside Table 2 of Wang et al. (2022)."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from lamostvac.catalog.registry import network_labels
from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.spectra.names import RowsByName, values_at
from lamostvac.uncertainty.published import beside_published, load_published_errors
from lamostvac.uncertainty.repeats import similar_pairs
from lamostvac.uncertainty.snr_curve import network_curve


def column(path: str, name: str) -> np.ndarray:
    """One column of the catalogue (n,)."""
    return pq.read_table(path, columns=[name]).column(0).to_numpy()


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params, catalogue = snakemake.params, snakemake.input.catalogue
    ra, dec, night = (column(catalogue, name) for name in ("ra", "dec", "lmjd"))
    snr, tolerance = column(catalogue, params.snr_band), params.settings["pair_snr_tolerance"]
    pairs = similar_pairs(ra, dec, night, snr, tolerance["networks"])
    del ra, dec, night, snr
    log.info("%d pairs of one star with S/N alike", len(pairs))
    row_of = RowsByName(column(catalogue, "spectrum_id").astype("S"))
    published = load_published_errors()
    left_out = dict(zip(params.trained_here, snakemake.input.left_out, strict=True))
    # What the run found is to be compared, with however few pairs.
    settings = params.settings | {"min_pairs": 1, "few_repeats": "none"}
    models = []
    for label in network_labels(params.network_labels):
        name = label.label
        value = column(catalogue, name).astype(np.float64)
        # Only what the paper would keep: within the training grid, and like its spectra.
        for flag in label.flags:
            value[column(catalogue, flag) != 0] = np.nan
        known = None
        if name in left_out:
            known = pd.read_parquet(left_out[name])
            known["value"] = values_at(value, row_of(known["spectrum_id"]))
        models.append(network_curve(name, label.unit, pairs, value, settings, published, known))
    write_csv(snakemake.output[0], beside_published(models, published), digits=4)


if __name__ == "__main__":
    main(snakemake)
