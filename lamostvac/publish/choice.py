"""The columns and rows of the catalogue that a configuration chooses for a file."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamostvac.catalog.column import Column
from lamostvac.catalog.registry import Registry
from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import Expression, check_names, parse
from lamostvac.core.former_names import present_name
from lamostvac.core.messages import nearest


def chosen_columns(
    names: Sequence[str] | None,
    registry: Registry,
    key: str = "publication.votable_columns",
    default: Sequence[str] | None = None,
) -> list[Column]:
    """Columns of the registry by name, in the order given; if `names` is None, those in `default`.

    Without a `default` these are the main columns. Those that the registry lacks are skipped. `key`
    is the configuration's key, for the message.

    Raises
    ------
    UserError
        The registry has no such column; the message names the most similar one.
    """
    if names is None and default is None:
        return list(registry.main)
    if names is None:
        return [registry[name] for name in default or () if name in registry.names]
    names = [present_name(name, registry.names) for name in names]
    for name in names:
        if name not in registry.names:
            raise UserError(f"{key}: there is no column {name}{nearest(name, registry.names)}")
    return [registry[name] for name in names]


def chosen_rows(
    condition: str | None, registry: Registry, key: str = "publication.votable_rows"
) -> Expression | None:
    """The condition on rows; `UserError` if it is no condition or names an unknown column."""
    if condition is None:
        return None
    parsed = parse(condition, key)
    check_names(parsed, registry.names)
    parsed.holds(_columns_of(registry.empty(0), parsed))
    return parsed


def _columns_of(rows: NDArray[np.void], condition: Expression) -> dict[str, NDArray[Any]]:
    """The columns that a condition names, texts as `str`."""
    columns = {name: rows[name] for name in condition.columns_of(rows.dtype.names or ())}
    return {
        name: np.char.decode(values, "ascii") if values.dtype.kind == "S" else values
        for name, values in columns.items()
    }


def selected(
    blocks: Iterable[NDArray[np.void]], condition: Expression | None, limit: int | None = None
) -> Iterator[NDArray[np.void]]:
    """The rows where `condition` holds, the first `limit` of them; block by block."""
    left = limit
    for block in blocks:
        rows = block
        if condition is not None:
            rows = rows[condition.holds(_columns_of(rows, condition))]
        if left is not None:
            rows = rows[:left]
            left -= len(rows)
        yield rows
        if left == 0:
            return
