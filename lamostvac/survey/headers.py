"""What the headers of a folder's spectra say, as the catalogue of a release.

A folder of spectra without a catalogue (downloads, the nights of a team) has in each file's primary
header what a general catalogue has in a row: identity, position, S/N, class, redshift. Only the
beginning of a file is read, and nothing of a file that the cache knows (lamostvac/survey/scan_cache.py).
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra import archive
from lamostvac.spectra.identity import POSITIONS, as_integer
from lamostvac.spectra.reader import Header, finite_number, read_header, read_stored
from lamostvac.survey.catalogue import COLUMNS, TEXT
from lamostvac.survey.copies import Copies, known
from lamostvac.survey.paths import spectrum_ids
from lamostvac.survey.scan_cache import FileState, ScanCache
from lamostvac.survey.tree import SUFFIXES, TAKEN, ending, folders_below

REJECTED = ("path", "spectrum_id", "obsid", "reason", "detail")
"""Columns of the table of rejected files; an identity that is not known is "" and -1."""
_NAME = re.compile(r"spec-(\d+)-(.+)_sp(\d+)-(\d+)\.fits(\.gz)?")
_MEDIUM = "med-"  # how names of medium-resolution spectra begin
_NUMBERS = {"spid": "SPID", "fiberid": "FIBERID", "lmjd": "LMJD"}
_MJD_EPOCH = date(1858, 11, 17)
_BATCH = 256  # files of a thread's task
_FLUSH = 50_000  # files after which the cache is written
_ABSENT = -99.0  # and less: S/N that the header does not know (-9999)
_SCHEMA = pa.schema(
    [(n, pa.string() if kind == TEXT else kind) for n, kind in COLUMNS.items() if n != "path"]
    + [("reason", pa.string()), ("detail", pa.string())]
)
"""What is known of a file: a row of the catalogue, or why there is none."""
_OURS = "lamost-vac"  # how CREATOR of this program's own tables begins
_OWN_TABLE = "own_table"  # instead of a reason: a file that is passed over
_TRANSIENT = ("missing_file", "unreadable_file")  # may be otherwise although the file is the same


@dataclass(frozen=True)
class Scanned:
    """What `scan` found.

    Attributes
    ----------
    table : `catalogue.COLUMNS`, a row for each spectrum in the order of the paths given, within a
        folder of those of its files; `path` is a given path, or the file's below a given folder
    rejected : `REJECTED`, files that are no such spectrum, or one that is there already
    n_read : files that were opened; the others stood in the cache
    passed_over : sentences on files that are neither, with their number
    """

    table: pa.Table
    rejected: pd.DataFrame
    n_read: int
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Files:
    """Files to be looked at: path, size and time of change (ns) each; the paths all differ.

    `others` has the numbers of files in folders and archives that have other endings.
    """

    paths: list[str]
    sizes: list[int]
    mtimes: list[int]
    rejected: list[tuple[str, str, int, str, str]]
    others: Counter[str] = field(default_factory=Counter)

    def at(self, numbers: Sequence[int]) -> list[FileState]:
        """Some of them, as the cache knows files."""
        return [(os.path.abspath(self.paths[n]), self.sizes[n], self.mtimes[n]) for n in numbers]


def scan(
    paths: Sequence[str | os.PathLike[str]],
    *,
    threads: int = 1,
    cache: Path | None = None,
    skip: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    copies: Copies | None = None,
) -> Scanned:
    """The catalogue of the spectra in files and folders.

    Of a folder all files in and below it with names like those of spectra are read, but none whose
    name, or folder's name, begins with a dot; of a file that is given itself the name does not
    matter. A tar archive is read as a folder; its files are listed in every scan, and a path can lead
    into one. This program's own tables are passed over. Headers of every
    layout are understood (`lamostvac.spectra.reader`); what one does not have is null: no layout's
    header has `gaia_source_id`, `uid` or `rv`. `redshift` is null without a redshift, S/N where the header
    has none. `obsdate` is the day on which the night LMJD began, as in the releases' catalogues.
    Where a spectrum is in several files the first that can be used counts, and each before it is
    rejected for what is wrong with it.

    Parameters
    ----------
    threads : files that are read at a time, which helps where a file system answers late
    cache : folder of what was read earlier; a file with the same path, size and time of change is
        not read again. An interrupted scan goes on from there.
    skip : a folder in which nothing is looked for
    progress : called with the files read so far and those to read
    copies : by which a file can be used; by default as spectra are prepared by default
    """
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        files = _find([os.fspath(path) for path in paths], skip, pool)
        store = ScanCache(cache, _SCHEMA)
        known = store.look_up(files.at(range(len(files.paths))))
        new = np.flatnonzero(known < 0)
        parts = [store.rows(known[known >= 0])]
        progress(0, len(new))
        for start in range(0, len(new), _FLUSH):
            numbers = new[start : start + _FLUSH].tolist()
            rows: list[tuple[Any, ...]] = []
            batches = (numbers[at : at + _BATCH] for at in range(0, len(numbers), _BATCH))
            for found in pool.map(lambda batch: _read(files, batch), batches):
                rows += found
                progress(start + len(rows), len(new))
            parts.append(_table(rows))
            lasting = _lasting(parts[-1])
            kept = [
                number for number, keep in zip(numbers, lasting.to_pylist(), strict=True) if keep
            ]
            store.add(files.at(kept), parts[-1].filter(lasting))
    store.tidy()
    order = np.concatenate([np.flatnonzero(known >= 0), new])
    whole = pa.concat_tables(parts).take(pa.array(np.argsort(order)))
    whole = whole.append_column("path", pa.array(files.paths, pa.large_string()))
    return _scanned(whole, files, len(new), copies or Copies())


def _find(
    given: Sequence[str], skip: str | os.PathLike[str] | None, pool: ThreadPoolExecutor
) -> _Files:
    """The files among and below the given paths; a folder's in the order of their names."""
    found: dict[str, tuple[int, int]] = {}
    rejected: list[tuple[str, str, int, str, str]] = []
    others: Counter[str] = Counter()

    def reject(path: str, reason: str, detail: str) -> None:
        rejected.append((_printable(path), "", -1, reason, detail))

    def add(path: str, size: int, mtime: int) -> None:
        if _printable(path) != path:
            reject(path, "unreadable_file", "its name is not UTF-8")
        elif path.lower().endswith(archive.SUFFIXES) and size >= 0:
            members(path, "", size, mtime)
        else:
            found.setdefault(path, (size, mtime))

    def members(path: str, wanted: str, size: int, mtime: int) -> None:
        """Add an archive's file, those of a folder in it or, without a name, all."""
        try:
            opened = archive.open_archive(path)
        except SpectrumRejected as why:
            reject(path, why.reason, why.detail)
            return

        def within(name: str) -> bool:
            visible = not os.path.basename(name).startswith(".")
            below = not wanted or name.startswith(f"{wanted}/")
            return name == wanted or (visible and below and name.lower().endswith(SUFFIXES))

        names = [name for name in sorted(opened.places) if within(name)]
        lost = [one for one in sorted(opened.lost) if within(one[0])]
        for name in names:
            found.setdefault(f"{path}/{name}", (size, mtime))
        for name, reason, detail in lost:
            reject(f"{path}/{name}", reason, detail)
        if wanted and not names and not lost:
            reject(f"{path}/{wanted}", "missing_file", "the archive has no such file")
        if not wanted:
            others.update(
                ending(name) for name in opened.places if not name.lower().endswith(SUFFIXES)
            )

    for one in given:
        try:
            status = os.stat(one)
        except OSError as error:
            bare = one.rstrip("/")  # an archive may be named as a folder is
            inside = (bare, "") if os.path.isfile(bare) else archive.containing(bare)
            if inside and inside[0].lower().endswith(archive.SUFFIXES):
                status = os.stat(inside[0])
                members(*inside, status.st_size, status.st_mtime_ns)
                continue
            absent = isinstance(error, FileNotFoundError | NotADirectoryError)
            reject(one, "missing_file" if absent else "unreadable_file", str(error.strerror))
            continue
        if not stat.S_ISDIR(status.st_mode):
            add(one, status.st_size, status.st_mtime_ns)
            continue
        files: list[tuple[str, int, int]] = []
        for folder, seen, problem in folders_below(one, _size_and_time, skip, pool.map, others):
            files += seen
            if problem:
                reject(folder, "unreadable_file", problem)
        for path, size, mtime in sorted(files):
            add(path, size, mtime)
    sizes = [size for size, _ in found.values()]
    mtimes = [mtime for _, mtime in found.values()]
    return _Files(list(found), sizes, mtimes, rejected, others)


