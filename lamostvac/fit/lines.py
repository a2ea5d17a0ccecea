"""Velocity and width of a star's lines, and the least errors its labels could have, beside its fit.

A survey's redshift is not quite the star's velocity, nor are its lines as wide as the library's.
Both are read from the residuals of the fit, as two directions beside those of the labels: for small
shifts a spectrum F becomes

    F - v (wave / c) F' + s (wave / c)^2 F'' / 2

with v a velocity and s a variance of velocities. The labels' directions are in the same weighted
least squares, so that what a shift has done to the labels is counted. A pixel's weight is that of
its noise and of the emulator's error there, but for what the latter has of wrong velocities and
widths; correlations of that error between pixels are part of the result's errors. The labels stay
as they are: the covariance of their fit allows for such shifts already (docs/method.md).
"""

from dataclasses import dataclass

import numpy as np
from astropy.constants import c
from numpy.typing import NDArray

from lamostvac.emulator.model import Emulator
from lamostvac.fit.likelihood import Sums
from lamostvac.spectra.grid import GRID

ARM_BORDER = 5875.0  # A, the middle of what the dichroic takes; blue arm below, red arm above
LIGHT = float(c.to_value("km/s"))
_RIDGE = 1e-6  # of the directions' correlations: what is not constrained gets a large error
_MOST = 1e30  # of an inverse: what is not constrained stays finite in single precision
_LEAST_WEIGHT = 1e-30  # no pixel that is used has a smaller one
_BLOCK = 16  # stars at a time, whose arrays stay in the processor's cache

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Lines:
    """What n spectra say beside the labels.

    Attributes
    ----------
    velocity, velocity_err : (n,) km/s, of the star against the redshift with which the spectrum was
        brought to rest; positive away from us
    variance, variance_err : (n,) km2/s2 by which the square of the lines' dispersion exceeds the
        library's
    bound : (n, d) the least standard deviation of labels from these pixels: the Cramer-Rao bound,
        with the noise of the pixels as the only error
    """

    velocity: Array
    velocity_err: Array
    variance: Array
    variance_err: Array
    bound: Array


