"""Conditions and formulas over columns, as configuration files write them.

`not bit(aspcapflag, 7)`, `1.0857 / phot_g_mean_flux_over_error`, `3800 < teff_pastel < 6500`: names
of columns (words of Python too, as `class`), numbers, `+ - * / **`, comparisons (chained too),
`and`, `or`, `not`, and the functions of `FUNCTIONS`. A column of text can be compared with a text
by `==` and `!=`. No other Python is accepted, so a configuration file cannot run code.

A comparison with a missing value (NaN) is false,
`!=` included; `not` turns that into true, so write `error < 0.1` rather than `not error >= 0.1`.
"""

import ast
import keyword
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.core.former_names import present_name
from lamostvac.core.messages import nearest

FUNCTIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "abs": np.abs,
    "log10": np.log10,
    "sqrt": np.sqrt,
    "isfinite": np.isfinite,
}
"""Functions of one number; `bit(column, n)` comes in addition."""

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
Columns: TypeAlias = Mapping[str, Any] | pd.DataFrame
_MAX_LENGTH = 2000  # characters; much longer ones could exhaust Python's stack
_MAX_DEPTH = 100  # levels; far below Python's limit, of which callers use a part
# Texts in quotes, and, as a group, words of Python that mean nothing here.
_OURS = {"and", "or", "not", "True", "False", "None"}
_WORD = re.compile(rf"""'[^']*'|"[^"]*"|\b({"|".join(sorted({*keyword.kwlist} - _OURS))})\b""")
_NUMBER, _TRUTH, _TEXT = "a number", "a condition", "a text"


@dataclass(frozen=True)
class Expression:
    """A parsed expression: text, syntax tree, and its columns in the order of appearance."""

    text: str
    tree: ast.expr
    names: tuple[str, ...]
    where: str = ""

    def values(self, columns: Columns) -> NDArray[Any]:
        """The expression for every row.

        Parameters
        ----------
        columns : arrays (n,) of numbers, booleans or texts by name (or a data frame); a former
            name in the expression means the column with the present one

        Returns
        -------
        (n,) float64 for a formula, bool for a condition

        Raises
        ------
        UserError
            A column is unknown (the message names the most similar one), or a text or condition is
            in the place of a number.
        """
        known = [str(name) for name in columns]
        check_names(self, known)
        arrays = {name: _array(columns[present_name(name, known)]) for name in self.names}
        shape: tuple[int, ...] = (0,)
        if isinstance(columns, pd.DataFrame):
            shape = (len(columns),)
        elif columns:
            shape = np.shape(next(iter(columns.values())))
        with np.errstate(all="ignore"):
            result = _evaluate(self.tree, arrays, self)
        if _kind(result) == _TEXT:
            raise UserError(
                f"{self._at()}{self.text!r} is a text; a number or a condition is wanted"
            )
        if _kind(result) == _NUMBER:
            result = np.asarray(result, np.float64)
        return np.array(np.broadcast_to(result, shape))

    def columns_of(self, known: Collection[str]) -> tuple[str, ...]:
        """The expression's columns as a table with the columns `known` calls them
        (`former_names`).
        """
        return tuple(present_name(name, known) for name in self.names)

    def holds(self, columns: Columns) -> NDArray[np.bool_]:
        """The condition (n,) bool for every row; `UserError` if it is not a condition."""
        result = self.values(columns)
        if result.dtype != np.bool_:
            raise UserError(
                f"{self._at()}{self.text!r} is a number; write a condition such as `... > 0`"
            )
        return result

    def _at(self) -> str:
        return f"{self.where}: " if self.where else ""


