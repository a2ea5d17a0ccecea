"""Cholesky factor of a large kernel matrix, in panels.

LAPACK's Cholesky needs the whole square matrix and, for the diagonal of the inverse, two more of
its size; in NumPy's OpenBLAS 0.3.31 with several threads it also crashes from n = 16,000 on
(AVX-512). Here only the lower triangle is stored, in panels of rows. BLAS only multiplies blocks,
each with one thread; the blocks are shared among workers. Every element is summed in the same order
for any number of workers, so the result has the same bytes on one core as on many.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import starmap
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from lamostvac.numerics.blas import blas_thread_count, blas_threads

_ROWS = (
    1024  # of a panel: large enough for BLAS to be at its peak, small enough to be shared evenly
)
_COLUMNS = 128  # of right-hand sides that are solved together

Rows = NDArray[np.float64]


class PanelCholesky:
    """The factor L of K = L L^T.

    Attributes
    ----------
    n : size of the matrix
    """

    def __init__(self, matrix: Callable[[slice, slice], Rows], n: int) -> None:
        """Factorise.

        Parameters
        ----------
        matrix : gives the block of K in some rows and columns; only the lower triangle is requested
        n : size of K

        Raises
        ------
        numpy.linalg.LinAlgError
            K is not positive definite.

        n^3 / 3 operations and 4 n^2 bytes: 1.4 GB for n = 18,654.
        """
        self.n = n
        self._edges = [slice(first, min(first + _ROWS, n)) for first in range(0, n, _ROWS)]
        # Panel i has the rows of edge i and the columns up to its own.
        self._panels = [np.empty((edge.stop - edge.start, edge.stop)) for edge in self._edges]
        self._inverses: list[Rows] = []  # of the diagonal blocks
        pairs = [(i, j) for i in range(len(self._edges)) for j in range(i + 1)]

        def fill(i: int, j: int) -> None:
            self._panels[i][:, self._edges[j]] = matrix(self._edges[i], self._edges[j])

        _share(fill, pairs)
        for k, edge in enumerate(self._edges):
            with blas_threads(1):
                root = np.linalg.cholesky(self._panels[k][:, edge])
                self._panels[k][:, edge] = root
                self._inverses.append(solve_triangular(root, np.eye(len(root)), lower=True))
            _share(self._finish, [(i, k) for i in range(k + 1, len(self._edges))])
            _share(self._update, [(i, j, k) for i, j in pairs if j > k])

    def _finish(self, i: int, k: int) -> None:
        block = self._panels[i][:, self._edges[k]]
        block[:] = block @ self._inverses[k].T

    def _update(self, i: int, j: int, k: int) -> None:
        edge = self._edges[k]
        self._panels[i][:, self._edges[j]] -= self._panels[i][:, edge] @ self._panels[j][:, edge].T

    def half_solve(self, right: Rows) -> Rows:
        """L^-1 right, for right (n, m)."""
        result = np.array(right, dtype=np.float64)

        def forward(columns: slice) -> None:
            x = np.ascontiguousarray(result[:, columns])
            for edge, panel, inverse in zip(self._edges, self._panels, self._inverses, strict=True):
                x[edge] = inverse @ (x[edge] - panel[:, : edge.start] @ x[: edge.start])
            result[:, columns] = x

        _share(forward, _columns(result))
        return result

    def solve(self, right: Rows) -> Rows:
        """K^-1 right, for right (n, m)."""
        result = self.half_solve(right)

        def backward(columns: slice) -> None:
            x = np.ascontiguousarray(result[:, columns])
            for i in reversed(range(len(self._edges))):
                edge, panel = self._edges[i], self._panels[i]
                x[edge] = self._inverses[i].T @ x[edge]
                x[: edge.start] -= panel[:, : edge.start].T @ x[edge]
            result[:, columns] = x

        _share(backward, _columns(result))
        return result

    def inverse_diagonal(self) -> Rows:
        """Diagonal (n,) of K^-1: sums of squares of L^-1; a worker holds one panel at a time."""
        result = np.empty(self.n)

        def one(j: int) -> None:
            first = self._edges[j].start
            inverse = np.zeros((self.n - first, len(self._inverses[j])))
            inverse[: len(self._inverses[j])] = self._inverses[j]
            for i in range(j + 1, len(self._edges)):
                rows = slice(self._edges[i].start - first, self._edges[i].stop - first)
                above = self._panels[i][:, first : self._edges[i].start] @ inverse[: rows.start]
                inverse[rows] = -(self._inverses[i] @ above)
            result[self._edges[j]] = (inverse**2).sum(axis=0)

        _share(one, [(j,) for j in range(len(self._edges))])
        return result


def _columns(right: Rows) -> list[tuple[slice]]:
    return [(slice(first, first + _COLUMNS),) for first in range(0, right.shape[1], _COLUMNS)]


def _share(function: Callable[..., None], tasks: Iterable[tuple[Any, ...]]) -> None:
    """Do the tasks with as many workers as BLAS has threads, BLAS with one each."""
    workers = blas_thread_count()
    with blas_threads(1):
        if workers == 1:
            for _ in starmap(function, tasks):
                pass
            return
        with ThreadPoolExecutor(workers) as pool:
            for done in [pool.submit(function, *task) for task in tasks]:
                done.result()
