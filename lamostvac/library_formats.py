"""Which reader a library's format has."""

from typing import Any

from lamostvac.library import RawLibrary
from lamostvac.library_mastar import read_mastar
from lamostvac.library_miles import FWHM as MILES_FWHM
from lamostvac.library_miles import read_miles
from lamostvac.library_table import read_table_library


def read_raw(spectra: str, labels: str | None, settings: dict[str, Any]) -> RawLibrary:
    """The library as published, by the reader of its format."""
    fwhm = settings["resolution"]["library_fwhm"]
    columns = settings["label_columns"]
    if settings["format"] == "mastar":
        return read_mastar(spectra, labels or spectra, columns, fwhm)
    if settings["format"] == "miles":
        return read_miles(spectra, fwhm or MILES_FWHM)
    return read_table_library(spectra, columns, fwhm)
