"""The release's catalogue: reading CSV and FITS tables, names of columns."""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from astropy.io import fits

from lamostvac.core.exceptions import UserError

TEXT = pa.dictionary(pa.int32(), pa.string())
COLUMNS: dict[str, pa.DataType] = {
    "obsid": pa.int64(),
    "designation": pa.large_string(),
    "obsdate": TEXT,
    "lmjd": pa.int32(),
    "planid": TEXT,
    "spid": pa.int32(),
    "fiberid": pa.int32(),
    "ra": pa.float64(),
    "dec": pa.float64(),
    "snru": pa.float32(),
    "snrg": pa.float32(),
    "snrr": pa.float32(),
    "snri": pa.float32(),
    "snrz": pa.float32(),
    "class": TEXT,
    "subclass": TEXT,
    "z": pa.float64(),
    "z_err": pa.float32(),
    "path": pa.large_string(),
    # Absent from many releases; -1 in the chunks then.
    "gaia_source_id": pa.int64(),
}
"""What is read from a catalogue: column and type in memory."""
REQUIRED = ("lmjd", "planid", "spid", "fiberid", "ra", "dec", "class", "subclass", "z")
ALIASES = {
    "ra_obs": "ra",
    "dec_obs": "dec",
    "obs_ra": "ra",
    "obs_dec": "dec",
    "sn_u": "snru",
    "sn_g": "snrg",
    "sn_r": "snrr",
    "sn_i": "snri",
    "sn_z": "snrz",
    "snr_u": "snru",
    "snr_g": "snrg",
    "snr_r": "snrr",
    "snr_i": "snri",
    "snr_z": "snrz",
    "desig": "designation",
    "plan_id": "planid",
    "sp_id": "spid",
    "fiber_id": "fiberid",
    "obs_id": "obsid",
    "date_obs": "obsdate",
    "sub_class": "subclass",
    "subcla": "subclass",
    "redshift": "z",
    "gaia_id": "gaia_source_id",
}
"""Names of the same columns in other releases (formats: shared facts on LAMOST files)."""
_NULLS = ["", "null", "NULL", "None", "nan", "NaN", "NAN", "--", "N/A", "\\N"]