def _size_and_time(entry: os.DirEntry[str]) -> tuple[str, int, int]:
    """A file's path, its size and its time of change in ns."""
    try:
        status = entry.stat()
    except OSError:  # a link that leads nowhere
        return entry.path, -1, -1
    return entry.path, status.st_size, status.st_mtime_ns


def _printable(path: str) -> str:
    """A path as UTF-8 can hold it: other bytes of a file's name as escapes."""
    return path.encode("utf-8", "backslashreplace").decode()


def _read(files: _Files, numbers: Iterable[int]) -> list[tuple[Any, ...]]:
    """Rows of `_SCHEMA` of some files."""
    rows: list[tuple[Any, ...]] = []
    for number in numbers:
        path = files.paths[number]
        row: dict[str, Any] = dict.fromkeys(_SCHEMA.names)
        try:
            header = read_header(path)
            if str(header.get("CREATOR")).startswith(_OURS) and header.get("LMJD") is None:
                row["reason"] = _OWN_TABLE
            else:
                row |= catalogue_row(header, os.path.basename(path))
        except SpectrumRejected as why:
            row |= {"reason": why.reason, "detail": why.detail}
            row |= _identity({}, os.path.basename(path))  # as far as the name says it
        rows.append(tuple(row.values()))
    return rows


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table(
        [pa.array(c, kind) for c, kind in zip(columns, _SCHEMA.types, strict=True)], schema=_SCHEMA
    )


