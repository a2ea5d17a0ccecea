"""The Bayesian search's surrogate, scikit-learn's Gaussian process, without the checks of its arguments.

The search asks for the surrogate at one point at a time, some thousand times for a group. What
scikit-learn computes for a point takes a fifth of what it takes to check that the point is one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular


class Surrogate:
    """Fitted as the process is, with the same predictions to the last bit.

    Parameters
    ----------
    process : a `GaussianProcessRegressor` with `normalize_y`, as bayesian-optimization makes it
    """

    def __init__(self, process: Any) -> None:
        self._process = process
        self._mean: np.floating = np.float64(0.0)
        self._scale: np.floating = np.float64(1.0)

    def fit(self, points: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        """Learn values (n,) at points (n, m)."""
        self._process.fit(points, values)
        # By these the process normalises the values; equal ones are not divided.
        self._mean, scale = np.mean(values), np.std(values)
        self._scale = scale if scale > 0 else np.float64(1.0)

    @property
    def X_train_(self) -> NDArray[np.float64]:
        """The points (n, m) that it was fitted to."""
        return np.asarray(self._process.X_train_)

    def predict(
        self, points: NDArray[np.float64], return_std: bool = True
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means and standard deviations (k,) at points (k, m)."""
        process = self._process
        kernel = process.kernel_(points, process.X_train_)
        mean = self._scale * (kernel @ process.alpha_) + self._mean
        half = solve_triangular(process.L_, kernel.T, lower=True, check_finite=False)
        variance = process.kernel_.diag(points) - np.einsum("ij,ji->i", half.T, half)
        return mean, np.sqrt(np.maximum(variance, 0.0) * self._scale**2)