def read_catalogue(path: str | Path, aliases: Mapping[str, str] | None = None) -> pa.Table:
    """One catalogue as a table with exactly the columns `COLUMNS`.

    CSV with `|` or `,` between columns, or the first table of a FITS file; either may be
    compressed with gzip. Column names are compared in lower case, through `ALIASES` and `aliases`
    (name in the file: our name); a column under its own name goes before one under an alias.
    Values that are missing or no numbers are null; so are columns that are not `REQUIRED` and
    absent.

    Raises
    ------
    UserError
        When the file is missing or unreadable, has another separator, or lacks a required column.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"the catalogue {path} does not exist; check survey.root and survey.catalogues"
        )
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
            start = stream.read(9)
        if start == b"SIMPLE  =":
            return _read_fits(path, compressed, aliases or {})
        return _read_csv(path, compressed, aliases or {})
    except (OSError, EOFError) as error:
        raise UserError(f"the catalogue {path} cannot be read: {error}") from None


def match_columns(
    names: Sequence[str], aliases: Mapping[str, str], path: str | Path
) -> dict[str, int]:
    """Which of a file's columns serve as ours: `{our name: index in names}`.

    Raises `UserError` naming the first required column that is absent and how to give an alias.
    """
    clean = [name.strip().strip('"').lstrip("#").strip().lower() for name in names]
    own = {ours: clean.index(ours) for ours in COLUMNS if ours in clean}
    configured = {theirs.lower(): ours.lower() for theirs, ours in aliases.items()}
    for theirs, ours in configured.items():
        if ours not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise UserError(
                f"survey.column_aliases: {ours} is not a column that is read; those are {known}"
            )
        if theirs in clean:
            own[ours] = clean.index(theirs)  # what the user says goes first
    for theirs, ours in ALIASES.items():
        if ours not in own and theirs in clean:
            own[ours] = clean.index(theirs)
    for name in REQUIRED:
        if name not in own:
            raise UserError(
                f"the catalogue {path} has no column {name}; if it stands there under another name, write "
                f"`survey: column_aliases: {{that name: {name}}}` (its columns are {', '.join(clean)})"
            )
    return own


def _read_csv(path: Path, compressed: bool, aliases: Mapping[str, str]) -> pa.Table:
    with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
        header = (
            stream.readline(1_000_000).decode("utf-8", "replace").rstrip("\r\n").lstrip("\ufeff")
        )
    separator = max("|,", key=header.count)
    if header.count(separator) < len(REQUIRED) - 1:
        raise UserError(
            f"the first line of the catalogue {path} does not name columns separated by | or , "
            f"(it begins {header[:60]!r})"
        )
    names = header.split(separator)
    wanted = match_columns(names, aliases, path)
    # Positions as names: a file may name a column twice.
    labels = [str(index) for index in range(len(names))]

    def parse(types: Mapping[str, pa.DataType]) -> pa.Table:
        # Fields of |-separated LAMOST catalogues are never quoted but may contain a quotation mark.
        quote = '"' if separator == "," else False
        return pacsv.read_csv(
            str(path),
            read_options=pacsv.ReadOptions(column_names=labels, skip_rows=1, block_size=1 << 24),
            parse_options=pacsv.ParseOptions(delimiter=separator, quote_char=quote),
            convert_options=pacsv.ConvertOptions(
                include_columns=[labels[index] for index in wanted.values()],
                column_types={labels[index]: types[name] for name, index in wanted.items()},
                null_values=_NULLS,
                strings_can_be_null=True,
            ),
        )

    try:
        try:
            table = parse(COLUMNS)
        except pa.ArrowInvalid as error:
            if "conversion error" not in str(error):
                raise
            # Somewhere a number is not one: read texts and let what is no number be null.
            texts = parse({name: pa.large_string() for name in COLUMNS})
            kinds = [COLUMNS[name] for name in wanted]
            arrays = [
                _as_type(column, kind) for column, kind in zip(texts.columns, kinds, strict=True)
            ]
            table = pa.table(arrays, names=texts.column_names)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise UserError(
            f"the catalogue {path} cannot be read as a table: {' '.join(str(error).split())}"
        ) from None
    return _complete(table.rename_columns(list(wanted)))


def _as_type(texts: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    """Texts as `kind`, null where they cannot be."""
    if kind == pa.large_string():
        return texts.combine_chunks()
    if kind == TEXT:
        return texts.combine_chunks().cast(pa.string()).dictionary_encode()
    numbers = pd.to_numeric(
        pd.Series(texts.to_numpy(zero_copy_only=False), dtype=object), errors="coerce"
    )
    found = _numbers(np.asarray(numbers, dtype=float), kind)
    if kind != pa.int64():
        return found
    # Gaia's identifiers have more digits than a float: what is written as digits is taken as such.
    clean = pc.utf8_trim_whitespace(texts.combine_chunks())
    digits = pc.if_else(
        pc.match_substring_regex(clean, r"^-?([0-9]{1,18}|[1-8][0-9]{18})$"), clean, None
    )
    return pc.coalesce(digits.cast(pa.int64()), found)


def _numbers(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Numbers (n,) as an Arrow array of `kind`; null where not finite or, for integers, not whole."""
    if not pa.types.is_integer(kind):
        return pa.array(values, type=kind, mask=~np.isfinite(values))
    if values.dtype.kind == "f":
        bounds = np.iinfo(kind.to_pandas_dtype())
        bad = (
            ~np.isfinite(values)
            | (values != np.rint(values))
            | (values < bounds.min)
            | (values > bounds.max)
        )
        return pa.array(np.where(bad, 0, values).astype(np.int64), mask=bad).cast(kind)
    return pa.array(values.astype(np.int64)).cast(kind)


