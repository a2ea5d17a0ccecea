"""Comparison of the release's tree of spectra with its catalogue: missing, empty, unknown files.

Each folder is listed once; single spectra are looked up only if their sizes are wanted.
"""

import csv
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lamostvac.core.atomic import atomic
from lamostvac.survey.paths import spectrum_ids, spectrum_paths
from lamostvac.survey.tree import SUFFIXES

WHATS = {
    "missing": "the catalogue has the spectrum, the folder not its file",
    "missing_folder": "no file of the folder is there; `number` says how many spectra that are",
    "empty": "the file has no byte, or is a link that leads nowhere",
    "otherwise": "the file is there with or without .gz, other than survey.file_pattern or `path` says",
    "unknown": "the file is there and the catalogue does not know it",
}
PATH_COLUMNS = ("obsid", "designation", "obsdate", "lmjd", "planid", "spid", "fiberid", "path")
_BLOCK = 500_000  # rows whose paths are in memory at a time


@dataclass
class Folder:
    """Result of the comparison for a plate's folder.

    Attributes
    ----------
    folder : its path
    n_catalogue, n_wanted : spectra in the catalogue, and those of them that the survey selects
    n_found : files that the catalogue has
    findings : `(what, file name, spectrum_id, number)`, `what` a key of `WHATS`
    n_missing_wanted : missing or empty spectra that the survey selects
    """

    folder: str
    n_catalogue: int
    n_wanted: int
    n_found: int = 0
    n_missing_wanted: int = 0
    findings: list[tuple[str, str, str, int]] = field(default_factory=list)

    def number(self, what: str) -> int:
        """How many spectra or files are `what`."""
        return sum(finding[3] for finding in self.findings if finding[0] == what)


@dataclass(frozen=True)
class Expected:
    """The catalogue's spectra by the folder in which they should be.

    Attributes
    ----------
    table : the catalogue's columns `PATH_COLUMNS`
    wanted : (n,) which rows the survey selects
    root, pattern : `survey.root` and `survey.file_pattern`
    folders : their paths, sorted
    order : (n,) rows, folder by folder
    limits : (folders + 1,) where each folder begins in `order`
    """

    table: pa.Table
    wanted: npt.NDArray[np.bool_]
    root: str
    pattern: str
    folders: list[str]
    order: npt.NDArray[np.int64]
    limits: npt.NDArray[np.int64]


def expected_folders(
    table: pa.Table, wanted: npt.NDArray[np.bool_], root: str, pattern: str
) -> Expected:
    """Sort a catalogue's rows by the folder in which their file should be.

    Parameters
    ----------
    table : with at least `PATH_COLUMNS`, as `lamostvac.survey.catalogue.read_catalogues` gives them
    wanted : (n,) rows that the survey takes
    """
    table = table.select(PATH_COLUMNS)
    known: dict[str, int] = {}
    codes = np.empty(len(table), np.int32)
    for start in range(0, len(table), _BLOCK):
        part = table.slice(start, _BLOCK)
        paths = spectrum_paths(part.combine_chunks(), root, pattern)
        names = pc.replace_substring_regex(paths, r"/?[^/]*$", "").dictionary_encode()
        here = np.array(
            [known.setdefault(name, len(known)) for name in names.dictionary.to_pylist()], np.int32
        )
        codes[start : start + len(part)] = here[names.indices.to_numpy(zero_copy_only=False)]
    # By name, so that the output does not depend on the catalogue's order.
    folders = sorted(known)
    rank = np.empty(len(known), np.int32)
    rank[[known[name] for name in folders]] = np.arange(len(folders), dtype=np.int32)
    codes = rank[codes] if len(known) else codes
    order = np.argsort(codes, kind="stable")
    limits = np.searchsorted(codes[order], np.arange(len(folders) + 1))
    return Expected(table, wanted, root, pattern, folders, order, limits)


def compare(
    expected: Expected, ignore: Sequence[str] = (), sizes: bool = True, threads: int = 1
) -> Iterator[Folder]:
    """Each folder that the catalogue or the disk has, in the order of their names.

    Parameters
    ----------
    ignore : files that are not spectra although their names end like those, such as the catalogue
        itself
    sizes : also find empty files, which needs each file's size
    threads : number of folders listed in parallel; on a remote file system most of the time is
        waiting
    """
    numbers = {name: number for number, name in enumerate(expected.folders)}
    names = sorted(set(numbers) | set(spectrum_folders(expected.root)))
    skipped = {os.path.abspath(path) for path in ignore}

    def one(name: str) -> Folder:
        number = numbers.get(name)
        rows = (
            expected.order[expected.limits[number] : expected.limits[number + 1]]
            if number is not None
            else expected.order[:0]
        )
        return _compare_folder(expected, name, rows, skipped, sizes)

    if threads == 1:
        yield from map(one, names)
        return
    with ThreadPoolExecutor(threads) as pool:
        # In batches: a release has 30,000 folders, and every spectrum may be a finding.
        for start in range(0, len(names), 64 * threads):
            yield from pool.map(one, names[start : start + 64 * threads])


