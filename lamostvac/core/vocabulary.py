"""Names and codes that all stages share: labels, bands, spectral types, ends of a fit."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

# The labels that libraries have and the emulator gives: Teff (K), log g, [Fe/H], [alpha/Fe] (dex).
LABELS = ("teff", "logg", "feh", "alpha_fe")
# Digits behind the point with which a reader is shown them.
DIGITS = {"teff": 0, "logg": 2, "feh": 2, "alpha_fe": 2}

# The 14 bands of Wang et al. (2022), in the order of every array over bands.
BANDS = (
    "g_gaia", "bp", "rp", "j", "h", "ks", "w1", "w2", "b_apass", "v_apass", "r_apass", "g_sdss", "r_sdss", "i_sdss",
)  # fmt: skip
"""Magnitudes are columns `mag_{band}`, the networks' labels `abs_mag_{band}`; errors end in `_err`."""

# How the fit of a star ended: the codes of `fit_status`.
CONVERGED, EDGE, NO_PROGRESS, NO_FIT = 0, 1, 2, 3
# Of fits; NO_FIT stands where networks alone label a spectrum.
STATUS_NAMES = ("converged", "edge", "no_progress")

# Groups of stars: spectral types, giants and dwarfs.
# Where the spectral types divide in Teff (K).
TYPE_LIMITS = {"M": 3900.0, "K": 5250.0, "G": 6000.0, "F": 7400.0, "A": 10000.0, "OB": np.inf}
# From hot to cool.
TYPE_ORDER = tuple(reversed(TYPE_LIMITS))
# Giants are below, dwarfs above (Liang et al. 2024, Table 2).
GIANT_LOGG = 3.8


def spectral_type_of(teff: ArrayLike) -> NDArray[np.str_]:
    """Spectral type by effective temperature (K), for stars without the survey's class."""
    names = np.array(list(TYPE_LIMITS))
    limits = np.array(list(TYPE_LIMITS.values()))
    return names[np.searchsorted(limits, np.asarray(teff), side="right")]


SpectralType = Literal["OB", "A", "F", "G", "K", "M"]
SPECTRAL_TYPES: tuple[SpectralType, ...] = ("OB", "A", "F", "G", "K", "M")
Band = Literal["snru", "snrg", "snrr", "snri", "snrz"]
Label = Literal["teff", "logg", "feh", "alpha_fe"]
