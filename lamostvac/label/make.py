"""What goes into a pack from the files of a finished run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.catalog.flags import Chi2Regression, chi2_regression, snr_flag
from lamostvac.core.vocabulary import LABELS
from lamostvac.fit.left_out import library_folds
from lamostvac.label.pack import member
from lamostvac.library.library import (
    read_catalogue_labels,
    read_label_names,
    read_library_labels,
    read_places,
)

PLACES = ("ra", "dec")
"""Columns beside the labels of a library's stars where they are the survey's."""


def library_tables(
    folder: Path, libraries: Mapping[str, str], crossvalidations: Mapping[str, str]
) -> dict[str, Path]:
    """Labels and places of the libraries' stars as small files of `folder`, by name in the pack.

    Parameters
    ----------
    libraries : file of each library by its name, that of the first emulator first
    crossvalidations : table of those whose stars are the survey's
    """
    members = {}
    for number, (name, path) in enumerate(libraries.items()):
        columns = LABELS if number == 0 else read_label_names(path)
        values = read_catalogue_labels(path) if number == 0 else read_library_labels(path)
        labels = pd.DataFrame(values, columns=list(columns))
        if name in crossvalidations and (places := read_places(path)) is not None:
            labels[list(PLACES)] = places
        stars = library_folds([path, crossvalidations[name]] if name in crossvalidations else [])
        tables = {"labels": labels, "stars": stars}
        for part, table in tables.items():
            file = folder / f"{number}_{part}.parquet"
            table.to_parquet(file, index=False)
            members[member(part, name, ".parquet")] = file
    return members


def regression_of(
    rows: NDArray[np.void], snr_band: str, threshold: tuple[float, float]
) -> Chi2Regression:
    """The regression of chi2 by which a type's rows (n,) were flagged (`catalog.flags.set_flags`)."""
    labels = np.column_stack([rows[label].astype(np.float32) for label in LABELS])
    reliable = ~snr_flag(rows[snr_band], rows["logg"], *threshold)
    return chi2_regression(labels, rows["chi2"].astype(np.float64), reliable)


def named(
    kind: str, names: Sequence[str], paths: Sequence[str], ending: str = ".h5"
) -> dict[str, Path]:
    """Files by their names in the pack (`pack.member`)."""
    return {member(kind, name, ending): Path(path) for name, path in zip(names, paths, strict=True)}
