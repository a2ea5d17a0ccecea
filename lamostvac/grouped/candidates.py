"""For each star of a chunk, the library stars whose labels a grouped search combines."""

from collections.abc import Callable

import h5py
import numpy as np
from numpy.typing import NDArray

from lamostvac.emulator.model import Emulator
from lamostvac.fit.priors import prior_intervals
from lamostvac.grouped.correlation import best_matches, references
from lamostvac.library.library import SpectralLibrary

_BATCH = 1024  # spectra read at once; no result depends on it


def chunk_candidates(
    flux: h5py.Dataset,
    ivar: h5py.Dataset,
    library: SpectralLibrary,
    emulator: Emulator,
    matches: int,
    progress: Callable[[int], None] = lambda count: None,
) -> NDArray[np.int32]:
    """Rows of the library (n, t) for prepared spectra (n, 4901), see `filled_candidates`.

    Parameters
    ----------
    flux, ivar : from one file or array; ivar 0 masks
    matches : t, at most the library's number of stars
    progress : called with the number of spectra done since it was called last
    """
    labels = library.label_array()
    ready = references(library.flux[:, emulator.pixels], emulator.basis)
    count = min(matches, len(labels))
    parts = [np.empty((0, count), dtype=np.int32)]
    for first in range(0, len(flux), _BATCH):
        rows = slice(first, first + _BATCH)
        seen, weight = flux[rows][:, emulator.pixels], ivar[rows][:, emulator.pixels]
        similar, _ = best_matches(seen, weight > 0, ready, count)
        parts.append(filled_candidates(emulator, similar, labels).astype(np.int32))
        progress(len(seen))
    return np.concatenate(parts)


def candidate_rows(
    emulator: Emulator,
    correlations: NDArray[np.floating],
    library_labels: NDArray[np.floating],
    matches: int,
) -> NDArray[np.int64]:
    """`filled_candidates` of the `matches` library stars with the greatest correlations (n, N)."""
    t = min(matches, len(library_labels))
    similar = np.array([_smallest(-values, t) for values in correlations], dtype=np.int64)
    return filled_candidates(emulator, similar.reshape(len(correlations), t), library_labels)


def filled_candidates(
    emulator: Emulator, similar: NDArray[np.integer], library_labels: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Candidates (n, t) of each star: rows of the library, best first (L24 section 2.2 step 4).

    Of the t library stars most similar to a star, those are kept whose labels lie in the prior
    intervals about the labels of the first. If k < t are kept, they are followed by the t - k
    library stars closest in Teff to the first one that are not among the t most similar. If the
    library has too few of these, removed ones follow, again by Teff.

    Parameters
    ----------
    similar : (n, t) rows of the most similar library stars, the best match first,
        `correlation.best_matches`
    library_labels : (N, L), t <= N
    """
    n, t = similar.shape
    labels = np.asarray(library_labels, dtype=float)
    scaled, teff = emulator.to_scaled(labels), labels[:, 0]
    by_teff = np.argsort(teff, kind="stable")
    low, high = prior_intervals(emulator, labels[similar[:, 0]])
    inside = ((scaled[similar] >= low[:, None]) & (scaled[similar] <= high[:, None])).all(axis=2)
    result = np.empty((n, t), dtype=np.int64)
    among = np.zeros(len(teff), dtype=np.bool_)
    for star in range(n):
        chosen = similar[star, inside[star]]
        result[star, : len(chosen)] = chosen
        if len(chosen) == t:
            continue
        if 2 * t <= len(teff):
            # Of the 2 t closest at least t are not among the t most similar.
            close = _closest(teff, by_teff, similar[star, 0], 2 * t)
            among[similar[star]] = True
            result[star, len(chosen) :] = close[~among[close]][: t - len(chosen)]
            among[similar[star]] = False
            continue
        distance = np.abs(teff - teff[similar[star, 0]])
        # Removed stars come last, in the order of their distance; chosen ones are never repeated.
        distance[similar[star]] += np.ptp(teff) + 1.0
        distance[chosen] = np.inf
        result[star, len(chosen) :] = _smallest(distance, t - len(chosen))
    return result


def _closest(
    values: NDArray[np.floating], order: NDArray[np.int64], row: np.integer, count: int
) -> NDArray[np.int64]:
    """As `_smallest` of the distances of values (N,) from that of `row`, for increasing
    values[order].
    """
    value = values[row]
    place = int(np.searchsorted(values, value, sorter=order))
    window = order[max(place - count, 0) : place + count]
    limit = np.partition(np.abs(values[window] - value), count - 1)[count - 1]
    # More than the window has only where several are equally far.
    slack = limit + 1e-9 * (abs(value) + limit)
    first = np.searchsorted(values, value - slack, sorter=order)
    last = np.searchsorted(values, value + slack, side="right", sorter=order)
    rows = order[first:last]
    distance = np.abs(values[rows] - value)
    return np.asarray(rows[np.lexsort((rows, distance))][:count])


def _smallest(values: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Indices of the `count` smallest values in increasing order; equal values by index."""
    if count == 0:
        return np.empty(0, dtype=np.int64)
    limit = np.partition(values, count - 1)[count - 1]
    rows = np.flatnonzero(values <= limit)
    return np.asarray(rows[np.argsort(values[rows], kind="stable")][:count])
