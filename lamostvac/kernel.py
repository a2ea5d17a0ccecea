"""The kernel of the Gaussian process: a constant times a radial basis function (Liang+ 2024 section 2.2)."""

import numpy as np
from numpy.typing import NDArray


def rbf(
    a: NDArray[np.float64], b: NDArray[np.float64], amplitude: float, length_scale: float
) -> NDArray[np.float64]:
    """Kernel matrix (m, n) between points a (m, d) and b (n, d): amplitude^2 exp(-r^2 / 2 length_scale^2)."""
    a, b = a / length_scale, b / length_scale
    # -r^2 / 2, in one array: at the size of MaStar each temporary copy counts.
    kernel = np.asarray(a @ b.T)
    kernel -= 0.5 * (a**2).sum(axis=1)[:, None]
    kernel -= 0.5 * (b**2).sum(axis=1)
    np.minimum(kernel, 0.0, out=kernel)
    np.exp(kernel, out=kernel)
    kernel *= amplitude**2
    return kernel
