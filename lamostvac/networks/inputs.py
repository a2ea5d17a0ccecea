"""How spectra become the input of a training set's networks, and where the set lies among spectra.

All labels of a set share this: it is learned from all training spectra of the set, whichever of
them have a label. So prediction projects a spectrum once per set, not once per label.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamostvac.networks.domain import TrainingCloud, fit_cloud
from lamostvac.networks.settings import NetworkTraining
from lamostvac.numerics.pca import leading_directions

Array = NDArray[np.float32]
# A pixel that varies less than this in the training set has no information; standardised, it would
# only add noise.
_MIN_SCALE = 1e-3
# Largest noise, in units of the continuum; such a pixel has no information.
_MAX_NOISE = 0.5


@dataclass(frozen=True)
class TrainingSpectra:
    """What a network learns from: n spectra.

    Attributes
    ----------
    flux, ivar : (n, n_pixels) as `lamostvac.spectra.network_grid` makes them
    star : (n,) number of the star; spectra of one star are never divided between training and
        validation
    snr : (n,) S/N of the spectra
    """

    flux: Array
    ivar: Array
    star: NDArray[np.integer]
    snr: Array

    def take(self, rows: NDArray[np.integer]) -> "TrainingSpectra":
        """Some of the spectra."""
        return TrainingSpectra(self.flux[rows], self.ivar[rows], self.star[rows], self.snr[rows])


def parts_of(star: NDArray[np.integer], count: int, seed: int) -> NDArray[np.int64]:
    """Part (n,), 0 to count - 1, for each star number (n,); parts have equal numbers of stars,
    within one.
    """
    stars, inverse = np.unique(star, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(stars)) % count)[inverse]


def n_parts(settings: NetworkTraining) -> int:
    """Parts that the stars are divided into, of which each member keeps one for validation."""
    return max(2, round(1 / settings.validation_fraction))


@dataclass(frozen=True)
class SetInputs:
    """What the networks of a training set have in common.

    Attributes
    ----------
    pixels : (n_pixels,) which pixels of the grid the networks see; p is their number
    flux_mean, flux_scale : (p,) the standardisation of the input
    projection : (p, c) the set's leading principal directions, which the first layers see the
        standardised flux along; None where they see pixels
    cloud : where the training spectra lie
    """

    pixels: NDArray[np.bool_]
    flux_mean: Array
    flux_scale: Array
    projection: Array | None
    cloud: TrainingCloud

    @classmethod
    def of(
        cls,
        spectra: TrainingSpectra,
        pixels: NDArray[np.bool_],
        settings: NetworkTraining,
        seed: int,
    ) -> "SetInputs":
        """Learned from all training spectra of a set; equal arguments give equal bytes."""
        flux = spectra.flux[:, pixels]
        mean = flux.mean(axis=0, dtype=np.float64).astype(np.float32)
        scale = np.maximum(flux.std(axis=0, dtype=np.float64), _MIN_SCALE).astype(np.float32)
        scaled, noise = standardised(spectra, pixels, mean, scale)
        return cls(
            pixels=pixels,
            flux_mean=mean,
            flux_scale=scale,
            projection=_projection(scaled, settings.input_components),
            cloud=fit_cloud(
                scaled,
                noise,
                parts_of(spectra.star, n_parts(settings), seed),
                settings.cloud_quantile,
                seed,
            ),
        )

    def standardise(self, spectra: TrainingSpectra) -> tuple[Array, Array]:
        """Standardised flux and its noise (n, p) of training spectra."""
        return standardised(spectra, self.pixels, self.flux_mean, self.flux_scale)


def standardised(
    spectra: TrainingSpectra, pixels: NDArray[np.bool_], mean: Array, scale: Array
) -> tuple[Array, Array]:
    """Standardised flux and noise (n, p) of training spectra; noise 0 where ivar is 0."""
    ivar = spectra.ivar[:, pixels]
    noise = np.zeros(ivar.shape, np.float32)
    np.divide(1, np.sqrt(ivar), out=noise, where=ivar > 0)
    np.minimum(noise, np.float32(_MAX_NOISE), out=noise)
    return (spectra.flux[:, pixels] - mean) / scale, noise / scale


def _projection(flux: Array, components: int) -> Array | None:
    """Leading principal directions (p, c), with a common scale that gives the first unit variance;
    None when `components` is 0.

    Directions are not whitened. Those with little variance in the training set affect the first
    layer little and are learned last, so that early stopping keeps their noise out.
    """
    if components == 0:
        return None
    basis, variance = leading_directions(flux, components, 1e-6)
    return np.asarray(basis.T / np.sqrt(variance[0]), np.float32)
