"""A(band) / E(B-V) for the 14 bands on one scale of E(B-V).

`core/extinction_coefficients.py` has the numbers and the scales. An extinction is the same on both,
so a coefficient for the one scale is that for the other times 0.86, or divided by it.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamostvac.core.extinction_coefficients import SFD_TO_TRUE
from lamostvac.core.vocabulary import BANDS
from lamostvac.distance.settings import Extinction, Scale

Kind = Literal["constant", "zhang_yuan_2022"]

# Zhang & Yuan (2023, ApJS 264, 14), numbers as in their package extinction-coefficient 1.8: R = a
# T^3 + b T^2 + c T + d E^2 + e E + f with T = Teff in K within the limits and E = E(B-V) of
# Schlegel et al. from 0 to 0.5. Bands of SDSS, 2MASS, WISE and Gaia DR3; none of APASS.
_ZHANG_YUAN = {
    "g_gaia": ((4000, 10000), (-1.05e-11, 2.24e-07, -0.00145, -0.681, -0.381, 5.376)),
    "bp": ((4000, 10000), (-1.27e-11, 2.76e-07, -0.00188, -0.673, -0.531, 7.185)),
    "rp": ((4000, 9000), (-7.88e-12, 1.76e-07, -0.00126, -0.630, -0.057, 4.670)),
    "j": ((4000, 8000), (-3.99e-12, 7.3e-08, -0.000448, 0.055, -0.176, 1.720)),
    "h": ((4000, 8000), (3.85e-13, -9.67e-09, 7.91e-05, -0.366, 0.225, 0.213)),
    "ks": ((4000, 8000), (0.0, 0.0, 0.0, 0.0, 0.0, 0.306)),
    "w1": ((4000, 8000), (-7.18e-13, 1.11e-08, -5.18e-05, 0.128, -0.038, 0.261)),
    "w2": ((4000, 8000), (5.4e-12, -9.97e-08, 0.000615, 0.030, 0.062, -1.149)),
    "g_sdss": ((4000, 8000), (-9.46e-11, 1.82e-06, -0.0115, 0.221, -1.210, 27.571)),
    "r_sdss": ((4000, 8000), (-5.47e-11, 1.07e-06, -0.00691, -0.080, -0.568, 17.129)),
    "i_sdss": ((4000, 8000), (-3.98e-11, 7.8e-07, -0.00502, -0.675, 0.020, 12.450)),
}


def constants(
    sfd: Mapping[str, float], corrected: Mapping[str, float], scale: Scale
) -> NDArray[np.float64]:
    """Coefficients (14,) in the order of `BANDS`, on one scale of E(B-V).

    Parameters
    ----------
    sfd, corrected : band to its coefficient for E(B-V) of Schlegel et al. and for the true one;
        together all bands
    scale : `mixed` takes the numbers unchanged, whichever scale they belong to
    """
    factor = {
        "mixed": (1.0, 1.0),
        "sfd": (1.0, SFD_TO_TRUE),
        "corrected": (1 / SFD_TO_TRUE, 1.0),
    }[scale]
    return np.array(
        [factor[0] * sfd[band] if band in sfd else factor[1] * corrected[band] for band in BANDS]
    )


def of_bands(section: Extinction, scale: Scale) -> dict[str, float]:
    """Band to its coefficient on one scale of E(B-V), from the configuration's section."""
    found = constants(section.sfd, section.corrected, scale)
    return dict(zip(BANDS, found.round(6).tolist(), strict=True))


def zhang_yuan(teff: ArrayLike, ebv: ArrayLike) -> NDArray[np.float64]:
    """Coefficients (n, 14) of Zhang & Yuan (2022) for E(B-V) of Schlegel et al.; NaN for APASS.

    Parameters
    ----------
    teff : (n,) K; beyond a band's limits the coefficient is that of the limit
    ebv : (n,) mag, on the scale of Schlegel et al.; below 0 and above 0.5 it counts as 0 and 0.5
    """
    teff, ebv = np.broadcast_arrays(np.asarray(teff, np.float64), np.asarray(ebv, np.float64))
    red = np.clip(ebv, 0, 0.5)
    found = np.full((teff.size, len(BANDS)), np.nan)
    for band, ((low, high), (a, b, c, d, e, f)) in _ZHANG_YUAN.items():
        t = np.clip(teff, low, high)
        found[:, BANDS.index(band)] = ((a * t + b) * t + c) * t + (d * red + e) * red + f
    return found


def coefficients(
    kind: Kind, constant: NDArray[np.float64], scale: Scale, teff: ArrayLike, ebv: ArrayLike
) -> NDArray[np.float64]:
    """Coefficients (n, 14) of n stars.

    Parameters
    ----------
    constant : (14,) from `constants`; taken everywhere by the kind `constant`, else for the bands
        of APASS and for stars without Teff
    ebv : (n,) on the scale `scale` (NaN counts as 0)
    """
    teff, ebv = np.asarray(teff, np.float64), np.nan_to_num(np.asarray(ebv, np.float64))
    if kind == "constant":
        return np.broadcast_to(constant, (teff.size, len(BANDS)))
    to_true = SFD_TO_TRUE if scale == "corrected" else 1.0
    found = zhang_yuan(teff, ebv / to_true) / to_true
    return np.where(np.isfinite(found), found, constant)
