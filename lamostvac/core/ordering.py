"""Orders of rows that follow from their content, whatever order they come in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def by_value(values: NDArray[Any], ties: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Rows (n,) by value, where values are equal by the `ties` (n,), the first of them first.

    As `np.lexsort` of all, which sorts all rows by every key and takes several times as long where
    few values are equal.
    """
    order = np.argsort(values)
    ordered = values[order]
    follows = ordered[1:] == ordered[:-1]
    equal = np.flatnonzero(np.append(follows, False) | np.append(False, follows))
    rows = order[equal]
    order[equal] = rows[np.lexsort([*(key[rows] for key in reversed(ties)), values[rows]])]
    return order