def _lasting(table: pa.Table) -> pa.Array:
    """Which rows say something that lasts as long as the file is the same."""
    transient = pc.is_in(table["reason"], pa.array(_TRANSIENT))
    return pc.invert(pc.fill_null(transient, False))


def catalogue_row(header: Header, name: str) -> dict[str, Any]:
    """The columns of `catalogue.COLUMNS` that a header fills; None for what it does not say.

    Parameters
    ----------
    name : of the file, which gives the identity where the header does not

    Raises
    ------
    SpectrumRejected
        `unknown_layout` for a medium-resolution spectrum, `bad_identifier`
    """
    inner = str(header.get("FILENAME") or "")
    if name.startswith(_MEDIUM) or inner.startswith(_MEDIUM):
        raise SpectrumRejected("unknown_layout", "a medium-resolution spectrum (med-...)")
    row = _identity(header, name if _NAME.fullmatch(name) else inner)
    missing = [key for key in ("lmjd", "planid", "spid", "fiberid") if row[key] is None]
    if missing:
        raise SpectrumRejected(
            "bad_identifier",
            f"neither header nor name says {', '.join(missing)}; no spectrum of LAMOST?",
        )
    if row["obsid"] is None and (digits := re.match(r"(\d{1,18})\.", name)):
        row["obsid"] = int(digits.group(1))
    row["obsdate"] = (_MJD_EPOCH + timedelta(days=row["lmjd"] - 1)).isoformat()
    row["designation"] = _text(header, "DESIG")
    row["lamost_class"], row["subclass"] = _text(header, "CLASS"), _text(header, "SUBCLASS")
    row["ra"], row["dec"] = _position(header)
    for band in "ugriz":
        row[f"snr{band}"] = _first_number(
            header, (f"SNR{band.upper()}", f"SN_{band.upper()}"), _ABSENT, 1e9
        )
    row["redshift"] = _first_number(header, ("Z",), -1.0, 20.0)  # -9999 where none was found
    row["redshift_err"] = _first_number(header, ("Z_ERR",), 0.0, 20.0)
    return row


def _identity(header: Any, name: str) -> dict[str, Any]:
    """`lmjd planid spid fiberid obsid` of a header, else of a name `spec-...`; None if neither."""
    parts = _NAME.fullmatch(name)
    said = (
        dict(zip(("lmjd", "planid", "spid", "fiberid"), parts.groups()[:4], strict=True))
        if parts
        else {}
    )
    row: dict[str, Any] = {"planid": _text(header, "PLANID") or said.get("planid")}
    for column, keyword in _NUMBERS.items():
        number = as_integer(header.get(keyword))
        if number is None:
            number = as_integer(said.get(column))
        largest = 100_000 if column == "lmjd" else 2**31 - 1  # LMJD is a day of this century
        row[column] = number if number is not None and 0 <= number <= largest else None
    obsid = as_integer(header.get("OBSID"))
    row["obsid"] = obsid if obsid is not None and abs(obsid) < 2**63 else None
    return row


