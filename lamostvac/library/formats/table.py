"""A user's own library: one FITS file whose first table has one row per spectrum.

Columns: `ID`; `WAVE` (A, the same in all rows), `FLUX`, `IVAR` (vectors of one length); the labels
`TEFF LOGG FEH ALPHA_FE`, as many of them as there are, with `_ERR` for errors. Two header keywords
of the table: `VACUUM` (T: vacuum wavelengths, F: air) and `FWHM` (line width in A), or `RESOLVE`
(resolving power). Spectra are at rest.
"""

from collections.abc import Mapping
from os import PathLike

import numpy as np

from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import listed
from lamostvac.core.vocabulary import LABELS
from lamostvac.library.library import RawLibrary, first_table, label_table
from lamostvac.library.resolution import constant_fwhm, resolving_power_fwhm


def read_table_library(
    path: str | PathLike[str],
    label_columns: Mapping[str, str] | None = None,
    fwhm: float | None = None,
) -> RawLibrary:
    """Read such a file; raises `UserError` naming the column or keyword that is missing."""
    header, table = first_table(path, "library.spectra", ("ID", "WAVE", "FLUX", "IVAR"))
    names = {name.upper(): name for name in table.names}
    columns = {}
    for label in LABELS:
        column = (label_columns or {}).get(label, label.upper()).upper()
        for suffix in ("", "_err"):
            if column + suffix.upper() in names:
                columns[label + suffix] = np.asarray(
                    table[names[column + suffix.upper()]], dtype=float
                )
            elif suffix == "" and label in (label_columns or {}):
                raise UserError(
                    f"library.label_columns.{label}: {path} has no column {column}; it has "
                    f"{listed(table.names)}"
                )
    if not isinstance(header.get("VACUUM"), bool):
        raise UserError(
            f"library.spectra: {path} does not say VACUUM = T or F in the table's header"
        )
    if fwhm is not None:
        lsf = constant_fwhm(fwhm)
    elif "FWHM" in header:
        lsf = constant_fwhm(float(header["FWHM"]))
    elif "RESOLVE" in header:
        lsf = resolving_power_fwhm(float(header["RESOLVE"]))
    else:
        raise UserError(
            f"library.resolution.library_fwhm is not set and {path} says neither FWHM (in A) nor RESOLVE "
            "(resolving power) in the table's header"
        )
    waves = np.asarray(table[names["WAVE"]], dtype=np.float64)
    if waves.ndim != 2 or np.ptp(waves, axis=0).max() > 1e-3:
        raise UserError(f"library.spectra: the rows of {path} do not share one wavelength grid")
    return RawLibrary(
        ids=np.array([str(value).strip() for value in table[names["ID"]]]),
        wave=waves[0],
        flux=np.array(table[names["FLUX"]], dtype=np.float32),
        ivar=np.array(table[names["IVAR"]], dtype=np.float32),
        labels=label_table(columns, len(table)),
        in_air=not header["VACUUM"],
        fwhm=lsf,
    )