def spectrum_folders(root: str) -> Iterator[str]:
    """Folders below `root`, written as in `spectrum_paths`, with a file named like a spectrum."""
    prefix = "" if root in ("", ".") else root.rstrip("/") + "/"
    waiting = [""]
    while waiting:
        below = waiting.pop()
        place = (prefix + below).rstrip("/") or ("/" if prefix == "/" else ".")
        found = False
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.endswith(SUFFIXES):
                        found = True
                    elif not entry.name.startswith(".") and entry.is_dir():
                        waiting.append(f"{below}{entry.name}/")
        except OSError:
            continue  # the comparison reports the missing files there
        if found:
            yield (prefix + below).rstrip("/")


def _compare_folder(
    expected: Expected, name: str, rows: npt.NDArray[np.int64], skipped: set[str], sizes: bool
) -> Folder:
    folder = Folder(name, len(rows), int(expected.wanted[rows].sum()))
    entries: dict[str, Any] = {}
    try:
        with os.scandir(name or ".") as listed:
            entries = {entry.name: entry for entry in listed if entry.name.endswith(SUFFIXES)}
    except OSError:
        folder.n_missing_wanted = folder.n_wanted
        folder.findings.append(("missing_folder", "", "", len(rows)))
        return folder
    known: dict[str, int] = {}
    if len(rows):
        part = expected.table.take(pa.array(rows)).combine_chunks()
        paths = spectrum_paths(part, expected.root, expected.pattern).to_pylist()
        # A spectrum that is in the catalogue twice is one file.
        for number, path in enumerate(paths):
            known.setdefault(path.rpartition("/")[2], number)
    missing = []
    for file, number in sorted(known.items()):
        entry = entries.pop(file, None)
        if entry is None:
            missing.append((file, number))
        elif sizes and not _size(entry):
            folder.findings.append(("empty", file, _identifier(part, number), 1))
            folder.n_missing_wanted += bool(expected.wanted[rows[number]])
        else:
            folder.n_found += 1
    for file, number in missing:
        other = file.removesuffix(".gz") if file.endswith(".gz") else f"{file}.gz"
        what = "otherwise" if entries.pop(other, None) is not None else "missing"
        folder.findings.append((what, file, _identifier(part, number), 1))
        folder.n_missing_wanted += bool(expected.wanted[rows[number]])
    for file in sorted(entries):
        if os.path.abspath(f"{name or '.'}/{file}") not in skipped:
            folder.findings.append(("unknown", file, "", 1))
    return folder


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a link that leads nowhere
        return 0


def _identifier(part: pa.Table, number: int) -> str:
    return str(spectrum_ids(part.slice(number, 1))[0].as_py())


class Writer:
    """Writes folders in turn to `plates.csv` and `findings.csv`, atomically; counts in `totals`."""

    def __init__(self, plates: Path, findings: Path) -> None:
        self._plates, self._findings = atomic(plates), atomic(findings)
        self._handles: list[Any] = []
        self.totals = dict.fromkeys(
            ("folders", "catalogue", "wanted", "found", "missing_wanted", *WHATS), 0
        )

    def __enter__(self) -> "Writer":
        for context in (self._plates, self._findings):
            self._handles.append(context.__enter__().open("w", newline="", encoding="utf-8"))
        plates, findings = (csv.writer(handle, lineterminator="\n") for handle in self._handles)
        plates.writerow(
            [
                "folder",
                "n_catalogue",
                "n_wanted",
                "n_found",
                "n_missing_wanted",
                *(f"n_{w}" for w in WHATS),
            ]
        )
        findings.writerow(["folder", "file", "what", "spectrum_id", "number"])
        self._plates_writer, self._findings_writer = plates, findings
        return self

    def add(self, folder: Folder) -> None:
        """Write one folder."""
        numbers = [folder.number(what) for what in WHATS]
        row = [
            folder.n_catalogue,
            folder.n_wanted,
            folder.n_found,
            folder.n_missing_wanted,
            *numbers,
        ]
        if not any((folder.n_catalogue, *numbers)):
            return  # it has only files to ignore
        self._plates_writer.writerow([folder.folder, *row])
        for what, file, identifier, number in folder.findings:
            self._findings_writer.writerow([folder.folder, file, what, identifier, number])
        for name, value in zip(self.totals, [1, *row], strict=True):
            self.totals[name] += value

    def __exit__(self, *error: Any) -> None:
        for handle in self._handles:
            handle.close()
        self._findings.__exit__(*error)
        self._plates.__exit__(*error)


def report(totals: Mapping[str, int], file_pattern: str, sizes: bool, log: logging.Logger) -> None:
    """Log the findings; `totals` are the writer's, `sizes` whether files' sizes were checked."""
    log.info("%d of %d spectra of the catalogue are there", totals["found"], totals["catalogue"])
    missing, wanted = totals["missing_wanted"], totals["wanted"]
    log.info("%d of %d that the survey takes are missing or empty", missing, wanted)
    for what, meaning in WHATS.items():
        if totals[what]:
            log.info("%d %s: %s", totals[what], what, meaning)
    if totals["otherwise"]:
        log.info(
            "files lie there with another ending than expected; survey.file_pattern = %s",
            file_pattern,
        )
    if not sizes:
        log.info("sizes were not looked at (fetch.sizes)")
