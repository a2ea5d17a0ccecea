"""Labels as an astropy table, and as a file of the form that its name says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from astropy import units
from astropy.table import QTable
from numpy.typing import NDArray

from lamostvac.catalog.column import Column
from lamostvac.catalog.files import write_rows
from lamostvac.catalog.registry import Registry
from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.publish.votable import write_votable

FORMS = (".fits", ".parquet", ".csv", ".vot")


def require_form(path: Path) -> None:
    """Raise `UserError` unless the name of a table ends in one of `FORMS`."""
    if path.suffix not in FORMS:
        raise UserError(f"{path}: the name of the table has to end in {', '.join(FORMS)}")


Named = tuple[NDArray[np.void], list[bytes]]


def with_files(rows: NDArray[np.void], files: Mapping[str, str]) -> Named:
    """Rows (n,) and the path of each in ASCII, other characters escaped.

    Parameters
    ----------
    files : `spectrum_id` to path
    """
    return rows, [
        files[name.decode()].encode("ascii", "backslashreplace") for name in rows["spectrum_id"]
    ]


def joined(
    parts: Sequence[Named], whole: Registry, columns: Registry
) -> tuple[NDArray[np.void], Registry]:
    """Rows of all parts with the columns of `columns` and `file`, and the registry of these.

    Parameters
    ----------
    whole : of the rows; `columns` are some of it
    """
    rows = np.concatenate([whole.empty(0), *(part for part, _ in parts)])
    names = [name for _, files in parts for name in files]
    width = max((len(name) for name in names), default=1)
    what = "File that the spectrum was read from"
    column = Column("file", f"string[{width}]", "", "meta.file", what, "label")
    registry = Registry((columns.columns[0], column, *columns.columns[1:]))
    found = registry.empty(len(rows))
    for name in columns.names:
        found[name] = rows[name]
    found["file"] = names
    return found, registry


def write_table(
    path: Path, rows: NDArray[np.void], registry: Registry, cards: Mapping[str, str]
) -> None:
    """Write rows (n,) of `registry` as FITS, Parquet, CSV or VOTable, by the end of the name.

    `cards` say where the labels come from; CSV has no place for them.
    """
    if path.suffix == ".fits":
        write_rows(path, rows, registry, {key: (value, "") for key, value in cards.items()})
    elif path.suffix == ".vot":
        title = "Stellar labels of LAMOST spectra"
        write_votable(path, [rows], registry.columns, registry, cards, title)
    else:
        table = registry.to_arrow(rows, cards)
        with atomic(path) as temporary:
            if path.suffix == ".parquet":
                pq.write_table(table, temporary)
            else:
                table.to_pandas().to_csv(temporary, index=False, lineterminator="\n")


def as_qtable(rows: NDArray[np.void], registry: Registry, meta: Mapping[str, Any]) -> QTable:
    """Rows (n,) as a table with units and descriptions."""
    table = QTable(meta=dict(meta))
    for column in registry:
        values = rows[column.name]
        if column.is_string:
            table[column.name] = np.char.decode(np.ascontiguousarray(values), "ascii")
        else:
            native = values.astype(column.dtype)
            unit = units.Unit(column.unit, format="fits") if column.unit else None
            table[column.name] = native if unit is None else native * unit
        table[column.name].info.description = column.description
    return table
