"""How the networks learned, what from, and how right they are."""

import numpy as np
import pandas as pd

from lamostvac.catalog.registry import network_labels
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.networks.ensemble import load_network
from lamostvac.report.members import cluster_outliers
from lamostvac.report.networks import (
    learning_curves,
    network_pulls,
    predictions,
    residuals_by_snr,
    training_planes,
)
from lamostvac.report.style import save
from lamostvac.training.files import read_training
from lamostvac.validation.subsets import read_catalogue


def catalogue_teff(path: str, spectra: pd.Series) -> np.ndarray:
    """The catalogue's Teff of some spectra (n,), NaN where it has none."""
    wanted = set(spectra)
    blocks = [
        block[block["spectrum_id"].isin(wanted)]
        for block in read_catalogue(path, ["spectrum_id", "teff"])
    ]
    teff = pd.concat(blocks).set_index("spectrum_id")["teff"]
    return spectra.map(teff).to_numpy(np.float64)


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    labels = network_labels(params.network_labels)
    names = [label.label for label in labels]
    histories = {
        name: load_network(path).history for name, path in zip(names, inputs.networks, strict=True)
    }
    save(
        learning_curves({name: history for name, history in histories.items() if history}),
        outputs.curves,
    )
    pairs, training = pd.read_parquet(inputs.pairs), {}
    for name, title, table, plane, predicted in zip(
        params.sets,
        params.titles,
        inputs.training,
        outputs.planes,
        outputs.predictions,
        strict=True,
    ):
        training[name] = read_training(table)
        training[name]["teff"] = catalogue_teff(inputs.catalogue, training[name]["spectrum_id"])
        of_set = [label for label in labels if label.set == name]
        save(training_planes(title, training[name], of_set), plane)
        of_pairs = pairs[pairs["dataset"] == f"training_{name}"]
        save(predictions(title, of_pairs, [label.label for label in of_set]), predicted)
        log.info("training set %s", name)
    for (name, title), path in zip(params.grouped, outputs.get("outliers", []), strict=False):
        save(cluster_outliers(title, pairs[pairs["dataset"] == name], labels, training), path)
    if outputs.get("truth"):
        save(residuals_by_snr(pairs[pairs["dataset"] == "truth"], names), outputs.truth)
        save(network_pulls(pd.read_csv(inputs.pulls), names), outputs.pulls)
    log.info("%d networks", len(names))


if __name__ == "__main__":
    main(snakemake)