class LineReader:
    """Reads `Lines` of spectra off their fits by an emulator; made once for many spectra."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._basis = emulator.basis.astype(np.float32)
        self._mean = emulator.mean.astype(np.float32)
        wave = GRID[emulator.pixels]
        step = (wave / LIGHT / (GRID[1] - GRID[0])).astype(np.float32)  # pixels per km/s
        self._velocity, self._variance = -0.5 * step, 0.5 * step**2
        # The pixels are a few runs with gaps between them; a run's ends have no neighbour.
        ends = np.flatnonzero(np.diff(np.flatnonzero(emulator.pixels)) > 1)
        self._ends = np.concatenate([[0], ends, ends + 1, [len(wave) - 1]])
        self._arms = np.stack([wave < ARM_BORDER, wave >= ARM_BORDER]).astype(np.float32)
        self._errors: dict[str, tuple[Array, NDArray[np.float32]]] = {}

    def _error(self, spectral_type: str) -> tuple[Array, NDArray[np.float32]]:
        """Covariance (k, k) of the emulator's error without that of the lines, and the variance
        (p,) that it gives a pixel.
        """
        if spectral_type not in self._errors:
            emulator, across = self.emulator, self._basis.T
            error = emulator.discrepancy[spectral_type] - emulator.lines[spectral_type]
            spread = np.vecdot(across @ error.astype(np.float32), across)
            self._errors[spectral_type] = error, spread
        return self._errors[spectral_type]

    def read(
        self,
        spectral_type: str,
        sums: Sums,
        difference: NDArray[np.float32],
        left_out: NDArray[np.bool_],
        jacobian: Array,
        derivative: Array,
    ) -> Lines:
        """`Lines` of n spectra at the solutions of their fits; NaN where no pixel is used.

        Parameters
        ----------
        spectral_type : of all n stars
        sums : of the spectra
        difference : (n, p) spectra less models
        left_out : (n, p) pixels that the fit left out
        jacobian : (n, d, r) of the emulator's components by scaled labels
        derivative : (n, d) of the labels by the scaled labels
        """
        n, _, r = jacobian.shape
        found, errors, unseen = self._solve(spectral_type, sums, difference, left_out, jacobian)
        i, j = np.tril_indices(r)
        products = np.empty((n, r, r))
        products[:, i, j] = products[:, j, i] = sums.pairs[:, : len(i)]
        least = np.einsum("nii->ni", _inverse(jacobian @ products @ jacobian.swapaxes(1, 2)))
        bound = np.sqrt(np.maximum(least, 0.0)) * np.abs(derivative)
        for values in (found, errors, bound):
            values[unseen] = np.nan
        return Lines(found[:, 0], errors[:, 0], found[:, 1], errors[:, 1], bound)

    def change(
        self,
        spectral_type: str,
        sums: Sums,
        difference: NDArray[np.float32],
        left_out: NDArray[np.bool_],
        jacobian: Array,
        scatter: float,
    ) -> NDArray[np.float32]:
        """What the widths of a spectrum's own lines add to its model (n, p).

        A width is found in each arm of the spectrograph, as its camera has its own focus. It is the
        posterior mean for a Gaussian prior about the library's width, so that a spectrum that does
        not say how wide its lines are keeps that.

        Parameters
        ----------
        scatter : km/s, the root of the prior's standard deviation of the variance
        others : as for `read`
        """
        found, errors = self.widths(spectral_type, sums, difference, left_out, jacobian)
        share = scatter**4 / (scatter**4 + errors**2)
        variance = np.nan_to_num(share * found)
        shapes = np.empty((2, *difference.shape), dtype=np.float32)
        self._fill(sums.residual - difference + self._mean, shapes)
        return np.asarray(shapes[1] * (variance.astype(np.float32) @ self._arms))

    def widths(
        self,
        spectral_type: str,
        sums: Sums,
        difference: NDArray[np.float32],
        left_out: NDArray[np.bool_],
        jacobian: Array,
    ) -> tuple[Array, Array]:
        """As `Lines.variance` and its error, in each arm: both (n, 2), blue and red.

        Parameters are those of `read`.
        """
        found, errors, unseen = self._solve(
            spectral_type, sums, difference, left_out, jacobian, self._arms
        )
        found[unseen] = errors[unseen] = np.nan
        return found[:, 1:], errors[:, 1:]

    def _solve(
        self,
        spectral_type: str,
        sums: Sums,
        difference: NDArray[np.float32],
        left_out: NDArray[np.bool_],
        jacobian: Array,
        arms: NDArray[np.float32] | None = None,
    ) -> tuple[Array, Array, NDArray[np.bool_]]:
        """A velocity and a variance in each of some parts of the spectra, beside the labels.

        Parameters
        ----------
        arms : (a, p) 1 in the pixels of a part, else 0; by default the whole spectrum is one
        others : as for `read`

        Returns
        -------
        found, errors : (n, 1 + a) velocity and variances, and their standard deviations
        unseen : (n,) no pixel is used
        """
        n, d, r = jacobian.shape
        k = 2 if arms is None else 1 + len(arms)
        error, spread = self._error(spectral_type)
        found, errors = np.empty((n, k)), np.empty((n, k))
        unseen = np.empty(n, dtype=bool)
        for start in range(0, n, _BLOCK):
            rows = slice(start, start + _BLOCK)
            noise = np.where(left_out[rows], np.float32(0.0), sums.weight[rows])
            m, p = noise.shape
            shapes = np.empty((k + d, m, p), dtype=np.float32)
            self._fill(sums.residual[rows] - difference[rows] + self._mean, shapes)
            if arms is not None:
                # The last one first, because the whole is in the first one's place.
                for arm in range(k - 1, 0, -1):
                    np.multiply(shapes[1], arms[arm - 1], out=shapes[arm])
            along = jacobian[rows].swapaxes(0, 1).reshape(d * m, r).astype(np.float32)
            np.matmul(along, self._basis[:r], out=shapes[k:].reshape(d * m, p))
            # Weights are noise times the share of a pixel's variance that is noise.
            weighted = shapes * (noise / (1.0 + noise * spread))
            each = weighted.swapaxes(0, 1)
            inverse = _inverse((each @ shapes.transpose(1, 2, 0)).astype(np.float64))[:, :k]
            # Velocity and variance are sums over the pixels of these filters times the difference.
            filters = np.clip(inverse, -_MOST, _MOST).astype(np.float32) @ each
            found[rows] = np.vecdot(filters, difference[rows, None])
            moved = (filters.reshape(k * m, p) @ self._basis.T).reshape(m, k, -1)
            moved = moved.astype(np.float64)
            filters *= filters
            # Where there is no weight the filters are 0.
            noisy = np.matvec(filters, 1.0 / np.maximum(noise, _LEAST_WEIGHT))
            variance = noisy.astype(np.float64) + np.vecdot(moved @ error, moved)
            errors[rows] = np.sqrt(np.maximum(variance, 0.0))
            unseen[rows] = ~noise.any(axis=1)
        return found, errors, unseen

    def _fill(self, model: NDArray[np.float32], shapes: NDArray[np.float32]) -> None:
        """The change of models (m, p) per km/s and per km2/s2, into the first two of (k, m, p)."""
        left, here, right = model[:, :-2], model[:, 1:-1], model[:, 2:]
        np.subtract(right, left, out=shapes[0, :, 1:-1])
        np.add(right, left, out=shapes[1, :, 1:-1])
        shapes[1, :, 1:-1] -= 2.0 * here
        shapes[:2, :, self._ends] = 0.0
        shapes[0] *= self._velocity
        shapes[1] *= self._variance


def _inverse(matrices: Array) -> Array:
    """Inverses of normal equations (n, m, m) whose rows may have very different units."""
    scale = np.sqrt(np.maximum(np.einsum("nii->ni", matrices), 1e-300))
    scaled = matrices / scale[:, :, None] / scale[:, None, :]
    scaled += _RIDGE * np.eye(matrices.shape[1])
    return np.asarray(np.linalg.inv(scaled) / scale[:, :, None] / scale[:, None, :])
