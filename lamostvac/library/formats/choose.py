"""The reader for each format of a library."""

import logging
from typing import Any

from lamostvac.library.formats.elodie import read_elodie
from lamostvac.library.formats.mastar import read_mastar
from lamostvac.library.formats.miles import FWHM as MILES_FWHM
from lamostvac.library.formats.miles import read_miles
from lamostvac.library.formats.stelib import read_stelib
from lamostvac.library.formats.table import read_table_library
from lamostvac.library.library import RawLibrary, readable

_FOLDERS = {"elodie": read_elodie, "stelib": read_stelib}


def read_raw(
    spectra: str, labels: str | None, settings: dict[str, Any], log: logging.Logger | None = None
) -> RawLibrary:
    """The library as published, by the reader of its format; `UserError` where it cannot be read.

    Parameters
    ----------
    spectra : file, or folder for formats that are a folder of files
    labels : file with the labels, or None
    settings : the section `library` of the configuration
    log : receives the names of files that are left out
    """
    with readable(spectra, "library.spectra"):
        return _read(spectra, labels, settings, log)


def _read(
    spectra: str, labels: str | None, settings: dict[str, Any], log: logging.Logger | None
) -> RawLibrary:
    fwhm = settings["resolution"]["library_fwhm"]
    columns = settings["label_columns"]
    if settings["format"] in _FOLDERS:
        quality = settings["quality_columns"], settings["min_quality"]
        return _FOLDERS[settings["format"]](spectra, labels, columns, *quality, fwhm, log)
    if settings["format"] == "mastar":
        return read_mastar(spectra, labels or spectra, columns, fwhm)
    if settings["format"] == "miles":
        return read_miles(spectra, fwhm or MILES_FWHM, labels)
    return read_table_library(spectra, columns, fwhm)