def _text(header: Any, keyword: str) -> str | None:
    value = header.get(keyword)
    return str(value).strip() or None if value is not None else None


def _position(header: Header) -> tuple[float | None, float | None]:
    """Position in degrees: of the target, else of the fibre."""
    for keys in POSITIONS:
        ra, dec = (finite_number(header.get(key)) for key in keys)
        if ra is not None and dec is not None and 0 <= ra <= 360 and -90 <= dec <= 90:
            return ra, dec
    return None, None


def _first_number(header: Header, keywords: Iterable[str], low: float, high: float) -> float | None:
    """The first of some keywords' values that lies between two limits."""
    for keyword in keywords:
        value = finite_number(header.get(keyword))
        if value is not None and low < value < high:
            return value
    return None


def _scanned(whole: pa.Table, files: _Files, n_read: int, copies: Copies) -> Scanned:
    """Rows of `_SCHEMA`, in the order of the files, as `Scanned`."""
    identities = spectrum_ids(whole).to_pandas()
    reasons, details = (whole[name].to_pandas().to_numpy(object) for name in ("reason", "detail"))
    bad = whole["reason"].is_valid().to_numpy()
    own = reasons == _OWN_TABLE
    paths = whole["path"].to_pandas().to_numpy(object)
    spectra = identities[~bad]
    repeated = spectra[spectra.duplicated(keep=False)]
    redshifts = whole["redshift"].to_pandas().to_numpy() if len(repeated) else []
    for rows in repeated.groupby(repeated).groups.values():
        for row, (reason, detail) in _repeats(rows.tolist(), paths, redshifts, copies).items():
            reasons[row], details[row], bad[row] = reason, detail, True
    lost = np.flatnonzero(bad & ~own)
    known = whole["lmjd"].is_valid().to_numpy()[lost]
    obsid = whole["obsid"].fill_null(-1).to_numpy()[lost]
    names = np.where(known, identities.to_numpy(object)[lost], "")
    rows = list(zip(paths[lost], names, obsid, reasons[lost], details[lost], strict=True))
    table = whole.select(list(COLUMNS)).filter(pa.array(~bad))
    columns = [
        column.dictionary_encode().combine_chunks().cast(TEXT) if kind == TEXT else column
        for column, kind in zip(table.columns, COLUMNS.values(), strict=True)
    ]
    return Scanned(
        pa.table(columns, names=list(COLUMNS)).unify_dictionaries().combine_chunks(),
        pd.DataFrame(files.rejected + rows, columns=list(REJECTED)).astype({"obsid": "int64"}),
        n_read,
        tuple(_passed_over(int(own.sum()), files.others)),
    )


def _repeats(
    rows: list[int], paths: NDArray[np.object_], redshifts: Sequence[float], copies: Copies
) -> dict[int, tuple[str, str]]:
    """Reason and detail for all files of one spectrum but the first that can be used.

    Where none can the first stays too, and is rejected when it is prepared.
    """
    named = ((row, partial(read_stored, paths[row]), known(redshifts[row])) for row in rows)
    first, found = copies.before_the_first_whole(named)
    broken = {row: (why.reason, why.detail) for row, why in found.items()}
    if first is None:
        return {row: why for row, why in broken.items() if row != rows[0]}
    said = "duplicate_spectrum", f"it is {paths[first]}"
    return broken | {later: said for later in rows if later > first}


def _passed_over(n_tables: int, others: Counter[str]) -> Iterator[str]:
    if n_tables:
        yield f"{n_tables} passed over: tables that this program wrote"
    if others:
        most = ", ".join(f"{n} {name or 'without one'}" for name, n in others.most_common(5))
        more = ", ..." if len(others) > 5 else ""
        yield (
            f"{others.total()} passed over in folders and archives: names that do not end in "
            f"{', '.join(TAKEN)} ({most}{more})"
        )


def below_root(table: pa.Table, root: str) -> pa.Table:
    """The table of a scan of the folder `root` with paths relative to it, as `survey.root` has them."""
    start = len(os.path.join(root, ""))
    paths = pc.utf8_slice_codeunits(table["path"], start)
    return table.set_column(table.column_names.index("path"), "path", paths)
