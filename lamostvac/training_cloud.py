"""Where in the space of spectra a training set lies, and whether another spectrum lies there too.

A network answers for any spectrum: a quasar, a double star or an O star gets a label from a set of
dwarfs. Whether the label lies inside the training range says little then; whether the spectrum looks
like one of the training set's does. Two distances tell: how far a spectrum is from the nearest of the
training spectra's cluster centres within their leading principal components, and how much of it those
components cannot describe. Both are freed of what noise alone contributes, so that a faint star is not
called strange for being faint.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

CODE_VERSION = 1

Array = NDArray[np.float32]

# Enough for what stellar spectra of R = 1800 vary by; further components of real sets are noise.
N_COMPONENTS = 20
N_CENTRES = 200
# A component that explains less than this share of the variance is noise.
_MIN_SHARE = 1e-3


@dataclass(frozen=True)
class TrainingCloud:
    """The training spectra's place in spectrum space.

    Attributes
    ----------
    components : (c, p) orthonormal rows, in standardised flux
    centres : (k, c) cluster centres
    variance : (p,) of what the components leave of the training spectra, besides noise
    max_distance, max_residual : limits that a given share of left-out training spectra keep to
    """

    components: Array
    centres: Array
    variance: Array
    max_distance: float
    max_residual: float

    def distances(self, flux: Array, noise: Array) -> tuple[Array, Array]:
        """Distance to the nearest centre and mean squared residual, noise taken off.

        Parameters
        ----------
        flux, noise : (n, p) standardised flux and its standard deviation, 0 for a pixel without data

        Returns
        -------
        distance : (n,) the least that it is despite the noise, 0 where noise explains it all
        residual : (n,) mean over the measured pixels of residual^2 / (noise^2 + variance); 1 is normal
        """
        return _distances(flux, noise, self.components, self.centres, self.variance)

    def outside(self, flux: Array, noise: Array) -> NDArray[np.bool_]:
        """(n,) whether a spectrum lies outside the cloud."""
        distance, residual = self.distances(flux, noise)
        return np.asarray((distance > self.max_distance) | (residual > self.max_residual))


def _distances(
    flux: Array, noise: Array, components: Array, centres: Array, variance: Array
) -> tuple[Array, Array]:
    measured = noise > 0
    scores = flux @ components.T
    squared = (scores**2).sum(axis=1)[:, None] - 2 * scores @ centres.T + (centres**2).sum(axis=1)
    squared = np.maximum(squared.min(axis=1), 0)
    # What noise adds to the squared distance on average, and three times how much that varies.
    noisy = (noise**2) @ (components**2).T
    varies = np.sqrt(2 * (noisy**2).sum(axis=1) + 4 * squared * noisy.max(axis=1))
    distance = np.sqrt(np.maximum(squared - noisy.sum(axis=1) - 3 * varies, 0))
    difference = np.where(measured, flux - scores @ components, 0)
    chi2 = (difference**2 / (noise**2 + variance)).sum(axis=1)
    residual = chi2 / np.maximum(measured.sum(axis=1), 1)
    return distance.astype(np.float32), residual.astype(np.float32)


def _fit(flux: Array, noise: Array, seed: int) -> tuple[Array, Array, Array]:
    """Components, centres and residual variance of standardised spectra (n, p)."""
    _, singular, rows = np.linalg.svd(flux, full_matrices=False)
    share = singular**2 / (singular**2).sum()
    count = max(1, min(N_COMPONENTS, int(np.count_nonzero(share > _MIN_SHARE)), len(flux) // 5))
    components = rows[:count].astype(np.float32)
    # The sign of a singular vector is arbitrary; fixed, so that files do not depend on the library.
    components *= np.sign(components[np.arange(count), np.abs(components).argmax(axis=1)])[:, None]
    scores = flux @ components.T
    n_centres = max(1, min(N_CENTRES, len(flux) // 4))
    # An empty cluster stays where it began, which is on a spectrum: a centre as good as any.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")
        centres, _ = kmeans2(scores.astype(np.float64), n_centres, iter=20, minit="++", rng=seed)
    difference = flux - scores @ components
    variance = np.maximum((difference**2 - noise**2).mean(axis=0), 0.05 * (difference**2).mean(axis=0))
    return components, centres.astype(np.float32), np.maximum(variance, 1e-6).astype(np.float32)


def fit_cloud(
    flux: Array, noise: Array, parts: NDArray[np.integer], quantile: float, seed: int
) -> TrainingCloud:
    """The cloud of a training set.

    Parameters
    ----------
    flux, noise : (n, p) standardised flux and its standard deviation, as for `TrainingCloud.distances`
    parts : (n,) numbers of the parts that are left out in turn to find what is normal for a spectrum
        that the cloud does not know
    quantile : share of left-out training spectra that the limits let in
    """
    distance, residual = np.zeros(len(flux), np.float32), np.zeros(len(flux), np.float32)
    for part in np.unique(parts):
        out = parts == part
        distance[out], residual[out] = _distances(flux[out], noise[out], *_fit(flux[~out], noise[~out], seed))
    return TrainingCloud(
        *_fit(flux, noise, seed),
        max_distance=float(np.quantile(distance, quantile)),
        max_residual=float(np.quantile(residual, quantile)),
    )
