"""ELODIE 3 (Prugniel+ 2007; CDS III/251): 1959 spectra of 1388 stars, 3900-6800 A in air, at rest.

Published in two versions, one FITS file per spectrum: at low resolution (folder `ll` or `L`, 0.2 A
per pixel, 0.55 A FWHM, R about 10,000, flux above the atmosphere) and at high resolution
(`lh` or `H`, 0.05 A, R = 42,000, normalised to the continuum). The primary HDU is the flux, NaN
where masked; the image NOISE its standard deviation. docs/libraries.md gives the source of each of
these facts and its certainty.
"""

import logging
from collections.abc import Mapping
from os import PathLike

import numpy as np

from lamostvac.library.formats.folder import read_folder
from lamostvac.library.library import RawLibrary
from lamostvac.library.resolution import Fwhm, constant_fwhm, resolving_power_fwhm

LOW_FWHM = 0.55  # A; Prugniel+ 2007
HIGH_RESOLVING_POWER = 42000.0
STEP_BETWEEN = 0.1  # A per pixel: high resolution below, low above
ASSUMED_SNR = 100.0  # per pixel, for files without NOISE

# Version 3 has I_*; versions 1 and 2 the others, [Fe/H] as a HIERARCH card of text.
KEYWORDS = {
    "teff": ("I_TEFF", "TEFF"),
    "logg": ("I_LOGG", "LOGG", "LOG_G"),
    "feh": ("I_FE_H", "[FE/H]", "FE_H", "FEH"),
}


def elodie_fwhm(step: float) -> Fwhm:
    """The line width that belongs to pixels of `step` A."""
    return (
        resolving_power_fwhm(HIGH_RESOLVING_POWER)
        if step < STEP_BETWEEN
        else constant_fwhm(LOW_FWHM)
    )


def read_elodie(
    folder: str | PathLike[str],
    labels_file: str | PathLike[str] | None = None,
    label_columns: Mapping[str, str] | None = None,
    quality_columns: Mapping[str, str] | None = None,
    min_quality: float = 0.0,
    fwhm: float | None = None,
    log: logging.Logger | None = None,
) -> RawLibrary:
    """The spectra of a folder of ELODIE, with the labels of their headers or of `labels_file`.

    Parameters and errors as in `lamostvac.library.formats.folder.read_folder`; `fwhm` (A) replaces
    the width that belongs to the pixels.
    """

    def width(wave: np.ndarray) -> np.ndarray:
        lsf = (
            constant_fwhm(fwhm)
            if fwhm is not None
            else elodie_fwhm(float(np.median(np.diff(wave))))
        )
        return lsf(wave)

    return read_folder(
        folder,
        KEYWORDS,
        width,
        ASSUMED_SNR,
        labels_file,
        label_columns,
        quality_columns,
        min_quality,
        log,
    )
