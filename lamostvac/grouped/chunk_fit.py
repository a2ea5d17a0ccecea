"""The fit of a chunk's stars: each alone, from the grouped labels, or at the grouped labels."""

from collections.abc import Callable
from typing import Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from lamostvac.fit.fitter import StarFits, join
from lamostvac.fit.left_out import LeftOutFitter
from lamostvac.fit.settings import FitSettings
from lamostvac.grouped.groups import GroupedStars, fit_at

Method = Literal["refine", "grouped", "grouped_refine"]
_BATCH = 1024  # spectra read at once; no result depends on it


def method_settings(settings: FitSettings, method: Method) -> FitSettings:
    """The fit's settings for a method: at grouped labels no label moves, no pixel is left out."""
    return settings.at_given_labels() if method == "grouped" else settings


def fit_chunk(
    fitter: LeftOutFitter,
    flux: h5py.Dataset,
    ivar: h5py.Dataset,
    spectral_type: str,
    fold: NDArray[np.int64],
    method: Method = "refine",
    stars: GroupedStars | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> StarFits:
    """Labels of prepared spectra (n, 4901), some at a time, from one file or array.

    Parameters
    ----------
    fitter : with settings by `method_settings`
    fold : (n,) of the library's star that each spectrum shows, -1 for others; by `refine` alone
    method : `refine`: each star alone; `grouped_refine`: each from its labels in `stars`;
        `grouped`: errors at those
    stars : what the grouped search found for the n stars; not used by `refine`
    progress : called with the number of spectra done since it was called last
    """
    if method == "refine" or stars is None:
        return fitter.fit(flux, ivar, spectral_type, fold, progress)
    parts = []
    for first in range(0, max(len(flux), 1), _BATCH):
        rows = slice(first, first + _BATCH)
        seen = flux[rows], ivar[rows]
        if method == "grouped":
            parts.append(fit_at(fitter.whole, *seen, stars[rows], spectral_type))
        else:
            parts.append(fitter.whole.fit(*seen, spectral_type, stars[rows].labels[:, None]))
        progress(len(seen[0]))
    return join(parts)
