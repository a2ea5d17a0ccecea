"""Posterior variance of the Gaussian process without its n x n factor (equation 1 of Liang+ 2024).

The variance of the process at a point x is k(x,x) - k_x^T (K + noise^2)^-1 k_x, with k_x the kernel
between the point and all n training points, plus the uncertainty of the mean's coefficients
(Rasmussen & Williams 2006, equation 2.42). All outputs share the kernel and so the variance.

M of the training points, by pivoted Cholesky (K ~ L L^T), represent k_x: k_x ~ L phi with
phi = L_M^-1 k_M(x) and k_M the kernel between the point and the M. Only the M x M root D is kept,
with

    k_x^T (K + noise^2)^-1 k_x ~ |D k_M(x)|^2,    D = R^T L_M^-1,    R R^T = L^T (K + noise^2)^-1 L,

in which K is the whole matrix; only k_x is interpolated. The variance is never below the one that
the M points and all data leave, and far outside, where k_M vanishes, it becomes that of the prior,
as the exact one does.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from lamostvac.numerics.blas import blas_threads
from lamostvac.numerics.kernel import rbf
from lamostvac.numerics.panel_cholesky import PanelCholesky
from lamostvac.numerics.pivoted_cholesky import pivoted_cholesky

MAX_POINTS = 3000
TOLERANCE = (
    1e-8  # variance of a training point that the chosen ones may miss, in units of amplitude^2
)


@dataclass(frozen=True)
class ProcessVariance:
    """The arrays for the variance at a point, some MB.

    Attributes
    ----------
    points : (M, d) of the training points
    root : (M, M), D in the module's docstring
    mean_root : (h, M), which times k_M(x) is the part of the mean's h terms at x that the process
        explains
    normal_root : (h, h) root of the covariance of the mean's coefficients, for an output of
        variance 1
    """

    points: NDArray[np.float64]
    root: NDArray[np.float64]
    mean_root: NDArray[np.float64]
    normal_root: NDArray[np.float64]

    def at(
        self,
        points: NDArray[np.float64],
        terms: NDArray[np.float64],
        amplitude: float,
        length_scale: float,
    ) -> NDArray[np.float64]:
        """Variance (m,) at `points` (m, d), where the mean has `terms` (m, h)."""
        kernel = rbf(points, self.points, amplitude, length_scale)
        explained = ((kernel @ self.root.T) ** 2).sum(axis=1)
        unsure = (terms - kernel @ self.mean_root.T) @ self.normal_root
        return np.asarray(np.clip(amplitude**2 - explained, 0.0, None) + (unsure**2).sum(axis=1))


def process_variance(
    factor: PanelCholesky,
    inputs: NDArray[np.float64],
    weighted_terms: NDArray[np.float64],
    normal: NDArray[np.float64],
    amplitude: float,
    length_scale: float,
    max_points: int = MAX_POINTS,
    tolerance: float = TOLERANCE,
) -> ProcessVariance:
    """The variance of a process from the factor of its training, which is not needed afterwards.

    Parameters
    ----------
    factor : of K + noise^2
    inputs : (n, d)
    weighted_terms : (n, h) (K + noise^2)^-1 times the mean's terms at the inputs
    normal : (h, h) covariance of the mean's coefficients
    max_points, tolerance : see `pivoted_cholesky`
    """
    pivots, low_rank = pivoted_cholesky(inputs, amplitude, length_scale, max_points, tolerance)
    half = factor.half_solve(low_rank)
    with blas_threads(1):  # same bytes on any number of cores
        root = np.linalg.cholesky(half.T @ half + 1e-15 * np.eye(len(pivots)))
        triangle = low_rank[pivots]
        # D = R^T L_M^-1, by solving L_M^T D^T = R; likewise the terms.
        both = solve_triangular(
            triangle,
            np.hstack([root, low_rank.T @ weighted_terms]),
            lower=True,
            trans="T",
            check_finite=False,
        )
        normal_root = np.asarray(np.linalg.cholesky(normal), np.float64)
    count = len(pivots)
    return ProcessVariance(
        inputs[pivots],
        np.ascontiguousarray(both[:, :count].T),
        np.ascontiguousarray(both[:, count:].T),
        normal_root,
    )
