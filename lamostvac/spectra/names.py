"""Names of spectra as numbers, so that millions are compared, sorted and found quickly."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError


def fingerprint(names: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """A 64-bit number (n,) for each text (n,), so that ten million names fit into 80 MB.

    Equal texts of two arrays have equal numbers if the arrays have the same width.
    """
    width = names.dtype.itemsize
    n_words = -(-width // 8)
    words = names.astype(f"S{n_words * 8}").view("<u8").reshape(len(names), n_words)
    value = np.full(len(names), 0xCBF29CE484222325, np.uint64)
    for column in range(words.shape[1]):
        # The finaliser of splitmix64 over a running value; wrap-around is intended.
        value ^= words[:, column]
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        value ^= value >> np.uint64(31)
    return value


def check_distinct(identities: NDArray[np.bytes_]) -> None:
    """Raise `UserError` naming a spectrum that occurs twice."""
    values, counts = np.unique(identities, return_counts=True)
    if (counts > 1).any():
        name = values[counts > 1][0].decode()
        raise UserError(f"the spectrum {name} is in two chunks; run the survey stage again")


def among(names: pd.Series, others: pd.Series) -> pd.Series:
    """Whether each name (n,) is among others (m,).

    Pandas' own search in its texts takes ten times as long as in Python's.
    """
    return names.astype(object).isin(others.astype(object))


class RowsByName:
    """Finds the rows of spectra by name, for repeated searches in the same rows.

    Millions of names are hashed once, in tenths of a second; a join of texts would do so for each
    search. `fingerprints` (n,) are the rows' numbers.
    """

    def __init__(self, names: NDArray[np.bytes_]) -> None:
        """`names` (n,), all different; raises ValueError when they are not."""
        self._names = names
        self.fingerprints = fingerprint(names)
        self._index = pd.Index(self.fingerprints)
        if not self._index.is_unique:
            raise ValueError("a name stands in two rows")

    def __call__(self, wanted: Iterable[str]) -> NDArray[np.int64]:
        """Row number (k,) of each wanted name, -1 where there is no such row."""
        texts = np.asarray(list(wanted), dtype="S")
        found = self._index.get_indexer(pd.Index(fingerprint(texts.astype(self._names.dtype))))
        # Names are compared too: a longer name is cut to the rows' width, and numbers may agree by
        # chance.
        here = np.flatnonzero(found >= 0)
        found[here[self._names[found[here]] != texts[here]]] = -1
        return found.astype(np.int64)


def values_at(values: NDArray[np.floating], rows: NDArray[np.integer]) -> NDArray[np.float64]:
    """`values` (n, ...) of rows (k,), NaN where the row is -1."""
    found = np.full((len(rows), *values.shape[1:]), np.nan)
    found[rows >= 0] = values[rows[rows >= 0]]
    return found


def in_order_of(names: NDArray[np.bytes_], table: pd.DataFrame, where: str) -> pd.DataFrame:
    """The rows of a table with `spectrum_id`, in the order of the given `names` (n,).

    Raises
    ------
    UserError
        They are not the same spectra; `where` is the table's file.
    """
    wanted, own = names.astype(str), table["spectrum_id"].to_numpy(str)
    if np.array_equal(wanted, own):
        return table
    index = pd.Index(own)
    order = index.get_indexer(pd.Index(wanted)) if index.is_unique else np.full(len(wanted), -1)
    if len(own) != len(wanted) or (order < 0).any():
        raise UserError(
            f"{where} has other spectra than what it is joined to; delete it and run again"
        )
    return table.iloc[order].reset_index(drop=True)
