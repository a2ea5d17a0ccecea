"""Tables of other catalogues: CSV, VizieR's tab-separated files and FITS, gzipped or not.

Only the wanted columns are parsed, under our names. Identifiers of 64 bits never pass through floating
point, where Gaia's source_id would lose its last digits.
"""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from astropy import units
from astropy.coordinates import Angle
from astropy.io import fits
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import nearest

_NULLS = ("", "null", "NULL", "None", "nan", "NaN", "NAN", "--", "N/A", "\\N")
_BLOCK = 1 << 26  # bytes of a FITS table in memory at a time
_UNITS = {"ra": units.deg, "dec": units.deg}
"""Units of the columns that have a fixed one here; others come in what the entry says."""


def read_table(
    path: str | Path,
    columns: Mapping[str, str],
    *,
    identifiers: Sequence[str] = (),
    missing: Sequence[float] = (),
    conversions: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Some columns of a table.

    Parameters
    ----------
    path : CSV with `,` `|` `;` or tab between columns, a tab-separated file of VizieR, or FITS (its first
        table); any may be gzipped, whatever its name
    columns : our name: name in the file. Names in the file count exactly, else without regard to case
    identifiers : which of ours are integers that identify something; -1 where missing
    missing : numbers that stand for a missing value in the other columns, such as -9999
    conversions : our name: unit in the file. `ra` and `dec` are converted to degrees (`hourangle`, also
        texts such as `12 34 56.7`); any other takes `unit in the file -> ours`, for example `nmag -> mag`

    Returns
    -------
    One row per row of the file: identifiers int64, numbers float64 (NaN where missing) or, without
    missing rows, the integers they are; texts `str`, stripped, "" where missing

    Raises
    ------
    UserError
        The file is absent or unreadable, or lacks a column; the nearest one is named.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"there is no file {path}; put the catalogue there or change the path in the entry"
        )
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
    try:
        with _open(path, compressed) as stream:
            is_fits = stream.read(9) == b"SIMPLE  ="
        arrays = (
            _read_fits(path, compressed, columns)
            if is_fits
            else _read_text(path, compressed, columns)
        )
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    frame: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        where = f"{path}: column {columns[name]}"
        if name in identifiers:
            frame[name] = _identifier(array, where)
        else:
            values = _plain(array, missing)
            unit = (conversions or {}).get(name)
            frame[name] = values if unit is None else _convert(values, name, unit, where)
    return pd.DataFrame(frame)


def _open(path: Path, compressed: bool) -> BinaryIO:
    return gzip.open(path, "rb") if compressed else path.open("rb")  # type: ignore[return-value]


def _positions(names: Sequence[str], columns: Mapping[str, str], path: Path) -> dict[str, int]:
    """Index of each wanted column among the file's."""
    lower = [name.lower() for name in names]
    found = {}
    for ours, theirs in columns.items():
        if theirs in names:
            found[ours] = list(names).index(theirs)
        elif theirs.lower() in lower:
            found[ours] = lower.index(theirs.lower())
        else:
            raise UserError(f"{path} has no column {theirs} (for {ours}){nearest(theirs, names)}")
    return found


# ---------------------------------------------------------------- text


def _text_header(path: Path, compressed: bool) -> tuple[list[str], str, int]:
    """The columns' names, the separator, and how many lines stand before the first row."""
    with _open(path, compressed) as stream:
        lines: list[str] = []
        skipped = 0
        while True:
            line = stream.readline(1_000_000)
            if not line:
                raise UserError(f"{path} has no line that names columns")
            text = line.decode("utf-8", "replace").rstrip("\r\n").lstrip("\ufeff")
            if text.strip() and not text.startswith("#"):
                break
            skipped += 1
        lines = [
            stream.readline(1_000_000).decode("utf-8", "replace").rstrip("\r\n") for _ in range(2)
        ]
    separator = max("\t|;,", key=text.count)
    names = [name.strip().strip('"') for name in text.split(separator)]
    # VizieR: names, units, dashes; without the units the dashes come at once.
    for number, below in enumerate(lines, start=1):
        if separator == "\t" and below.strip() and not below.replace("\t", "").strip("- "):
            return names, separator, skipped + 1 + number
    if len(names) == 1 and lines[-1].strip("-") == "" and lines[-1]:
        return names, "\t", skipped + 3
    return names, separator, skipped + 1


