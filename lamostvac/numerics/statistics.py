"""Errors of offset and scatter by resampling stars.

Spectra of one star have common errors, so stars are drawn and not spectra: a star with five spectra
is one draw of all five.
"""

from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lamostvac.core.ordering import by_value

RESAMPLES = 200
# Of more stars than this, only evenly spaced ones are resampled, and the errors are scaled by the
# root of the numbers' ratio. This is valid for medians and standard deviations, and a comparison of
# millions takes seconds.
MOST_STARS = 5000


def star_index(star: ArrayLike) -> tuple[NDArray[np.int64], int]:
    """Number (n,) of each row's star, from 0, and the number of stars; a negative number is a star
    of its own.
    """
    stars = np.asarray(star, np.int64)
    alone = stars < 0
    stars = np.where(alone, 0, stars)
    index = _ranks(stars[~alone])
    result = np.empty(len(stars), np.int64)
    result[~alone] = index
    n_shared = int(index.max()) + 1 if len(index) else 0
    result[alone] = n_shared + np.arange(np.count_nonzero(alone))
    return result, n_shared + int(np.count_nonzero(alone))


def _ranks(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place (n,) of each whole number, none negative, among the different ones."""
    largest = int(numbers.max(initial=-1))
    if largest > 10 * len(numbers):
        return np.unique(numbers, return_inverse=True)[1]
    # Without sorting, since stars are numbered from 0.
    present = np.zeros(largest + 1, bool)
    present[numbers] = True
    return (np.cumsum(present) - 1)[numbers]


def resampled_counts(n_stars: int, seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """How often each star was drawn in each resample (resamples, n_stars); not to be written to."""
    keep = _counts_of_few if n_stars <= _FEW else _counts_of_many
    return keep(n_stars, seed, resamples)


def _counts(n_stars: int, seed: int, resamples: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, n_stars, (resamples, n_stars))
    drawn += n_stars * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * n_stars).reshape(resamples, n_stars)
    result = counts.astype(np.float64)
    result.flags.writeable = False
    return result


# A table has thousands of small bins, nearly all of some hundred different numbers of stars: their
# draws take 50 MB. Those of the largest, 8 MB each, come one after the other.
_FEW = 256
_counts_of_few = lru_cache(maxsize=_FEW)(_counts)
_counts_of_many = lru_cache(maxsize=2)(_counts)


@lru_cache(maxsize=1024)
def _middle_places(n_stars: int, seed: int) -> NDArray[np.int64]:
    """`_middles` of so many stars with one value each, for which it is the same whatever they are."""
    counts = resampled_counts(n_stars, seed)
    places = _middles(counts, np.full(len(counts), float(n_stars)))
    places.flags.writeable = False
    return places


def _middles(counts: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where half of a resample's values are reached and passed (2, resamples), as places in `counts`
    flattened (resamples, n): how often each sorted value was drawn, `total` (resamples,) in all.

    In whole numbers; all resamples are one sum, because a search for each would take longer than
    the sums.
    """
    whole: type[np.signedinteger] = np.int32 if total.sum() < 2**31 else np.int64
    running = np.cumsum(counts.astype(whole), dtype=whole)
    before = np.cumsum(total) - total
    half = np.array([before + np.ceil(0.5 * total), before + np.floor(0.5 * total) + 1])
    return np.searchsorted(running, half.astype(whole))


def resampled_weights(
    index: NDArray[np.int64], n_stars: int, seed: int, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """How often each row's star was drawn in each resample (resamples, n)."""
    return resampled_counts(n_stars, seed, resamples)[:, index]


def offset_and_scatter_errors(
    difference: ArrayLike, star: ArrayLike | None = None, seed: int = 0
) -> tuple[float, float, int]:
    """Errors of the median and of the standard deviation of differences, and the number of stars.

    Parameters
    ----------
    difference : (n,) finite
    star : (n,) number of the star, negative for a row that is a star of its own; None: each row is
        one
    seed : equal seeds give equal errors

    Returns
    -------
    error of the median, of the standard deviation (NaN for fewer than two stars), number of stars
    """
    values = np.asarray(difference, np.float64)
    index, n_stars = star_index(np.full(len(values), -1) if star is None else star)
    if n_stars < 2:
        return float("nan"), float("nan"), n_stars
    alone = n_stars == len(values)
    if alone:
        # Each row is a star, and stars are numbered by their values.
        values = np.sort(values)
        index = np.arange(n_stars)
    else:
        # Stars are numbered by their smallest value, so that the order of rows does not matter.
        order = by_value(values, [index])
        values, index = values[order], pd.factorize(index[order])[0]
    scale = 1.0
    if n_stars > MOST_STARS:
        chosen = np.linspace(0, n_stars - 1, MOST_STARS).round().astype(np.int64)
        position = np.full(n_stars, -1)
        position[chosen] = np.arange(MOST_STARS)
        use = position[index] >= 0
        values, index = values[use], position[index[use]]
        scale, drawn = float(np.sqrt(MOST_STARS / n_stars)), MOST_STARS
    else:
        drawn = n_stars
    # A star comes with all its spectra: what is summed over rows can be summed over stars.
    counts = resampled_counts(drawn, seed)
    total = counts @ np.bincount(index, minlength=drawn)
    places = _middle_places(drawn, seed) if alone else _middles(counts[:, index], total)
    low, high = values[places % len(values)]
    centred = values - values.mean()
    mean = counts @ np.bincount(index, centred, drawn) / total
    variance = counts @ np.bincount(index, centred**2, drawn) / total - mean**2
    sigma = np.sqrt(np.maximum(variance, 0.0))
    return (
        float(scale * np.std(0.5 * (low + high), ddof=1)),
        float(scale * np.std(sigma, ddof=1)),
        n_stars,
    )


def robust_sigma(values: ArrayLike) -> float:
    """1.4826 times the median absolute deviation from the median; NaN without values."""
    array = np.asarray(values, np.float64)
    return (
        float(1.4826 * np.median(np.abs(array - np.median(array)))) if array.size else float("nan")
    )
