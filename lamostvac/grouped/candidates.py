"""The library stars of which a grouped search combines the labels of each star of a chunk."""

from collections.abc import Callable

import h5py
import numpy as np
from numpy.typing import NDArray

from lamostvac.emulator.model import Emulator
from lamostvac.grouped.correlation import best_matches, references
from lamostvac.grouped.search import filled_candidates
from lamostvac.library.library import SpectralLibrary

_BATCH = 256  # spectra read at once; no result depends on it


def chunk_candidates(
    flux: h5py.Dataset,
    ivar: h5py.Dataset,
    library: SpectralLibrary,
    emulator: Emulator,
    matches: int,
    progress: Callable[[int], None] = lambda count: None,
) -> NDArray[np.int32]:
    """Rows of the library (n, t) for prepared spectra (n, 4901), the best match first (`filled_candidates`).

    Parameters
    ----------
    flux, ivar : from one file or array; ivar 0 masks
    matches : t, at most the library's number of stars
    progress : called with the number of spectra done since it was called last
    """
    labels = library.label_array()
    ready = references(library.flux[:, emulator.pixels])
    count = min(matches, len(labels))
    parts = [np.empty((0, count), dtype=np.int32)]
    for first in range(0, len(flux), _BATCH):
        rows = slice(first, first + _BATCH)
        seen, weight = flux[rows][:, emulator.pixels], ivar[rows][:, emulator.pixels]
        similar, _ = best_matches(seen, weight > 0, ready, count)
        parts.append(filled_candidates(emulator, similar, labels).astype(np.int32))
        progress(len(seen))
    return np.concatenate(parts)
