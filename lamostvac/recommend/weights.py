"""The weights of several systems in a mean of least variance, none of them negative."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# The variance of a mean is never taken as smaller than this share of its systems' variances, so that
# systems with a correlation of 1 do not divide by 0.
LEAST = 1e-12


def _subsets(members: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All subsets that are not empty, the smallest first."""
    for size in range(1, len(members) + 1):
        yield from combinations(members, size)


def best_weights(covariance: Array, members: Sequence[int]) -> Array:
    """Weights (n, s) of the mean of least variance of some systems.

    Parameters
    ----------
    covariance : (n, s, s) of the errors of all s systems, for n stars
    members : the systems that take part; the others have weight 0

    Returns
    -------
    weights >= 0 with sum 1. The least variance with weights that may be 0 is the least of those of
    all subsets for which the free weights are not negative, because each of these is a mean that is
    allowed and one of them is the solution (a convex problem).
    """
    n, s, _ = covariance.shape
    weights, least = np.zeros((n, s)), np.full(n, np.inf)
    for subset in _subsets(members):
        free, variance = _free(covariance, subset)
        better = (free >= 0.0).all(axis=1) & (variance < least)
        rows = np.flatnonzero(better)
        weights[rows] = 0.0
        weights[np.ix_(rows, np.array(subset))] = free[rows]
        least[rows] = variance[rows]
    return weights


def _free(covariance: Array, subset: tuple[int, ...]) -> tuple[Array, Array]:
    """Weights (n, k) of a subset's mean of least variance, which may be negative, and the variance."""
    if len(subset) == 1:
        return np.ones((len(covariance), 1)), covariance[:, subset[0], subset[0]]
    part = covariance[:, subset][:, :, subset]
    if len(subset) == 2:
        v1, v2, shared = part[:, 0, 0], part[:, 1, 1], part[:, 0, 1]
        sum_of = np.maximum(v1 + v2 - 2.0 * shared, LEAST * (v1 + v2))
        free = np.stack([v2 - shared, v1 - shared], axis=1) / sum_of[:, None]
    else:
        size = np.trace(part, axis1=1, axis2=2)
        part = part + (LEAST * size)[:, None, None] * np.eye(len(subset))
        free = np.linalg.solve(part, np.ones((len(part), len(subset), 1)))[:, :, 0]
        free /= free.sum(axis=1, keepdims=True)
    return free, np.einsum("ni,nij,nj->n", free, part, free)


def weights_of(validity: Array, covariance: Array) -> Array:
    """Weights (n, s) of systems that are valid to some degree.

    Parameters
    ----------
    validity : (n, s) from 0 to 1
    covariance : (n, s, s) of the systems' errors; what it has for a system with validity 0 does not
        matter

    Returns
    -------
    The mean of `best_weights` of all subsets, each as probable as if the validities were the
    probabilities that a system is there; 0 for stars without a valid system. It is continuous in the
    validities, also where a best weight is 0 or 1.
    """
    n, s = validity.shape
    weights, total = np.zeros((n, s)), np.zeros(n)
    for subset in _subsets(range(s)):
        inside = np.isin(np.arange(s), subset)
        probability = np.where(inside, validity, 1.0 - validity).prod(axis=1)
        rows = np.flatnonzero(probability > 0)
        if len(rows):
            weights[rows] += probability[rows, None] * best_weights(covariance[rows], subset)
            total[rows] += probability[rows]
    return weights / np.where(total > 0, total, 1.0)[:, None]
