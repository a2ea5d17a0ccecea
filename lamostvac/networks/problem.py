"""Training data of an ensemble: standardised spectra and labels, and stars for early stopping."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamostvac.networks.ensemble import LabelScale, to_learned
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

    def take(self, rows: NDArray[Any]) -> "TrainingSpectra":
        """Some of the spectra."""
        return TrainingSpectra(self.flux[rows], self.ivar[rows], self.star[rows], self.snr[rows])


def parts_of(star: NDArray[np.integer], count: int, seed: int) -> NDArray[np.int64]:
    """Part (n,), 0 to count - 1, for each star number (n,); parts have equal numbers of stars,
    within one.
    """
    stars, inverse = np.unique(star, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(stars)) % count)[inverse]


@dataclass(frozen=True)
class Problem:
    """Standardised spectra and label, and which member keeps which spectra."""

    flux: Array  # (n, p)
    noise: Array  # (n, p)
    target: Array  # (n,)
    snr: Array  # (n,)
    part: NDArray[np.int64]  # (n,)
    kept: NDArray[np.bool_]  # (members, n)
    projection: Array | None  # (p, c)
    flux_mean: Array
    flux_scale: Array
    label_mean: float
    label_scale: float

    @classmethod
    def of(
        cls,
        values: NDArray[np.floating],
        spectra: TrainingSpectra,
        pixels: NDArray[np.bool_],
        settings: NetworkTraining,
        seed: int,
        scale: LabelScale,
    ) -> "Problem":
        good = spectra.ivar[:, pixels] > 0
        flux = spectra.flux[:, pixels]
        mean = flux.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = np.maximum(flux.std(axis=0, dtype=np.float64), _MIN_SCALE).astype(np.float32)
        scaled = (flux - mean) / spread
        noise = np.zeros_like(scaled)
        np.divide(1, np.sqrt(spectra.ivar[:, pixels]), out=noise, where=good)
        noise = np.minimum(noise, np.float32(_MAX_NOISE)) / spread
        learned = to_learned(values, scale)
        part = parts_of(spectra.star, max(2, round(1 / settings.validation_fraction)), seed)
        kept = np.array([part == member % (part.max() + 1) for member in range(settings.members)])
        return cls(
            flux=scaled,
            noise=noise,
            target=((learned - learned.mean()) / learned.std()).astype(np.float32),
            snr=np.maximum(spectra.snr, 1e-3).astype(np.float32),
            part=part,
            kept=kept,
            projection=_projection(scaled, settings.input_components),
            flux_mean=mean,
            flux_scale=spread,
            label_mean=float(learned.mean()),
            label_scale=float(learned.std()),
        )

    def left_out(self, predicted: Array) -> Array:
        """Mean (n,) of predictions (members, n) over the members that kept a spectrum; NaN if none
        did.
        """
        count = self.kept.sum(axis=0)
        total = np.where(self.kept, predicted, 0).sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


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


def noise_factors(snr: Array, lowest: float, generator: np.random.Generator) -> Array:
    """Factors (n,): noise to add, in units of each spectrum's own noise, to reach a lower S/N.

    The S/N is drawn evenly in its logarithm between `lowest` and the spectrum's own.
    """
    low = np.log(np.minimum(lowest, snr))
    wanted = np.exp(low + generator.random(len(snr)) * (np.log(snr) - low))
    return np.sqrt(np.maximum((snr / wanted) ** 2 - 1, 0)).astype(np.float32)
