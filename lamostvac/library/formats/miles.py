"""MILES (Sanchez-Blazquez+ 2006): 985 stars, 3540-7410 A in air, 2.50 A FWHM everywhere.

Read from one FITS stack: an image of one row per star with a linear air wavelength in its header
(CRVAL1, CDELT1) and a table `STARS` with `miles_id teff logg feh` (formats.md).
"""

from os import PathLike

import numpy as np

from lamostvac.core.exceptions import UserError
from lamostvac.library.library import RawLibrary, label_table, open_library_file
from lamostvac.library.resolution import constant_fwhm

FWHM = 2.50  # A; Falcon-Barroso+ 2011
ASSUMED_SNR = 100.0  # per pixel; no noise is published, S/N is above 100 (Sanchez-Blazquez+ 2006)


def read_miles(path: str | PathLike[str], fwhm: float = FWHM) -> RawLibrary:
    """The MILES stack. It has no noise; every pixel is given `ASSUMED_SNR`.

    Raises `UserError` when the file is missing or is not such a stack.
    """
    with open_library_file(path, "library.spectra") as hdus:
        try:
            header = hdus[0].header
            flux = np.asarray(hdus[0].data, dtype=np.float64)
            table = hdus[1].data
            columns = {
                name: np.asarray(table[name], dtype=float) for name in ("teff", "logg", "feh")
            }
            ids = np.array([str(value).strip() for value in table["miles_id"]])
            start, step = float(header["CRVAL1"]), float(header["CDELT1"])
            if flux.ndim != 2 or len(flux) != len(ids):
                raise TypeError(f"an image of shape {flux.shape} for {len(ids)} stars")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise UserError(
                f"library.spectra: {path} is not a MILES stack (an image with CRVAL1 and CDELT1 and a table with "
                f"miles_id, teff, logg, feh): {error}"
            ) from None
    ivar = np.zeros(flux.shape, dtype=np.float32)
    positive = np.isfinite(flux) & (flux > 0)
    ivar[positive] = (ASSUMED_SNR / flux[positive]) ** 2
    wave = start + step * np.arange(flux.shape[1], dtype=np.float64)
    return RawLibrary(
        ids=ids,
        wave=wave,
        flux=flux,
        ivar=ivar,
        labels=label_table(columns, len(ids)),
        in_air=True,
        fwhm=constant_fwhm(fwhm),
    )
