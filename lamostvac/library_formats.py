"""Which reader a library's format has."""

import hashlib
import logging
from pathlib import Path
from typing import Any

from lamostvac.files import sha256
from lamostvac.library import RawLibrary
from lamostvac.library_elodie import read_elodie
from lamostvac.library_folder import spectrum_files
from lamostvac.library_mastar import read_mastar
from lamostvac.library_miles import FWHM as MILES_FWHM
from lamostvac.library_miles import read_miles
from lamostvac.library_stelib import read_stelib
from lamostvac.library_table import read_table_library

_FOLDERS = {"elodie": read_elodie, "stelib": read_stelib}


def read_raw(
    spectra: str, labels: str | None, settings: dict[str, Any], log: logging.Logger | None = None
) -> RawLibrary:
    """The library as published, by the reader of its format.

    Parameters
    ----------
    spectra : file, or folder of files for a format that is one
    labels : file with the labels, or None
    settings : the section `library` of the configuration
    log : receives the names of files that are left out
    """
    fwhm = settings["resolution"]["library_fwhm"]
    columns = settings["label_columns"]
    if settings["format"] in _FOLDERS:
        quality = settings["quality_columns"], settings["min_quality"]
        return _FOLDERS[settings["format"]](spectra, labels, columns, *quality, fwhm, log)
    if settings["format"] == "mastar":
        return read_mastar(spectra, labels or spectra, columns, fwhm)
    if settings["format"] == "miles":
        return read_miles(spectra, fwhm or MILES_FWHM)
    return read_table_library(spectra, columns, fwhm)


def folder_state(path: str) -> tuple[str, float]:
    """What tells that a folder's files have changed, from their names, sizes and times, and their size in MB.

    "" and 0 for a file or for what does not exist: Snakemake looks at these itself.
    """
    if not Path(path).is_dir():
        return "", 0.0
    stats = [(file.name, file.stat()) for file in spectrum_files(path)]
    lines = [f"{name} {stat.st_size} {stat.st_mtime_ns}\n" for name, stat in stats]
    return hashlib.sha256("".join(lines).encode()).hexdigest(), sum(s.st_size for _, s in stats) / 1e6


def source_sha256(path: str) -> str:
    """Hex SHA-256 of a file, or of the names and sums of a folder's FITS files."""
    if not Path(path).is_dir():
        return sha256(path)
    digest = hashlib.sha256()
    for file in spectrum_files(path):
        digest.update(f"{file.name} {sha256(file)}\n".encode())
    return digest.hexdigest()
