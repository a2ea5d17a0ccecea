"""Tables of other catalogues: CSV, VizieR's tab-separated files and FITS, gzipped or not.

Only the wanted columns are parsed, under our names. Identifiers of 64 bits never pass through
floating point, where Gaia's source_id would lose its last digits.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy import units
from astropy.coordinates import Angle
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import nearest
from lamostvac.external.columns import read_columns
from lamostvac.external.sky import POSITION_NAME, positions_of_names
from lamostvac.external.values import Notes

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
    path : CSV with `,` `|` `;`, tab or blanks between columns, a tab-separated file of VizieR, or FITS
        (its first table); any may be gzipped, whatever its name
    columns : our name: name in the file. A name that matches exactly is preferred; otherwise case
        is ignored
    identifiers : which of our names are integer identifiers; -1 where missing
    missing : numbers that mean a missing value in the other columns, such as -9999
    conversions : our name: unit in the file.
        `ra` and `dec` are converted to degrees (`hourangle`, also texts such as `12 34
        56.7`, or `name`: the position that the star is called by, `2M18401164+4321331`); any other
        takes `unit in the file -> ours`, for example `nmag -> mag`

    Returns
    -------
    One row per row of the file: identifiers int64, numbers float64 (NaN where missing) or, without
    missing rows, the integers they are; texts `str`, stripped, "" where missing

    Raises
    ------
    UserError
        The file is absent or unreadable, or lacks a column; the message names the most similar one.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"there is no file {path}; put the catalogue there or change the path in the entry"
        )

    def choose(names: Sequence[str]) -> dict[str, int]:
        return _positions(names, columns, path)

    lower = {theirs.lower() for theirs in columns.values()}
    arrays, notes = read_columns(
        path,
        choose,
        dict.fromkeys(identifiers, pa.int64()),
        lambda names: sum(name.lower() in lower for name in names),
    )
    frame: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        where = f"{path}: column {columns[name]}"
        if name in identifiers:
            frame[name] = _identifier(array, where, notes)
        else:
            values = _plain(array, missing)
            unit = (conversions or {}).get(name)
            frame[name] = values if unit is None else _convert(values, name, unit, where)
    table = pd.DataFrame(frame)
    table.attrs["source"] = str(path)
    return table


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


def numbers_of(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """A column (n,) of a table from `read_table` as numbers, NaN where missing.

    Raises
    ------
    UserError
        The column is a text; the message has the first cell that is not a number.
    """
    column = table[name]
    if column.dtype.kind not in "OUST":
        return column.to_numpy(np.float64, na_value=np.nan)
    texts = column.astype(str).to_numpy(object)
    numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(np.isnan(numbers) & (texts != ""))
    if len(wrong):
        row = int(wrong[0])
        raise UserError(
            f"{table.attrs.get('source', 'the table')}: {name} has to be a number and is {texts[row]!r} in row "
            f"{row + 1} ({len(wrong)} such cell(s)); correct the file, or name another column"
        )
    return numbers


def _identifier(array: pa.ChunkedArray, where: str, notes: Notes) -> NDArray[np.int64]:
    """Integer identifiers (n,), -1 where missing."""
    for name, count in notes.inexact.items():
        if where.endswith(f": column {name}"):
            raise UserError(
                f"{where} is no whole number in every row (or beyond what a float holds exactly; "
                f"{count} row(s))"
            )
    for name, count in notes.no_number.items():
        if where.endswith(f": column {name}"):
            raise UserError(
                f"{where} is a text where a whole number identifies ({count} row(s)); name another column"
            )
    result = np.asarray(array.fill_null(-1).to_numpy(), np.int64).copy()
    result[result < 0] = -1
    return result


def _plain(array: pa.ChunkedArray, missing: Sequence[float]) -> NDArray[Any]:
    """Texts (n,) with "" where missing, booleans, numbers with NaN where missing, or integers."""
    if pa.types.is_large_string(array.type):
        return array.fill_null("").to_numpy()
    if pa.types.is_boolean(array.type):
        return array.fill_null(False).to_numpy().astype(bool)
    if pa.types.is_null(array.type):
        return np.full(len(array), np.nan)
    whole = pa.types.is_integer(array.type)
    gone = np.asarray(array.is_null())
    data = np.asarray(array.fill_null(0).to_numpy())
    for sentinel in missing:
        # Single precision stores 99.9 as 99.9000015.
        gone = gone | (np.abs(data.astype(np.float64) - sentinel) <= 1e-6 * abs(sentinel))
    if whole and not gone.any():
        return data.astype(np.int64)
    return np.where(gone, np.nan, data.astype(np.float64))


def _convert(values: NDArray[Any], name: str, text: str, where: str) -> NDArray[np.float64]:
    source, _, target = (part.strip() for part in text.partition("->"))
    if not target and name not in _UNITS:
        raise UserError(
            f"{where}: units: {name}: write `{source} -> unit`, the unit that it is to have"
        )
    if source == POSITION_NAME and name in _UNITS:
        if values.dtype.kind != "O":
            raise UserError(f"{where}: units: {name}: {source} is for texts, and this is a number")
        return positions_of_names(values.astype(str))[list(_UNITS).index(name)]
    try:
        unit = units.Unit(source)
        ours = units.Unit(target) if target else _UNITS[name]
        if values.dtype.kind == "O":
            known = values != ""
            result = np.full(len(values), np.nan)
            if known.any():
                texts = np.char.replace(values[known].astype(str), "_", " ")
                result[known] = Angle(texts, unit=unit).to_value(ours)
            return result
        return np.asarray(units.Quantity(values, unit).to_value(ours), np.float64)
    except ValueError as error:  # includes UnitsError
        raise UserError(f"{where}: units: {name}: {' '.join(str(error).split())}") from None
