"""Text tables: CSV, database exports and VizieR's files, recognised by their content.

The separator is the one of tab, `|`, `;` and `,` that is most frequent in the line of names; where
there is none, any number of blanks, and a cell `*` is missing, since none can be empty. Lines that
begin with `#` are comments, except for a last one that holds the names. VizieR's lines of units and
dashes and its `#END#` are skipped. Cells may be padded with blanks or quoted. The text is UTF-8,
with or without a byte-order mark, or Latin-1. Compression with gzip is recognised by the first
bytes, not by the name.
"""

import codecs
import gzip
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pacsv

from lamostvac.core.exceptions import UserError
from lamostvac.external.values import MISSING_TEXTS

SEPARATORS = "\t|;,"
_LONGEST_LINE = 1_000_000  # of names or a comment, bytes
_BLOCK = 1 << 24
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "Parquet",
}


@dataclass(frozen=True)
class Layout:
    """Layout of a text table: column names, separator, quoting, lines before the first row."""

    names: list[str]
    separator: str
    quoted: bool
    skip: int


def kind_of_file(path: Path) -> str:
    """`fits`, `fits.gz`, `text` or `text.gz`, by the first bytes.

    Raises
    ------
    UserError
        The file is compressed in another way, is not a table, or cannot be read.
    """
    with path.open("rb") as raw:
        start = raw.read(9)
    packed = next((name for mark, name in _PACKED.items() if start.startswith(mark)), "")
    if packed not in ("", "gzip"):
        raise UserError(f"{path} is a {packed} file; give a text table or FITS, plain or with gzip")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{path} is text in UTF-16; save it as UTF-8")
    with open_bytes(path, packed == "gzip") as stream:
        start = stream.read(9)
    return ("fits" if start == b"SIMPLE  =" else "text") + (".gz" if packed else "")


def open_bytes(path: Path, compressed: bool) -> BinaryIO:
    """A file's bytes, unpacked."""
    return gzip.open(path, "rb") if compressed else path.open("rb")  # type: ignore[return-value]


def layout_of(path: Path, compressed: bool, knows: Callable[[Sequence[str]], int]) -> Layout:
    """The layout of a text table.

    Parameters
    ----------
    knows : number of wanted columns among some names; decides whether a comment holds the names
    """
    with open_bytes(path, compressed) as stream:
        comment, skipped = "", 0
        while True:
            line = stream.readline(_LONGEST_LINE)
            if not line:
                raise UserError(f"{path} has no line that names columns")
            text = _text(line)
            if text.strip() and not text.startswith("#"):
                break
            comment = text if text.strip() else comment
            skipped += 1
        below = [_text(stream.readline(_LONGEST_LINE)) for _ in range(2)]
    named = comment.lstrip("#").strip()
    if named and knows(_names(named)) > knows(_names(text)):
        return Layout(_names(named), _separator(named), _quoted(named), skipped)
    names, separator, skip = _names(text), _separator(text), skipped + 1
    # VizieR: names, units, dashes; without units the dashes follow the names.
    for number, after in enumerate(below, start=1):
        units = number == 1 or not _has_number(below[0], separator)
        if separator in "\t|;" and units and _is_rule(after, separator):
            return Layout(names, separator, False, skip + number)
    if len(names) == 1 and below[-1] and not below[-1].strip("-"):
        return Layout(names, "\t", False, skip + 2)
    words = text.split()
    if len(names) == 1 and len(words) > 1 and len(below[0].split()) == len(words):
        return Layout(words, " ", False, skip)
    return Layout(names, separator, _quoted(text), skip)


def _separator(line: str) -> str:
    return max(SEPARATORS, key=line.count)


def _quoted(line: str) -> bool:
    """Whether cells are quoted: all in exports, none in LAMOST's |-separated files, whose cells may
    contain quotation marks.
    """
    return _separator(line) in ",;" or line.lstrip("# ").startswith('"')


def _has_number(line: str, separator: str) -> bool:
    """Whether a line has cells that are numbers, which no line of units has."""
    return any(re.fullmatch(r"[+-]?\d+\.?\d*", cell.strip()) for cell in line.split(separator))


