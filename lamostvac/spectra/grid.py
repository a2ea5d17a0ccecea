"""The common wavelength grid; conversions from air to vacuum and to the rest frame.

Everything downstream of the readers is in vacuum, in the rest frame of the star, on `GRID`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

SPEED_OF_LIGHT = 299792.458  # km/s

# Liang+ 2024 section 3.3 step 3: 3800-8700 A in steps of 1 A, 4901 pixels.
GRID: NDArray[np.float64] = np.arange(3800.0, 8701.0)
GRID.flags.writeable = False


def air_to_vacuum(wave_air: ArrayLike) -> NDArray[np.float64]:
    """Vacuum wavelengths (A) for air wavelengths (A) between 2000 A and 3 um.

    Morton (1991) as used by the IAU and by SDSS: the index of refraction of standard air from Edlen
    (1953) evaluated at the vacuum wavenumber, inverted by the series of N. Piskunov (VALD); the
    round trip with `vacuum_to_air` is accurate to 1e-5 A.
    """
    wave = np.asarray(wave_air, dtype=float)
    sigma2 = (1e4 / wave) ** 2
    index = (
        1.0
        + 8.336624212083e-5
        + 2.408926869968e-2 / (130.1065924522 - sigma2)
        + 1.599740894897e-4 / (38.92568793293 - sigma2)
    )
    return wave * index


def vacuum_to_air(wave_vacuum: ArrayLike) -> NDArray[np.float64]:
    """Air wavelengths (A) for vacuum wavelengths (A): Morton (2000, ApJS 130, 403), as in VALD."""
    wave = np.asarray(wave_vacuum, dtype=float)
    sigma2 = (1e4 / wave) ** 2
    index = 1.0 + 8.34254e-5 + 2.406147e-2 / (130.0 - sigma2) + 1.5998e-4 / (38.9 - sigma2)
    return wave / index


def rest_wavelength(wave_observed: ArrayLike, redshift: float) -> NDArray[np.float64]:
    """Rest-frame wavelengths, Liang+ 2024 equation (4): observed / (1 + z)."""
    return np.asarray(wave_observed, dtype=float) / (1.0 + redshift)
