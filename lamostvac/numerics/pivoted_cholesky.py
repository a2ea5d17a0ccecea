"""Pivoted Cholesky decomposition of a kernel matrix: a few points that represent all.

The greedy choice repeatedly takes the point that the chosen ones predict worst (Harbrecht, Peters &
Schneider 2012, Applied Numerical Mathematics 62, 428). A smooth kernel of thousands of stars is
given to many digits by some hundred of them, and the whole matrix is never formed.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from lamostvac.numerics.blas import blas_threads
from lamostvac.numerics.kernel import rbf

_CANDIDATES = 512
# Digits of the remaining variance, in units of the kernel's; of equal points the first is taken.
_DIGITS = 10
_LEAST_TOLERANCE = 1e-9  # below this, those digits do not distinguish points


def pivoted_cholesky(
    inputs: NDArray[np.float64],
    amplitude: float,
    length_scale: float,
    max_points: int,
    tolerance: float,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Greedy pivots and low-rank factor of the kernel matrix K (n, n) of `inputs` (n, d).

    Parameters
    ----------
    amplitude, length_scale : of the kernel `rbf`
    max_points : largest number of pivots, at least 1
    tolerance : no further pivots when no element of diag(K - L L^T) exceeds
        tolerance * amplitude^2; values below 1e-9 are replaced by it, because rounding would decide

    Returns
    -------
    pivots : (M,) rows of `inputs`, in the order of choice
    factor : L (n, M) with K ~ L L^T, exact in the rows and columns of the pivots; L[pivots] is
        lower triangular

    Pivots and bytes are the same for any number of cores. The choice is the plain greedy one, but
    several pivots are taken at a time, so that the work is in matrix products. The remaining
    variance of a point can only decrease; hence a candidate is the next pivot as long as it has
    more left than any other point that is not a candidate had before. n = 18,654 and M = 1500 take
    seconds where one column at a time takes a minute.
    """
    n = len(inputs)
    max_points = max(1, min(max_points, n))
    tolerance = max(tolerance, _LEAST_TOLERANCE)
    factor = np.zeros((n, max_points))
    pivots = np.zeros(max_points, dtype=np.intp)
    left = np.ones(n)  # diag(K - L L^T) / amplitude^2
    done = 0
    with blas_threads(1):  # sums in one order
        while done < max_points:
            order = np.argsort(-np.round(left, _DIGITS), kind="stable")
            if done and not left.max() > tolerance:
                break
            candidates, others = order[:_CANDIDATES], order[_CANDIDATES:]
            enough = max(tolerance, left[others[0]] if len(others) else 0.0)
            rows = factor[candidates, :done]
            block = rbf(inputs[candidates], inputs[candidates], 1.0, length_scale) - rows @ rows.T
            chosen = candidates[_greedy(block, enough, max_points - done)]
            count = len(chosen)
            columns = rbf(inputs, inputs[chosen], 1.0, length_scale)
            columns -= factor[:, :done] @ factor[chosen, :done].T
            root = np.linalg.cholesky(columns[chosen])
            columns = solve_triangular(root, columns.T, lower=True, check_finite=False).T
            columns[chosen] = np.tril(root)
            # Earlier pivots are reproduced exactly; rounding errors there are not part of the
            # triangle.
            columns[pivots[:done]] = 0.0
            factor[:, done : done + count] = columns
            pivots[done : done + count] = chosen
            left -= (columns**2).sum(axis=1)
            np.clip(left, 0.0, None, out=left)
            left[chosen] = 0.0
            done += count
    return pivots[:done], amplitude * factor[:, :done]


def _greedy(block: NDArray[np.float64], enough: float, most: int) -> NDArray[np.intp]:
    """Pivots of a small matrix (m, m): the first, then those with more than `enough` left."""
    left = np.diag(block).copy()
    columns = np.zeros((len(block), min(most, len(block))))
    chosen: list[int] = []
    while len(chosen) < columns.shape[1]:
        pivot = int(np.argmax(np.round(left, _DIGITS)))
        if chosen and not left[pivot] > enough:
            break
        k = len(chosen)
        column = block[:, pivot] - columns[:, :k] @ columns[pivot, :k]
        columns[:, k] = column / np.sqrt(left[pivot])
        left -= columns[:, k] ** 2
        left[pivot] = -1.0
        chosen.append(pivot)
    return np.array(chosen, dtype=np.intp)
