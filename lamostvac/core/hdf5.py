"""Tables in HDF5 files."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import h5py
import numpy as np
import pandas as pd

from lamostvac.core.atomic import atomic


@contextmanager
def atomic_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """An HDF5 file open for writing that appears under `path` only when complete.

    Equal content gives equal bytes at any time: datasets must be created with `track_times=False`,
    and groups are in the library's oldest format, which has no times (its newest has).
    """
    with atomic(path) as temporary, h5py.File(temporary, "w", libver="earliest") as handle:
        yield handle


def write_columns(group: h5py.Group, columns: Mapping[str, np.ndarray] | pd.DataFrame) -> None:
    """Write a table as one 1-D dataset per column; strings become fixed-length UTF-8 bytes."""
    for name, values in columns.items():
        array = np.asarray(values)
        if array.dtype.kind in "OUT":
            array = np.char.encode(array.astype(str), "utf-8") if array.size else np.empty(0, "S1")
            if array.dtype.itemsize == 0:
                array = array.astype("S1")
        group.create_dataset(str(name), data=array, track_times=False)


def read_columns(group: h5py.Group, names: list[str] | None = None) -> pd.DataFrame:
    """The table that `write_columns` wrote, columns in alphabetical order or as in `names`."""
    columns = {}
    for name in names if names is not None else sorted(group):
        array = group[name][()]
        if array.dtype.kind == "S":
            array = (
                np.char.decode(array, "utf-8").astype(object) if array.size else np.empty(0, object)
            )
        columns[name] = array
    return pd.DataFrame(columns)
