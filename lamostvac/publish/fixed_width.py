"""Rows of the catalogue as a text table of fixed width, as a CDS ReadMe can describe it.

Two passes over blocks of rows: the first finds how wide each column is and how many decimals it
needs, the second writes. Both depend on the rows only, not on the blocks. Numbers are converted to
digits column by column, a block at once: Python's formatting of one number at a time would need
hours for ten million rows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from lamostvac.catalog.column import Column
from lamostvac.catalog.registry import Registry
from lamostvac.core.atomic import atomic

# Least number of significant digits for nine tenths of a column's values.
_DIGITS = {4: 5, 8: 11}
_MAX_DECIMALS = 12
_MAX_DIGITS = (
    15  # of a fixed-point number, which float64 holds; larger ones are written with an exponent
)
_PART = 4096  # rows formatted at a time, so that they stay in the processor's cache
_BINARY_EXPONENTS = 2200
_PIECE = 1 << 20  # bytes packed at a time; ISA-L's output depends on it, so it is the same for all
_LEVEL = 2  # of compression by ISA-L: a quarter of the time of zlib's level 2, and a smaller file


@dataclass
class _Extent:
    """What the first pass records of a column."""

    low: float = np.inf
    high: float = -np.inf
    width: int = 1
    missing: bool = False
    # Number of values by binary exponent: integer counts do not depend on the order of the sum.
    exponents: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(_BINARY_EXPONENTS, np.int64)
    )

    def add(self, column: Column, values: NDArray[Any]) -> None:
        if column.is_string:
            lengths = np.char.str_len(values)
            self.width = max(self.width, int(lengths.max()))
            self.missing |= bool((lengths == 0).any())
            return
        present = is_present(column, values)
        self.missing |= not present.all()
        values = values[present]
        if not len(values):
            return
        self.low, self.high = min(self.low, values.min()), max(self.high, values.max())
        if values.dtype.kind == "f":
            exponent = np.frexp(values[values != 0])[1] + _BINARY_EXPONENTS // 2
            self.exponents += np.bincount(exponent, minlength=_BINARY_EXPONENTS)

    def decimals(self, digits: int) -> int:
        """Decimals that give nine tenths of the values at least `digits` significant digits."""
        total = np.cumsum(self.exponents)
        if not total[-1]:
            return 1
        exponent = int(np.searchsorted(total, 0.1 * total[-1])) - _BINARY_EXPONENTS // 2
        decade = int(np.floor((exponent - 1) * np.log10(2)))
        return int(np.clip(digits - 1 - decade, 1, _MAX_DECIMALS))


@dataclass(frozen=True)
class Field:
    """A column of the text table.

    Attributes
    ----------
    column : of the registry
    start : its first byte, from 0
    width : bytes
    decimals : of a fixed-point number; None for other kinds
    format : as CDS writes it: A26, I10, F8.3, E15.7
    missing : whether some row has no value; its field is then blank
    """

    column: Column
    start: int
    width: int
    decimals: int | None
    format: str
    missing: bool

    @property
    def end(self) -> int:
        """Its last byte, from 1."""
        return self.start + self.width

    def put(self, text: NDArray[np.uint8], values: NDArray[Any]) -> None:
        """Write values (n,) into text (n, row length), which is blank."""
        place = text[:, self.start : self.end]
        if self.column.is_string:
            padded = np.ascontiguousarray(values.astype(f"S{self.width}"))
            letters = padded.view(np.uint8).reshape(place.shape)
            place[...] = np.where(letters == 0, ord(" "), letters)
            return
        present = is_present(self.column, values)
        if self.format.startswith("E"):
            lines = [
                f"{value:{self.width}.7E}" if good else " " * self.width
                for value, good in zip(values.tolist(), present.tolist(), strict=True)
            ]
            place[...] = np.array(lines, f"S{self.width}").view(np.uint8).reshape(place.shape)
            return
        decimals = self.decimals or 0
        if values.dtype.kind == "f":
            scaled = np.where(present, values, 0).astype(np.float64) * 10.0**decimals
            whole = np.rint(scaled).astype(np.int64)
        else:
            whole = np.where(present, values, 0).astype(np.int64)
        _put_digits(place, whole, decimals)
        if self.missing:
            place[~present] = ord(" ")


def is_present(column: Column, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where numbers (n,) are not the column's missing value; infinite ones are missing too."""
    if values.dtype.kind == "f":
        return np.asarray(np.isfinite(values))
    return np.ones(len(values), bool) if column.null is None else np.asarray(values != column.null)


