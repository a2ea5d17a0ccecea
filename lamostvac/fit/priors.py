"""What is known of a star's labels before its spectrum is fitted.

`DensityPrior` is the density of the library's stars in scaled labels; `prior_intervals` are those
of Liang+ 2024 (section 2.2 step 4), a box about a first guess.
"""

import numpy as np
from numpy.typing import NDArray

from lamostvac.emulator.model import Emulator
from lamostvac.numerics.pivoted_cholesky import pivoted_cholesky

_FLOOR = 1e-3  # density far from every library star, in units of the peak of one star's Gaussian
_MOST_CELLS = 300
_CELL_LENGTH = 2.0  # length scale that spreads the cells' centres over the library, in bandwidths


class DensityPrior:
    """A sum of Gaussians, one for each star of a small library, one for each cell of a large one.

    A density of 18,654 Gaussians would cost more than the rest of the fit, so neighbouring stars
    are combined: each star belongs to the nearest of some hundred centres spread over the library,
    and the stars of such a cell become one Gaussian with their number, their mean, and their
    covariance plus the bandwidth's.

    Parameters
    ----------
    stars : (N, d) scaled labels of the library
    bandwidth : of the Gaussian on each star, in scaled labels
    max_cells : libraries of at most this many stars keep one Gaussian for each star
    """

    def __init__(
        self, stars: NDArray[np.float64], bandwidth: float, max_cells: int = _MOST_CELLS
    ) -> None:
        d = stars.shape[1]
        own = bandwidth**2 * np.eye(d)
        if len(stars) <= max_cells:
            self.centres = stars
            covariance = np.broadcast_to(own, (len(stars), d, d))
            counts = np.ones(len(stars))
        else:
            pivots, _ = pivoted_cholesky(stars, 1.0, _CELL_LENGTH * bandwidth, max_cells, 1e-3)
            cell = _nearest(stars, stars[pivots])
            counts = np.bincount(cell, minlength=len(pivots)).astype(float)
            self.centres = np.zeros((len(pivots), d))
            np.add.at(self.centres, cell, stars)
            self.centres /= counts[:, None]
            away = stars - self.centres[cell]
            covariance = np.zeros((len(pivots), d, d))
            np.add.at(covariance, cell, away[:, :, None] * away[:, None, :])
            covariance = covariance / counts[:, None, None] + own
        precision = np.linalg.inv(covariance)
        # In units of the peak of one star's Gaussian.
        height = np.log(counts) + 0.5 * (
            np.linalg.slogdet(own)[1] - np.linalg.slogdet(covariance)[1]
        )
        pulled = np.matvec(precision, self.centres)
        # Of symmetric matrices one triangle: (i, k) are the pairs, `_place` where each stands.
        i, k = self._pairs = np.triu_indices(d)
        self._place = np.empty((d, d), dtype=np.intp)
        self._place[i, k] = self._place[k, i] = np.arange(len(i))
        # ln of each Gaussian is quadratic in the point: its coefficients for (1, point, products of
        # two coordinates).
        constant = height - 0.5 * np.vecdot(self.centres, pulled)
        twice = np.where(i == k, 1.0, 2.0)
        self._logarithm = np.column_stack(
            [constant, pulled, -0.5 * twice * precision[:, i, k]]
        ).T.copy()
        # What is summed over the Gaussians. With v = P (m - x), m the centre and x the point, v v'
        # is P m m' P - (P m x'P + P x m'P) + P x x'P: quadratic in x too.
        outer = pulled[:, i] * pulled[:, k]
        linear = pulled[:, i, None] * precision[:, k] + pulled[:, k, None] * precision[:, i]
        product = precision[:, i][:, :, i] * precision[:, k][:, :, k]
        product += precision[:, i][:, :, k] * precision[:, k][:, :, i]
        quadratic = 0.5 * twice * product
        self._moments = np.column_stack(
            [
                values.reshape(len(pulled), -1)
                for values in (pulled, precision[:, i, k], outer, linear, quadratic)
            ]
        )

    def evaluate(
        self, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """-2 ln p (m,), half its negative gradient (m, d) and half its Hessian (m, d, d).

        The Hessian of the logarithm of a sum may be indefinite.
        """
        m, d = points.shape
        i, k = self._pairs
        products = points[:, i] * points[:, k]
        kernel = np.column_stack([np.ones(m), points, products]) @ self._logarithm
        np.exp(kernel, out=kernel)
        total = kernel.sum(axis=1) + _FLOOR
        means = (kernel @ self._moments) / total[:, None]
        n_pairs = len(i)
        ends = np.cumsum([d, n_pairs, n_pairs, n_pairs * d])
        first, second, outer, linear, quadratic = np.split(means, ends, axis=1)
        pull = first - np.matvec(second[:, self._place], points)
        spread = outer - np.matvec(linear.reshape(m, n_pairs, d), points)
        spread += np.matvec(quadratic.reshape(m, n_pairs, n_pairs), products)
        hessian = second - spread + pull[:, i] * pull[:, k]
        return -2.0 * np.log(total), pull, hessian[:, self._place]


def _nearest(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index (n,) of the nearest centre; the first of equally near ones."""
    squared = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2.0 * points @ centres.T
    return np.asarray(squared.argmin(axis=1))


def prior_intervals(
    emulator: Emulator, first_guess: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scaled labels (n, d) of the prior intervals of Liang+ 2024 (section 2.2 step 4).

    Teff +- 1000 K (5000 K from 10000 K on), log g +- 1, [Fe/H] +- 0.5, [alpha/Fe] +- 0.2 about the
    first guess (n, d).
    """
    half_widths = {"logg": 1.0, "feh": 0.5, "alpha_fe": 0.2}
    half = np.empty_like(first_guess)
    for i, name in enumerate(emulator.label_names):
        half[:, i] = (
            np.where(first_guess[:, 0] < 10000.0, 1000.0, 5000.0)
            if name == "teff"
            else half_widths[name]
        )
    low, high = first_guess - half, first_guess + half
    low[:, 0] = np.maximum(low[:, 0], 1000.0)
    return emulator.to_scaled(low), emulator.to_scaled(high)
