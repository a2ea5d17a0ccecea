"""Files that are either whole or absent, and tables inside HDF5."""

import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import yaml

from lamostvac.core.errors import UserError

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


def temporary_path(target: Path) -> Path:
    """A name beside `target` that no other writer has, on this node or another.

    Process numbers alone repeat between the nodes that share a file system, and, after a restart, on one node. The
    suffixes stay, because writers choose their format by them.
    """
    return target.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(4)}-{_host()}-{target.name}")


def _host() -> str:
    """This node's name as it stands in temporary names, without the dashes between their parts."""
    return re.sub(r"\W", "_", socket.gethostname())


def no_space(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that a disk or a quota is full.

    Python has a number for it; HDF5 has it in the text, and when a file is closed as a `RuntimeError`; astropy has
    words of its own.
    """
    while error is not None:
        text = str(error)
        numbers = (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, OSError) and error.errno in numbers:
            return True
        if any(f"errno = {number}," in text or os.strerror(number) in text for number in numbers):
            return True
        if text.startswith("Not enough space on disk"):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _full_disk_is_told(target: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or not no_space(error):
            raise
        raise UserError(
            f"no space left on the file system of {target.parent} while writing {target}; make room and give the "
            "same command again, which goes on from what is finished"
        ) from None


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success rename it to `path`, on failure remove it.

    Of two writers of one path the last one's file stays, and is whole. Raises `UserError` when the disk is full.
    """
    target = Path(path)
    with _full_disk_is_told(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_path(target)
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Like `atomic` for a folder: yield a new empty one, which takes the place of `path` when complete."""
    target = Path(path)
    with _full_disk_is_told(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_path(target)
        temporary.mkdir()
        try:
            yield temporary
            _replace_folder(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(new: Path, target: Path) -> None:
    """Rename `new` to `target`, also while another process does the same."""
    while True:
        try:
            os.replace(new, target)  # works where there is nothing, or an empty folder
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        old = temporary_path(target)
        try:
            os.replace(target, old)
        except FileNotFoundError:  # the other one was quicker
            continue
        shutil.rmtree(old)


def remove_temporaries(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove what killed jobs left of unfinished files and folders below `folder`; return their paths.

    To be called when no other run writes there. Those of a process that lives on this node stay; a job that a killed
    run left behind on another node fails when its file is gone, and cannot spoil a file of the new run.
    """
    host = _host()
    removed = []
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            found = re.match(r"\.tmp-(\d+)-[0-9a-f]{8}-(\w+)-.", name)
            if not name.startswith(".tmp-") or (found and found[2] == host and _lives(int(found[1]))):
                continue
            path = Path(parent, name)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            removed.append(path)
        folders[:] = [name for name in folders if not name.startswith(".tmp-")]
    return sorted(removed)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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


def read_manifest(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The table of chunks that the survey wrote: `type chunk n_spectra n_plates first_plate last_plate digest`."""
    return pd.read_csv(path, dtype={"type": str, "chunk": str, "digest": str}, keep_default_na=False)


def rejected_table(rows: list[tuple[str, int, str, str, str]]) -> pd.DataFrame:
    """Rejections as a table `spectrum_id obsid stage reason detail` with fixed dtypes."""
    table = pd.DataFrame(rows, columns=[*REJECTED_COLUMNS, "detail"])
    return (
        table.astype({"obsid": "int64"}) if len(table) else table.astype({"obsid": "int64"}, errors="ignore")
    )
