"""Comparison of the catalogue with other catalogues, cross-validation, truth and training sets."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from lamostvac.catalog.registry import EmulatorLabels, NetworkLabel, Registry
from lamostvac.core.vocabulary import LABELS
from lamostvac.validation import networks
from lamostvac.validation.clusters import cluster_rows
from lamostvac.validation.comparisons import (
    compare,
    compare_crossvalidation,
    comparison_rows,
    pairs,
    sets_of_label,
    without_training,
)
from lamostvac.validation.match import match
from lamostvac.validation.schema import Comparison
from lamostvac.validation.statistics import pull_rows
from lamostvac.validation.subsets import (
    FIT_FLAGS,
    RECOMMENDED,
    emulator_flag,
    network_flags,
    recommended_flags,
)
from lamostvac.validation.trends import trend_rows
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


@dataclass
class Findings:
    """Rows of the tables comparisons, pulls, trends and clusters, and pairs of values for
    figures.
    """

    rows: Rows = field(default_factory=list)
    pulls: Rows = field(default_factory=list)
    trends: Rows = field(default_factory=list)
    clusters: Rows = field(default_factory=list)
    pairs: list[pd.DataFrame] = field(default_factory=list)

    def __iadd__(self, other: "Findings") -> "Findings":
        for name in self.__dataclass_fields__:
            getattr(self, name).extend(getattr(other, name))
        return self


@dataclass(frozen=True)
class Catalogue:
    """The catalogue that is compared.

    Attributes
    ----------
    path : Parquet file
    registry : of its columns
    snr_band : column of S/N by which subsets are made
    labels : the networks' labels
    emulators : the emulators beside the first
    trained : the spectra on which each training set's networks were trained; a label is tested on
        the others
    """

    path: str
    registry: Registry
    snr_band: str
    labels: Sequence[NetworkLabel]
    trained: Mapping[str, list[str]]
    emulators: Sequence[EmulatorLabels] = ()


def learned_from(training: Mapping[str, pd.DataFrame]) -> dict[str, list[str]]:
    """The spectra on which each training set's networks were trained."""
    return {
        name: table.loc[table["split"] == "train", "spectrum_id"].tolist()
        for name, table in training.items()
    }


def against_catalogue(
    catalogue: Catalogue,
    comparison: Comparison,
    files: Mapping[str, str],
    seed: int,
    log: logging.Logger,
) -> Findings:
    """Comparisons, trends, clusters and pairs with another catalogue; `files` as in `available`."""
    found = Findings()
    set_of = {label.label: label.set for label in catalogue.labels}
    name, snr_band = comparison.name, catalogue.snr_band
    paths = files[name], files.get(f"{name}.other", "")
    table = match(catalogue.path, comparison, paths[0], catalogue.registry, paths[1])
    other = comparison.other.name if comparison.other else ""
    log.info("%s: %d spectra of %d stars", name, len(table), table["star"].nunique())
    group = None if comparison.group is None else f"ref_{comparison.group}"
    # Labels of the same training sets are tested on the same rows.
    for _, same in groupby(
        comparison.all_labels, lambda label: sets_of_label(label, set_of, catalogue.trained)
    ):
        labels = list(same)
        used = without_training(table, labels[0], set_of, catalogue.trained)
        for label in labels:
            found.rows += compare(used, comparison.only(label), seed)
            found.trends += trend_rows(name, used, [label], snr_band, seed)
            if group is not None:
                found.clusters += cluster_rows(name, used, group, [label], snr_band, seed)
        found.pairs.append(pairs(name, used, labels, group=group, other=other))
    return found


