"""Spectral-type groups of stars that have no survey classification: those of a library."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Where the spectral types divide in Teff (K).
TYPE_LIMITS = {"M": 3900.0, "K": 5250.0, "G": 6000.0, "F": 7400.0, "A": 10000.0, "OB": np.inf}


def spectral_type_of(teff: ArrayLike) -> NDArray[np.str_]:
    """Spectral-type group of an effective temperature (K), by `TYPE_LIMITS`."""
    names = np.array(list(TYPE_LIMITS))
    limits = np.array(list(TYPE_LIMITS.values()))
    return names[np.searchsorted(limits, np.asarray(teff), side="right")]
