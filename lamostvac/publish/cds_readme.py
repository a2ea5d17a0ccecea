"""The CDS ReadMe: a byte-by-byte description of the text table for programs and people.

Format: Ochsenbein, Standards for Astronomical Catalogues, 2.0
(https://cdsarc.cds.unistra.fr/doc/catstd.htx). The package cdspyreadme writes such files too, but
it needs the whole table in memory and formats it value by value with its own widths. Here the table
is written in blocks (`lamostvac.publish.fixed_width`), and this module describes its layout.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence

from astropy import units

from lamostvac.catalog.column import Column
from lamostvac.catalog.published import aliases
from lamostvac.catalog.registry import Registry
from lamostvac.publish.fixed_width import Field

TABLE = "recommended.dat"
_WIDTH = 80
_KEYWORDS = (
    "Surveys ; Spectroscopy ; Stars, normal ; Effective temperatures ; Abundances, [Fe/H] ; Abundances ; "
    "Magnitudes, absolute"
)
_JOURNAL_KEYWORDS = (
    "catalogs - methods: data analysis - stars: abundances - stars: fundamental parameters - surveys - "
    "techniques: spectroscopic"
)


def label(column: Column) -> str:
    """A column's name in the ReadMe: CDS has RAdeg and DEdeg for positions and e_ before errors."""
    fixed = {"ra": "RAdeg", "dec": "DEdeg"}
    name = column.name
    if name.endswith("_err"):
        return f"e_{name.removesuffix('_err')}"
    return fixed.get(name, name)


def unit(column: Column) -> str:
    """A column's unit as CDS writes it: of a logarithm in brackets; --- for none."""
    if column.unit:
        return units.Unit(column.unit, format="fits").to_string("cds")
    if not column.in_dex:
        return "---"
    return "[cm/s2]" if column.ucd.endswith("phys.gravity") else "[-]"


def _paragraph(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _explanation(field: Field, note: str, indent: int) -> list[str]:
    """Lines of a column's explanation; none begins with a digit, which would be read as bytes."""
    column, names = field.column, aliases(field.column.name)
    named = f" ({names})" if names else ""
    text = re.sub(r" (?=\d)", "\0", column.description + named + note)
    switch = column.name.startswith("flag_") or column.name in ("best_spectrum", "recommended")
    limits = "[0/1]" if switch else ""
    text = f"{limits}{'?' if field.missing else ''} {text}".strip()
    width = max(_WIDTH - indent, 24)
    return [
        line.replace("\0", " ")
        for line in textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    ]


def byte_by_byte(fields: Sequence[Field], notes: Mapping[str, int]) -> list[str]:
    """The block of a table's columns; `notes` gives the note's number for some columns."""
    labels = max(len(label(field.column)) for field in fields)
    unit_width = max(5, *(len(unit(field.column)) for field in fields))
    digits = max(len(str(fields[-1].end)), 4)
    lines = [
        f"Byte-by-byte Description of file: {TABLE}",
        "-" * _WIDTH,
        f"{'Bytes':>{2 * digits + 2}} {'Format':<7} {'Units':<{unit_width}} {'Label':<{labels}} Explanations",
        "-" * _WIDTH,
    ]
    for field in fields:
        first = f"{field.start + 1:>{digits}}-" if field.width > 1 else " " * (digits + 1)
        head = (
            f"{first}{field.end:>{digits}}  {field.format:<7} {unit(field.column):<{unit_width}} "
            f"{label(field.column):<{labels}} "
        )
        number = notes.get(field.column.name)
        text = _explanation(field, f" ({number})" if number else "", len(head) + 1)
        lines += [head + text[0], *(" " * (len(head) + 1) + line for line in text[1:])]
    return [*lines, "-" * _WIDTH]


def readme(
    fields: Sequence[Field],
    n: int,
    registry: Registry,
    cards: Mapping[str, str],
    title: str,
    authors: str = "",
) -> str:
    """The ReadMe of the catalogue.

    Parameters
    ----------
    fields : columns of the text table (`lamostvac.publish.fixed_width.layout`)
    n : rows of the text table
    cards : provenance, keyword to value
    title, authors : of the catalogue
    """
    program = cards.get("CREATOR", "lamost-vac")
    rule = "=" * _WIDTH
    lines = [f"{title[: _WIDTH - len(program) - 5]:<{_WIDTH - len(program) - 3}} ({program})", rule]
    lines += [*textwrap.wrap(title, _WIDTH)]
    lines += _paragraph(authors, "    ") if authors else []
    lines += [rule]
    lines += textwrap.wrap(f"ADC_Keywords: {_KEYWORDS}", _WIDTH, subsequent_indent="    ")
    lines += textwrap.wrap(f"Keywords: {_JOURNAL_KEYWORDS}", _WIDTH, subsequent_indent="    ")
    lines += ["", "Description:"]
    lines += _paragraph(
        "Labels of LAMOST low-resolution spectra from a spectral emulator (Liang et al. 2024) and from neural "
        "networks (Wang et al. 2022), one row for each accepted spectrum. The same rows in binary are in "
        "recommended.fits and recommended.parquet. What is missing is blank here; the explanations' NaN and -1 are "
        "those of the binary files. W22 and L24 stand before the column's name in the tables of the papers "
        "listed as references."
    )
    lines += ["", "File Summary:", "-" * _WIDTH]
    lines += [f"{'FileName':<16} {'Lrecl':>6} {'Records':>10}   Explanations", "-" * _WIDTH]
    lines += [f"{'ReadMe':<16} {_WIDTH:>6} {'.':>10}   This file"]
    lines += [f"{TABLE:<16} {fields[-1].end:>6} {n:>10}   The catalogue", "-" * _WIDTH, ""]
    lines += byte_by_byte(fields, {"flags": 1, "spectrum_id": 2})
    lines += ["Note (1): Sum of the values of the flags that are 1:"]
    for column in registry.bit_columns:
        text = f"{1 << (column.bit or 0):>10} = {column.name}: {column.description}"
        lines += textwrap.wrap(text, _WIDTH, subsequent_indent=" " * 13)
    lines += textwrap.wrap(
        "Note (2): Local modified Julian day, plan, spectrograph and fibre, which name a spectrum in every release.",
        _WIDTH,
        subsequent_indent="    ",
    )
    lines += ["-" * _WIDTH, "", "History:"]
    for keyword, value in cards.items():
        lines += textwrap.wrap(
            f"{keyword}: {value}", _WIDTH, initial_indent="  ", subsequent_indent="    "
        )
    lines += ["", "References:"]
    lines += ["  L24: Liang et al. (2024), labels from a spectral emulator"]
    lines += ["  W22: Wang et al. (2022, ApJS 259, 51), labels from neural networks", "", rule]
    return "\n".join([*lines, f"{'(End)':<40}"]).rstrip() + "\n"
