"""What is left of spectra beside their models."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Residuals:
    """Prepared spectra beside the models at given labels, all (n, 4901).

    Attributes
    ----------
    model : normalised flux; NaN outside the emulator's pixels
    sigma : standard deviation that flux less model should have, from the spectrum's noise, the
        floor and the emulator's error; NaN where the pixel is not used. Slow errors of the flux
        calibration are not included.
    left_out : pixels that the fit leaves out because they are unlike any star
    """

    model: NDArray[np.float32]
    sigma: NDArray[np.float32]
    left_out: NDArray[np.bool_]

    @property
    def whole_model(self) -> NDArray[np.float32]:
        """`model` with 1 outside the emulator's pixels."""
        return np.where(np.isfinite(self.model), self.model, np.float32(1.0))
