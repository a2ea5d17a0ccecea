"""Files that are either whole or absent, and tables inside HDF5."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import yaml

from lamostvac.errors import UserError

REJECTED_COLUMNS = ("spectrum_id", "obsid", "stage", "reason")


def read_yaml(path: str | os.PathLike[str], what: str, form: str = "") -> Any:
    """The content of a YAML file that a user may have written.

    Raises `UserError` when it cannot be read or is no YAML; the sentence begins with `what`, the key that names it,
    and has `form`, what the file should hold.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{what} {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{what} {path} is no YAML{form}: {' '.join(str(error).split())}") from None


def shipped(path: str | os.PathLike[str]) -> Path:
    """The file at `path`, or the one of that name in the project where a run in another folder has none."""
    own, given = Path(__file__).resolve().parent.parent / path, Path(path)
    return own if not given.exists() and own.exists() else given


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success rename it to `path`, on failure remove it.

    The temporary name keeps the suffixes, because writers choose their format by them.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".tmp-{os.getpid()}-{target.name}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Like `atomic` for a folder: yield a new empty one, which takes the place of `path` when complete."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".tmp-{os.getpid()}-{target.name}")
    temporary.mkdir()
    try:
        yield temporary
        if target.exists():
            shutil.rmtree(target)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """An HDF5 file open for writing that appears under `path` only when complete.

    Equal content gives equal bytes at any time: datasets are to be created with `track_times=False`, and
    groups in the library's oldest format have no time (in its newest they have).
    """
    with atomic(path) as temporary, h5py.File(temporary, "w", libver="earliest") as handle:
        yield handle


def sha256(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


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
            array = np.char.decode(array, "utf-8").astype(object) if array.size else np.empty(0, object)
        columns[name] = array
    return pd.DataFrame(columns)


def rejected_table(rows: list[tuple[str, int, str, str, str]]) -> pd.DataFrame:
    """Rejections as a table `spectrum_id obsid stage reason detail` with fixed dtypes."""
    table = pd.DataFrame(rows, columns=[*REJECTED_COLUMNS, "detail"])
    return (
        table.astype({"obsid": "int64"}) if len(table) else table.astype({"obsid": "int64"}, errors="ignore")
    )