def _read_fits(path: Path, compressed: bool, aliases: Mapping[str, str]) -> pa.Table:
    """The first table of a FITS file, streamed: only the needed fields ever stand in memory."""
    with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
        header = _first_table_header(stream, path)
        empty = header.copy()
        empty["NAXIS2"] = empty["PCOUNT"] = 0
        hdu = fits.BinTableHDU.fromstring(empty.tostring().encode())
        wanted = match_columns(hdu.columns.names, aliases, path)
        dtype = hdu.columns.dtype.newbyteorder(">")
        width, rows = int(header["NAXIS1"]), int(header["NAXIS2"])
        if dtype.itemsize != width:
            raise UserError(
                f"the catalogue {path} has columns of a kind that is not read (rows of {width} bytes)"
            )
        parts: dict[str, list[pa.Array]] = {name: [] for name in wanted}
        block_rows = max(1, (1 << 26) // width)
        done = 0
        while done < rows:
            n = min(block_rows, rows - done)
            data = stream.read(n * width)
            if len(data) < n * width:
                raise UserError(
                    f"the catalogue {path} is truncated: {done} of {rows} rows can be read"
                )
            block = np.frombuffer(data, dtype=dtype)
            for name, index in wanted.items():
                parts[name].append(
                    _fits_column(block[dtype.names[index]], hdu.columns[index], COLUMNS[name])
                )
            done += n
        arrays = [pa.chunked_array(part, type=COLUMNS[name]) for name, part in parts.items()]
    return _complete(pa.table(arrays, names=list(wanted)))


def _first_table_header(stream: Any, path: Path) -> fits.Header:
    while True:
        try:
            header = fits.Header.fromfile(stream, endcard=True)
        except EOFError:
            raise UserError(f"the catalogue {path} contains no FITS table") from None
        if header.get("XTENSION", "").strip() == "BINTABLE":
            return header
        size = abs(int(header["BITPIX"])) // 8 if header["NAXIS"] else 0
        for axis in range(1, header["NAXIS"] + 1):
            size *= int(header[f"NAXIS{axis}"])
        size += int(header.get("PCOUNT", 0))
        stream.read(-(-size // 2880) * 2880)


def _fits_column(field: npt.NDArray[Any], column: fits.Column, kind: pa.DataType) -> pa.Array:
    """One block of a FITS column as Arrow; blank texts, TNULL and NaN are null."""
    if field.ndim != 1:
        raise UserError(
            f"column {column.name} of the catalogue holds arrays; a single value per row is wanted"
        )
    if field.dtype.kind == "S":
        text = pa.array(field, type=pa.binary())
        text = pc.utf8_trim_whitespace(pc.replace_substring(text, b"\0", b"").cast(pa.string()))
        text = pc.if_else(pc.is_in(text, pa.array(_NULLS)), None, text)
        if kind == TEXT:
            return text.dictionary_encode()
        return (
            text.cast(kind)
            if kind == pa.large_string()
            else _as_type(pa.chunked_array([text]), kind)
        )
    native = field.astype(field.dtype.newbyteorder("="))
    scale, zero = column.bscale or 1, column.bzero or 0
    values = native if (scale, zero) == (1, 0) else native * scale + zero
    if kind in (TEXT, pa.large_string()):
        text = pa.array(values).cast(pa.string())
        return text.dictionary_encode() if kind == TEXT else text.cast(kind)
    if native.dtype.kind in "iu" and column.null not in (None, ""):
        missing = native == int(column.null)
        if kind == pa.int64() and values.dtype.kind == "i":
            # Not through floats, which would round Gaia's identifiers.
            return pa.array(values.astype(np.int64), mask=missing)
        values = np.where(missing, np.nan, values.astype(float))
    return _numbers(values, kind)


def _complete(table: pa.Table) -> pa.Table:
    """Columns in the order of `COLUMNS`; absent ones null."""
    columns = [
        table[name].cast(kind) if name in table.column_names else pa.nulls(len(table), kind)
        for name, kind in COLUMNS.items()
    ]
    return pa.table(columns, names=list(COLUMNS))


def read_catalogues(
    paths: Sequence[str | Path], aliases: Mapping[str, str] | None = None
) -> pa.Table:
    """The catalogues one after the other, as one table with single-chunk columns."""
    tables = [read_catalogue(path, aliases) for path in paths]
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()
