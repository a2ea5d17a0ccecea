"""Groups of stars: spectral types, giants and dwarfs."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Where the spectral types divide in Teff (K).
TYPE_LIMITS = {"M": 3900.0, "K": 5250.0, "G": 6000.0, "F": 7400.0, "A": 10000.0, "OB": np.inf}
# From hot to cool.
TYPE_ORDER = tuple(reversed(TYPE_LIMITS))
# Giants are below, dwarfs above (Liang et al. 2024, Table 2).
GIANT_LOGG = 3.8


def spectral_type_of(teff: ArrayLike) -> NDArray[np.str_]:
    """Spectral type by an effective temperature (K) and `TYPE_LIMITS`, for stars without the survey's class."""
    names = np.array(list(TYPE_LIMITS))
    limits = np.array(list(TYPE_LIMITS.values()))
    return names[np.searchsorted(limits, np.asarray(teff), side="right")]
