"""The meaning of table cells: one set of rules for text tables and FITS tables.

Missing are the values in `MISSING_TEXTS` and `MISSING_NUMBERS`, values that are not finite, and a
FITS column's TNULL. Texts have no blanks at their ends and no control characters. Integers are
exact or missing: none is converted to floating point where that would round it, as pandas does with
Gaia's identifiers after a left join.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MISSING_TEXTS = (
    *("", "-", "--", "---", "----", "...", "…", "\\N"),
    *("null", "NULL", "Null", "None", "none", "nan", "NaN", "NAN", "<NA>", "NA", "N/A", "n/a"),
)
"""Cells that stand for a missing value: in CSV exports, VizieR's tables, pandas, databases."""
MISSING_NUMBERS = (-9999.0, -9999.99, -99999.0)
"""Numbers that stand for a missing value in LAMOST's, APOGEE's and many other catalogues."""

_DIGITS = r"^[+-]?[0-9]{1,19}(\.0*)?$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
_INFINITE = ("inf", "-inf", "+inf", "infinity", "-infinity", "+infinity")
_CONTROL = r"[\x00-\x1f\x7f-\x{9f}\x{2028}\x{2029}]+"
_LARGEST = 2**63 - 1


@dataclass
class Notes:
    """Changes that a reader made, counted by column, for one message each."""

    inexact: dict[str, int] = field(default_factory=dict)  # integers that were rounded as floats
    control: dict[str, int] = field(default_factory=dict)  # texts with control characters
    no_number: dict[str, int] = field(default_factory=dict)  # cells that should be numbers

    def add(self, kind: str, column: str, count: int) -> None:
        """Count cells of a column."""
        counts: dict[str, int] = getattr(self, kind)
        if count:
            counts[column] = counts.get(column, 0) + count

    def sentences(self, path: object) -> list[str]:
        """Messages for the user, a sentence for each column and kind."""
        meaning = {
            "inexact": "are not exact whole numbers (they went through floating point) and count as missing",
            "control": "held control characters, which became blanks",
            "no_number": "are no numbers and count as missing",
        }
        return [
            f"{path}: column {column}: {count} value(s) {words}"
            for kind, words in meaning.items()
            for column, count in getattr(self, kind).items()
        ]


def texts(values: pa.Array, column: str, notes: Notes) -> pa.Array:
    """Texts (n,) as large_string: stripped, without control characters, null where missing.

    `values` is of strings, or of bytes, which are UTF-8 or else Latin-1.
    """
    clean = _decoded(values)
    control = pc.match_substring_regex(clean, _CONTROL)
    if pc.any(control).as_py():
        inside = pc.match_substring_regex(
            pc.utf8_trim_whitespace(pc.utf8_trim(clean, "\0")), _CONTROL
        )
        notes.add("control", column, pc.sum(inside).as_py() or 0)
        clean = pc.replace_substring_regex(clean, _CONTROL, " ")
    clean = pc.utf8_trim_whitespace(clean)
    missing = pc.is_in(clean, pa.array(MISSING_TEXTS, pa.large_string()))
    return pc.if_else(missing, pa.scalar(None, pa.large_string()), clean)


