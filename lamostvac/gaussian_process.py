"""Gaussian-process regression with one kernel for many outputs (Liang+ 2024 section 2.2 step 2).

The kernel is a constant times a radial basis function, and all outputs share it: one factorisation
serves every principal component, one matrix product gives all means. The outputs may have a
polynomial mean in the inputs, fitted together with the process (Rasmussen & Williams 2006, section
2.7), which is what carries a prediction to the rim of the inputs.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from lamostvac.kernel import rbf

Mean = Literal["zero", "constant", "quadratic"]


@dataclass(frozen=True)
class GaussianProcess:
    """A trained process.

    Attributes
    ----------
    inputs : (n, d)
    weights : (n, k) kernel weights
    coefficients : (h, k) of the mean's h terms
    amplitude, length_scale : of the kernel amplitude^2 exp(-r^2 / 2 length_scale^2)
    mean : which terms the mean has
    """

    inputs: NDArray[np.float64]
    weights: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    amplitude: float
    length_scale: float
    mean: Mean

    def predict(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Posterior means (m, k) at `points` (m, d)."""
        kernel = rbf(points, self.inputs, self.amplitude, self.length_scale)
        return np.asarray(kernel @ self.weights + mean_terms(points, self.mean)[0] @ self.coefficients)

    def predict_with_jacobian(
        self, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Posterior means (m, k) and their derivatives (m, d, k) with respect to `points` (m, d).

        The derivative of the kernel with respect to the point is kernel * (input - point) / l^2, so
        both come from one product of the kernel with the weights and the weights times the inputs.
        """
        kernel = rbf(points, self.inputs, self.amplitude, self.length_scale)
        sums = (kernel @ self._moments).reshape(len(points), -1, self.weights.shape[1])
        value, moments = sums[:, 0], sums[:, 1:]
        terms, gradients = mean_terms(points, self.mean)
        jacobian = (moments - points[:, :, None] * value[:, None, :]) / self.length_scale**2
        jacobian += (gradients.reshape(-1, gradients.shape[2]) @ self.coefficients).reshape(jacobian.shape)
        return value + terms @ self.coefficients, jacobian

    @cached_property
    def _moments(self) -> NDArray[np.float64]:
        """(n, (1 + d) k) the weights, and the weights times each coordinate of the inputs."""
        factors = np.column_stack([np.ones(len(self.inputs)), self.inputs])
        return (factors[:, :, None] * self.weights[:, None, :]).reshape(len(self.inputs), -1)


def mean_terms(points: NDArray[np.float64], mean: Mean) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Terms of the mean (m, h) at `points` (m, d) and their derivatives (m, d, h)."""
    m, d = points.shape
    terms: list[NDArray[np.float64]] = []
    gradients: list[NDArray[np.float64]] = []
    if mean != "zero":
        terms.append(np.ones(m))
        gradients.append(np.zeros((m, d)))
    if mean == "quadratic":
        for i in range(d):
            gradient = np.zeros((m, d))
            gradient[:, i] = 1.0
            terms.append(points[:, i])
            gradients.append(gradient)
        for i in range(d):
            for j in range(i, d):
                gradient = np.zeros((m, d))
                gradient[:, i] += points[:, j]
                gradient[:, j] += points[:, i]
                terms.append(points[:, i] * points[:, j])
                gradients.append(gradient)
    if not terms:
        return np.zeros((m, 0)), np.zeros((m, d, 0))
    return np.stack(terms, axis=1), np.stack(gradients, axis=2)


def train(
    inputs: NDArray[np.float64],
    outputs: NDArray[np.float64],
    amplitude: float,
    length_scale: float,
    noise: float,
    mean: Mean = "quadratic",
) -> tuple[GaussianProcess, NDArray[np.float64]]:
    """Train a process; also return its leave-one-out residuals.

    Parameters
    ----------
    inputs : (n, d), scaled so that one length scale suits all of them
    outputs : (n, k)
    noise : standard deviation of the outputs' noise, in their unit

    Returns
    -------
    process : the trained process
    residuals : (n, k) each output minus what the process without that point predicts (Rasmussen &
        Williams 2006, equation 5.12, with the mean's terms refitted as well)
    """
    n = len(inputs)
    kernel = rbf(inputs, inputs, amplitude, length_scale)
    kernel[np.diag_indices(n)] += noise**2
    factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
    terms = mean_terms(inputs, mean)[0]
    inverse_diagonal = np.diag(cho_solve(factor, np.eye(n), check_finite=False)).copy()
    weights = cho_solve(factor, outputs, check_finite=False)
    coefficients = np.zeros((terms.shape[1], outputs.shape[1]))
    if terms.shape[1]:
        weighted = cho_solve(factor, terms, check_finite=False)
        normal = np.linalg.inv(terms.T @ weighted)
        coefficients = normal @ (weighted.T @ outputs)
        weights = weights - weighted @ coefficients
        inverse_diagonal -= np.einsum("ni,ij,nj->n", weighted, normal, weighted)
    process = GaussianProcess(inputs, weights, coefficients, amplitude, length_scale, mean)
    return process, weights / inverse_diagonal[:, None]
