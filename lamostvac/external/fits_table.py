"""Columns of the first table of a FITS file, read block by block to limit memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from astropy.io import fits
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.core.fits_headers import headers
from lamostvac.external import values
from lamostvac.external.text_table import open_bytes
from lamostvac.external.values import Notes

BLOCK = 1 << 26  # bytes of a table in memory at a time
_DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    AssertionError,  # a name that no card can hold
    fits.VerifyError,
)


def read_fits(
    path: Path,
    compressed: bool,
    choose: Callable[[Sequence[str]], Mapping[str, int]],
    kinds: Mapping[str, pa.DataType],
    notes: Notes,
) -> dict[str, pa.ChunkedArray]:
    """The wanted columns of the first table, each of its kind; TSCAL, TZERO and TNULL are applied.

    Parameters
    ----------
    choose : names of the file's columns -> our name: number of the column
    kinds : our name to a column's Arrow type; others are int64, float64, bool or large_string, as
        stored

    Raises
    ------
    UserError
        The file has no table, is damaged or truncated, or a wanted column holds arrays.
    """
    with open_bytes(path, compressed) as stream:
        try:
            header = _table_header(stream, path)
            empty = header.copy()
            empty["NAXIS2"] = empty["PCOUNT"] = 0
            hdu = fits.BinTableHDU.fromstring(empty.tostring().encode())
            names = list(hdu.columns.names)
            dtype = hdu.columns.dtype.newbyteorder(">")
            columns = [hdu.columns[index] for index in range(len(names))]
            width, rows = int(header["NAXIS1"]), int(header["NAXIS2"])
            for column in columns:
                for name in ("bscale", "bzero", "null"):
                    _number(column, name, 0.0)
        except _DAMAGE as error:
            raise UserError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from None
        positions = choose(names)
        if dtype.itemsize != width or width <= 0 or rows < 0:
            raise UserError(
                f"{path} has columns of a kind that is not read (rows of {width} bytes)"
            )
        for ours, index in positions.items():
            if dtype[index].shape not in ((), (1,)):
                raise UserError(
                    f"{path}: column {names[index]} (for {ours}) holds arrays; one with a single value "
                    "per row is wanted"
                )
        parts: dict[str, list[pa.Array]] = {ours: [] for ours in positions}
        for records in _blocks(stream, path, dtype, rows):
            for ours, index in positions.items():
                cells = np.ascontiguousarray(records[dtype.names[index]]).reshape(len(records))
                parts[ours].append(
                    _column(cells, columns[index], names[index], kinds.get(ours), path, notes)
                )
    return {
        ours: pa.chunked_array(part or [_empty(dtype[positions[ours]], kinds.get(ours))])
        for ours, part in parts.items()
    }


def _empty(dtype: np.dtype[Any], kind: pa.DataType | None) -> pa.Array:
    return pa.array([], kind or (pa.large_string() if dtype.kind == "S" else pa.float64()))


def _blocks(
    stream: BinaryIO, path: Path, dtype: np.dtype[Any], rows: int
) -> Iterator[NDArray[np.void]]:
    size, done = max(1, BLOCK // dtype.itemsize), 0
    while done < rows:
        wanted = min(size, rows - done)
        data = stream.read(wanted * dtype.itemsize)
        if len(data) < wanted * dtype.itemsize:
            done += len(data) // dtype.itemsize
            raise UserError(f"{path} is truncated: {done} of {rows} rows can be read")
        yield np.frombuffer(data, dtype=dtype)
        done += wanted


def _table_header(stream: BinaryIO, path: Path) -> fits.Header:
    """The header of the first table; the stream is then at the beginning of its data."""
    try:
        for header in headers(stream):
            if str(header.get("XTENSION", "")).strip() == "BINTABLE":
                return header
    except (EOFError, OSError):
        pass
    raise UserError(f"{path} contains no FITS table")


def _number(column: fits.Column, name: str, absent: float) -> float:
    """TSCAL, TZERO or TNULL of a column; raises `ValueError` or `TypeError` where it is no number."""
    value = getattr(column, name)
    return absent if value in (None, "") else float(value)


def _column(
    cells: NDArray[Any],
    column: fits.Column,
    name: str,
    kind: pa.DataType | None,
    path: Path,
    notes: Notes,
) -> pa.Array:
    """One block (n,) of a column as Arrow, null where missing."""
    if cells.dtype.kind == "S":
        texts = values.texts(pa.array(cells, pa.binary()), name, notes)
        return values.of_texts(texts, kind, name, notes) if kind is not None else texts
    if str(column.format).strip("0123456789") == "L":
        array = pa.array(cells == ord("T"), mask=cells == 0)
        return array if kind is None else values.as_kind(array.cast(pa.int64()), kind)
    native = cells.astype(cells.dtype.newbyteorder("="))
    if native.dtype.kind not in "iuf":
        raise UserError(f"{path}: column {name} is of a kind that is not read ({column.format})")
    missing = np.zeros(len(native), bool)
    if native.dtype.kind in "iu" and column.null not in (None, ""):
        missing = native == int(column.null)
    scaled = _scaled(native, column)
    if kind is None:
        kind = pa.int64() if scaled.dtype.kind in "iu" else pa.float64()
    if pa.types.is_integer(kind):
        return values.as_kind(values.integers(scaled, missing, name, notes), kind)
    if pa.types.is_floating(kind):
        return values.as_kind(values.numbers(scaled, missing), kind)
    if scaled.dtype.kind in "iu":
        return values.as_kind(
            values.integers(scaled, missing, name, notes).cast(pa.large_string()), kind
        )
    return values.as_kind(values.numbers(scaled, missing).cast(pa.large_string()), kind)


def _scaled(native: NDArray[Any], column: fits.Column) -> NDArray[Any]:
    """Values with TSCAL and TZERO applied; exact for unsigned integers, which are stored as
    signed.
    """
    scale = 1 if column.bscale in (None, "") else column.bscale
    zero = 0 if column.bzero in (None, "") else column.bzero
    if (scale, zero) == (1, 0):
        return native
    whole = scale == 1 and float(zero).is_integer() and native.dtype.kind in "iu"
    if whole and native.dtype == np.int64 and zero == 2**63:
        return native.view(np.uint64) ^ np.uint64(2**63)
    if whole and abs(int(zero)) < 2**62:
        return native.astype(np.int64) + int(zero)
    return native.astype(np.float64) * float(scale) + float(zero)
