"""Generalised least squares over the bands of each star, without missing and wrong bands."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_BLOCK = 512  # stars whose matrices stay in a core's cache; no result depends on it


@dataclass(frozen=True)
class BandFit:
    """Parameters of n stars.

    Attributes
    ----------
    values, errors : (n, p), NaN where the bands do not determine them
    n_bands : (n,) bands used; 0 where there is no result
    """

    values: Array
    errors: Array
    n_bands: NDArray[np.int64]


def fit_bands(
    y: Array,
    design: Array,
    covariance: Array,
    clip: float,
    min_bands: int,
    max_clipped: int = 2,
    error_covariance: Array | None = None,
) -> BandFit:
    """Minimise (y - A x)^T C^-1 (y - A x) for each star over the bands that it has.

    A band that deviates from the prediction of the others by more than `clip` standard deviations
    is left out, the worst one first, at most `max_clipped` bands, and at least `min_bands` are
    kept.

    Parameters
    ----------
    y : (n, bands), NaN where missing
    design : (n, bands, p)
    covariance : (n, bands, bands), positive definite on the bands present; values for the others
        are not read, but NaN on the diagonal makes a band missing too. Fastest as a view of an
        array (bands, bands, n)
    error_covariance : (n, bands, bands) covariance for the errors of the parameters, when it
        differs from the one for the weights
    """
    n, _, p = design.shape
    used = np.isfinite(y) & np.isfinite(np.diagonal(covariance, axis1=1, axis2=2))
    used &= np.isfinite(design).all(axis=2)
    result = BandFit(np.full((n, p), np.nan), np.full((n, p), np.nan), np.zeros(n, np.int64))
    enough = used.sum(axis=1) >= max(min_bands, p)
    doubtful = [np.empty(0, np.int64)]
    for start in range(0, n, _BLOCK):
        rows = slice(start, start + _BLOCK)
        part, here = _Stars(y, design, covariance, error_covariance, used, rows), enough[rows]
        x, errors, chi2, solvable = part.solve()
        solvable &= here
        result.values[rows] = np.where(solvable, x, np.nan).T
        result.errors[rows] = np.where(solvable, errors, np.nan).T
        result.n_bands[rows] = np.where(solvable, used[rows].sum(axis=1), 0)
        # The square of a band's pull is at most chi2, so few stars have a band to be looked for.
        with np.errstate(invalid="ignore"):
            doubtful.append(start + np.flatnonzero(solvable & (chi2 > clip**2 * (1 - 1e-9))))
    left = np.concatenate(doubtful)
    for _ in range(max_clipped):
        if not len(left):
            break
        stars = _Stars(y, design, covariance, error_covariance, used, left)
        pull = stars.pulls()
        worst = pull.argmax(axis=0)
        out = (pull[worst, np.arange(len(left))] > clip) & (
            used[left].sum(axis=1) - 1 >= max(min_bands, p)
        )
        left, worst = left[out], worst[out]
        used[left, worst] = False
        stars = _Stars(y, design, covariance, error_covariance, used, left)
        x, errors, _, solvable = stars.solve()
        result.values[left] = np.where(solvable, x, np.nan).T
        result.errors[left] = np.where(solvable, errors, np.nan).T
        result.n_bands[left] = np.where(solvable, used[left].sum(axis=1), 0)
        left = left[solvable]
    return result


class _Stars:
    """Some stars' equations, whitened: the last axis of every array is the star's.

    One operation is done for all stars at a time: calls of LAPACK for small matrices take several
    times as long.

    Attributes
    ----------
    factor : (bands, bands, n), of which the upper triangle is the transposed Cholesky factor L
    design, measured : L^-1 A (bands, p, n), L^-1 y (bands, n)
    """

    def __init__(
        self,
        y: Array,
        design: Array,
        covariance: Array,
        error_covariance: Array | None,
        used: NDArray[np.bool_],
        rows: slice | NDArray[np.int64],
    ) -> None:
        mask = np.ascontiguousarray(used[rows].T)
        # Missing bands are made independent of the others and get weight 0.
        self.both = mask[:, None] & mask[None, :]
        identity = np.eye(len(mask))[:, :, None]
        self.factor = np.where(self.both, np.moveaxis(covariance[rows], 0, -1), identity)
        sides = np.empty((len(mask), design.shape[2] + 1, mask.shape[1]))
        sides[:, :-1] = np.where(mask[:, None], np.moveaxis(design[rows], 0, -1), 0.0)
        sides[:, -1] = np.where(mask, y[rows].T, 0.0)
        eliminate(self.factor, sides)
        self.mask, self.design, self.measured = mask, sides[:, :-1], sides[:, -1]
        self.error_covariance = (
            None if error_covariance is None else np.moveaxis(error_covariance[rows], 0, -1)
        )

    def _normal(self) -> tuple[Array, Array, NDArray[np.bool_]]:
        """x (p, n), its covariance (p, p, n), and where the bands tell the parameters apart (n,)."""
        normal = np.einsum("bpn,bqn->pqn", self.design, self.design)
        right = np.einsum("bpn,bn->pn", self.design, self.measured)
        diagonal = np.einsum("ppn->pn", normal)
        scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        scaled = normal / scale[:, None] / scale[None, :]
        inverse = np.broadcast_to(np.eye(len(scale))[:, :, None], scaled.shape).copy()
        # Where columns of the design are nearly dependent, a pivot is zero or below.
        with np.errstate(invalid="ignore", divide="ignore"):
            eliminate(scaled, inverse)
            determinant = np.prod(np.einsum("ppn->pn", scaled), axis=0) ** 2
            solvable = (diagonal > 0).all(axis=0) & (determinant > 1e-9)
            variance = np.einsum("kpn,kqn->pqn", inverse, inverse) / scale[:, None] / scale[None, :]
            x = np.einsum("pqn,qn->pn", variance, right)
        return x, variance, solvable

    def solve(self) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
        """x and errors (p, n), chi2 (n,), and where there is a solution (n,)."""
        x, variance, solvable = self._normal()
        own = np.einsum("ppn->pn", variance)
        with np.errstate(invalid="ignore"):
            if self.error_covariance is not None:
                weights = np.einsum("pqn,bqn->pbn", variance, back(self.factor, self.design))
                full = np.where(self.both, self.error_covariance, 0.0)
                spread = np.einsum("pbn,bcn->pcn", weights, full)
                own = np.einsum("pcn,pcn->pn", spread, weights)
            errors = np.sqrt(np.maximum(own, 0))
            left = self.measured - np.einsum("bpn,pn->bn", self.design, x)
            chi2 = np.einsum("bn,bn->n", left, left)
        return x, errors, chi2, solvable

    def pulls(self) -> Array:
        """Deviation of each band (bands, n) from the prediction of the others in standard deviations.

        With Q the inverse covariance less what the fit takes, it is (Q r)_b / Q_bb, with variance
        1 / Q_bb.
        """
        x, variance, solvable = self._normal()
        n_bands = len(self.mask)
        inverse = np.broadcast_to(np.eye(n_bands)[:, :, None], self.factor.shape).copy()
        eliminated(self.factor, inverse)
        left = self.measured - np.einsum("bpn,pn->bn", self.design, x)
        weighted = np.einsum("kbn,kpn->bpn", inverse, self.design)
        spent = np.einsum("bpn,pqn,bqn->bn", weighted, variance, weighted)
        kept = np.einsum("kbn,kbn->bn", inverse, inverse) - spent
        pull = np.einsum("kbn,kn->bn", inverse, left) / np.sqrt(np.where(kept > 0, kept, np.inf))
        return np.where(self.mask & solvable, np.abs(pull), 0.0)


def eliminate(matrix: Array, sides: Array) -> None:
    """Cholesky factors of symmetric matrices (k, k, n) and L^-1 of `sides` (k, m, n), in place.

    The upper triangle of `matrix` becomes the transposed factor L; what is below it is not read.
    """
    for step in range(len(matrix)):
        pivot = np.sqrt(matrix[step, step])
        row = matrix[step, step:]
        row /= pivot
        for later in range(step + 1, len(matrix)):
            matrix[later, later:] -= matrix[step, later] * matrix[step, later:]
    eliminated(matrix, sides)


def eliminated(factor: Array, sides: Array) -> None:
    """L^-1 of `sides` (k, m, n) in place, with the factor of `eliminate`."""
    for step in range(len(factor)):
        sides[step] /= factor[step, step]
        sides[step + 1 :] -= factor[step, step + 1 :, None] * sides[step]


def solved(matrix: Array, sides: Array) -> Array:
    """Solutions (k, m, n) of symmetric positive definite matrices (k, k, n), which are overwritten."""
    eliminate(matrix, sides := sides.copy())
    return back(matrix, sides)


def back(factor: Array, sides: Array) -> Array:
    """L^-T of `sides` (k, m, n), with the factor of `eliminate`."""
    result = sides.copy()
    for step in range(len(factor) - 1, -1, -1):
        if step + 1 < len(factor):
            result[step] -= np.einsum("kn,kmn->mn", factor[step, step + 1 :], result[step + 1 :])
        result[step] /= factor[step, step]
    return result


def nearest_semidefinite(matrix: Array) -> Array:
    """The nearest symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.maximum(values, 0)) @ vectors.T
