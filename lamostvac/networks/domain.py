"""Where in the space of spectra a training set lies, and whether another spectrum lies there too.

A network gives a label for any spectrum: for a quasar, a double star or an O star even if it was
trained on dwarfs. Such a label may lie inside the training range, so the range is a weak test; it
is better to test whether the spectrum looks like those of the training set. Two numbers are used:
the distance of a spectrum to the nearest cluster centre of the training spectra within their
leading principal components, and the part of it that those components cannot describe. Both are in
units of the same quantity for the training spectra around that centre, because F dwarfs lie densely
and M giants far apart. The contribution of noise is subtracted from both, so that a star is not
flagged for being faint.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from lamostvac.numerics.pca import leading_directions

Array = NDArray[np.float32]

# Enough for the variety of stellar spectra at R = 1800; further components of real sets are noise.
N_COMPONENTS = 20
N_CENTRES = 200
# Number of training spectra that define what is usual around a centre.
N_AROUND = 10
# A component that explains less than this share of the variance is noise.
_MIN_SHARE = 1e-3


@dataclass(frozen=True)
class TrainingCloud:
    """The region of spectrum space that the training spectra cover.

    Attributes
    ----------
    components : (c, p) orthonormal rows, in standardised flux
    weights : (c,) of the components in distances: one over the root of their standard deviation.
        This is between equal weights, with which cool stars and their many lines dominate, and
        whitening, with which noise does
    centres : (k, c) cluster centres
    radii, levels : (k,) distance and mean squared residual of the training spectra around each
        centre
    variance : (p,) of the part of the training spectra that the components do not describe, without
        noise
    max_distance, max_residual : limits that a given share of left-out training spectra do not
        exceed
    """

    components: Array
    weights: Array
    centres: Array
    radii: Array
    levels: Array
    variance: Array
    max_distance: float
    max_residual: float

    def distances(self, flux: Array, noise: Array) -> tuple[Array, Array]:
        """Distance to the nearest centre and mean squared residual, both corrected for noise.

        Parameters
        ----------
        flux, noise : (n, p) standardised flux and its standard deviation, 0 for a pixel without
            data

        Returns
        -------
        distance : (n,) from the nearest centre over the centre's radius: a lower limit given the
            noise, 0 where noise explains all of it
        residual : (n,) mean over the measured pixels of residual^2 / (noise^2 + variance), divided
            by the centre's level where that is above 1
        """
        return _distances(
            flux,
            noise,
            self.components,
            self.weights,
            self.centres,
            self.radii,
            self.levels,
            self.variance,
        )

    def outside(self, flux: Array, noise: Array) -> NDArray[np.bool_]:
        """(n,) whether a spectrum lies outside the cloud."""
        distance, residual = self.distances(flux, noise)
        return np.asarray((distance > self.max_distance) | (residual > self.max_residual))


def _distances(
    flux: Array,
    noise: Array,
    components: Array,
    weights: Array,
    centres: Array,
    radii: Array,
    levels: Array,
    variance: Array,
) -> tuple[Array, Array]:
    scores = flux @ components.T
    squared = _squared_distances(scores * weights, centres)
    nearest = squared.argmin(axis=1)
    closest = squared[np.arange(len(flux)), nearest]
    # Mean of what noise adds to the squared distance, and its scatter.
    noisy = (noise**2) @ (components**2).T * weights**2
    varies = np.sqrt(2 * (noisy**2).sum(axis=1) + 4 * closest * noisy.max(axis=1))
    distance = np.sqrt(np.maximum(closest - noisy.sum(axis=1) - varies, 0))
    residual = _residuals(flux, noise, scores @ components, variance)
    # Its scatter by noise alone.
    residual -= np.sqrt(2 / np.maximum((noise > 0).sum(axis=1), 1))
    return (
        (distance / radii[nearest]).astype(np.float32),
        (residual / np.maximum(levels[nearest], 1)).astype(np.float32),
    )


def _squared_distances(scores: Array, centres: Array) -> Array:
    squared = (scores**2).sum(axis=1)[:, None] - 2 * scores @ centres.T + (centres**2).sum(axis=1)
    return np.asarray(np.maximum(squared, 0))


def _residuals(
    flux: Array, noise: Array, described: NDArray[np.floating], variance: Array
) -> Array:
    """Mean (n,) over the measured pixels of residual^2 / (noise^2 + variance)."""
    measured = noise > 0
    chi2, expected = flux - described, noise**2
    expected += variance
    # In place: with fewer arrays, those of a block stay in the cache.
    chi2 *= measured
    chi2 *= chi2
    chi2 /= expected
    return np.asarray(chi2.sum(axis=1) / np.maximum(measured.sum(axis=1), 1))


def _fit(flux: Array, noise: Array, seed: int) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Components, weights, centres, radii, levels, residual variance of standardised spectra
    (n, p).
    """
    count = max(1, min(N_COMPONENTS, len(flux) // 5))
    components, spread = leading_directions(flux, count, _MIN_SHARE)
    weights: Array = (np.maximum(spread, 1e-12) ** -0.25).astype(np.float32)
    unweighted = flux @ components.T
    scores: Array = unweighted * weights
    n_centres = max(1, min(N_CENTRES, len(flux) // N_AROUND))
    # The centre of an empty cluster stays where it began, on a spectrum.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")
        centres, _ = kmeans2(scores.astype(np.float64), n_centres, iter=20, minit="++", rng=seed)
    centres = np.asarray(centres, np.float32)
    described = unweighted @ components
    difference = flux - described
    variance = np.maximum(
        (difference**2 - noise**2).mean(axis=0), 0.05 * (difference**2).mean(axis=0)
    )
    variance = np.asarray(np.maximum(variance, 1e-6), np.float32)
    squared = _squared_distances(scores, centres)
    around = np.argsort(squared, axis=0, kind="stable")[:N_AROUND]
    radii = np.sqrt(np.take_along_axis(squared, around, axis=0).mean(axis=0))
    levels = _residuals(flux, noise, described, variance)[around].mean(axis=0)
    floor = 0.1 * np.median(radii)  # for clusters of identical spectra
    return components, weights, centres, np.maximum(radii, max(floor, 1e-6)), levels, variance


def fit_cloud(
    flux: Array, noise: Array, parts: NDArray[np.integer], quantile: float, seed: int
) -> TrainingCloud:
    """The cloud of a training set.

    Parameters
    ----------
    flux, noise : (n, p) standardised flux and its standard deviation, as for
        `TrainingCloud.distances`
    parts : (n,) number of the part that each belongs to; parts are left out in turn to find what is
        normal for a spectrum that is not in the training set
    quantile : share of left-out training spectra within the limits
    """
    distance, residual = np.zeros(len(flux), np.float32), np.zeros(len(flux), np.float32)
    for part in np.unique(parts):
        out = parts == part
        distance[out], residual[out] = _distances(
            flux[out], noise[out], *_fit(flux[~out], noise[~out], seed)
        )
    return TrainingCloud(
        *_fit(flux, noise, seed),
        max_distance=float(np.quantile(distance, quantile)),
        max_residual=float(np.quantile(residual, quantile)),
    )
