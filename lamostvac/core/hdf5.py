"""HDF5 files: tables in them, and a reader that takes nothing from outside them.

HDF5 can point elsewhere: links into other files, data stored in any file of the system, datasets
put together from other files, groups that contain themselves. A file from somebody else could so
show what only its reader may see. None of ours has any of that, so `open_hdf5`, which is the one
place where this program opens HDF5 for reading, refuses it before anything is read.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5_heaps import damaged_heap, damaged_text

_MOST_OBJECTS = 100_000  # in a file; ours have a few thousand at most
_MOST_BYTES = 1 << 30  # of the arrays that `read_arrays` reads from a group
_PACKING = 16  # most bytes of arrays for one of the file, which can have arrays that nobody wrote
# Filters that are part of HDF5 and h5py: deflate, shuffle, Fletcher32, LZF. Others are programs that
# HDF5 would load from a folder that an environment variable names.
_FILTERS = (1, 2, 3, 32000)


@contextmanager
def atomic_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """An HDF5 file open for writing that appears under `path` only when complete.

    Equal content gives equal bytes at any time: datasets must be created with `track_times=False`,
    and groups are in the library's oldest format, which has no times (its newest has).
    """
    with atomic(path) as temporary, h5py.File(temporary, "w", libver="earliest") as handle:
        yield handle


@contextmanager
def open_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """An HDF5 file open for reading, all of whose content is in the file itself.

    Raises
    ------
    OSError
        There is no such file, or it is damaged or no HDF5.
    UserError
        The file has soft or external links, external storage, virtual datasets, filters that are
        not part of HDF5, or more objects than any file of this program.
    """
    # Opening a pipe without a writer would never return.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise UserError(f"{path} is no file")
    if damage := damaged_heap(path):
        raise OSError(f"{path} is damaged: {damage}")
    with h5py.File(path, "r") as handle:
        if found := _from_outside(path, handle.id):
            raise UserError(
                f"{path} has {found}, which no file of this program has; it is not read, so that it "
                "cannot show content of other files: take one that was written by lamostvac"
            )
        yield handle


def _from_outside(file: str | os.PathLike[str], root: h5py.h5g.GroupID) -> str:
    """What in a file leads out of it, or in circles, in a few words; "" for nothing.

    Raises `OSError` where a text or value states a length that it does not have.
    """
    _check_lengths(file, root, "/")
    pending, seen = [(root, "")], {h5py.h5o.get_info(root).addr}
    while pending:
        group, place = pending.pop()
        for name in group:
            path = f"{place}/{name.decode('utf-8', 'replace')}"
            if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
                return f"a link at {path}"
            item = h5py.h5o.open(group, name)
            address = h5py.h5o.get_info(item).addr
            if address in seen:
                return f"a second name for an object at {path}"
            seen.add(address)
            if len(seen) > _MOST_OBJECTS:
                return f"more than {_MOST_OBJECTS} objects"
            if isinstance(item, h5py.h5g.GroupID):
                pending.append((item, path))
            elif isinstance(item, h5py.h5d.DatasetID):
                created = item.get_create_plist()
                if created.get_external_count():
                    return f"data stored in another file at {path}"
                if created.get_layout() == h5py.h5d.VIRTUAL:
                    return f"a virtual dataset at {path}"
                filters = (created.get_filter(i)[0] for i in range(created.get_nfilters()))
                if any(number not in _FILTERS for number in filters):
                    return f"an unknown filter at {path}"
            if isinstance(item, h5py.h5g.GroupID | h5py.h5d.DatasetID):
                _check_lengths(file, item, path)
    return ""


def _check_lengths(
    file: str | os.PathLike[str], item: h5py.h5g.GroupID | h5py.h5d.DatasetID, place: str
) -> None:
    if damage := damaged_text(file, item):
        raise OSError(f"{file} is damaged: {place} has {damage}")


@contextmanager
def whole_file(path: str | os.PathLike[str], what: str, remedy: str) -> Iterator[h5py.File]:
    """`open_hdf5` for a file that may be from anywhere: every failure to read it is a `UserError`.

    `what` says in the sentence what the file should be, as in "the network", `remedy` what to do.
    """
    try:
        with open_hdf5(path) as handle:
            yield handle
    except (UserError, MemoryError):
        raise
    except Exception as error:  # HDF5 and h5py have errors of every kind for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{what} {path} cannot be read: {reason}; {remedy}") from None


@dataclass(frozen=True)
class Layout:
    """What an array of a file has to be.

    Attributes
    ----------
    shape : lengths of its axes; a name stands for a length that is the same wherever it stands
    dtype : what it is read as; the file's type has to be of the same kind
    limits : closed interval that all values lie in
    finite : whether NaN and infinities are refused
    """

    shape: tuple[str | int, ...]
    dtype: str = "f4"
    limits: tuple[float, float] = (-np.inf, np.inf)
    finite: bool = True


def read_arrays(
    group: h5py.Group, layouts: Mapping[str, Layout], lengths: dict[str, int] | None = None
) -> dict[str, NDArray[Any]]:
    """The arrays of a group, which has these and no others; checked before they are read.

    Parameters
    ----------
    layouts : name below the group, with `/` in it for one in a subgroup, to its layout
    lengths : known lengths by name; those that are found are added

    Raises
    ------
    ValueError
        One is missing, of another type or shape, too large, or has values that it cannot have.
    """
    lengths = {} if lengths is None else lengths
    total, most = 0, min(_MOST_BYTES, _PACKING * group.file.id.get_filesize())
    for name, layout in layouts.items():
        item = group.get(name)
        if not isinstance(item, h5py.Dataset):
            raise ValueError(f"{name} is missing")
        wanted = np.dtype(layout.dtype)
        if item.dtype.kind != wanted.kind or item.dtype.shape:
            raise ValueError(f"{name} has values of type {item.dtype}, not {wanted}")
        _check_shape(name, item.shape, layout.shape, lengths)
        total += item.size * max(item.dtype.itemsize, wanted.itemsize)
        if total > most:
            raise ValueError(f"{name} has {item.size} values, more than any file of this program")
    arrays = {}
    for name, layout in layouts.items():
        values = np.asarray(group[name][()])
        if layout.finite and values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{name} has values that are not finite")
        low, high = layout.limits
        if values.dtype.kind in "fiu" and ((values < low) | (values > high)).any():
            raise ValueError(f"{name} has values outside {low:g} to {high:g}")
        arrays[name] = values.astype(layout.dtype)
    return arrays


def _check_shape(
    name: str, found: tuple[int, ...] | None, wanted: tuple[str | int, ...], lengths: dict[str, int]
) -> None:
    if found is None or len(found) != len(wanted):
        raise ValueError(f"{name} has shape {found}, not {len(wanted)} axes")
    for length, axis in zip(found, wanted, strict=True):
        expected = axis if isinstance(axis, int) else lengths.setdefault(axis, length)
        if length != expected:
            raise ValueError(f"{name} has shape {found}, but {axis} is {expected}")


def write_attributes(place: h5py.HLObject, values: Mapping[str, Any]) -> None:
    """Write attributes of a group or dataset; texts and lists of them become fixed-length UTF-8.

    HDF5 takes memory for whatever length a damaged file states for a text of any length.
    """
    for name, value in values.items():
        array = np.asarray(value)
        if array.dtype.kind in "OUT":
            array = _encoded(array)
            kind = h5py.string_dtype("utf-8", array.dtype.itemsize)
            place.attrs.create(name, array, dtype=kind)
        else:
            place.attrs[name] = value


def read_attributes(place: h5py.HLObject) -> dict[str, Any]:
    """The attributes of a group or dataset; texts as `str`, lists of them as object arrays.

    Raises `ValueError` where a text is no UTF-8.
    """
    return {name: _decoded(value) for name, value in place.attrs.items()}


def read_text(attributes: h5py.AttributeManager, name: str) -> str:
    """An attribute that is a text; raises `ValueError` where it is missing or none."""
    value = _decoded(attributes.get(name))
    if not isinstance(value, str):
        raise ValueError(f"the attribute {name} is not a text")
    return value


def read_texts(attributes: h5py.AttributeManager, name: str) -> tuple[str, ...]:
    """An attribute that is a list of texts; raises `ValueError` where it is missing or none."""
    values = _decoded(attributes.get(name))
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        raise ValueError(f"the attribute {name} is not a list of texts")
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"the attribute {name} is not a list of texts")
    return tuple(values)


def read_number(attributes: h5py.AttributeManager, name: str, finite: bool = True) -> float:
    """An attribute that is a number; raises `ValueError` where it is missing or none."""
    value = attributes.get(name)
    if not isinstance(value, np.integer | np.floating) or (finite and not np.isfinite(value)):
        raise ValueError(f"the attribute {name} is not a number")
    return float(value)


def write_columns(group: h5py.Group, columns: Mapping[str, np.ndarray] | pd.DataFrame) -> None:
    """Write a table as one 1-D dataset per column; strings become fixed-length UTF-8 bytes."""
    for name, values in columns.items():
        array = np.asarray(values)
        if array.dtype.kind in "OUT":
            array = _encoded(array)
        group.create_dataset(str(name), data=array, track_times=False)


def read_columns(group: h5py.Group, names: list[str] | None = None) -> pd.DataFrame:
    """The table that `write_columns` wrote, columns in alphabetical order or as in `names`."""
    columns = {}
    for name in names if names is not None else sorted(group):
        array = group[name][()]
        columns[name] = _decoded(array)
    return pd.DataFrame(columns)


def _encoded(texts: NDArray[Any]) -> NDArray[np.bytes_]:
    """Texts of any shape as UTF-8 of a fixed length, of which HDF5 has none of 0."""
    array = np.char.encode(texts.astype(str), "utf-8") if texts.size else np.empty(0, "S1")
    return array if array.dtype.itemsize else array.astype("S1")


def _decoded(value: Any) -> Any:
    """The inverse of `_encoded`; a single text is a `str`, and what is no text stays what it is."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        if not value.size:
            return np.empty(value.shape, object)
        return np.char.decode(value, "utf-8").astype(object)
    return value