def _read_text(path: Path, compressed: bool, columns: Mapping[str, str]) -> dict[str, pa.Array]:
    names, separator, skip = _text_header(path, compressed)
    positions = _positions(names, columns, path)
    labels = [str(index) for index in range(len(names))]
    wanted = list(dict.fromkeys(labels[index] for index in positions.values()))

    def parse(types: Mapping[str, pa.DataType], encoding: str) -> pa.Table:
        def invalid(row: Any) -> str:
            # VizieR's files end with #END#.
            return "skip" if row.text is None or row.text.startswith("#") else "error"

        with pa.input_stream(str(path), compression="gzip" if compressed else None) as stream:
            return pacsv.read_csv(
                stream,
                read_options=pacsv.ReadOptions(
                    column_names=labels,
                    skip_rows=skip,
                    block_size=1 << 24,
                    encoding=encoding,
                    # The handler of invalid rows needs to see their text.
                    use_threads=False,
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter=separator,
                    quote_char='"' if separator in ",;" else False,
                    invalid_row_handler=invalid,
                ),
                convert_options=pacsv.ConvertOptions(
                    include_columns=wanted,
                    column_types=types,
                    null_values=list(_NULLS),
                    strings_can_be_null=True,
                    # Texts stay texts: dates and times too.
                    timestamp_parsers=["-"],
                    true_values=[],
                    false_values=[],
                ),
            )

    texts = dict.fromkeys(wanted, pa.large_string())
    attempts: list[tuple[Mapping[str, pa.DataType], str]] = [
        ({}, "utf8"),
        (texts, "utf8"),
        (texts, "latin1"),
    ]
    failure = ""
    for types, encoding in attempts:
        try:
            table = parse(types, encoding)
            break
        except pa.ArrowInvalid as error:
            # Kinds are guessed from the first block; a later one may differ.
            failure = " ".join(str(error).split())
        except (UnicodeDecodeError, pa.ArrowException) as error:
            failure = " ".join(str(error).split())
    else:
        if "Empty CSV" in failure:
            return {ours: pa.array([], pa.float64()) for ours in positions}
        raise UserError(f"{path} cannot be read as a table: {failure}")
    return {ours: _narrow(table[labels[index]]) for ours, index in positions.items()}


def _narrow(column: pa.ChunkedArray) -> pa.Array:
    """A column of texts as integers or numbers where all of them are; blanks are null."""
    array = column.combine_chunks()
    array = array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        array = array.cast(pa.large_binary()).cast(pa.large_string(), safe=False)
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return array
    array = pc.utf8_trim_whitespace(array)
    array = pc.if_else(
        pc.is_in(array, pa.array(_NULLS, array.type)), pa.scalar(None, array.type), array
    )
    for kind in (pa.int64(), pa.float64()):
        try:
            return array.cast(kind)
        except pa.ArrowInvalid:
            continue
    return array


# ---------------------------------------------------------------- FITS