def _decoded(values: pa.Array) -> pa.Array:
    """Bytes or strings as valid large_string."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values.cast(pa.large_string())
    try:
        return values.cast(pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        decoded = [None if item is None else _decode(item) for item in values.to_pylist()]
        return pa.array(decoded, pa.large_string())


def _decode(item: bytes) -> str:
    try:
        return item.decode("utf-8")
    except UnicodeDecodeError:
        return item.decode("latin-1")


def integers_of_texts(values: pa.Array, column: str, notes: Notes) -> pa.Array:
    """Whole numbers (n,) as int64 of cleaned texts, null where missing or not exact.

    `3949843210360996224`, `3949843210360996224.0` and `12e3` are exact; `3.949843210360996e18` is
    not, because its last digits are unknown.
    """
    plain = pc.match_substring_regex(values, _DIGITS)
    digits = pc.replace_substring_regex(
        pc.if_else(plain, values, pa.scalar(None, pa.large_string())), r"^\+|\.0*$", ""
    )
    try:
        result = digits.cast(pa.int64())
    except pa.ArrowInvalid:  # 19 digits can be more than 2^63
        result = pa.array([_exact(item) for item in digits.to_pylist()], pa.int64())
    odd = pc.and_(pc.is_valid(values), pc.invert(pc.fill_null(plain, False)))
    if pc.any(odd).as_py():
        rows = np.flatnonzero(odd.to_numpy(zero_copy_only=False))
        found = [_exact(values[int(row)].as_py()) for row in rows]
        # Null as 0, because with nulls pyarrow would give floats.
        whole = result.fill_null(0).to_numpy(zero_copy_only=False).copy()
        missing = pc.is_null(result).to_numpy(zero_copy_only=False).copy()
        whole[rows] = [item or 0 for item in found]
        missing[rows] = [item is None for item in found]
        result = pa.array(whole, pa.int64(), mask=missing)
    lost = pc.and_(pc.is_valid(values), pc.is_null(result)).to_numpy(zero_copy_only=False)
    if lost.any():
        numeric = [_is_number(values[int(row)].as_py()) for row in np.flatnonzero(lost)]
        notes.add("inexact", column, sum(numeric))
        notes.add("no_number", column, len(numeric) - sum(numeric))
    return _without_sentinels(result)


def _may_be_integers(values: pa.Array) -> bool:
    """Whether each cleaned text that is not of digits alone is an exact integer; mostly the first is not."""
    plain = pc.fill_null(pc.match_substring_regex(values, _DIGITS), True)
    return all(_exact(item.as_py()) is not None for item in values.filter(pc.invert(plain)))


def _exact(text: str | None) -> int | None:
    """A text as an integer if all of its digits are written and it fits into 64 bits, else None."""
    if text is None:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or number.adjusted() > 19 or number != number.to_integral_value():
        return None
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    # 3.949843210360996e18 has 16 of 19 digits; 12e3 is exact.
    if exponent > 0 and abs(number) >= 2**53:
        return None
    whole = int(number)
    return whole if abs(whole) <= _LARGEST else None


def _is_number(text: str) -> bool:
    return re.match(_NUMBER, text) is not None


def numbers_of_texts(values: pa.Array, column: str, notes: Notes) -> tuple[pa.Array, pa.Array]:
    """Numbers (n,) as float64 of cleaned texts, null where missing; where a text is no number
    (n,).
    """
    try:
        result = values.cast(pa.float64())
        wrong = pa.array(np.zeros(len(values), bool))
    except pa.ArrowInvalid:
        good = pc.fill_null(pc.match_substring_regex(values, _NUMBER), False)
        plain = pc.if_else(good, values, pa.scalar(None, pa.large_string()))
        result = pc.replace_substring_regex(plain, r"^\+", "").cast(pa.float64())
        wrong = pc.and_(pc.is_valid(values), pc.invert(good))
        wrong = pc.and_(
            wrong,
            pc.invert(pc.is_in(pc.utf8_lower(values), pa.array(_INFINITE, pa.large_string()))),
        )
        notes.add("no_number", column, pc.sum(wrong).as_py() or 0)
    return _without_sentinels(_finite(result)), wrong


def _finite(values: pa.Array) -> pa.Array:
    """Numbers with null where they are not finite."""
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))


def _without_sentinels(values: pa.Array) -> pa.Array:
    """Numbers with null where they are a code for a missing one."""
    bad = None
    for number in MISSING_NUMBERS:
        if pa.types.is_integer(values.type):
            if number != round(number):
                continue
            one = pc.equal(values, pa.scalar(int(number), values.type))
        else:
            # Single precision stores -9999.99 as -9999.9902.
            one = pc.less_equal(pc.abs(pc.subtract(values, number)), 1e-6 * abs(number))
        bad = one if bad is None else pc.or_(bad, one)
    return pc.if_else(bad, pa.scalar(None, values.type), values)


def integers(
    values: NDArray[Any], missing: NDArray[np.bool_], column: str, notes: Notes
) -> pa.Array:
    """Numbers (n,) of a FITS column as int64; null where `missing`, not whole, or not exact."""
    if values.dtype.kind == "f":
        # Above this, floats of that size are more than 1 apart.
        limit = 2.0 ** (np.finfo(values.dtype).nmant + 1)
        finite = np.isfinite(values) & ~missing
        exact = finite & (values == np.rint(values)) & (np.abs(values) < limit)
        notes.add("inexact", column, int(np.count_nonzero(finite & ~exact)))
        whole = np.where(exact, values, 0).astype(np.int64)
        return _without_sentinels(pa.array(whole, pa.int64(), mask=~exact))
    large = (
        values > np.uint64(_LARGEST) if values.dtype == np.uint64 else np.zeros(len(values), bool)
    )
    notes.add("inexact", column, int(np.count_nonzero(large & ~missing)))
    whole = np.where(large, 0, values).astype(np.int64)
    return _without_sentinels(pa.array(whole, pa.int64(), mask=missing | large))


def numbers(values: NDArray[Any], missing: NDArray[np.bool_]) -> pa.Array:
    """Numbers (n,) of a FITS column as float64, null where missing or not finite."""
    floats = values.astype(np.float64)
    return _without_sentinels(pa.array(floats, pa.float64(), mask=missing | ~np.isfinite(floats)))


def narrowed(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """int64 as a smaller integer, float64 as float32, null where it does not fit."""
    if values.type == kind:
        return values
    if pa.types.is_integer(kind):
        bounds = np.iinfo(kind.to_pandas_dtype())
        fits = pc.and_(
            pc.greater_equal(values, int(bounds.min)), pc.less_equal(values, int(bounds.max))
        )
        values = pc.if_else(fits, values, pa.scalar(None, values.type))
    if not pa.types.is_floating(kind):
        return values.cast(kind)
    return _finite(values.cast(kind, safe=False))


def of_texts(cells: pa.Array, kind: pa.DataType | None, column: str, notes: Notes) -> pa.Array:
    """Cleaned texts (n,) as `kind`, null where impossible; without a kind by their content.

    Without a kind: int64 if all are exact integers, float64 if all are numbers, else texts.
    """
    if kind is None:
        whole = Notes()
        if _may_be_integers(cells):
            found = integers_of_texts(cells, column, whole)
            if not whole.inexact and not whole.no_number:
                return found
        found, wrong = numbers_of_texts(cells, column, Notes())
        return cells if pc.any(wrong).as_py() else found
    if pa.types.is_integer(kind):
        return as_kind(integers_of_texts(cells, column, notes), kind)
    if pa.types.is_floating(kind):
        return as_kind(numbers_of_texts(cells, column, notes)[0], kind)
    return as_kind(cells, kind)


def as_kind(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Integers, numbers or texts (n,) as a narrower kind or a dictionary; null if they do not
    fit.
    """
    if pa.types.is_dictionary(kind):
        return values.cast(pa.string()).dictionary_encode()
    return narrowed(values, kind)


def cleaned(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Numbers (n,) from a text table's parser, with null for codes of missing values."""
    values = _finite(values) if pa.types.is_floating(values.type) else values
    return as_kind(_without_sentinels(values), kind)
