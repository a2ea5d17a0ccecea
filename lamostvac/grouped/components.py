"""A chunk's spectra in the emulator's component space.

The grouped search compares components because they are small: 11 GB for ten million spectra, whose
pixels take 225 GB.
"""

from collections.abc import Callable

import h5py
import numpy as np
from numpy.typing import NDArray

from lamostvac.emulator.model import Emulator
from lamostvac.numerics.pca import masked_components

_BATCH = 512  # spectra read at once; no result depends on it


def project(
    emulator: Emulator, flux: NDArray[np.floating], ivar: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least-squares components of spectra on the pixels that they have, k = `emulator.n_signal`.

    Parameters
    ----------
    flux, ivar : (n, 4901); ivar 0 masks. As in Liang+ 2024, all other pixels count alike.

    Returns
    -------
    components : (n, k)
    residual : (n,) sum of squared differences that remain
    """
    # What the emulator's spectra never contain belongs to the residual.
    basis = emulator.basis[: emulator.n_signal]
    used = ivar[:, emulator.pixels] > 0
    y = np.where(used, flux[:, emulator.pixels] - emulator.mean, 0.0)
    components = masked_components(y, used, basis)
    residual = np.where(used, (y - components @ basis) ** 2, 0.0).sum(axis=1)
    return components, residual


def project_chunk(
    emulator: Emulator,
    flux: h5py.Dataset,
    ivar: h5py.Dataset,
    progress: Callable[[int], None] = lambda count: None,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """`project` for prepared spectra (n, 4901), read in batches; components in float32.

    `progress` is called with the number of spectra done since it was called last.
    """
    components, residual = [np.empty((0, emulator.n_signal))], [np.empty(0)]
    for first in range(0, len(flux), _BATCH):
        rows = slice(first, first + _BATCH)
        part = project(emulator, flux[rows], ivar[rows])
        components.append(part[0])
        residual.append(part[1])
        progress(len(part[1]))
    return np.concatenate(components).astype(np.float32), np.concatenate(residual)