def narrow(table: pd.DataFrame, labels: Iterable[str], snr_band: str) -> pd.DataFrame:
    """The columns of a table of truth that subsets, statistics and pulls of labels use.

    There are dozens of subsets, and a copy of hundreds of columns for each takes most of the time.
    """
    names = ["spectral_type", "binary", "emission", "star", "ref_feh", snr_band, "flag_alpha_fe"]
    names += FIT_FLAGS
    for label in labels:
        names += [label, f"{label}_err", f"ref_{label}", emulator_flag(label)]
        names += [*network_flags(label), *recommended_flags(label)]
    return table[[name for name in dict.fromkeys(names) if name in table]]


def against_library(crossvalidation: pd.DataFrame, library: str) -> Findings:
    """Comparisons and pairs of the cross-validation of the emulator of a library."""
    rows = compare_crossvalidation(crossvalidation, library)
    labels = [label for label in LABELS if f"{label}_true" in crossvalidation]
    names = {f"{label}_true": f"ref_{label}" for label in labels}
    table = crossvalidation.rename(columns=names).assign(snrg=np.nan)
    return Findings(rows, pairs=[pairs(f"crossvalidation_{library}", table, labels)])


def against_truth(catalogue: Catalogue, path: str) -> Findings:
    """Comparisons, pulls and pairs with a simulated survey's injected truth, the file `path`."""
    labels, snr_band = catalogue.labels, catalogue.snr_band
    further = [column for one in catalogue.emulators for column in one.columns.values()]
    names = [*RECOMMENDED, *DERIVED, *further, *(label.label for label in labels)]
    truth = read_truth(path, labels, catalogue.emulators)
    table = match_spectra(catalogue.path, truth, names, catalogue.registry)
    subsets = truth_subsets(narrow(table, LABELS, snr_band), snr_band)
    rows, pulls = comparison_rows("truth", subsets), pull_rows(subsets)
    single = ~table["binary"] & ~table["emission"]
    drawn = [pairs("truth", table[single], [*LABELS, *further])]
    for system in catalogue.emulators:
        own = list(system.columns.values())
        subsets = truth_subsets(narrow(table, own, snr_band), snr_band, [system.flag])
        rows += comparison_rows("truth", subsets, own)
        pulls += pull_rows(subsets, own)
    seen = {
        name: networks.mark_trained(table, spectra) for name, spectra in catalogue.trained.items()
    }
    known = np.any([np.zeros(len(table), bool), *seen.values()], axis=0)
    needed = narrow(table, [*RECOMMENDED, *DERIVED], snr_band)
    subsets = recommended_subsets(needed, known, snr_band)
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
        needed = narrow(table, [label.label], label.snr_band)
        subsets = networks.truth_subsets(needed, label.label, known, label.snr_band)
        rows += comparison_rows("truth", subsets, [label.label])
        pulls += pull_rows(subsets, [label.label])
    # Labels of one training set are drawn on the same stars.
    for name, same in groupby(labels, lambda label: label.set):
        known = seen.get(name, np.zeros(len(table), bool))
        drawn.append(pairs("truth", table[single & ~known], [label.label for label in same]))
    return Findings(rows, pulls, pairs=drawn)


def against_training(
    catalogue: Catalogue,
    name: str,
    training: pd.DataFrame,
    left_out: Mapping[str, pd.DataFrame],
) -> Findings:
    """Comparisons and pairs with a training set.

    Parameters
    ----------
    name, training : of the set
    left_out : label to the networks' answers for stars that they were not trained on
    """
    labels = [label for label in catalogue.labels if label.set == name]
    names = [label.label for label in labels]
    table = match_spectra(
        catalogue.path, networks.with_references(training, names), names, catalogue.registry
    )
    teff = networks.reference_teff(training, labels, table)
    left = {label: networks.left_out_table(left_out[label], label, teff) for label in names}
    dataset = f"training_{name}"
    drawn = [
        pairs(dataset, table[table["split"] == part], names, subset=part)
        for part in ("train", "test")
    ]
    drawn += [pairs(dataset, left[label], [label], subset="left out") for label in names]
    return Findings(networks.training_rows(name, table, left), pairs=drawn)
