"""Training data of an ensemble: standardised spectra and labels, and stars for early stopping."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamostvac.networks.ensemble import LabelScale, to_learned
from lamostvac.networks.inputs import SetInputs, TrainingSpectra, n_parts, parts_of
from lamostvac.networks.settings import NetworkTraining

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Problem:
    """Standardised spectra and label, and which member keeps which spectra."""

    flux: Array  # (n, p)
    noise: Array  # (n, p)
    target: Array  # (n,)
    snr: Array  # (n,)
    kept: NDArray[np.bool_]  # (members, n)
    projection: Array | None  # (p, c)
    label_mean: float
    label_scale: float

    @classmethod
    def of(
        cls,
        values: NDArray[np.floating],
        spectra: TrainingSpectra,
        inputs: SetInputs,
        settings: NetworkTraining,
        seed: int,
        scale: LabelScale,
    ) -> "Problem":
        """Of the values (n,) of a label and its n training spectra."""
        flux, noise = inputs.standardise(spectra)
        learned = to_learned(values, scale)
        part = parts_of(spectra.star, n_parts(settings), seed)
        kept = np.array([part == member % (part.max() + 1) for member in range(settings.members)])
        return cls(
            flux=flux,
            noise=noise,
            target=((learned - learned.mean()) / learned.std()).astype(np.float32),
            snr=np.maximum(spectra.snr, 1e-3).astype(np.float32),
            kept=kept,
            projection=inputs.projection,
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


def noise_factors(snr: Array, lowest: float, generator: np.random.Generator) -> Array:
    """Factors (n,): noise to add, in units of each spectrum's own noise, to reach a lower S/N.

    The S/N is drawn evenly in its logarithm between `lowest` and the spectrum's own.
    """
    low = np.log(np.minimum(lowest, snr))
    wanted = np.exp(low + generator.random(len(snr)) * (np.log(snr) - low))
    return np.sqrt(np.maximum((snr / wanted) ** 2 - 1, 0)).astype(np.float32)
