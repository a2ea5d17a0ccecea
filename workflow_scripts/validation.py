"""Compare the catalogue with other catalogues, cross-validation, injected truth, training sets and itself."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lamostvac.catalog.registry import NetworkLabel, Registry, load_registry, network_labels
from lamostvac.core.atomic import atomic
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.vocabulary import LABELS
from lamostvac.training.files import read_training
from lamostvac.validation import networks
from lamostvac.validation.clusters import CLUSTER_COLUMNS, cluster_rows
from lamostvac.validation.comparisons import (
    COMPARISON_COLUMNS,
    compare,
    compare_crossvalidation,
    comparison_rows,
    pairs,
    without_training,
)
from lamostvac.validation.match import match
from lamostvac.validation.schema import Comparison
from lamostvac.validation.statistics import PULL_COLUMNS, pull_rows
from lamostvac.validation.subsets import RECOMMENDED
from lamostvac.validation.trends import TREND_COLUMNS, trend_rows
from lamostvac.validation.truth import (
    DERIVED,
    DISTANCES,
    match_spectra,
    read_truth,
    recommended_subsets,
    relative,
    truth_subsets,
)

Rows = list[dict[str, Any]]


def write_csv(table: pd.DataFrame, path: str) -> None:
    """CSV with five significant digits, enough for statistics and readable."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g", lineterminator="\n")


def against_catalogues(
    snakemake: Job,
    labels: Sequence[NetworkLabel],
    trained: dict[str, list[str]],
    registry: Registry,
    log: logging.Logger,
) -> tuple[Rows, Rows, Rows, list[pd.DataFrame]]:
    """Rows of comparisons.csv, trends.csv and clusters.csv, and pairs, of the comparisons whose files are there.

    `trained` are the spectra that each set's networks learned from; a label is judged on the others.
    """
    params = snakemake.params
    set_of = {label.label: label.set for label in labels}
    rows: Rows = []
    trends: Rows = []
    clusters: Rows = []
    drawn = []
    for sentence in params.skipped:
        log.info("%s", sentence)
    for entry in params.comparisons:
        comparison = Comparison.model_validate(entry)
        table = match(
            snakemake.input.catalogue, comparison, params.files[comparison.name], registry
        )
        log.info("%s: %d spectra of %d stars", comparison.name, len(table), table["star"].nunique())
        group = None if comparison.group is None else f"ref_{comparison.group}"
        for label in comparison.all_labels:
            used = without_training(table, label, set_of, trained)
            of_label = comparison.only(label)
            rows += compare(used, of_label, params.seed)
            trends += trend_rows(comparison.name, used, [label], params.snr_band, params.seed)
            drawn.append(pairs(comparison.name, used, [label], group=group))
            if group is not None:
                clusters += cluster_rows(
                    comparison.name, used, group, [label], params.snr_band, params.seed
                )
    return rows, trends, clusters, drawn


def against_library(snakemake: Job) -> tuple[Rows, pd.DataFrame]:
    """The same for the emulator's cross-validation."""
    table, library = pd.read_csv(snakemake.input.crossvalidation), snakemake.params.library
    rows = compare_crossvalidation(table, library)
    labels = [label for label in LABELS if f"{label}_true" in table]
    table = table.rename(columns={f"{label}_true": f"ref_{label}" for label in labels}).assign(
        snrg=np.nan
    )
    return rows, pairs(f"crossvalidation_{library}", table, labels)


