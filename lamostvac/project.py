"""A chunk's spectra in the emulator's component space, with the first guess of each star's labels.

Components and first guess are what the grouped search sorts and compares by; they are small (11 GB
for ten million spectra, whose pixels take 225 GB).
"""

import numpy as np
from numpy.typing import NDArray

from lamostvac.emulator import Emulator

CODE_VERSION = 1

_RIDGE = 1e-6  # keeps components defined that a star's mask hides completely


def project(
    emulator: Emulator, flux: NDArray[np.floating], ivar: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least-squares components of spectra on the pixels that they have.

    Parameters
    ----------
    flux, ivar : (n, 4901); ivar 0 masks. As in Liang+ 2024, all other pixels count alike.

    Returns
    -------
    components : (n, k)
    residual : (n,) sum of squared differences that no components can take away
    """
    basis = emulator.basis
    k = len(basis)
    used = ivar[:, emulator.pixels] > 0
    y = np.where(used, flux[:, emulator.pixels] - emulator.mean, 0.0)
    right = y @ basis.T
    components = np.empty((len(flux), k))
    # The basis is orthonormal over all pixels: only the few masked ones have to be taken off.
    for star in range(len(flux)):
        hidden = basis[:, ~used[star]]
        gram = (1.0 + _RIDGE) * np.eye(k) - hidden @ hidden.T
        components[star] = np.linalg.solve(gram, right[star])
    residual = np.where(used, (y - components @ basis) ** 2, 0.0).sum(axis=1)
    return components, residual
