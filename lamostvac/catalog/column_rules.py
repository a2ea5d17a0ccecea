"""The rules that a column of the catalogue obeys: its name, type, description, and its bit."""

import re
from collections.abc import Iterable, Iterator, Sequence

from lamostvac.catalog.column import FITS_CODES, STRING, Column

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def problems(registry: Iterable[Column], columns: Sequence[Column] | None = None) -> Iterator[str]:
    """What is wrong with the columns of a registry, or with some of them, one sentence each."""
    every = list(registry)
    names = [column.name for column in every]
    for column in every if columns is None else columns:
        if not _NAME.fullmatch(column.name):
            yield f"column {column.name!r} is not lower-case snake_case"
        if names.count(column.name) > 1:
            yield f"column {column.name!r} stands twice"
        if column.dtype not in FITS_CODES and not STRING.fullmatch(column.dtype):
            yield f"column {column.name!r} has unknown dtype {column.dtype!r}; use string[N], {', '.join(FITS_CODES)}"
        if not column.description.isascii():
            yield f"the description of column {column.name!r} is not ASCII, as FITS headers must be"
        if column.name.endswith("_err"):
            if column.name.removesuffix("_err") not in names:
                yield f"column {column.name!r} is the error of no column"
            if not column.ucd.startswith("stat.error;"):
                yield f"column {column.name!r} is an error, so its UCD must start with stat.error;"
        elif column.ucd.startswith("stat.error"):
            yield f"column {column.name!r} has the UCD of an error but does not end in _err"
        if column.bit is not None and not column.name.startswith("flag_"):
            yield f"column {column.name!r}: only columns named flag_* have a bit"
        if column.name.startswith("flag_") and column.dtype != "uint8":
            yield f"column {column.name!r} is a flag, so its dtype must be uint8"
    bits = [column.bit for column in every if column.bit is not None]
    if len(set(bits)) < len(bits):
        yield "two flags share a bit"
