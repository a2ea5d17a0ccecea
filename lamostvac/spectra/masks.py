"""Regions of the spectrum without information on the star (Liang+ 2024 section 3.3 step 1).

Telluric absorption, the dichroic and the interstellar bands are fixed in the observed frame
(vacuum, heliocentric), so they are masked there; in the star's rest frame the masks are shifted.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamostvac.spectra.grid import air_to_vacuum

# The diffuse interstellar bands that LAMOST resolves: air wavelength and half the masked width (A).
# Liang+ 2024 mask "the diffuse interstellar band directory (Hobbs et al. 2008)", which lists 380
# bands, nearly all too narrow and too weak for a LAMOST pixel to show; masking all of them would
# take a third of the spectrum. These are the bands with an equivalent width above about 40 mA per
# magnitude of E(B-V), with half widths of one band width plus one LAMOST resolution element.
DIFFUSE_BANDS: tuple[tuple[float, float], ...] = (
    (4428.2, 12.0),
    (4726.8, 4.0),
    (4762.6, 4.0),
    (5780.5, 4.0),
    (5797.1, 3.0),
    (5849.8, 3.0),
    (6196.0, 3.0),
    (6203.1, 3.0),
    (6269.9, 3.0),
    (6283.8, 5.0),
    (6376.1, 2.5),
    (6379.3, 2.5),
    (6613.6, 3.5),
    (6660.7, 2.5),
    (6993.1, 3.0),
    (7224.0, 3.0),
    (8620.4, 4.0),
)

Regions = Sequence[tuple[float, float]]


def diffuse_band_regions() -> list[tuple[float, float]]:
    """The diffuse interstellar bands as vacuum wavelength intervals (A)."""
    return [
        (centre - half, centre + half)
        for centre, half in ((float(air_to_vacuum(air)), half) for air, half in DIFFUSE_BANDS)
    ]


def in_regions(wave: ArrayLike, regions: Regions | NDArray[np.float64]) -> NDArray[np.bool_]:
    """True where `wave` (p,), A, increasing, lies inside one of the closed intervals `regions`
    (A).
    """
    inside = np.zeros(np.shape(wave), dtype=bool)
    limits = np.array(regions, dtype=float).reshape(-1, 2)
    first = np.searchsorted(wave, limits[:, 0], side="left")
    last = np.searchsorted(wave, limits[:, 1], side="right")
    for start, stop in zip(first.tolist(), last.tolist(), strict=True):
        inside[start:stop] = True
    return inside
