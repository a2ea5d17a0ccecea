"""A chunk's spectra in the emulator's component space.

Components are what the grouped search compares; they are small (11 GB for ten million spectra, whose
pixels take 225 GB).
"""

import numpy as np
from numpy.typing import NDArray

from lamostvac.emulator.model import Emulator
from lamostvac.numerics.pca import masked_components


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
    used = ivar[:, emulator.pixels] > 0
    y = np.where(used, flux[:, emulator.pixels] - emulator.mean, 0.0)
    components = masked_components(y, used, basis)
    residual = np.where(used, (y - components @ basis) ** 2, 0.0).sum(axis=1)
    return components, residual
