"""Generalised least squares over the bands of each star, without missing and wrong bands."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
        are not read, but NaN on the diagonal makes a band missing too
    error_covariance : (n, bands, bands) covariance for the errors of the parameters, when it
        differs from the one for the weights
    """
    n, n_bands, p = design.shape
    used = np.isfinite(y) & np.isfinite(np.diagonal(covariance, axis1=1, axis2=2))
    used &= np.isfinite(design).all(axis=2)
    values, errors = np.full((n, p), np.nan), np.full((n, p), np.nan)
    number = np.zeros(n, np.int64)
    rows = np.flatnonzero(used.sum(axis=1) >= max(min_bands, p))
    identity = np.eye(n_bands)
    for attempt in range(max_clipped + 1):
        if not len(rows):
            break
        mask = used[rows]
        both = mask[:, :, None] & mask[:, None, :]
        # Missing bands are made independent of the others and get weight 0.
        inverse = np.where(both, np.linalg.inv(np.where(both, covariance[rows], identity)), 0.0)
        matrix = np.where(mask[:, :, None], design[rows], 0.0)
        measured = np.where(mask, y[rows], 0.0)
        weighted = inverse @ matrix
        normal = matrix.transpose(0, 2, 1) @ weighted
        # Where columns of the design are nearly dependent, the bands cannot tell the parameters
        # apart.
        diagonal = np.diagonal(normal, axis1=1, axis2=2)
        scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        scaled = normal / scale[:, :, None] / scale[:, None, :]
        solvable = (diagonal > 0).all(axis=1) & (np.linalg.det(scaled) > 1e-9)
        safe = np.where(solvable[:, None, None], scaled, np.eye(p))
        variance = np.linalg.inv(safe) / scale[:, :, None] / scale[:, None, :]
        x = (variance @ (weighted.transpose(0, 2, 1) @ measured[..., None]))[..., 0]
        values[rows] = np.where(solvable[:, None], x, np.nan)
        own = np.diagonal(variance, axis1=1, axis2=2)
        if error_covariance is not None:
            weights = variance @ weighted.transpose(0, 2, 1)
            full = np.where(both, error_covariance[rows], 0.0)
            own = np.einsum("npb,nbc,npc->np", weights, full, weights)
        errors[rows] = np.where(solvable[:, None], np.sqrt(np.maximum(own, 0)), np.nan)
        number[rows] = np.where(solvable, mask.sum(axis=1), 0)
        if attempt == max_clipped:
            break
        # A band's deviation from the prediction of the others is (Q r)_b / Q_bb, with variance
        # 1 / Q_bb.
        residual = measured - (matrix @ x[..., None])[..., 0]
        spent = np.einsum("nbi,nij,nbj->nb", weighted, variance, weighted)
        left = np.diagonal(inverse, axis1=1, axis2=2) - spent
        pull = (inverse @ residual[..., None])[..., 0] / np.sqrt(np.where(left > 0, left, np.inf))
        pull = np.where(mask & solvable[:, None], np.abs(pull), 0.0)
        worst = pull.argmax(axis=1)
        out = (pull[np.arange(len(rows)), worst] > clip) & (
            mask.sum(axis=1) - 1 >= max(min_bands, p)
        )
        used[rows[out], worst[out]] = False
        rows = rows[out]
    return BandFit(values, errors, number)


def nearest_semidefinite(matrix: Array) -> Array:
    """The nearest symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.maximum(values, 0)) @ vectors.T
