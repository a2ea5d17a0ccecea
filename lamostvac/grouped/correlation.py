"""The library spectra most like each observed one: the t greatest correlations, in their order.

The correlation is that of `cfi.correlation`, but of 20,000 library spectra only the best hundred
matter. They are found in three steps, each of which compares fewer spectra more precisely:

1. In principal components. The part of a spectrum in the span of an orthonormal basis gives the
   correlation up to the product of both residuals outside it. By Cauchy and Schwarz that is at most
   the product of their norms, which excludes little: the residuals are mostly noise. But as noise
   of independent spectra it is small, about 1 / sqrt(pixels) of that bound, and how large it is for
   a star is measured in the next step. What `_DEPTH` times it cannot bring among the best is left
   out.
2. Over the pixels, in float32.
3. Over the pixels in float64, one pair at a time, so that the order of the best does not depend on
   the other spectra of the batch, on the number of cores, or on the rounding of a product.

Where the differences between steps 1 and 2 are so large that some that were left out might have
been among the best (`_might_be_missed`), these are compared in step 3 too. A star with many of them
or many masked pixels, or whose residual is not like noise (`_like_noise`), is compared with the
whole library.
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
_LOST = 0.99  # share of a square in masked pixels from which it is summed over the others
_FEW = 1500  # smaller libraries are compared whole, which takes no longer
_TOGETHER = 128  # stars alike that are compared with the same library spectra
_WIDTH = 2048  # library spectra of a float32 product: bounds memory
# Standard deviations of the residuals' product: those that step 1 allows for, those that must be
# allowed for with the standard deviation measured in step 2. One spectrum of 20,000 is beyond 6 for
# one star in 25,000.
_DEPTH, _SAFE = 5.0, 6.0
_MASKED = 0.1  # share of masked pixels from which components say too little
_MANY = 500  # missed spectra of a star from which on the whole library is compared faster
_SHARE = 0.05  # of a residual's square in one pixel, from which it is no noise


@dataclass(frozen=True)
class References:
    """Spectra to compare with.

    Attributes
    ----------
    flux : (N, p) less each spectrum's mean, on which correlations do not depend
    total : (N,) sum, and `square` (N,) sum of squares, of each row of `flux`
    basis : (k, p) orthonormal rows; k = 0 compares all spectra over the pixels
    components : (N, k) of `flux` divided by its norm
    rest : (N,) norm of what is outside the basis, as a share of the whole norm
    """

    flux: NDArray[np.float32]
    total: NDArray[np.float64]
    square: NDArray[np.float64]
    basis: NDArray[np.float32]
    components: NDArray[np.float32]
    rest: NDArray[np.float32]


def references(flux: NDArray[np.floating], basis: NDArray[np.floating] | None = None) -> References:
    """Library spectra (N, p) made ready for any number of comparisons.

    Parameters
    ----------
    basis : (k, p) orthonormal rows in which the library is compact, those of its emulator; the
        matches do not depend on it, but the time does
    """
    mean = flux.mean(axis=1, dtype=np.float64, keepdims=True)
    # A spectrum's pixels must be contiguous in memory, because rows are picked one by one later.
    centred = np.empty(flux.shape, dtype=np.float32)
    np.subtract(flux, mean, out=centred, casting="same_kind")
    total, square = np.empty(len(flux)), np.empty(len(flux))
    for first in range(0, len(flux), _BLOCK):
        rows = slice(first, first + _BLOCK)
        values = centred[rows].astype(np.float64)
        total[rows], square[rows] = values.sum(axis=1), np.vecdot(values, values)
    if basis is None or len(flux) <= _FEW:
        basis = np.empty((0, flux.shape[1]))
    own = basis.astype(np.float32)
    norm = np.sqrt(np.where(square > 0, square, 1.0)).astype(np.float32)
    components = centred @ own.T / norm[:, None]
    rest = np.sqrt(np.clip(1.0 - np.vecdot(components, components), 0.0, 1.0))
    return References(centred, total, square, own, components, rest)


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
    # Columns picked from an array leave it column by column in memory; here rows are read.
    good = np.ascontiguousarray(good)
    observed = _unit_vectors(np.ascontiguousarray(flux), good)
    rows = np.empty((len(flux), count), dtype=np.int64)
    correlations = np.empty((len(flux), count))
    whole = np.ones(len(flux), dtype=np.bool_)
    if len(library.basis) and 8 * count < len(library.flux):
        components = observed.astype(np.float32) @ library.basis.T
        whole = ~_like_noise(observed, good, components, library.basis)
        whole |= np.count_nonzero(good, axis=1) < (1.0 - _MASKED) * good.shape[1]
        # Neighbours in the first component are alike, and are compared with the same spectra.
        order = np.flatnonzero(~whole)[np.argsort(components[~whole, 0], kind="stable")]
        for first in range(0, len(order), _TOGETHER):
            stars = order[first : first + _TOGETHER]
            seen = good[stars]
            guess, width = _in_components(components[stars], seen, library)
            near = _near(guess, width, count)
            likely = _screen(observed[stars], seen, library, near)
            for i, star in enumerate(stars):
                limit = _limit(likely[i], count)
                missed = _might_be_missed(guess[i], width[i], near, likely[i], limit)
                whole[star] = len(missed) > _MANY
                if not whole[star]:
                    shortlist = np.union1d(near[likely[i] >= limit], missed)
                    best = _best(observed[star], good[star], library, shortlist, count)
                    rows[star], correlations[star] = best
    everything = np.arange(len(library.flux))
    remaining = np.flatnonzero(whole)
    for first in range(0, len(remaining), _TOGETHER):
        stars = remaining[first : first + _TOGETHER]
        likely = _screen(observed[stars], good[stars], library, everything)
        for i, star in enumerate(stars):
            if not observed[star].any():
                rows[star], correlations[star] = np.arange(count), -1.0
                continue
            shortlist = np.flatnonzero(likely[i] >= _limit(likely[i], count))
            best = _best(observed[star], good[star], library, shortlist, count)
            rows[star], correlations[star] = best
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


def _like_noise(
    observed: NDArray[np.float64],
    good: NDArray[np.bool_],
    components: NDArray[np.float32],
    basis: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Whether the part of unit vectors (n, p) outside the basis is spread over many pixels (n,)."""
    rest = observed.astype(np.float32)
    rest -= components @ basis
    rest **= 2
    rest *= good
    return np.asarray(rest.max(axis=1) < _SHARE * rest.sum(axis=1))


