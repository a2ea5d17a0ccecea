"""Principal components of a library's spectra (Liang+ 2024 section 2.2 step 1)."""

import numpy as np
from numpy.typing import NDArray


def principal_components(
    spectra: NDArray[np.floating], variance: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Mean, basis and share of variance kept.

    Parameters
    ----------
    spectra : (n, p), n >= 2
    variance : share of the total variance to keep, 0 < variance <= 1

    Returns
    -------
    mean : (p,)
    basis : (k, p) orthonormal rows, by falling variance; the sign of each is fixed by making its
        largest element positive, so that the same spectra give the same basis on any machine
    kept : the share of variance that the k components hold, >= variance
    """
    spectra = np.asarray(spectra, dtype=np.float64)
    n, p = spectra.shape
    mean = spectra.mean(axis=0)
    centred = spectra - mean
    # The smaller of the two Gram matrices has the same non-zero eigenvalues.
    if p <= n:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        basis = vectors.T[::-1]
    else:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        basis = (centred.T @ vectors).T[::-1]
    values = np.clip(values[::-1], 0.0, None)
    rank = int(np.count_nonzero(values > values[0] * 1e-12)) if values[0] > 0 else 1
    share = np.cumsum(values) / max(values.sum(), np.finfo(float).tiny)
    k = min(int(np.searchsorted(share, variance - 1e-12)) + 1, max(rank, 1), min(n - 1, p))
    basis = basis[:k]
    basis = basis / np.linalg.norm(basis, axis=1, keepdims=True)
    signs = np.sign(basis[np.arange(k), np.abs(basis).argmax(axis=1)])
    return mean, basis * signs[:, None], float(share[k - 1])


def fill_masked(
    spectra: NDArray[np.floating], good: NDArray[np.bool_], variance: float
) -> NDArray[np.float64]:
    """Replace masked pixels by what the other spectra suggest.

    Three rounds of principal components and reconstruction from them, beginning with the mean of
    each pixel; enough for a few per cent of masked pixels.

    Parameters
    ----------
    spectra, good : (n, p); a masked value is not looked at
    """
    count = np.maximum(good.sum(axis=0), 1)
    mean = np.where(good, spectra, 0.0).sum(axis=0) / count
    filled = np.where(good, spectra, mean).astype(np.float64)
    if good.all():
        return filled
    for _ in range(3):
        centre, basis, _ = principal_components(filled, variance)
        model = centre + (filled - centre) @ basis.T @ basis
        filled = np.where(good, spectra, model)
    return filled
