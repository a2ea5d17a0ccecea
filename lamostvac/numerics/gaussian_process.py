"""Gaussian-process regression with one kernel for many outputs (Liang+ 2024 section 2.2 step 2).

The kernel is a constant times a radial basis function, and all outputs share it: one factorisation
is enough for all principal components, and one matrix product gives all means. The outputs may have
a polynomial mean in the inputs, fitted together with the process (Rasmussen & Williams 2006,
section 2.7), which determines predictions near the edge of the inputs.

The process is exact: all n training points, one factorisation. The factor (1.4 GB for the 18,654
spectra of MaStar) exists during training only; kept are the weights, and for the variance the small
arrays of `process_variance`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.numerics.blas import blas_threads
from lamostvac.numerics.kernel import rbf
from lamostvac.numerics.panel_cholesky import PanelCholesky
from lamostvac.numerics.process_variance import ProcessVariance, process_variance

_BATCH = 1024  # points whose kernel with all training points is formed at a time

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
    noise : standard deviation of the outputs about the process that it was trained with; NaN when
        each has its own
    mean : which terms the mean has
    spread : arrays for the variance; None when each output has its own noise
    """

    inputs: NDArray[np.float64]
    weights: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    amplitude: float
    length_scale: float
    noise: float
    mean: Mean
    spread: ProcessVariance | None = None

    def predict(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Posterior means (m, k) at `points` (m, d)."""
        value = np.empty((len(points), self.weights.shape[1]))
        for rows in _batches(len(points)):
            kernel = rbf(points[rows], self.inputs, self.amplitude, self.length_scale)
            value[rows] = (
                kernel @ self.weights + mean_terms(points[rows], self.mean)[0] @ self.coefficients
            )
        return value

    def predict_with_jacobian(
        self, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Posterior means (m, k) and their derivatives (m, d, k) with respect to `points` (m, d).

        The derivative of the kernel with respect to the point is kernel * (input - point) / l^2, so
        both come from one product of the kernel with the weights and the weights times the inputs.
        """
        d, k = points.shape[1], self.weights.shape[1]
        value, jacobian = np.empty((len(points), k)), np.empty((len(points), d, k))
        for rows in _batches(len(points)):
            here = points[rows]
            kernel = rbf(here, self.inputs, self.amplitude, self.length_scale)
            sums = (kernel @ self._moments).reshape(-1, 1 + d, k)
            constant, linear, square = self._polynomial
            # The mean is constant + x (linear + square x / 2), and its gradient linear + square x.
            bend = (here @ square).reshape(-1, d, k)
            slope = linear + bend
            value[rows] = sums[:, 0] + constant + np.vecmat(here, slope - 0.5 * bend)
            slope += (sums[:, 1:] - here[:, :, None] * sums[:, :1]) / self.length_scale**2
            jacobian[rows] = slope
        return value, jacobian

    def variance(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Posterior variance (m,) at `points` (m, d), the same for each output
        (Liang+ 2024, equation 1).

        It is the variance of the process and of its mean's coefficients, without the noise, in the
        square of the outputs' unit. It depends on the kernel only: with one `amplitude` for all
        outputs it is in the units of that amplitude, and measures the distance to the training
        points, not the quality of the outputs' fit.

        Raises
        ------
        ValueError
            The process was not trained with one noise for all outputs and so has no such variance.
        """
        if self.spread is None:
            raise ValueError("a process with a noise for each output has no variance common to all")
        result = np.empty(len(points))
        for rows in _batches(len(points)):
            terms = mean_terms(points[rows], self.mean)[0]
            result[rows] = self.spread.at(points[rows], terms, self.amplitude, self.length_scale)
        return result

    @cached_property
    def _polynomial(self) -> tuple[NDArray[np.float64], ...]:
        """The mean's value (k,), gradient (d, k) and Hessian (d, d k) where all inputs are 0."""
        nowhere = np.zeros((1, self.inputs.shape[1]))
        terms, gradients = mean_terms(nowhere, self.mean)
        linear = gradients[0] @ self.coefficients
        # The gradient is linear in the point.
        axes = np.eye(len(linear))
        square = mean_terms(axes, self.mean)[1] @ self.coefficients - linear
        return terms[0] @ self.coefficients, linear, square.reshape(len(linear), -1)

    @cached_property
    def _moments(self) -> NDArray[np.float64]:
        """(n, (1 + d) k) the weights, and the weights times each coordinate of the inputs."""
        factors = np.column_stack([np.ones(len(self.inputs)), self.inputs])
        return (factors[:, :, None] * self.weights[:, None, :]).reshape(len(self.inputs), -1)


def _batches(count: int) -> list[slice]:
    return [slice(first, first + _BATCH) for first in range(0, count, _BATCH)]


def mean_terms(
    points: NDArray[np.float64], mean: Mean
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Terms of the mean (m, h) at `points` (m, d) and their derivatives (m, d, h)."""
    m, d = points.shape
    i, j = np.triu_indices(d)
    n_terms = {"zero": 0, "constant": 1, "quadratic": 1 + d + len(i)}[mean]
    terms, gradients = np.ones((m, n_terms)), np.zeros((m, d, n_terms))
    if mean == "quadratic":
        terms[:, 1 : 1 + d] = points
        terms[:, 1 + d :] = points[:, i] * points[:, j]
        axes = np.arange(d)
        gradients[:, axes, 1 + axes] = 1.0
        for place, pair in enumerate(zip(i.tolist(), j.tolist(), strict=True), 1 + d):
            for axis, other in (pair, pair[::-1]):
                gradients[:, axis, place] += points[:, other]
    return terms, gradients


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
    residuals : (n, k) each output minus the prediction of the process without that point (Rasmussen
        & Williams 2006, equation 5.12, with the mean's terms refitted)

    Raises
    ------
    UserError
        The noise is so small that the kernel matrix is singular within rounding.

    18,654 stars and 237 outputs need 2.3 GB and 2.2e12 multiplications. The result has the same
    bytes on any number of cores.
    """
    factor = factorise(inputs, amplitude, length_scale, noise)
    weights, coefficients, inverse_diagonal, weighted, normal = _solve(
        factor, inputs, outputs, mean
    )
    spread = process_variance(factor, inputs, weighted, normal, amplitude, length_scale)
    process = GaussianProcess(
        inputs, weights, coefficients, amplitude, length_scale, noise, mean, spread
    )
    return process, weights / inverse_diagonal[:, None]


def leave_one_out(
    inputs: NDArray[np.float64],
    outputs: NDArray[np.float64],
    amplitude: float,
    length_scale: float,
    noise: float,
    mean: Mean,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Residuals (n, k) as in `train`, and their variances (n,) predicted by the process.

    Rasmussen & Williams (2006), equation 5.12; the variances contain the noise. Raises as `train`.
    """
    factor = factorise(inputs, amplitude, length_scale, noise)
    weights, _, inverse_diagonal, _, _ = _solve(factor, inputs, outputs, mean)
    return weights / inverse_diagonal[:, None], 1.0 / inverse_diagonal


def _solve(
    factor: PanelCholesky, inputs: NDArray[np.float64], outputs: NDArray[np.float64], mean: Mean
) -> tuple[NDArray[np.float64], ...]:
    """Kernel weights (n, k), the mean's coefficients (h, k), and further arrays for training.

    These are the diagonal (n,) of the matrix that converts outputs to weights, the inverse kernel
    matrix times the terms (n, h), and the covariance of the coefficients (h, h).
    """
    terms = mean_terms(inputs, mean)[0]
    solved = factor.solve(np.hstack([outputs, terms]))
    weights, weighted = solved[:, : outputs.shape[1]], solved[:, outputs.shape[1] :]
    inverse_diagonal = factor.inverse_diagonal()
    with blas_threads(1):  # sums in one order
        normal = np.linalg.inv(terms.T @ weighted)
        normal = 0.5 * (normal + normal.T)
        coefficients = normal @ (weighted.T @ outputs)
        weights = weights - weighted @ coefficients
        inverse_diagonal -= ((weighted @ normal) * weighted).sum(axis=1)
    return weights, coefficients, inverse_diagonal, weighted, normal


def factorise(
    inputs: NDArray[np.float64], amplitude: float, length_scale: float, noise: float
) -> PanelCholesky:
    """Factor of the kernel matrix of `inputs` (n, d) plus noise^2 on the diagonal; errors:
    `train`.
    """

    def block(rows: slice, columns: slice) -> NDArray[np.float64]:
        kernel = rbf(inputs[rows], inputs[columns], amplitude, length_scale)
        if rows == columns:
            kernel[np.diag_indices(len(kernel))] += noise**2
        return kernel

    try:
        return PanelCholesky(block, len(inputs))
    except np.linalg.LinAlgError:
        raise UserError(
            f"emulator.noise: {noise:g} is too small for {len(inputs)} stars and the amplitude {amplitude:g}: "
            "the kernel matrix is singular to rounding; increase it"
        ) from None
