"""The library spectra most like each observed one: the t greatest correlations, in their order.

The correlation is that of `cfi.correlation`, but of 20,000 library spectra only the best hundred
matter. Three products in float32 find those that can be among them; these few are then compared
again in float64, one pair at a time, so that their order does not depend on the other spectra of
the batch, on the number of cores, or on the rounding of a product.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Bound on the products' errors: five times the 2e-6 measured with 19,365 spectra of 3807 pixels at
# S/N 3 to 300.
_MARGIN = 1e-5
_FLAT = 1e-5  # variance, as a share of the square, that float32 cannot tell from none
_ROUNDING = 1e-10  # the same for float64
_BLOCK = 512  # rows compared at once; bounds memory where all spectra are alike


@dataclass(frozen=True)
class References:
    """Spectra to compare with.

    Attributes
    ----------
    flux : (N, p) less each spectrum's mean, on which correlations do not depend
    square : (N, p) of `flux`
    """

    flux: NDArray[np.float32]
    square: NDArray[np.float32]


def references(flux: NDArray[np.floating]) -> References:
    """Library spectra (N, p) made ready for any number of comparisons."""
    mean = flux.mean(axis=1, dtype=np.float64, keepdims=True)
    # A spectrum's pixels must be contiguous in memory, because rows are picked one by one later.
    centred = np.empty(flux.shape, dtype=np.float32)
    np.subtract(flux, mean, out=centred, casting="same_kind")
    return References(centred, centred**2)


def best_matches(
    flux: NDArray[np.floating], good: NDArray[np.bool_], library: References, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The library spectra most like each spectrum, over the pixels that it has.

    Parameters
    ----------
    flux, good : (n, p) spectra and their valid pixels
    count : t, at most as many as the library has

    Returns
    -------
    rows : (n, t) of the library, the most similar first, equally similar ones by row
    correlations : (n, t); -1 where a spectrum has no variance
    """
    count = min(count, len(library.flux))
    observed = _unit_vectors(flux, good)
    likely = _screen(observed, good, library)
    rows = np.empty((len(flux), count), dtype=np.int64)
    correlations = np.empty((len(flux), count))
    for star in range(len(flux)):
        if not observed[star].any():
            rows[star], correlations[star] = np.arange(count), -1.0
            continue
        # What float32 cannot tell is compared again, but does not count when the limit is set.
        certain = np.where(likely[star] > 1.5, -1.0, likely[star])
        limit = np.partition(certain, -count)[-count] - 2 * _MARGIN
        shortlist = np.flatnonzero(likely[star] >= limit)
        exact = np.concatenate(
            [
                _exact(observed[star], good[star], library.flux[shortlist[first : first + _BLOCK]])
                for first in range(0, len(shortlist), _BLOCK)
            ]
        )
        best = np.argsort(-exact, kind="stable")[:count]
        rows[star], correlations[star] = shortlist[best], exact[best]
    return rows, correlations


def _unit_vectors(flux: NDArray[np.floating], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Spectra (n, p) less their mean, divided by their norm; 0 where masked or without variance."""
    # About 1 the numbers are small, and their squares keep their digits.
    values = np.where(good, flux, 1.0).astype(np.float64) - 1.0
    square = (values**2).sum(axis=1, keepdims=True)
    values -= values.sum(axis=1, keepdims=True) / np.maximum(good.sum(axis=1, keepdims=True), 1)
    values *= good
    norm = (values**2).sum(axis=1, keepdims=True)
    return np.asarray(values * (norm > _ROUNDING * square) / np.sqrt(np.where(norm > 0, norm, 1.0)))


def _screen(
    observed: NDArray[np.float64], good: NDArray[np.bool_], library: References
) -> NDArray[np.float32]:
    """Correlations (n, N) in float32; 2 where this is not precise enough to tell."""
    mask = good.astype(np.float32)
    count = np.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    square = mask @ library.square.T
    variance = mask @ library.flux.T
    variance **= 2
    variance /= count
    np.subtract(square, variance, out=variance)
    square *= _FLAT
    flat = variance <= square
    variance[flat] = 1.0
    result = observed.astype(np.float32) @ library.flux.T
    result /= np.sqrt(variance, out=variance)
    result[flat] = 2.0
    return np.asarray(result)


def _exact(
    observed: NDArray[np.float64], good: NDArray[np.bool_], spectra: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Correlations (s,) of one unit vector (p,) with spectra (s, p).

    Sums are computed for each spectrum, since the rounding of a matrix product depends on its
    shape.
    """
    mask = good.astype(np.float64)
    values = spectra * mask
    square = np.vecdot(values, values)
    variance = square - np.vecdot(values, mask) ** 2 / max(np.count_nonzero(good), 1)
    defined = variance > _ROUNDING * square
    product = np.vecdot(values, observed)
    return np.where(defined, product / np.sqrt(np.where(defined, variance, 1.0)), -1.0)
