"""The catalogue as an astropy table, for whoever works with it in Python."""

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table

from lamostvac.catalog.table_header import BEGIN, END
from lamostvac.core.exceptions import UserError
from lamostvac.core.fits_headers import data_size
from lamostvac.core.former_names import present_name, present_names
from lamostvac.core.messages import nearest

_OF_COLUMN = re.compile(r"T[A-Z]+[0-9]+")
_LONG = "LONGSTRN"
_ENDINGS = (".fits", ".parquet", ".vot")


def read_catalogue(path: str | Path, columns: str | Sequence[str] | None = None) -> Table:
    """A table that this program wrote, with units and descriptions of its columns.

    Unlike `Table.read` it keeps no card of a column in `meta`, and gives the columns of catalogues
    by earlier releases their present names. Of FITS and Parquet only the columns that are asked for
    come into memory. Parquet is also read no further than these: of ten million rows take that.

    Parameters
    ----------
    path : FITS, Parquet or VOTable, of the catalogue or of `lamostvac label`
    columns : names, each once, also former ones, or one name; by default all

    Returns
    -------
    Table of n rows, texts as `str`, with `unit`, `description` and `meta["ucd"]` of each column;
    `meta` has where the rows come from. `astropy.table.QTable(table)` has quantities.

    Raises
    ------
    UserError
        There is no such file, it cannot be read, its name has another ending, or it has no column
        of a name; or a column is named twice or by something that is no text.
    """
    path = Path(path)
    if path.suffix not in _ENDINGS:
        raise UserError(f"{path}: the name of a catalogue ends in {', '.join(_ENDINGS)}")
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        # All columns of a VOTable stand between each other in one text.
        whole = Table.read(path, format="votable") if path.suffix == ".vot" else None
        described = _described(path, whole)
        stored = present_names(described)
        wanted = _wanted(path, columns, stored)
        names = [stored[name] for name in wanted]
        table = _read(path, names) if whole is None else whole[names]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    for name, column in zip(wanted, list(table.itercols()), strict=True):
        unit, ucd, description = described[column.name]
        if column.unit is None and unit:
            column.unit = unit
        column.description = description
        column.meta["ucd"] = ucd
        column.name = name
    for key in [key for key in table.meta if key == _LONG or _OF_COLUMN.fullmatch(key)]:
        del table.meta[key]
    return table


def _wanted(path: Path, columns: str | Sequence[str] | None, stored: dict[str, str]) -> list[str]:
    """Present names of the columns that are asked for, of a file with the columns `stored`."""
    if columns is None:
        return list(stored)
    names = [columns] if isinstance(columns, str) else list(columns)
    if not names:
        raise UserError(f"{path}: no column is asked for; leave `columns` out for all")
    wanted: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise UserError(f"{path}: columns are asked for by name, and {name!r} is none")
        present = present_name(name, stored)
        if present not in stored:
            raise UserError(f"{path} has no column {name}{nearest(name, list(stored))}")
        if present in wanted:
            raise UserError(f"{path}: the column {present} is asked for twice")
        wanted.append(present)
    return wanted


def _described(path: Path, whole: Table | None) -> dict[str, tuple[str, str, str]]:
    """Unit, UCD and description of each column of a file, or of what `whole` has of it."""
    if whole is not None:
        return {
            column.name: (
                str(column.unit or ""),
                column.meta.get("ucd", ""),
                column.description or "",
            )
            for column in whole.itercols()
        }
    if path.suffix == ".parquet":
        fields = {field.name: field.metadata or {} for field in pq.read_schema(path)}
        return {
            name: tuple(about.get(key, b"").decode() for key in (b"unit", b"ucd", b"description"))
            for name, about in fields.items()
        }
    header = fits.getheader(path, 1)
    keys = ("TUNIT", "TUCD", "TCOMM")
    return {
        header[f"TTYPE{number}"]: tuple(header.get(f"{key}{number}", "") for key in keys)
        for number in range(1, header["TFIELDS"] + 1)
    }


def _read(path: Path, names: list[str]) -> Table:
    """These columns of a FITS or Parquet file, in this order."""
    if path.suffix == ".parquet":
        return Table.read(path, format="parquet", include_names=names)[names]
    with fits.open(path, memmap=True) as hdus:
        missing = hdus[1].fileinfo()["datLoc"] + data_size(hdus[1].header) - path.stat().st_size
        if missing > 0:
            raise ValueError(f"the last {missing} bytes of its rows are missing")
        columns = fits.ColDefs([hdus[1].columns[name] for name in names])
        # Copies them, while the others stay on disk.
        part = fits.BinTableHDU.from_columns(
            columns, header=_without_columns(hdus[1].header), character_as_bytes=True
        )
    table = Table.read(part)
    # Bytes, as which astropy keeps texts of FITS, equal no text in NumPy's isin and in pandas.
    table.convert_bytestring_to_unicode()
    return table


def _without_columns(header: fits.Header) -> fits.Header:
    """A table's header without what it says of single columns, the YAML text for astropy included."""
    kept, inside = [], False
    for card in header.cards:
        inside = inside or card.value == BEGIN
        if not inside and not _OF_COLUMN.fullmatch(card.keyword):
            kept.append(card)
        inside = inside and card.value != END
    return fits.Header(kept)
