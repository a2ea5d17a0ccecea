"""Labels of files and folders without a release's catalogue: identity and type from headers."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lamostvac.catalog.registry import Registry
from lamostvac.core.vocabulary import SPECTRAL_TYPES, SpectralType
from lamostvac.label.models import Models
from lamostvac.label.pack import PackSettings
from lamostvac.label.tables import with_files
from lamostvac.survey.chunks import chunk_table
from lamostvac.survey.headers import scan
from lamostvac.survey.selection import Selection, rejections, select
from lamostvac.survey.settings import Survey

CHUNK = 1000  # spectra labelled at once; no result depends on it
REJECTED = ("file", "spectrum_id", "obsid", "reason", "detail")

Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class LabelledFiles:
    """What became of files: each is a row of one of the two tables.

    Attributes
    ----------
    rows, registry : rows (n,) of the catalogue that have labels, with the column `file`, and their
        columns
    rejected : `REJECTED`, the others with the reason (`core.rejection.REASONS`)
    """

    rows: NDArray[np.void]
    registry: Registry
    rejected: pd.DataFrame


@dataclass(frozen=True)
class Work:
    """Files cut into chunks of one spectral type, and those that are rejected before."""

    chunks: list[tuple[SpectralType, pd.DataFrame]]
    rejected: pd.DataFrame

    @property
    def n_spectra(self) -> int:
        """Spectra of all chunks."""
        return sum(len(rows) for _, rows in self.chunks)


def survey_of(settings: PackSettings) -> Survey:
    """Which stars are taken: as in the run that the pack comes from."""
    names = ("types", "classes", "snr_band", "snr_min", "max_abs_redshift")
    return Survey(**{name: getattr(settings, name) for name in names})


def find_work(
    paths: Sequence[str | os.PathLike[str]], models: Models, progress: Progress = _silent
) -> Work:
    """What there is to label in files and folders.

    Parameters
    ----------
    progress : called with the headers read so far and those to read
    """
    scanned = scan(paths, threads=min(8, (os.cpu_count() or 1) * 2), progress=progress)
    table = complete(scanned.table, models)
    selection = select(table, survey_of(models.settings))
    rejected = pd.concat(
        [
            scanned.rejected.rename(columns={"path": "file"}),
            _rejected(table, selection, models.settings.snr_band),
        ]
    )
    chunks: list[tuple[SpectralType, pd.DataFrame]] = []
    for number, name in enumerate(SPECTRAL_TYPES):
        order = selection.order
        rows = order[(selection.types[order] == number) & (selection.steps[order] < 0)]
        for start in range(0, len(rows), CHUNK):
            part = chunk_table(table, rows[start : start + CHUNK], "", "{obsid}.fits")
            chunks.append((name, part.to_pandas()))
    return Work(chunks, rejected[list(REJECTED)])


def _rejected(table: pa.Table, selection: Selection, snr_band: str) -> pd.DataFrame:
    """`REJECTED` of the rows that the selection leaves out, with what the headers say."""
    rows = pa.array(np.flatnonzero(selection.steps >= 0))
    found = rejections(table, selection).to_pandas()
    columns = {
        "not_a_star": "class",
        "no_spectral_type": "subclass",
        "type_not_selected": "subclass",
        "bad_redshift": "z",
        "low_snr": snr_band,
    }
    values = {name: table[name].take(rows).to_pylist() for name in columns.values()}
    details = [
        f"{columns[reason]} = {values[columns[reason]][number]}" if reason in columns else ""
        for number, reason in enumerate(found["reason"])
    ]
    return found.assign(file=table["path"].take(rows).to_pylist(), detail=details)


def complete(table: pa.Table, models: Models) -> pa.Table:
    """The catalogue with redshifts and types of spectra whose headers have none."""
    return table


def label_work(work: Work, models: Models, progress: Progress = _silent) -> LabelledFiles:
    """Labels of all chunks, in this process.

    Parameters
    ----------
    progress : called with the spectra done so far and their number
    """
    rows, rejected, done = [], [work.rejected], 0
    files: dict[str, str] = {}
    progress(0, work.n_spectra)
    for spectral_type, chunk in work.chunks:
        found = models.label(chunk, spectral_type)
        files |= dict(zip(chunk["spectrum_id"], chunk["path"], strict=True))
        rows.append(found.rows)
        rejected.append(
            found.rejected.assign(file=[files[name] for name in found.rejected["spectrum_id"]])
        )
        done += len(chunk)
        progress(done, work.n_spectra)
    whole = np.concatenate(rows) if rows else models.registry.empty(0)
    table, registry = with_files(whole, models.columns, files)
    lost = pd.concat([part for part in rejected if len(part)] or [work.rejected])
    return LabelledFiles(table, registry, lost.reindex(columns=list(REJECTED)))