def _is_rule(line: str, separator: str) -> bool:
    """Whether a line consists of dashes, as VizieR draws below the names."""
    cells = [cell.strip() for cell in line.split(separator)]
    return len(cells) > 1 and all(cell and not cell.strip("-") for cell in cells)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r\n").lstrip("\ufeff")


def _names(line: str) -> list[str]:
    cells = line.split(_separator(line))
    return [name.strip().strip('"').lstrip("#").strip() for name in cells]


def read_cells(
    path: Path,
    compressed: bool,
    layout: Layout,
    positions: Mapping[str, int],
    kinds: Mapping[str, pa.DataType],
) -> dict[str, pa.ChunkedArray]:
    """The wanted columns of a text table, each of its kind if all cells fit, else as texts.

    Parameters
    ----------
    positions : our name to the number of the column
    kinds : our name to a column's Arrow type

    Raises
    ------
    UserError
        A row has more or fewer cells than there are columns; the message has its number.
    """
    labels = [str(index) for index in range(len(layout.names))]
    wanted = list(dict.fromkeys(labels[index] for index in positions.values()))
    texts = dict.fromkeys(wanted, pa.large_string())
    typed = texts | {
        labels[index]: kinds[ours] for ours, index in positions.items() if ours in kinds
    }
    encoding = "utf8" if _is_utf8(path, compressed) else "latin1"
    failure = ""
    # With a handler of invalid rows Arrow uses one thread only, so it is first tried without one.
    for types, patient in ((typed, False), (texts, False), (texts, True)):
        try:
            table = _parse(path, compressed, layout, wanted, types, encoding, patient)
            return {ours: table[labels[index]] for ours, index in positions.items()}
        except UnicodeDecodeError:
            encoding = "latin1"
            continue
        except (pa.ArrowException, ValueError) as error:
            failure = " ".join(str(error).split())
            if "UTF8" in failure or "Wrapping" in failure:
                encoding = "latin1"
    if "Empty CSV" in failure:
        return {ours: pa.chunked_array([], pa.large_string()) for ours in positions}
    raise UserError(f"{path} cannot be read as a table: {failure}")


def _is_utf8(path: Path, compressed: bool) -> bool:
    """Whether the whole text of the file is UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_bytes(path, compressed) as stream:
        while block := stream.read(1 << 22):
            if block.isascii():
                if decoder.getstate()[0]:
                    return False
                continue
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                return False
    return True


def _parse(
    path: Path,
    compressed: bool,
    layout: Layout,
    wanted: list[str],
    types: Mapping[str, pa.DataType],
    encoding: str,
    patient: bool,
) -> pa.Table:
    def invalid(row: Any) -> str:
        # VizieR's files end with #END#.
        return "skip" if row.text is None or row.text.startswith("#") else "error"

    with _stream(path, compressed, layout.separator) as stream:
        return pacsv.read_csv(
            stream,
            read_options=pacsv.ReadOptions(
                column_names=[str(index) for index in range(len(layout.names))],
                skip_rows=layout.skip,
                block_size=_BLOCK,
                encoding=encoding,
                use_threads=not patient,
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=layout.separator,
                quote_char='"' if layout.quoted else False,
                newlines_in_values=False,
                invalid_row_handler=invalid if patient else None,
            ),
            convert_options=pacsv.ConvertOptions(
                include_columns=wanted,
                column_types=types,
                null_values=list(MISSING_TEXTS),
                strings_can_be_null=True,
                # Dates and times stay texts too.
                timestamp_parsers=["-"],
                true_values=[],
                false_values=[],
            ),
        )


def _stream(path: Path, compressed: bool, separator: str) -> Any:
    """A table's bytes with one separator between cells."""
    if separator != " ":
        # A stream, because Arrow would infer compression from the name.
        return pa.input_stream(str(path), compression="gzip" if compressed else None)
    with open_bytes(path, compressed) as stream:
        lines = (line.split() for line in stream)
        cells = ((b"-" if cell == b"*" else cell for cell in line) for line in lines)
        return pa.BufferReader(b"\n".join(b" ".join(line) for line in cells))
