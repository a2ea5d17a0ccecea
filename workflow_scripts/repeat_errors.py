"""Random errors of all networks' labels over all types, beside Table 2 of Wang et al. (2022)."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from lamostvac.catalog.registry import network_labels
from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.uncertainty.all_types import curves_of_all_types
from lamostvac.uncertainty.published import beside_published, load_published_errors


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params, catalogue = snakemake.params, snakemake.input.catalogue

    def column(name: str) -> np.ndarray:
        values = pq.read_table(catalogue, columns=[name]).column(0).to_numpy()
        return values.astype("S") if name == "spectrum_id" else values

    published = load_published_errors()
    left_out = dict(
        zip(params.trained_here, map(pd.read_parquet, snakemake.input.left_out), strict=True)
    )
    # What the run found is to be compared, with however few pairs.
    settings = params.settings | {"min_pairs": 1, "few_repeats": "none"}
    labels = network_labels(params.network_labels)
    models = curves_of_all_types(column, labels, settings, published, left_out, {})
    pairs = ", ".join(f"{one.n_pairs} of {one.label}" for one in models)
    log.info("pairs of one star with S/N alike: %s", pairs or "none")
    write_csv(snakemake.output[0], beside_published(models, published), digits=4)
    most = max((one.n_pairs for one in models), default=0)
    log.info("errors of %d labels from up to %d pairs of spectra of one star", len(models), most)


if __name__ == "__main__":
    main(snakemake)