def _read_fits(path: Path, compressed: bool, columns: Mapping[str, str]) -> dict[str, Any]:
    """Columns of the first table, read block by block: allStar's arrays never stand in memory."""
    with _open(path, compressed) as stream:
        header = _table_header(stream, path)
        empty = header.copy()
        empty["NAXIS2"] = empty["PCOUNT"] = 0
        hdu = fits.BinTableHDU.fromstring(empty.tostring().encode())
        positions = _positions(hdu.columns.names, columns, path)
        dtype = hdu.columns.dtype.newbyteorder(">")
        width, rows = int(header["NAXIS1"]), int(header["NAXIS2"])
        if dtype.itemsize != width:
            raise UserError(
                f"{path} has columns of a kind that is not read (rows of {width} bytes)"
            )
        parts: dict[str, list[NDArray[Any]]] = {ours: [] for ours in positions}
        done, block = 0, max(1, _BLOCK // max(width, 1))
        while done < rows:
            data = stream.read(min(block, rows - done) * width)
            records = np.frombuffer(data[: len(data) // width * width], dtype=dtype)
            if not len(records):
                raise UserError(f"{path} is truncated: {done} of {rows} rows can be read")
            for ours, index in positions.items():
                field = records[dtype.names[index]]
                if field.ndim != 1:
                    raise UserError(
                        f"{path}: column {columns[ours]} holds arrays; a column with one value is wanted"
                    )
                parts[ours].append(field.astype(field.dtype.newbyteorder("=")))
            done += len(records)
    return {
        ours: _fits_values(
            np.concatenate(parts[ours])
            if parts[ours]
            else np.empty(0, dtype[index].newbyteorder("=")),
            hdu.columns[index],
        )
        for ours, index in positions.items()
    }


def _table_header(stream: BinaryIO, path: Path) -> fits.Header:
    """The header of the first table, with the stream standing before its data."""
    while True:
        try:
            header = fits.Header.fromfile(stream, endcard=True)
        except EOFError:
            raise UserError(f"{path} contains no FITS table") from None
        if header.get("XTENSION", "").strip() == "BINTABLE":
            return header
        size = abs(int(header["BITPIX"])) // 8 if header["NAXIS"] else 0
        for axis in range(1, header["NAXIS"] + 1):
            size *= int(header[f"NAXIS{axis}"])
        size = (size + int(header.get("PCOUNT", 0)) * abs(int(header["BITPIX"])) // 8) * int(
            header.get("GCOUNT", 1)
        )
        stream.read(-(-size // 2880) * 2880)


def _fits_values(field: NDArray[Any], column: fits.Column) -> Any:
    """A FITS field as a masked array of integers, numbers or texts; TNULL and blanks are masked."""
    if field.dtype.kind == "S":
        texts = (
            np.char.strip(np.char.decode(field, "ascii", "replace"))
            if field.size
            else field.astype(str)
        )
        return np.ma.array(texts.astype(object), mask=np.isin(texts, _NULLS))
    if column.format.strip("0123456789") == "L":
        return np.ma.array(field == ord("T"), mask=False)
    mask = np.zeros(field.shape, bool)
    if field.dtype.kind in "iu" and column.null not in (None, ""):
        mask = field == int(column.null)
    scale, zero = column.bscale or 1, column.bzero or 0
    if (scale, zero) == (1, 2**63) and field.dtype == np.int64:
        field = field.view(np.uint64) ^ np.uint64(2**63)
    elif (scale, zero) != (1, 0):
        whole = scale == 1 and float(zero).is_integer() and field.dtype.kind in "iu"
        field = field.astype(np.int64) + int(zero) if whole else field * scale + zero
    return np.ma.array(field, mask=mask)


# ---------------------------------------------------------------- values


def _masked(values: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Values and where they are missing, from either reader."""
    if isinstance(values, pa.Array):
        mask = np.asarray(values.is_null())
        if pa.types.is_integer(values.type):
            return np.asarray(values.fill_null(0)), mask
        if pa.types.is_floating(values.type):
            return np.asarray(values.fill_null(np.nan)), mask
        if pa.types.is_null(values.type):
            return np.full(len(values), np.nan), np.ones(len(values), bool)
        return values.cast(pa.large_string()).fill_null("").to_numpy(zero_copy_only=False), mask
    return np.ma.getdata(values), np.ma.getmaskarray(values)


def _identifier(values: Any, where: str) -> NDArray[np.int64]:
    data, mask = _masked(values)
    if data.dtype.kind in "OUST":
        raise UserError(f"{where} is a text where a whole number identifies; name another column")
    if data.dtype.kind == "f":
        good = np.isfinite(data) & ~mask
        if np.any(data[good] != np.rint(data[good])) or np.any(np.abs(data[good]) >= 2.0**53):
            raise UserError(
                f"{where} is no whole number in every row (or beyond what a float holds exactly)"
            )
        data, mask = np.where(good, data, 0), ~good
    result = data.astype(np.int64)
    result[mask | (result < 0)] = -1
    return result


def _plain(values: Any, missing: Sequence[float]) -> NDArray[Any]:
    data, mask = _masked(values)
    if data.dtype.kind in "OUST":
        texts = data.astype(object)
        texts[mask] = ""
        return texts
    if data.dtype.kind == "b":
        return data
    mask = mask.copy()
    for sentinel in missing:
        # Single precision stores 99.9 as 99.9000015.
        mask |= np.abs(data.astype(np.float64) - sentinel) <= 1e-6 * abs(sentinel)
    if data.dtype.kind in "iu":
        if not mask.any():
            return data.astype(np.int64) if data.dtype != np.uint64 else data
        return np.where(mask, np.nan, data.astype(np.float64))
    return np.where(mask, np.nan, data.astype(np.float64))


def _convert(values: NDArray[Any], name: str, text: str, where: str) -> NDArray[np.float64]:
    source, _, target = (part.strip() for part in text.partition("->"))
    if not target and name not in _UNITS:
        raise UserError(
            f"{where}: units: {name}: write `{source} -> unit`, the unit that it is to have"
        )
    try:
        unit = units.Unit(source)
        ours = units.Unit(target) if target else _UNITS[name]
        if values.dtype.kind == "O":
            known = values != ""
            result = np.full(len(values), np.nan)
            if known.any():
                result[known] = Angle(values[known].astype(str), unit=unit).to_value(ours)
            return result
        return np.asarray(units.Quantity(values, unit).to_value(ours), np.float64)
    except ValueError as error:  # UnitsError among them
        raise UserError(f"{where}: units: {name}: {' '.join(str(error).split())}") from None
