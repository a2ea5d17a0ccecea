"""The kernel of the Gaussian process: a constant times a radial basis function
(Liang+ 2024 section 2.2).
"""

import numpy as np
from numpy.typing import NDArray


def rbf(
    a: NDArray[np.float64], b: NDArray[np.float64], amplitude: float, length_scale: float
) -> NDArray[np.float64]:
    """Kernel matrix (m, n) between points a (m, d) and b (n, d): amplitude^2
    exp(-r^2 / 2 length_scale^2).
    """
    a, b = a / length_scale, b / length_scale
    # The exponent is one product: a.b - |a|^2 / 2 - |b|^2 / 2, and ln of the height.
    left = np.column_stack([a, -0.5 * (a**2).sum(axis=1), np.ones(len(a))])
    top = 2.0 * np.log(amplitude)
    right = np.column_stack([b, np.ones(len(b)), top - 0.5 * (b**2).sum(axis=1)])
    kernel = left @ right.T
    np.minimum(kernel, top, out=kernel)
    return np.asarray(np.exp(kernel, out=kernel))
