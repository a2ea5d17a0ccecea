"""Redshift and spectral type of spectra whose headers, or callers, do not say them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.fit.redshift import RELIABLE, Templates, estimate
from lamostvac.spectra.reader import read_spectrum
from lamostvac.spectra.settings import Preparation
from lamostvac.survey.selection import by_text, spectral_type

Arrays = tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Found:
    """Redshift, its error and the spectral type of a spectrum; NaN and "" where none is reliable.

    `why` says what is wrong with the spectrum itself, if something is.
    """

    z: float
    z_err: float
    type: str
    why: str = ""


NOTHING = Found(np.nan, np.nan, "")


def look(spectrum: Arrays, templates: Templates, settings: Preparation) -> Found:
    """What a spectrum itself says.

    Parameters
    ----------
    spectrum : wavelengths (A, vacuum), flux and inverse variance
    """
    try:
        z, z_err, kind, quality = estimate(*spectrum, templates, settings)
    except SpectrumRejected as why:
        return replace(NOTHING, why=str(why))
    return Found(z, z_err, kind) if quality >= RELIABLE else NOTHING


def complete(
    table: pa.Table, templates: Callable[[], Templates], settings: Preparation
) -> pa.Table:
    """A catalogue (`survey.catalogue.COLUMNS`) with what its headers lack.

    A redshift that is not there is found from the spectrum. So is the spectral type where there is
    neither CLASS nor SUBCLASS; what a header calls no star stays none.

    Parameters
    ----------
    templates : made only where some spectrum needs them
    """
    no_z = table["redshift"].is_null().to_numpy()
    unclassified = (
        table["lamost_class"].is_null().to_numpy() & table["subclass"].is_null().to_numpy()
    )
    stars = unclassified | by_text(
        table["lamost_class"], lambda text: text.upper() == "STAR", False
    )
    typed = by_text(table["subclass"], lambda text: spectral_type(text) is not None, False)
    needs = unclassified | (no_z & stars & typed.astype(bool))
    if not needs.any():
        return table
    columns = {
        name: table[name].to_pylist()
        for name in ("redshift", "redshift_err", "lamost_class", "subclass")
    }
    ready = templates()
    for row in np.flatnonzero(needs).tolist():
        spectrum = _arrays(table["path"][row].as_py())
        found = NOTHING if spectrum is None else look(spectrum, ready, settings)
        if no_z[row] and np.isfinite(found.z):
            columns["redshift"][row], columns["redshift_err"][row] = found.z, found.z_err
        if unclassified[row] and found.type:
            columns["lamost_class"][row], columns["subclass"][row] = "STAR", found.type
    for name, values in columns.items():
        kind = table.schema.field(name).type
        array = pa.array(values, pa.string() if pa.types.is_dictionary(kind) else kind)
        array = array.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else array
        table = table.set_column(table.column_names.index(name), name, array)
    return table


def _arrays(path: str) -> Arrays | None:
    """A file's spectrum, or None where it cannot be read, which is told when it is prepared."""
    try:
        spectrum = read_spectrum(path)
    except SpectrumRejected:
        return None
    return spectrum.wave, spectrum.flux, spectrum.ivar
