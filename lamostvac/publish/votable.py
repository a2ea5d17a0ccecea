"""A part of the catalogue as a VOTable: chosen columns and rows, with units, UCDs and provenance.

A row of VOTable's BINARY2 (VOTable 1.4, section 5.4) is a bit for each missing value and then the
values big-endian, as in FITS; so rows are copied, and encoded as base64, block by block.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from astropy import units
from numpy.typing import NDArray

from lamostvac.catalog.column import Column
from lamostvac.catalog.registry import Registry
from lamostvac.core.atomic import atomic

_TYPES = {
    "uint8": "unsignedByte",
    "int16": "short",
    "int32": "int",
    "int64": "long",
    "float32": "float",
    "float64": "double",
}
_LINE = (
    57 * 1024
)  # bytes that become a line of text; a multiple of 3, so that no line needs padding


def _field(column: Column) -> str:
    kind = (
        f'datatype="char" arraysize="{column.width}"'
        if column.is_string
        else f'datatype="{_TYPES[column.dtype]}"'
    )
    unit = ""
    if column.unit:
        unit = f" unit={quoteattr(units.Unit(column.unit, format='fits').to_string('vounit'))}"
    system = ' ref="icrs"' if column.name in ("ra", "dec") else ""
    null = "" if column.null is None else f'<VALUES null="{column.null}"/>'
    return (
        f"<FIELD ID={quoteattr(column.name)} name={quoteattr(column.name)} {kind}{unit} ucd={quoteattr(column.ucd)}"
        f"{system}><DESCRIPTION>{escape(column.description)}</DESCRIPTION>{null}</FIELD>"
    )


def header(
    columns: Sequence[Column], cards: Mapping[str, str], title: str, registry: Registry
) -> str:
    """Everything in the file before the rows."""
    bits = "; ".join(f"{1 << (column.bit or 0)} {column.name}" for column in registry.bit_columns)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">',
        '<RESOURCE type="results">',
        f"<DESCRIPTION>{escape(title)}</DESCRIPTION>",
        *(
            f"<INFO name={quoteattr(key)} value={quoteattr(value)}/>"
            for key, value in cards.items()
        ),
        f'<INFO name="flags" value={quoteattr("sum of " + bits)}/>',
        '<COOSYS ID="icrs" system="ICRS" epoch="J2000"/>',
        '<TABLE name="recommended">',
        *map(_field, columns),
        '<DATA><BINARY2><STREAM encoding="base64">',
    ]
    return "\n".join(lines) + "\n"


def binary_rows(rows: NDArray[np.void], columns: Sequence[Column]) -> bytes:
    """Rows (n,) of the catalogue as BINARY2."""
    n_bytes = -(-len(columns) // 8)
    record = np.dtype(
        [("", "u1", (n_bytes,)), *((column.name, column.numpy) for column in columns)]
    )
    out = np.empty(len(rows), record)
    missing = np.zeros((len(rows), len(columns)), bool)
    for number, column in enumerate(columns):
        out[column.name] = rows[column.name]
        if column.null is not None:
            missing[:, number] = rows[column.name] == column.null
    out[record.names[0]] = np.packbits(missing, axis=1)  # type: ignore[index]
    return out.tobytes()


def write_votable(
    path: str | Path,
    blocks: Iterable[NDArray[np.void]],
    columns: Sequence[Column],
    registry: Registry,
    cards: Mapping[str, str],
    title: str,
) -> int:
    """Write blocks of rows of the catalogue to a VOTable; returns how many rows there were.

    Parameters
    ----------
    columns : those of the registry that the VOTable has
    cards : provenance, keyword to value
    """
    n, rest = 0, b""
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        handle.write(header(columns, cards, title, registry).encode())
        for rows in blocks:
            n += len(rows)
            content = rest + binary_rows(rows, columns)
            whole = len(content) - len(content) % _LINE
            for start in range(0, whole, _LINE):
                handle.write(base64.b64encode(content[start : start + _LINE]) + b"\n")
            rest = content[whole:]
        handle.write(base64.b64encode(rest) + b"\n")
        handle.write(b"</STREAM></BINARY2></DATA>\n</TABLE>\n</RESOURCE>\n</VOTABLE>\n")
    return n