def _put_digits(place: NDArray[np.uint8], numbers: NDArray[np.int64], decimals: int) -> None:
    """Write numbers / 10^decimals (n,) right-aligned into place (n, width)."""
    rest = np.abs(numbers)
    if rest.size and rest.max() < 2**32:
        rest = rest.astype(np.uint32)  # faster to divide
    at = place.shape[1] - 1
    sign_at = np.full(len(rest), at - decimals - (decimals > 0) - 1)
    for digit in range(place.shape[1]):
        if digit == decimals and decimals:
            place[:, at] = ord(".")
            at -= 1
        if digit > decimals:
            # Digits before the ones are written only where a number has them.
            left = rest > 0
            if not left.any():
                break
            sign_at -= left
        quotient = rest // 10
        character = (rest - quotient * 10 + ord("0")).astype(np.uint8)
        place[:, at] = character if digit <= decimals else np.where(left, character, ord(" "))
        rest = quotient
        at -= 1
        if at < 0:
            break
    negative = np.flatnonzero(numbers < 0)
    place[negative, sign_at[negative]] = ord("-")


def layout(blocks: Iterable[NDArray[np.void]], registry: Registry) -> tuple[list[Field], int]:
    """The text table's columns for these rows, one blank between them, and the number of rows."""
    extents = {column.name: _Extent() for column in registry}
    n = 0
    for rows in blocks:
        n += len(rows)
        for column in registry:
            if len(rows):
                extents[column.name].add(column, rows[column.name])
    fields: list[Field] = []
    start = 0
    for column in registry:
        width, decimals, form = _form(column, extents[column.name])
        fields.append(
            Field(column, start, width, decimals, form, extents[column.name].missing or n == 0)
        )
        start += width + 1
    return fields, n


def _form(column: Column, extent: _Extent) -> tuple[int, int | None, str]:
    """Width, decimals and format."""
    if column.is_string:
        return extent.width, None, f"A{extent.width}"
    kind = np.dtype(column.dtype)
    low, high = (extent.low, extent.high) if extent.low <= extent.high else (0, 0)
    if kind.kind != "f":
        width = max(len(str(int(low))), len(str(int(high))))
        return width, None, f"I{width}"
    largest = max(abs(float(low)), abs(float(high)))
    whole_digits = len(str(int(largest))) + 1 if largest < 10.0**_MAX_DIGITS else _MAX_DIGITS
    if whole_digits >= _MAX_DIGITS:
        return 15, None, "E15.7"
    decimals = min(extent.decimals(_DIGITS[kind.itemsize]), _MAX_DIGITS - whole_digits)
    shown = max(len(str(round(abs(float(value)) * 10.0**decimals))) for value in (low, high))
    width = max(shown - decimals, 1) + 1 + decimals + (low < 0)
    return width, decimals, f"F{width}.{decimals}"


def text_rows(rows: NDArray[np.void], fields: list[Field]) -> bytes:
    """Rows as lines of text."""
    text = np.full((len(rows), fields[-1].end + 1), ord(" "), np.uint8)
    for column in fields:
        column.put(text, rows[column.column.name])
    text[:, -1] = ord("\n")
    return text.tobytes()


def write_text(path: str | Path, blocks: Iterable[NDArray[np.void]], fields: list[Field]) -> None:
    """Write a gzipped text table, without time and name, so that equal rows give equal bytes."""

    def parts() -> Iterator[NDArray[np.void]]:
        for rows in blocks:
            for first in range(0, len(rows), _PART):
                yield rows[first : first + _PART]

    # 31: gzip, its header without time and name.
    packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, 31)
    waiting = bytearray()
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        for rows in parts():
            waiting += text_rows(rows, fields)
            while len(waiting) >= _PIECE:
                handle.write(packer.compress(bytes(waiting[:_PIECE])))
                del waiting[:_PIECE]
        handle.write(packer.compress(bytes(waiting)))
        handle.write(packer.flush())