def parse(text: str, where: str = "") -> Expression:
    """The expression that a text describes; `where` names it in messages.

    Raises `UserError` for anything but the grammar of this module.
    """
    at = f"{where}: " if where else ""
    text = str(text)
    if len(text) > _MAX_LENGTH:
        raise UserError(
            f"{at}an expression of {len(text)} characters is too long ({_MAX_LENGTH} at most)"
        )
    tree = _tree(text.strip()) or _tree_with_words(text.strip())
    if tree is None:
        raise UserError(
            f"{at}{text!r} is no expression; write for example `snr > 50 and abs(b) > 30`"
        )
    names: dict[str, None] = {}
    if _depth(tree) > _MAX_DEPTH:
        raise UserError(f"{at}an expression is nested too deeply; write it as several")
    _check(tree, names, f"{at}{text!r}: ")
    return Expression(text.strip(), tree, tuple(names), where)


def _tree(text: str) -> ast.expr | None:
    """The syntax tree of a text, if it is an expression of Python."""
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _tree_with_words(text: str) -> ast.expr | None:
    """The tree of an expression in which columns have names that are words of Python, as `class`."""
    ending = "_"
    while ending in text:
        ending += "_"
    tree = _tree(_WORD.sub(lambda found: f"{found[1]}{ending}" if found[1] else found[0], text))
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Name):
            node.id = node.id.removesuffix(ending)
    return tree


def renamed(text: str, known: Collection[str]) -> str:
    """An expression with the present names of its columns, of a table with the columns `known`.

    Raises `UserError` as `parse` does.
    """
    parsed = parse(text)
    if parsed.columns_of(known) == parsed.names:
        return text
    for node in ast.walk(parsed.tree):
        if isinstance(node, ast.Name):
            node.id = present_name(node.id, known)
    return ast.unparse(parsed.tree)


def _depth(tree: ast.expr) -> int:
    """How many levels an expression has; a sum of n terms has n."""
    depth, level = 0, [tree]
    while level:
        depth += 1
        level = [
            child
            for node in level
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.expr)
        ]
    return depth


def check_names(expression: Expression, known: Iterable[str]) -> None:
    """Raise `UserError` when the expression names a column that is not among `known`."""
    known = [str(name) for name in known]
    for name in expression.names:
        if present_name(name, known) not in known:
            raise UserError(
                f"{expression._at()}{expression.text!r}: there is no column {name}{nearest(name, known)}"
            )


def _check(node: ast.expr, names: dict[str, None], at: str) -> None:
    """Walk the tree, collecting names; anything outside the grammar is an error."""
    match node:
        case ast.Constant(value=bool() | None):
            raise UserError(f"{at}True, False and None are no values here; write a condition")
        case ast.Constant(value=int() as value):
            if abs(value) >= 2**63:
                raise UserError(f"{at}{value} is too large for an integer of 64 bits")
        case ast.Constant(value=float() | str()):
            pass
        case ast.Name(id=name):
            names[name] = None
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=operand):
            _check(operand, names, at)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            _check(left, names, at)
            _check(right, names, at)
        case ast.BoolOp(values=values):
            for operand in values:
                _check(operand, names, at)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(
            type(op) in _COMPARISONS for op in ops
        ):
            for part in (left, *others):
                _check(part, names, at)
        case ast.Call(func=ast.Name(id="bit"), args=[column, number], keywords=[]):
            if not (
                isinstance(number, ast.Constant)
                and type(number.value) is int
                and 0 <= number.value <= 62
            ):
                raise UserError(
                    f"{at}the second argument of bit(column, n) is a number from 0 to 62"
                )
            _check(column, names, at)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            _check(argument, names, at)
        case ast.Call():
            known = ", ".join([*FUNCTIONS, "bit(column, n)"])
            raise UserError(
                f"{at}{ast.unparse(node)} is no function call that is known; there are {known}"
            )
        case _:
            raise UserError(
                f"{at}{ast.unparse(node)} is not understood; use columns, numbers, + - * / **, comparisons, "
                "and, or, not"
            )


