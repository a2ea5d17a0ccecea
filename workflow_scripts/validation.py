"""Compare the catalogue with other catalogues, cross-validation, injected truth, training sets and itself."""

import pandas as pd

from lamostvac.catalog.registry import emulator_labels, network_labels, run_registry
from lamostvac.catalog.snr import snr_bands
from lamostvac.core.atomic import atomic
from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.vocabulary import LABELS
from lamostvac.training.files import read_training
from lamostvac.validation import against, networks
from lamostvac.validation.clusters import CLUSTER_COLUMNS
from lamostvac.validation.comparisons import COMPARISON_COLUMNS
from lamostvac.validation.schema import Comparison
from lamostvac.validation.statistics import PULL_COLUMNS
from lamostvac.validation.trends import TREND_COLUMNS


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    labels = network_labels(params.network_labels)
    training = dict(zip(params.trained_here, map(read_training, inputs.training), strict=True))
    trained = against.learned_from(training)
    emulators = emulator_labels(params.emulators)
    catalogue = against.Catalogue(
        inputs.catalogue, run_registry(params), params.snr_band, labels, trained, emulators
    )
    found = against.Findings()
    for sentence in params.skipped:
        log.info("%s", sentence)
    for entry in map(Comparison.model_validate, params.comparisons):
        found += against.against_catalogue(catalogue, entry, params.files, params.seed, log)
    found += against.against_library(pd.read_csv(inputs.crossvalidation), params.library)
    if inputs.truth:
        found += against.against_truth(catalogue, inputs.truth[0])
    own = [label.label for label in labels if label.set in training]
    left_out = dict(zip(own, map(pd.read_parquet, inputs.left_out), strict=True))
    for name, table in training.items():
        found += against.against_training(catalogue, name, table, left_out)
        log.info("training set %s: %d spectra", name, len(table))
    theirs = [column for one in emulators for column in one.columns.values()]
    bands = snr_bands(labels, [*LABELS, *theirs], params.snr_band)
    found.rows += networks.repeat_rows(inputs.catalogue, bands, catalogue.registry)
    for name, rows, columns in (
        ("comparisons", found.rows, COMPARISON_COLUMNS),
        ("pulls", found.pulls, PULL_COLUMNS),
        ("trends", found.trends, TREND_COLUMNS),
        ("clusters", found.clusters, CLUSTER_COLUMNS),
    ):
        write_csv(outputs.get(name), pd.DataFrame(rows, columns=columns), digits=5)
    if labels:
        published = networks.load_published()
        table = networks.networks_table(labels, found.rows, published)
        write_csv(outputs.networks, table, digits=5)
    with atomic(outputs.pairs) as temporary:
        pd.concat(found.pairs, ignore_index=True).to_parquet(temporary, index=False)
    log.info("%d rows of comparisons", len(found.rows))


if __name__ == "__main__":
    main(snakemake)
