"""A Gaussian process in which each output has its own noise.

With one noise for all outputs (`gaussian_process.train`, the published way) the last principal
components, which are noise, are smoothed too little: there the process follows the noise of single
stars as if it depended on the labels. Here each output has at least the given noise, and more where
that reduces the error of its leave-one-out predictions. Less is not tried, because the first
components would then follow the errors of the labels, which makes spectra of left-out stars
slightly better and labels worse (docs/method.md has numbers).

This needs no factorisation per output: on the points of a pivoted Cholesky decomposition, which
represent all stars to many digits, one eigendecomposition gives the results for every ratio of
noise (ridge regression in the kernel's features).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

from lamostvac.numerics.blas import blas_threads
from lamostvac.numerics.gaussian_process import GaussianProcess, Mean, mean_terms
from lamostvac.numerics.pivoted_cholesky import pivoted_cholesky

_TOLERANCE = 1e-8  # share of the kernel's variance that the pivots may miss
_FACTORS = 10.0 ** np.arange(0.0, 3.6, 0.5)  # factors on the square of the noise that are tried
_RANK = 1e-10  # directions below this share of the largest eigenvalue are rounding errors


def train_by_component(
    inputs: NDArray[np.float64],
    outputs: NDArray[np.float64],
    amplitude: float,
    length_scale: float,
    noise: float,
    mean: Mean = "quadratic",
    max_points: int = 1200,
) -> tuple[GaussianProcess, NDArray[np.float64]]:
    """Train a process; also return its leave-one-out residuals.

    Parameters
    ----------
    inputs : (n, d), scaled so that one length scale suits all of them
    outputs : (n, k)
    noise : least standard deviation of the outputs' noise
    max_points : largest number of points that represent the kernel

    Returns
    -------
    process : on m <= max_points of the inputs
    residuals : (n, k) each output minus the prediction of the process without that point (with the
        same points of the kernel and ratios)
    """
    pivots, factor = pivoted_cholesky(inputs, amplitude, length_scale, max_points, _TOLERANCE)
    terms = mean_terms(inputs, mean)[0]
    with blas_threads(1):  # fixed order of sums
        # The mean's terms are projected out of features and outputs, which is equivalent to fitting
        # them too.
        q, r = (
            qr(terms, mode="economic")
            if terms.shape[1]
            else (np.zeros((len(inputs), 0)), np.zeros((0, 0)))
        )
        features = factor - q @ (q.T @ factor)
        rest = outputs - q @ (q.T @ outputs)
        values, vectors = np.linalg.eigh(features.T @ features)
        kept = values > _RANK * values[-1]
        values, vectors = values[kept], vectors[:, kept]
        left = (features @ vectors) / np.sqrt(values)
        inner = left.T @ rest
        leverage_mean, leverage = (q**2).sum(axis=1), left**2

        def residuals_of(ratio: float, columns: NDArray[np.bool_]) -> NDArray[np.float64]:
            shrink = values / (values + ratio * amplitude**2)
            taken = leverage_mean + leverage @ shrink
            errors = rest[:, columns] - left @ (shrink[:, None] * inner[:, columns])
            return np.asarray(errors / np.maximum(1.0 - taken, 1e-6)[:, None])

        everything = np.ones(outputs.shape[1], dtype=bool)
        tried = _FACTORS * (noise / amplitude) ** 2
        errors = np.stack([(residuals_of(ratio, everything) ** 2).mean(axis=0) for ratio in tried])
        ratios = tried[errors.argmin(axis=0)]
        residuals = np.empty_like(rest)
        on_features = np.empty((factor.shape[1], outputs.shape[1]))
        for ratio in np.unique(ratios):
            columns = ratios == ratio
            residuals[:, columns] = residuals_of(ratio, columns)
            shrink = np.sqrt(values) / (values + ratio * amplitude**2)
            on_features[:, columns] = vectors @ (shrink[:, None] * inner[:, columns])
        coefficients = q.T @ (outputs - factor @ on_features)
        if len(coefficients):
            coefficients = solve_triangular(r, coefficients)
        # With K ~ L L', a feature weight u is the kernel weight L_m^-T u on the pivots.
        weights = solve_triangular(factor[pivots], on_features, lower=True, trans="T")
    process = GaussianProcess(
        inputs[pivots], weights, coefficients, amplitude, length_scale, np.nan, mean
    )
    return process, residuals
