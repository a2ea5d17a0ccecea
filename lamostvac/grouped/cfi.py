"""First guess by correlation with the library (CFI; Du+ 2012, Luo+ 2015, Liang+ 2024 section 2.2).

The correlation function of an observed and a library spectrum is the cosine of the angle between
them after subtraction of their means, over the pixels that the observation has.
"""

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-10


def correlation(
    flux: NDArray[np.floating], good: NDArray[np.bool_], library: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Correlation coefficients (n, N) of spectra (n, p) with library spectra (N, p).

    Each is over the pixels `good` (n, p) of the observation; the library's sums and norms over
    those pixels are matrix products too. -1 where a spectrum has no variance.
    """
    # Flux minus 1 is small, so its squares lose no digits.
    mask = good.astype(np.float64)
    observed = np.where(good, flux - 1.0, 0.0)
    reference = library.astype(np.float64) - 1.0
    count = np.maximum(mask.sum(axis=1), 1.0)[:, None]
    reference_mean = mask @ reference.T / count
    observed_mean = observed.sum(axis=1)[:, None] / count
    covariance = observed @ reference.T / count - observed_mean * reference_mean
    reference_square = mask @ (reference**2).T / count
    observed_square = (observed**2).sum(axis=1)[:, None] / count
    reference_variance = reference_square - reference_mean**2
    observed_variance = observed_square - observed_mean**2
    # A variance as small as the rounding of the squares counts as 0.
    defined = reference_variance > _ROUNDING * reference_square
    defined &= observed_variance > _ROUNDING * observed_square
    product = reference_variance * observed_variance
    return np.where(defined, covariance / np.sqrt(np.where(defined, product, 1.0)), -1.0)
