"""MaStar (Yan+ 2019; DR17): good-visit spectra and the table of median stellar parameters.

`mastar-goodspec-*.fits.gz` holds one row per visit (MANGAID, PLATE, IFUDESIGN, MJD, WAVE, FLUX,
IVAR, MASK, MJDQUAL; vacuum, at rest, 4563 pixels, R about 1800);
`mastar-goodvisits-*-params-v2.fits` the labels per visit, `mastar-goodstars-*` per star. Missing
labels are -999, NGROUPS = 0 marks labels that no group of the MaStar team has determined. The
columns of one group end in its letters: LOGG_JI with the error LOGG_ERR_JI, valid where
VALID_JI = 1.
"""

from collections.abc import Mapping
from os import PathLike

import numpy as np
import pandas as pd
from astropy.io import fits
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import listed
from lamostvac.library.library import RawLibrary, first_table, label_table
from lamostvac.library.resolution import Fwhm, constant_fwhm, resolving_power_fwhm

RESOLVING_POWER = 1800.0
COLUMNS = {"teff": "TEFF_MED", "logg": "LOGG_MED", "feh": "FEH_CAL_MED", "alpha_fe": "ALPHA_MED"}
_VISIT_KEYS = ("MANGAID", "PLATE", "IFUDESIGN", "MJD")
_MISSING_BELOW = -900.0


def read_mastar(
    spectra: str | PathLike[str],
    parameters: str | PathLike[str],
    label_columns: Mapping[str, str] | None = None,
    fwhm: float | None = None,
) -> RawLibrary:
    """The spectra with MJDQUAL = 0 whose labels have NGROUPS > 0.

    `label_columns` replaces the columns in `COLUMNS`, for example `{"logg": "LOGG_JI"}` for the log
    g of Imig et al. (2022). Labels of one team are missing where its VALID_ column is not 1.

    Raises `UserError` when a file or a column is missing, or no spectrum has labels.
    """
    rows = first_table(spectra, "library.spectra", ("MANGAID", "WAVE", "FLUX", "IVAR"))[1]
    labels = first_table(parameters, "library.labels_file", ("MANGAID",))[1]
    good = np.ones(len(rows), dtype=bool)
    if "MJDQUAL" in rows.names:
        good &= np.asarray(rows["MJDQUAL"]) == 0
    match = _match(rows, labels)
    good &= match >= 0
    if "NGROUPS" in labels.names:
        good &= np.asarray(labels["NGROUPS"])[match] > 0
    if not good.any():
        raise UserError(
            f"library.labels_file: {parameters} has no usable labels for the spectra in {spectra}; "
            "both must be of the same MaStar release"
        )
    kept, match = np.flatnonzero(good), match[good]
    columns = {}
    for label, default in COLUMNS.items():
        name = (label_columns or {}).get(label, default)
        quantity, _, team = name.rpartition("_")
        valid = np.ones(len(kept), dtype=bool)
        error = f"{name}_ERR"
        if f"VALID_{team}" in labels.names:
            valid = np.asarray(labels[f"VALID_{team}"])[match] == 1
            error = f"{quantity}_ERR_{team}"
        for suffix, column in (("", name), ("_err", error)):
            if column in labels.names:
                values = np.asarray(labels[column], dtype=float)[match]
                columns[label + suffix] = np.where(
                    valid & (values > _MISSING_BELOW), values, np.nan
                )
            elif suffix == "" and label in (label_columns or {}):
                raise UserError(
                    f"library.label_columns.{label}: {parameters} has no column {column}; it has "
                    f"{listed(labels.names)}"
                )
    waves = np.asarray(rows["WAVE"], dtype=np.float64)[kept]
    if np.ptp(waves, axis=0).max() > 1e-3:
        raise UserError(
            f"library.spectra: the spectra in {spectra} do not share one wavelength grid"
        )
    ivar = np.array(np.asarray(rows["IVAR"])[kept], dtype=np.float32)
    if "MASK" in rows.names:
        ivar[np.asarray(rows["MASK"])[kept] != 0] = 0.0
    lsf: Fwhm = constant_fwhm(fwhm) if fwhm is not None else resolving_power_fwhm(RESOLVING_POWER)
    return RawLibrary(
        ids=_names(rows)[kept],
        wave=waves[0],
        flux=np.array(np.asarray(rows["FLUX"])[kept], dtype=np.float32),
        ivar=ivar,
        labels=label_table(columns, len(kept)),
        in_air=False,
        fwhm=lsf,
    )


def _match(rows: fits.FITS_rec, labels: fits.FITS_rec) -> NDArray[np.int64]:
    """Row of `labels` for each of `rows`, by visit if both have visits, else by star; -1: none."""
    keys = [key for key in _VISIT_KEYS if key in rows.names and key in labels.names]
    frames = [
        pd.DataFrame({key: [str(value).strip() for value in table[key]] for key in keys})
        for table in (rows, labels)
    ]
    frames[1]["row"] = np.arange(len(labels))
    found = frames[0].merge(frames[1].drop_duplicates(keys), on=keys, how="left")["row"]
    return np.asarray(found.fillna(-1).to_numpy(np.int64))


def _names(rows: fits.FITS_rec) -> NDArray[np.str_]:
    keys = [key for key in _VISIT_KEYS if key in rows.names]
    return np.array(["_".join(str(row[key]).strip() for key in keys) for row in rows])