def _in_components(
    components: NDArray[np.float32], good: NDArray[np.bool_], library: References
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Correlations (n, N) without the residuals' product, and the standard deviation of that.

    The norm of a library spectrum over the pixels of a star is taken to be that over all of them,
    but for their number; `_might_be_missed` sees how far that is wrong too.
    """
    n_good = np.count_nonzero(good, axis=1)
    stretch = np.sqrt(good.shape[1] / np.maximum(n_good, 1)).astype(np.float32)
    guess = (components * stretch[:, None]) @ library.components.T
    rest = np.sqrt(np.clip(1.0 - np.vecdot(components, components), 0.0, 1.0)) * stretch
    pixels = np.maximum(n_good - len(library.basis), 1)
    width = np.outer(rest / np.sqrt(pixels), library.rest).astype(np.float32)
    return guess, np.maximum(width, np.float32(_MARGIN), out=width)


def _near(guess: NDArray[np.float32], width: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Library rows that may be among the best of one of the stars, increasing."""
    limit = np.partition(guess, -count, axis=1)[:, -count, None]
    return np.flatnonzero((guess + np.float32(_DEPTH) * width >= limit).any(axis=0))


def _screen(
    observed: NDArray[np.float64],
    good: NDArray[np.bool_],
    library: References,
    rows: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Correlations (n, r) with some library rows in float32; 2 where that cannot tell."""
    mask = good.astype(np.float32)
    count = np.maximum(mask.sum(axis=1, keepdims=True), 1.0)
    spectra = observed.astype(np.float32)
    result = np.empty((len(observed), len(rows)), dtype=np.float32)
    for first in range(0, len(rows), _WIDTH):
        part = slice(first, first + _WIDTH)
        flux = library.flux[rows[part]]
        variance = mask @ flux.T
        variance **= 2
        variance /= count
        product = spectra @ flux.T
        flux **= 2
        square = mask @ flux.T
        np.subtract(square, variance, out=variance)
        square *= _FLAT
        flat = variance <= square
        variance[flat] = 1.0
        product /= np.sqrt(variance, out=variance)
        product[flat] = 2.0
        result[:, part] = product
    return result


def _limit(likely: NDArray[np.float32], count: int) -> float:
    """What a correlation of `_screen` (r,) must reach to be among the `count` greatest."""
    # What float32 cannot tell is compared again, but does not count when the limit is set.
    certain = np.where(likely > 1.5, -1.0, likely)
    return float(np.partition(certain, -count)[-count] - 2 * _MARGIN)


def _might_be_missed(
    guess: NDArray[np.float32],
    width: NDArray[np.float32],
    near: NDArray[np.int64],
    likely: NDArray[np.float32],
    limit: float,
) -> NDArray[np.int64]:
    """Library rows that are not among `near` and might reach the limit.

    How far guesses (N,) are from correlations, in units of `width` (N,), is measured with those
    that were compared: a common factor, which masked pixels make, and the scatter about it.
    """
    known = (likely < 1.5) & (guess[near] > 0)
    compared, own = near[known], likely[known]
    factor = float(own @ guess[compared]) / max(float(guess[compared] @ guess[compared]), 1e-30)
    away = (own - factor * guess[compared]) / width[compared]
    scatter = max(1.0, float(np.sqrt(np.mean(away**2)))) if len(away) else np.inf
    others = np.ones(len(guess), dtype=np.bool_)
    others[near] = False
    if not np.isfinite(scatter):
        return np.flatnonzero(others)
    # Few are within the largest of all widths.
    beyond = limit - _SAFE * scatter * float(width.max())
    rows = np.flatnonzero((np.float32(factor) * guess >= beyond) & others)
    return rows[factor * guess[rows] + _SAFE * scatter * width[rows] >= limit]


def _best(
    observed: NDArray[np.float64],
    good: NDArray[np.bool_],
    library: References,
    shortlist: NDArray[np.int64],
    count: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The `count` best of a shortlist of increasing rows, and their correlations in float64."""
    parts = [
        _exact(observed, good, library, shortlist[first : first + _BLOCK])
        for first in range(0, len(shortlist), _BLOCK)
    ]
    exact = np.concatenate(parts)
    best = np.argsort(-exact, kind="stable")[:count]
    return shortlist[best], exact[best]


def _exact(
    observed: NDArray[np.float64],
    good: NDArray[np.bool_],
    library: References,
    rows: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Correlations (s,) of one unit vector (p,) with library rows (s,).

    Sums are computed for each spectrum, since the rounding of a matrix product depends on its
    shape. Few pixels are masked, so a sum over the others is the sum over all less theirs.
    """
    spectra = library.flux[rows]
    lost = spectra[:, ~good].astype(np.float64)
    square = library.square[rows] - np.vecdot(lost, lost)
    total = library.total[rows] - lost.sum(axis=1)
    again = square < (1.0 - _LOST) * library.square[rows]
    if again.any():
        seen = spectra[np.ix_(again, good)].astype(np.float64)
        square[again], total[again] = np.vecdot(seen, seen), seen.sum(axis=1)
    variance = square - total**2 / max(np.count_nonzero(good), 1)
    defined = variance > _ROUNDING * square
    product = np.vecdot(spectra.astype(np.float64), observed)
    return np.where(defined, product / np.sqrt(np.where(defined, variance, 1.0)), -1.0)
