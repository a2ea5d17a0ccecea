"""STELIB 3.2 (Le Borgne+ 2003): 255 stars, 3200-9900 A in air, at rest, one FITS file per star.

Labels are in the header as text, `-` where unknown (TEFF, LOG_G, FE_H); pixels without data are
0. Each star has its own wavelengths, because they were moved to rest by scaling them. There is no
noise.
"""

import logging
from collections.abc import Mapping
from os import PathLike

from lamostvac.library.formats.folder import read_folder
from lamostvac.library.library import RawLibrary
from lamostvac.library.resolution import constant_fwhm

# A; measured against MILES on the 112 stars of 4500-7000 K (docs/libraries.md): 3.1 to 3.45 by
# window. Maraston & Stromback (2011) give 3.4, the library's paper 3.
FWHM = 3.3
ASSUMED_SNR = 50.0  # per pixel; that of most spectra (Le Borgne+ 2003)
KEYWORDS = {"teff": ("TEFF",), "logg": ("LOG_G",), "feh": ("FE_H",)}


def read_stelib(
    folder: str | PathLike[str],
    labels_file: str | PathLike[str] | None = None,
    label_columns: Mapping[str, str] | None = None,
    quality_columns: Mapping[str, str] | None = None,
    min_quality: float = 0.0,
    fwhm: float | None = None,
    log: logging.Logger | None = None,
) -> RawLibrary:
    """The spectra of STELIB's folder; parameters and errors as in
    `lamostvac.library.formats.folder.read_folder`.
    """
    lsf = constant_fwhm(fwhm if fwhm is not None else FWHM)
    return read_folder(
        folder,
        KEYWORDS,
        lsf,
        ASSUMED_SNR,
        labels_file,
        label_columns,
        quality_columns,
        min_quality,
        log,
    )
