"""Labels of a group as functions of a few numbers, whatever the form."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ReducedLabels:
    """Labels of a group's N stars as functions of m numbers: labels = offset + d @ basis.

    Attributes
    ----------
    basis : (m, N, L), in the labels' own units
    offset : (N, L)
    low, high : (m,) smallest and largest coordinate of the t candidates
    first : (m,) coordinates of the first matches, the point of greatest correlation
    """

    basis: NDArray[np.float64]
    offset: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    first: NDArray[np.float64]

    def labels(self, d: NDArray[np.float64]) -> NDArray[np.float64]:
        """Labels (N, L) at the coordinates d (m,)."""
        return np.asarray(self.offset + np.tensordot(d, self.basis, axes=1))