def _array(column: Any) -> NDArray[Any]:
    """A column as an array of numbers, booleans or texts; nullable types become plain ones."""
    array = np.asarray(column)
    if array.dtype.kind in "OUST":
        present = [value for value in array.tolist() if value is not None and value == value]
        numeric = bool(present) and all(
            isinstance(value, int | float | np.number) and not isinstance(value, bool)
            for value in present
        )
        if numeric:
            return np.array(
                [np.nan if value is None or value != value else value for value in array], float
            )
        texts = np.empty(array.shape, object)
        texts[:] = [value if isinstance(value, str) else "" for value in array.tolist()]
        return texts
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _kind(value: Any) -> str:
    kind = np.asarray(value).dtype.kind
    return _TRUTH if kind == "b" else _TEXT if kind in "OUST" else _NUMBER


def _evaluate(node: ast.expr, columns: Mapping[str, NDArray[Any]], whole: Expression) -> Any:
    def wanted(part: ast.expr, kind: str) -> Any:
        value = _evaluate(part, columns, whole)
        if _kind(value) != kind:
            raise UserError(
                f"{whole._at()}{whole.text!r}: {ast.unparse(part)} is {_kind(value)} where {kind} is wanted"
            )
        return value

    def number(part: ast.expr) -> Any:
        # In float64 from here on: integers would overflow silently.
        return np.asarray(wanted(part, _NUMBER), np.float64)

    match node:
        case ast.Constant(value=value):
            return np.asarray(value, np.int64) if isinstance(value, int) else np.asarray(value)
        case ast.Name(id=name):
            return columns[name]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~wanted(operand, _TRUTH)
        case ast.UnaryOp(op=op, operand=operand):
            # A negative integer stays one, so that ids and flags compare exactly.
            if isinstance(operand, ast.Constant) and isinstance(operand.value, int):
                return np.asarray(
                    -operand.value if isinstance(op, ast.USub) else operand.value, np.int64
                )
            return -number(operand) if isinstance(op, ast.USub) else number(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](number(left), number(right))
        case ast.BoolOp(op=op, values=values):
            result = wanted(values[0], _TRUTH)
            for operand in values[1:]:
                other = wanted(operand, _TRUTH)
                result = result & other if isinstance(op, ast.And) else result | other
            return result
        case ast.Compare(left=left, ops=ops, comparators=others):
            parts = [_evaluate(part, columns, whole) for part in (left, *others)]
            result = np.asarray(True)
            for relation, low, high in zip(ops, parts, parts[1:], strict=False):
                result = result & _compare(relation, low, high, whole)
            return result
        case ast.Call(func=ast.Name(id="bit"), args=[column, ast.Constant(value=n)]):
            return _bit(wanted(column, _NUMBER), int(str(n)))
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return FUNCTIONS[name](number(argument))
    raise AssertionError(ast.dump(node))  # `parse` accepts nothing else


def _compare(op: ast.cmpop, low: Any, high: Any, whole: Expression) -> Any:
    kinds = {_kind(low), _kind(high)}
    if kinds == {_TEXT} and isinstance(op, ast.Eq | ast.NotEq):
        return _COMPARISONS[type(op)](np.asarray(low, object), np.asarray(high, object)).astype(
            bool
        )
    if kinds != {_NUMBER}:
        raise UserError(
            f"{whole._at()}{whole.text!r} compares {_kind(low)} with {_kind(high)}; numbers compare with "
            "numbers, texts with texts by == and !="
        )
    result = _COMPARISONS[type(op)](low, high)
    if isinstance(op, ast.NotEq):
        result = result & ~(_missing(low) | _missing(high))
    return result


def _missing(values: Any) -> Any:
    return np.isnan(values) if np.asarray(values).dtype.kind == "f" else np.asarray(False)


def _bit(values: Any, n: int) -> Any:
    """Whether bit n (0 is the lowest) of an integer is set; false for NaN.

    A flag column with missing rows is float64, which holds the 32 bits of the usual flags exactly.
    """
    if np.asarray(values).dtype.kind == "f":
        usable = np.isfinite(values) & (np.abs(values) < 2.0**62)
        values = np.where(usable, values, 0).astype(np.int64)
    return (np.asarray(values) >> np.asarray(n, np.asarray(values).dtype)) & 1 == 1
