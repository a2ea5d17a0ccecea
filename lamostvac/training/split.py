"""Which stars train, and which test."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.expressions import parse
from lamostvac.training.accounting import Accounting
from lamostvac.training.candidates import apply_cuts
from lamostvac.training.load import table_columns
from lamostvac.training.schema import Label, Split, TrainingSet

SPLITS = ("train", "test", "binary", "clipped")


def label_values(
    table: pd.DataFrame, labels: Sequence[Label], where: str, accounting: Accounting | None = None
) -> pd.DataFrame:
    """`{label}` and `{label}_err` (float64) of every row; NaN where missing or cut.

    A label's own cuts apply to that label only.
    """
    columns = {}
    for label in labels:
        good = np.isfinite(np.asarray(table[label.column], np.float64))
        for cut in label.cuts:
            good &= parse(cut.cut, f"{where}: {label.name}").holds(table)
        columns[label.name] = np.where(good, np.asarray(table[label.column], np.float64), np.nan)
        error = np.nan if label.error is None else np.asarray(table[label.error], np.float64)
        columns[f"{label.name}_err"] = np.where(good, error, np.nan)
        if accounting is not None:
            conditions = " and ".join(["isfinite", *(cut.cut for cut in label.cuts)])
            accounting.count(
                f"label {label.name} (others keep these rows)", conditions, table[good]
            )
    return pd.DataFrame(columns, index=table.index)


def by_quality(table: pd.DataFrame) -> NDArray[np.int64]:
    """Rank of each spectrum (n,) among its star's: 0 has the highest S/N; equals by spectrum_id."""
    order = np.lexsort(
        (np.asarray(table["spectrum_id"], str), -np.asarray(table["snr"]), table["star"])
    )
    stars = np.asarray(table["star"])[order]
    first = np.searchsorted(stars, stars)
    place = np.empty(len(table), np.int64)
    place[order] = np.arange(len(table)) - first
    return place


def split_stars(table: pd.DataFrame, split: Split, seed: int, where: str) -> NDArray[np.str_]:
    """`train` or `test` for each spectrum (n,); "" for one that is left out.

    All spectra of a star are on one side. With a condition, a star is used for training when one of
    its spectra fulfils it; its spectra that do not are left out. With a fraction, preferred stars
    are used for training first, then others in the order of a hash of seed and identifier, until
    that fraction of all stars is reached.
    """
    star = np.asarray(table["star"])
    if split.train is not None:
        holds = parse(split.train, f"{where}: split").holds(table)
        trains = np.isin(star, star[holds])
        return np.where(holds, "train", np.where(trains, "", "test"))
    assert split.train_fraction is not None
    names, number = np.unique(star, return_inverse=True)
    preferred = np.zeros(len(table), bool)
    for text in split.prefer:
        preferred |= parse(text, f"{where}: split").holds(table)
    first = np.bincount(number[preferred], minlength=len(names)) > 0
    # A star's key is the smallest of its identifiers, so that it does not depend on the other
    # stars.
    keys = pd.Series(np.asarray(table["identifier"], str)).groupby(number).min()
    order = np.array([star_hash(key, seed) for key in keys], np.uint64)
    ranked = np.lexsort((np.asarray(keys, str), order, ~first))
    trains = np.zeros(len(names), bool)
    trains[ranked[: max(int(first.sum()), round(split.train_fraction * len(names)))]] = True
    return np.where(trains[number], "train", "test")


def star_hash(key: str, seed: int) -> int:
    """A pseudo-random number of 64 bits that depends only on the star and the seed."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest(), "big")


def choose(
    table: pd.DataFrame, entry: TrainingSet, accounting: Accounting
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The candidates after all cuts, and their labels, row by row.

    Rows without any label are left out.
    """
    where = f"training set {entry.name}"
    table = apply_cuts(table, entry.cuts, where, accounting)
    labels = label_values(table, entry.labels, where, accounting)
    usable = np.asarray(labels[entry.label_names].notna().any(axis=1))
    table, labels = table[usable].reset_index(drop=True), labels[usable].reset_index(drop=True)
    accounting.count("at least one label", "", table)
    return table, labels


def training_table(
    table: pd.DataFrame, labels: pd.DataFrame, split: NDArray[np.str_], entry: TrainingSet
) -> pd.DataFrame:
    """The columns of the set's FITS file."""
    names = ["spectrum_id", "obsid", "ra", "dec", "spectral_type", "snr", "star", "identifier"]
    keys = table[names].reset_index(drop=True)
    result = pd.concat([keys, labels.reset_index(drop=True)], axis=1)
    return result.assign(split=np.asarray(split).astype(object))[table_columns(entry)]


def child_table(
    parent: pd.DataFrame, entry: TrainingSet, accounting: Accounting
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """The table of a set that takes its rows from a parent, and which rows those are.

    Spectra, stars and the split are the parent's; cuts and labels are the set's own.
    """
    accounting.count(f"parent {entry.parent}", "", parent)
    numbered = parent.assign(_row=np.arange(len(parent)))
    chosen, labels = choose(numbered, entry, accounting)
    rows = np.asarray(chosen["_row"], np.int64)
    table = training_table(chosen, labels, np.asarray(chosen["split"], str), entry)
    count_split(table, accounting)
    return table, rows


def count_split(table: pd.DataFrame, accounting: Accounting) -> None:
    """Add rows to the accounting for `train`, `test` and each other part that has spectra."""
    for name in SPLITS:
        part = table[table["split"] == name]
        if len(part) or name in ("train", "test"):
            accounting.count(f"split {name}", "", part)
