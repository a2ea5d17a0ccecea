"""The survey's chunks for the rules, from its manifest."""

import functools
import os

import pandas as pd

from lamostvac.core.manifest import read_manifest
from lamostvac.run.layout import Layout


class Chunks:
    """Chunks, digests and sizes of a run; empty before its survey has run.

    The manifest is read once, and again when the survey has written a new one, because a release
    has hundreds of chunks with several jobs each.
    """

    def __init__(self, layout: Layout, chunk_size: int, types: list[str]) -> None:
        self._path = layout.manifest
        self._pattern = layout.chunk
        self._chunk_size = chunk_size
        self._types = types

    def digests(self, spectral_type: str) -> dict[str, str]:
        """Chunk to digest of its rows; empty where the survey found no spectrum of the type."""
        modified = self._modified()
        return {} if modified is None else _digests(self._path, modified).get(spectral_type, {})

    def carried(self, spectral_type: str) -> list[str]:
        """Digests of the columns that only the catalogue takes (`survey.catalogue.CARRIED`)."""
        modified = self._modified()
        if modified is None:
            return []
        table = _table(self._path, modified)
        # A manifest of an older version, which the survey is about to replace, has none.
        names = table["carried"] if "carried" in table else table["digest"]
        return list(names[table["type"] == spectral_type])

    def spectra(self, spectral_type: str | None = None, chunk: str | None = None) -> int:
        """Number of spectra of a chunk, type or run; before the survey that of a full chunk."""
        modified = self._modified()
        if modified is None:
            return self._chunk_size
        key = spectral_type if chunk is None else (spectral_type, chunk)
        return _sizes(self._path, modified).get(key, 0)

    def files(self) -> list[str]:
        """The chunks of all types as the survey wrote them."""
        return [
            self._pattern.format(type=name, chunk=chunk)
            for name in self._types
            for chunk in self.digests(name)
        ]

    def _modified(self) -> float | None:
        # Asked once a job: one look at the file, as a shared file system has to answer each.
        try:
            return os.stat(self._path).st_mtime
        except FileNotFoundError:
            return None


@functools.lru_cache(maxsize=4)
def _table(path: str, modified: float) -> pd.DataFrame:
    return read_manifest(path)


@functools.lru_cache(maxsize=4)
def _digests(path: str, modified: float) -> dict[str, dict[str, str]]:
    return {
        str(name): dict(zip(rows["chunk"], rows["digest"], strict=True))
        for name, rows in _table(path, modified).groupby("type", sort=False)
    }


@functools.lru_cache(maxsize=4)
def _sizes(path: str, modified: float) -> dict[str | tuple[str | None, str] | None, int]:
    """By type and chunk, by type, and of the run by None."""
    table = _table(path, modified)
    sizes: dict[str | tuple[str | None, str] | None, int] = {
        (name, chunk): int(n)
        for name, chunk, n in zip(table["type"], table["chunk"], table["n_spectra"], strict=True)
    }
    sizes |= {str(name): int(n) for name, n in table.groupby("type")["n_spectra"].sum().items()}
    sizes[None] = int(table["n_spectra"].sum())
    return sizes
