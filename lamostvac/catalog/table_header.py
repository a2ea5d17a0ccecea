"""Headers of the catalogue's tables, and what they say of each column.

Programs read descriptions in different places. TOPCAT, STILTS and CFITSIO's users have the cards
TCOMMn and TUCDn; astropy has neither, and reads a YAML text, the header of an ECSV file, from COMMENT
cards between two marks in FITS and from the metadata of a Parquet file.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lamostvac.catalog.column import Column

BEGIN = "--BEGIN-ASTROPY-SERIALIZED-COLUMNS--"
END = "--END-ASTROPY-SERIALIZED-COLUMNS--"
YAML_KEY = "table_meta_yaml"
"""Under which astropy finds the YAML text in a Parquet file."""
_CARD = 70  # characters of a COMMENT card that are text; one more says that the next card goes on


def columns_yaml(
    columns: Sequence[Column], meta: Mapping[str, Any], with_units: bool = True
) -> list[str]:
    """Lines of YAML with name, unit, type, description and UCD of each column, and a table's `meta`."""
    lines = ["datatype:"]
    for column in columns:
        kind = "string" if column.is_string else column.dtype
        unit = f"unit: {column.unit}, " if column.unit and with_units else ""
        lines.append(
            f"- {{name: {column.name}, {unit}datatype: {kind}, "
            f"description: {json.dumps(column.description)}, meta: {{ucd: {column.ucd}}}}}"
        )
    # JSON is YAML too.
    return [*lines, "meta: " + json.dumps(dict(meta))]


def fits_header(
    columns: Sequence[Column],
    row_bytes: int,
    n: int,
    cards: Mapping[str, tuple[Any, str]],
    name: str,
) -> bytes:
    """Everything in a FITS file before the rows: primary header and the header of the table.

    Parameters
    ----------
    row_bytes : of a row
    n : number of rows
    cards : provenance, keyword to (value, comment); goes into both headers
    """
    from astropy.io import fits  # only here, since every start of Snakemake reads this module

    header = fits.Header(_table_cards(columns, row_bytes, n, name))
    primary = fits.PrimaryHDU().header
    for target in (primary, header):
        for keyword, (value, comment) in cards.items():
            # A card has 80 characters; a comment that does not fit is left out, not cut.
            fitting = comment if len(f"{keyword:8}= '{value}' / {comment}") <= 80 else ""
            target[keyword] = (value, fitting)
    header.extend(_comments(columns), end=True)
    return primary.tostring().encode("ascii") + header.tostring().encode("ascii")


def _table_cards(
    columns: Sequence[Column], row_bytes: int, n: int, name: str
) -> list[tuple[Any, ...]]:
    """The cards of the header of a table with n rows, without provenance.

    `astropy.io.fits.BinTableHDU` has the same but our own and takes longer than all else that a
    small table's rule does, for arrays that nothing here needs.
    """
    cards: list[tuple[Any, ...]] = [
        ("XTENSION", "BINTABLE", "binary table extension"),
        ("BITPIX", 8, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", row_bytes, "length of dimension 1"),
        ("NAXIS2", n, "length of dimension 2"),
        ("PCOUNT", 0, "number of group parameters"),
        ("GCOUNT", 1, "number of groups"),
        ("TFIELDS", len(columns), "number of table fields"),
    ]
    if any(len(f"'{column.description}'") > 70 for column in columns):
        # Long descriptions continue in CONTINUE cards, which LONGSTRN announces.
        cards.append(("LONGSTRN", "OGIP 1.0", "texts may go on in CONTINUE cards"))
    for number, column in enumerate(columns, start=1):
        cards += [(f"TTYPE{number}", column.name), (f"TFORM{number}", column.tform)]
        if column.unit:
            cards.append((f"TUNIT{number}", column.unit))
        cards += [(f"TUCD{number}", column.ucd), (f"TCOMM{number}", column.description)]
        if column.null is not None:
            cards.append((f"TNULL{number}", column.null))
    return [*cards, ("EXTNAME", name, "extension name")]


def _comments(columns: Sequence[Column]) -> list[tuple[str, str]]:
    """COMMENT cards with the descriptions as astropy writes and reads them."""
    texts = []
    for line in columns_yaml(columns, {"__serialized_columns__": {}}, with_units=False):
        parts = [line[start : start + _CARD] for start in range(0, len(line), _CARD)]
        texts += [f"{part}\\" for part in parts[:-1]] + parts[-1:]
    return [("COMMENT", text) for text in (BEGIN, *texts, END)]
