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


def group_equations(
    basis: NDArray[np.float64], matrix: NDArray[np.float64], vector: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normal equations of a group's mean in the coordinates d, from those of its N stars.

    Parameters
    ----------
    basis : (m, N, L) of `ReducedLabels`
    matrix, vector : (N, L, L) and (N, L) of each star in its labels

    Returns
    -------
    hessian : (m, m)
    gradient : (m,)
    """
    n, flat = len(vector), basis.reshape(len(basis), -1)
    # matmul is fast when the stars are the first axis.
    half = (basis.swapaxes(0, 1) @ matrix).swapaxes(0, 1).reshape(len(basis), -1)
    return half @ flat.T / n, flat @ vector.reshape(-1) / n
