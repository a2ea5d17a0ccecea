"""A library's file or folder of files, and how a change of it is recognised."""

import hashlib
from os import PathLike
from pathlib import Path

from lamostvac.core.exceptions import UserError
from lamostvac.core.files import sha256

SUFFIXES = (".fits", ".fit", ".fits.gz", ".fit.gz")


def spectrum_files(folder: str | PathLike[str]) -> list[Path]:
    """The FITS files of a folder, by name; `UserError` without such a folder or a file in it."""
    path = Path(folder)
    if not path.is_dir():
        raise UserError(
            f"library.spectra: {path} is not a folder; this format is a folder with one FITS file per spectrum"
        )
    files = sorted(file for file in path.iterdir() if file.name.lower().endswith(SUFFIXES))
    if not files:
        inside = ", ".join(sorted(file.name for file in path.iterdir())[:5]) or "nothing"
        raise UserError(f"library.spectra: the folder {path} has no FITS file in it, but {inside}")
    return files


def folder_state(path: str) -> tuple[str, float]:
    """A digest of the names, sizes and times of a folder's files, and their size in MB.

    "" and 0 for a file or a path that does not exist, which Snakemake checks itself.
    """
    if not Path(path).is_dir():
        return "", 0.0
    stats = [(file.name, file.stat()) for file in spectrum_files(path)]
    lines = [f"{name} {stat.st_size} {stat.st_mtime_ns}\n" for name, stat in stats]
    return hashlib.sha256("".join(lines).encode()).hexdigest(), sum(
        s.st_size for _, s in stats
    ) / 1e6


def source_sha256(path: str) -> str:
    """Hex SHA-256 of a file, or of the names and sums of a folder's FITS files."""
    if not Path(path).is_dir():
        return sha256(path)
    digest = hashlib.sha256()
    for file in spectrum_files(path):
        digest.update(f"{file.name} {sha256(file)}\n".encode())
    return digest.hexdigest()
