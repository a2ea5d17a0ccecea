"""Errors of all networks' labels as functions of S/N alone, learned from the stars of all types."""

import numpy as np
import pandas as pd

from lamostvac.catalog.files import read_fields
from lamostvac.catalog.registry import network_labels, run_registry
from lamostvac.core.hdf5 import atomic_hdf5
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.networks.ensemble import load_network
from lamostvac.uncertainty.all_types import curves_of_all_types
from lamostvac.uncertainty.model_files import write_models
from lamostvac.uncertainty.published import load_published_errors


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params, inputs = snakemake.params, snakemake.input
    labels = network_labels(params.network_labels)
    registry = run_registry(params)

    def column(name: str) -> np.ndarray:
        return np.concatenate(
            [read_fields(path, registry, [name])[name] for path in inputs.collected]
        )

    left_out = dict(zip(params.trained_here, map(pd.read_parquet, inputs.left_out), strict=True))
    files = dict(zip([label.label for label in labels], inputs.networks, strict=True))
    scatter = {
        label: load_network(files[label]).scatter(known["reference"].median())
        for label, known in left_out.items()
    }
    models = curves_of_all_types(
        column, labels, params.settings, load_published_errors(), left_out, scatter
    )
    for model in models:
        log.info("%s: from %s, %d pairs or stars", model.label, model.source, model.n_pairs)
    with atomic_hdf5(snakemake.output[0]) as out:
        write_models(out, models)


if __name__ == "__main__":
    main(snakemake)
