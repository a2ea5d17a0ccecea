"""The catalogues of two runs, read column by column, and which rows show the same spectrum.

Of ten million rows one column is 40 MB, and a spectrum's name is a number of 8 bytes; so memory is
that of a few columns, however many the catalogues have.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.core.former_names import present_names
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.spectra.names import fingerprint

_NAME_BYTES = 64  # of a spectrum's name; as many for both runs, so that fingerprints agree


@dataclass(frozen=True)
class Catalogue:
    """The merged catalogue of one run (`recommended.parquet`), its columns by their present names.

    Raises `UserError` when the file is absent or is no catalogue.
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise UserError(
                f"there is no catalogue {self.path}; name the results folder of a finished run"
            )
        try:
            missing = {"spectrum_id", "spectral_type"} - set(self.schema.names)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{self.path} cannot be read: {error}") from None
        if missing:
            raise UserError(f"{self.path} is no catalogue: it has no {', '.join(sorted(missing))}")

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns with type and metadata."""
        return pq.read_schema(self.path)

    @cached_property
    def stored(self) -> dict[str, str]:
        """Each column's present name and its name in the file."""
        return present_names(self.schema.names)

    @property
    def columns(self) -> list[str]:
        """Present names of the columns."""
        return list(self.stored)

    def about(self, name: str, what: str) -> str:
        """A column's `unit` or `description`; empty where the file does not say."""
        known = self.schema.field(self.stored[name]).metadata or {}
        return str(known.get(what.encode(), b"").decode())

    @cached_property
    def card(self) -> dict[str, str]:
        """What the file's header says of the run: `creator`, `githash`, `confhash` ..."""
        return {key.decode(): value.decode() for key, value in (self.schema.metadata or {}).items()}

    def numbers(self, name: str) -> NDArray[Any]:
        """A column of numbers (n,)."""
        stored = self.stored[name]
        return np.asarray(pq.read_table(self.path, columns=[stored])[stored].to_numpy())

    def _texts(self, name: str) -> Iterator[pa.ChunkedArray]:
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=[name])[name]

    def names(self) -> NDArray[np.uint64]:
        """A number (n,) for each spectrum's name. Raises `UserError` where one stands twice."""
        parts = [
            fingerprint(np.array(part.to_pylist(), dtype=f"S{_NAME_BYTES}"))
            for part in self._texts("spectrum_id")
            if len(part)
        ]
        found = np.concatenate(parts) if parts else np.empty(0, np.uint64)
        if len(np.unique(found)) < len(found):
            raise UserError(f"{self.path} has a spectrum twice; make the run's catalogue again")
        return found

    def texts_at(self, name: str, rows: NDArray[np.integer]) -> list[str]:
        """A column of texts, for some rows (k,) in ascending order."""
        found: list[str] = []
        first = 0
        for part in self._texts(name):
            here = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + len(part))]
            found += part.take(pa.array(here - first)).to_pylist()
            first += len(part)
        return found

    def types(self) -> NDArray[np.int8]:
        """Number (n,) of each spectrum's type in `TYPE_ORDER`; -1 for another."""
        place = {name: number for number, name in enumerate(TYPE_ORDER)}
        parts = []
        for part in self._texts("spectral_type"):
            encoded = part.combine_chunks().dictionary_encode()
            codes = [place.get(text, -1) for text in encoded.dictionary.to_pylist()]
            parts.append(np.array(codes, np.int8)[encoded.indices.to_numpy()])
        return np.concatenate(parts) if parts else np.empty(0, np.int8)


@dataclass(frozen=True)
class Pairing:
    """Rows of the two catalogues that show the same spectra.

    Attributes
    ----------
    before, after : rows (n,) of the spectra that both have, in ascending order of `before`
    went : rows of the first catalogue that the second does not have
    came : rows of the second catalogue that the first does not have
    """

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    went: NDArray[np.int64]
    came: NDArray[np.int64]


def pair(before: NDArray[np.uint64], after: NDArray[np.uint64]) -> Pairing:
    """Which rows show the same spectrum, from the spectra's numbers (n,), (m,), each once."""
    order = np.argsort(after, kind="stable")
    if len(after):
        place = np.minimum(np.searchsorted(after, before, sorter=order), len(after) - 1)
        partner = order[place]
        same = after[partner] == before
    else:
        partner, same = np.zeros(len(before), np.int64), np.zeros(len(before), bool)
    new = np.ones(len(after), bool)
    new[partner[same]] = False
    return Pairing(np.flatnonzero(same), partner[same], np.flatnonzero(~same), np.flatnonzero(new))


def reasons(
    catalogue: Catalogue, rows: NDArray[np.integer], rejected: Path, block: int = 200_000
) -> pd.DataFrame:
    """Spectra of one run that the other does not have, and why it has not.

    Parameters
    ----------
    rows : of `catalogue` (k,), ascending
    rejected : the other run's table of rejected spectra

    Returns
    -------
    spectrum_id, spectral_type, reason: of the other run's rejection, or `not in the release` for a
    spectrum that it does not have at all
    """
    table = pd.DataFrame(
        {
            "spectrum_id": catalogue.texts_at("spectrum_id", rows),
            "spectral_type": catalogue.texts_at("spectral_type", rows),
        }
    )
    why: dict[str, str] = {}
    if len(table) and rejected.is_file():
        wanted = set(table["spectrum_id"])
        for part in pd.read_csv(
            rejected, usecols=["spectrum_id", "reason"], dtype=str, chunksize=block
        ):
            here = part[part["spectrum_id"].isin(wanted)]
            why |= dict(zip(here["spectrum_id"], here["reason"], strict=True))
    reason = [why.get(name, "not in the release") for name in table["spectrum_id"]]
    return table.assign(reason=reason)