def against_truth(
    path: str,
    catalogue: str,
    labels: Sequence[NetworkLabel],
    trained: dict[str, list[str]],
    registry: Registry,
    snr_band: str,
) -> tuple[Rows, Rows, list[pd.DataFrame]]:
    """Rows of comparisons.csv and of pulls.csv, and pairs.

    `trained` are the spectra that each set's networks learned from.
    """
    names = [*RECOMMENDED, *DERIVED, *(label.label for label in labels)]
    table = match_spectra(catalogue, read_truth(path, labels), names, registry)
    subsets = truth_subsets(table, snr_band)
    rows, pulls = comparison_rows("truth", subsets), pull_rows(subsets)
    single = ~table["binary"] & ~table["emission"]
    drawn = [pairs("truth", table[single], LABELS)]
    seen = {name: networks.mark_trained(table, spectra) for name, spectra in trained.items()}
    known = np.any([np.zeros(len(table), bool), *seen.values()], axis=0)
    subsets = recommended_subsets(table, known, snr_band)
    rows += comparison_rows("truth", subsets, RECOMMENDED)
    pulls += pull_rows(subsets, RECOMMENDED)
    pulls += pull_rows(subsets, DERIVED)
    rows += comparison_rows("truth", subsets, [name for name in DERIVED if name not in DISTANCES])
    for distance in DISTANCES:
        shares = {name: relative(part, distance) for name, part in subsets.items()}
        rows += comparison_rows("truth", shares, [distance])
    drawn.append(pairs("truth", table[single & ~known], [*RECOMMENDED, *DERIVED]))
    for label in labels:
        known = seen.get(label.set, np.zeros(len(table), bool))
        subsets = networks.truth_subsets(table, label.label, known, snr_band)
        rows += comparison_rows("truth", subsets, [label.label])
        pulls += pull_rows(subsets, [label.label])
        drawn.append(pairs("truth", table[single & ~known], [label.label]))
    return rows, pulls, drawn


def against_training(
    name: str,
    training: pd.DataFrame,
    labels: Sequence[NetworkLabel],
    left_out: dict[str, str],
    catalogue: str,
    registry: Registry,
) -> tuple[Rows, list[pd.DataFrame]]:
    """Rows of comparisons.csv and pairs of a training set; `left_out` are the files by label."""
    names = [label.label for label in labels]
    table = match_spectra(catalogue, networks.with_references(training, names), names, registry)
    teff = networks.reference_teff(training, labels, table)
    left = {
        label: networks.left_out_table(pd.read_parquet(left_out[label]), label, teff)
        for label in names
    }
    dataset = f"training_{name}"
    drawn = [
        pairs(dataset, table[table["split"] == part], names, subset=part)
        for part in ("train", "test")
    ]
    drawn += [pairs(dataset, left[label], [label], subset="left out") for label in names]
    return networks.training_rows(name, table, left), drawn


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    labels = network_labels(params.network_labels)
    registry = load_registry(labels)
    training = {
        name: read_training(path)
        for name, path in zip(params.trained_here, inputs.training, strict=True)
    }
    trained = {
        name: table.loc[table["split"] == "train", "spectrum_id"].tolist()
        for name, table in training.items()
    }
    rows, trends, clusters, drawn = against_catalogues(snakemake, labels, trained, registry, log)
    more, table = against_library(snakemake)
    rows += more
    drawn.append(table)

    pulls: Rows = []
    if inputs.truth:
        more, pulls, tables = against_truth(
            inputs.truth[0], inputs.catalogue, labels, trained, registry, params.snr_band
        )
        rows += more
        drawn += tables

    own = [label for label in labels if label.set in training]
    left_out = dict(zip([label.label for label in own], inputs.left_out, strict=True))
    for name, table in training.items():
        of_set = [label for label in own if label.set == name]
        more, tables = against_training(name, table, of_set, left_out, inputs.catalogue, registry)
        rows += more
        drawn += tables
        log.info("training set %s: %d spectra", name, len(table))

    names = [*LABELS, *(label.label for label in labels)]
    rows += networks.repeat_rows(inputs.catalogue, names, registry, params.snr_band)

    write_csv(pd.DataFrame(rows, columns=COMPARISON_COLUMNS), outputs.comparisons)
    write_csv(pd.DataFrame(pulls, columns=PULL_COLUMNS), outputs.pulls)
    write_csv(pd.DataFrame(trends, columns=TREND_COLUMNS), outputs.trends)
    write_csv(pd.DataFrame(clusters, columns=CLUSTER_COLUMNS), outputs.clusters)
    if labels:
        published = networks.load_published(inputs.published[0])
        write_csv(networks.networks_table(labels, rows, published), outputs.networks)
    with atomic(outputs.pairs) as temporary:
        pd.concat(drawn, ignore_index=True).to_parquet(temporary, index=False)
    log.info("%d rows of comparisons", len(rows))


if __name__ == "__main__":
    main(snakemake)
