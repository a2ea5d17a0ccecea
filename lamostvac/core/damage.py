"""Whether a result file is complete: for jobs that fail on one, and after file-system crashes.

Files are renamed when complete, so the program itself leaves no partial files, but disks, copies
and users do. `lamostvac damage results` lists the damaged files below a folder.
"""

import gzip
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import pyarrow.parquet as pq

from lamostvac.core.fits_headers import data_size, headers
from lamostvac.core.hdf5 import open_hdf5

_PIECE = 64_000_000  # bytes read at once


def damage(path: str | os.PathLike[str]) -> str:
    """What is wrong with a file, in a few words, or "" when it can be read to its end.

    Reads the whole file in pieces. Known are HDF5, Parquet, FITS, JSON and gzip by their suffixes;
    other files (CSV, text) are only checked to exist, not to be empty, and to have no zero bytes,
    which file systems put in place of lost data.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return ""
        if not path.exists():
            return "it does not exist"
        if path.stat().st_size == 0:
            return "it is empty"
        _CHECKS.get(path.suffix, _check_text)(path)
    except MemoryError:
        raise
    except Exception as error:  # each format fails with different errors
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def _check_hdf5(path: Path) -> None:
    def check(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            if not item.ndim:
                item[()]
                return
            row = max(int(item.dtype.itemsize * item.size / max(len(item), 1)), 1)
            step = max(_PIECE // row, 1)
            for first in range(0, len(item), step):
                item[first : first + step]

    with open_hdf5(path) as handle:
        handle.visititems(check)


def _check_parquet(path: Path) -> None:
    with pq.ParquetFile(path) as file:
        for _ in file.iter_batches():
            pass


def _check_fits(path: Path) -> None:
    size = path.stat().st_size
    with open(path, "rb") as handle:
        end = 0
        try:
            for header in headers(handle):
                end = handle.tell() + -(-data_size(header) // 2880) * 2880
        except EOFError:
            pass
    if not end or size < end:
        raise ValueError(f"it ends after {size} of {end} bytes" if end else "it has no header")


def _check_json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


def _check_gzip(path: Path) -> None:
    with gzip.open(path) as handle:
        while handle.read(_PIECE):
            pass


def _check_text(path: Path) -> None:
    with open(path, "rb") as handle:
        while piece := handle.read(_PIECE):
            if b"\0" in piece and path.suffix in (".csv", ".tsv", ".md", ".txt", ".html", ""):
                raise ValueError("it has zero bytes where there should be text")


_CHECKS: dict[str, Callable[[Path], None]] = {
    ".h5": _check_hdf5,
    ".parquet": _check_parquet,
    ".fits": _check_fits,
    ".json": _check_json,
    ".gz": _check_gzip,
}


def damaged(paths: Iterable[str | os.PathLike[str]]) -> tuple[Path, str] | None:
    """The first damaged file and what is wrong with it."""
    for path in paths:
        found = damage(path)
        if found:
            return Path(path), found
    return None


def look_through(folders: Iterable[Path]) -> tuple[list[tuple[Path, str]], int]:
    """Damaged files below folders of results, each with its damage; number of all files.

    Logs and simulated spectra are left out: they may be empty or broken on purpose.
    """
    found, n_files = [], 0
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            left_out = path.relative_to(folder).parts[0] in ("logs", "benchmarks", "simulated")
            if left_out or path.name[0] == "." or not path.is_file():
                continue
            n_files += 1
            if what := damage(path):
                found.append((path, what))
    return found, n_files
