"""Labels of files and folders without a release's catalogue: identity and type from headers."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from lamostvac.catalog.registry import Registry
from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import listed
from lamostvac.core.vocabulary import SPECTRAL_TYPES, SpectralType
from lamostvac.label.missing import complete
from lamostvac.label.models import Labels, Models
from lamostvac.label.pack import CONTENT, Pack, PackSettings
from lamostvac.label.tables import joined, with_files
from lamostvac.survey.chunks import chunk_table
from lamostvac.survey.copies import Copies
from lamostvac.survey.headers import scan
from lamostvac.survey.selection import Selection, rejections, select
from lamostvac.survey.settings import Survey
from lamostvac.survey.tree import TAKEN

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
    """Files cut into chunks of one spectral type, and those that are rejected before.

    `passed_over` has sentences on files that are neither (`survey.headers.Scanned`).
    """

    chunks: list[tuple[SpectralType, pd.DataFrame]]
    rejected: pd.DataFrame
    passed_over: tuple[str, ...] = ()

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
    copies = Copies(models.settings.prepare, models.settings.networks)
    threads = min(8, (os.cpu_count() or 1) * 2)
    scanned = scan(paths, threads=threads, progress=progress, copies=copies)
    table = complete(scanned.table, lambda: models.templates, models.settings.prepare)
    with models.pack.using(CONTENT):
        survey = survey_of(models.settings)
    selection = select(table, survey)
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
    return Work(chunks, rejected[list(REJECTED)], scanned.passed_over)


def nothing_found(paths: Sequence[str | os.PathLike[str]], work: Work) -> str:
    """Where no file was found below any of the given paths, a sentence that says so, else ""."""
    absent = work.rejected["file"][work.rejected["reason"] == "missing_file"].tolist()
    given = [os.fspath(path) for path in paths]
    if work.n_spectra or len(work.rejected) > len(absent) or not set(absent) <= set(given):
        return ""
    found = [path for path in given if path not in absent]
    said = []
    if absent:
        said.append(f"there is no file or folder {listed(absent, most=5, longest=200)}")
    if found:
        looked = "" if work.passed_over else f", where names that end in {', '.join(TAKEN)} count"
        said.append(f"no spectrum in {listed(found, most=5, longest=200)}{looked}")
    return "; ".join(["nothing to label: " + said[0], *said[1:], *work.passed_over])


def _rejected(table: pa.Table, selection: Selection, snr_band: str) -> pd.DataFrame:
    """`REJECTED` of the rows that the selection leaves out, with what the headers say."""
    rows = pa.array(np.flatnonzero(selection.steps >= 0))
    found = rejections(table, selection).to_pandas()
    # Our column, and what the header calls it.
    columns = {
        "not_a_star": ("lamost_class", "class"),
        "no_spectral_type": ("subclass", "subclass"),
        "type_not_selected": ("subclass", "subclass"),
        "bad_redshift": ("redshift", "z"),
        "low_snr": (snr_band, snr_band),
    }
    values = {name: table[name].take(rows).to_pylist() for name, _ in columns.values()}
    details = []
    for number, reason in enumerate(found["reason"]):
        name, keyword = columns.get(reason, ("", ""))
        details.append(_said(keyword, values[name][number]) if name else "")
    return found.assign(file=table["path"].take(rows).to_pylist(), detail=details)


def _said(name: str, value: object) -> str:
    if value is not None:
        return f"{name} {value}"
    return f"no {name} in the header, and the spectrum shows none that is reliable"


def label_work(
    work: Work, models: Models, progress: Progress = _silent, processes: int = 1
) -> LabelledFiles:
    """Labels of all chunks.

    Parameters
    ----------
    progress : called with the spectra done so far and their number
    processes : chunks at a time; with one, in this process

    Raises
    ------
    UserError
        A process ended before its chunk was done.
    """
    rows, rejected, done = [], [work.rejected], 0
    progress(0, work.n_spectra)
    for (_, chunk), found in zip(work.chunks, _labels(work, models, processes), strict=True):
        files = dict(zip(chunk["spectrum_id"], chunk["path"], strict=True))
        rows.append(with_files(found.rows, files))
        lost = found.rejected
        rejected.append(lost.assign(file=[files[name] for name in lost["spectrum_id"]]))
        done += len(chunk)
        progress(done, work.n_spectra)
    table, registry = joined(rows, models.registry, models.columns)
    lost = pd.concat([part for part in rejected if len(part)] or [work.rejected])
    return LabelledFiles(table, registry, lost.reindex(columns=list(REJECTED)))


def _labels(work: Work, models: Models, processes: int) -> Iterator[Labels]:
    """Labels of the chunks in their order."""
    if min(processes, len(work.chunks)) < 2:
        with threadpool_limits(1):  # as in the processes, so that the bytes are the same
            for spectral_type, chunk in work.chunks:
                yield models.label(chunk, spectral_type)
        return
    # Started, not forked: threads of BLAS do not survive a fork.
    with ProcessPoolExecutor(
        min(processes, len(work.chunks)),
        mp_context=get_context("spawn"),
        initializer=_open,
        initargs=(models.pack.path,),
    ) as pool:
        try:
            yield from pool.map(_label, work.chunks)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            for process in active_children():  # else each would end its chunk first
                process.terminate()
            raise
        except BrokenProcessPool:
            raise UserError(
                "a process that labelled spectra was killed, perhaps for want of memory; take fewer "
                "with --processes"
            ) from None


_models: list[Models] = []  # of a process of `_labels`


def _open(path: Path) -> None:
    threadpool_limits(1)
    pack = Pack(path)
    tempfile.tempdir = str(pack.folder)  # goes with the pack's files

    def end(*_: object) -> None:
        # At once: the pool would take an exception for the chunk's result, and go on.
        pack.close()
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    _models.append(Models(pack))


def _label(work: tuple[SpectralType, pd.DataFrame]) -> Labels:
    spectral_type, chunk = work
    return _models[0].label(chunk, spectral_type)
