"""Factors for the errors of many labels at once, as `ScaleProcess.factor_of_error` to 1 per cent.

The factor of a process is exp(m + v), with the mean m and the variance v of f at a star. In the
features phi of the process (m of them, with |phi| at most the amplitude)

    v = constant + phi . slope + phi' (C - 1) phi

where C is the covariance of the weights, with eigenvalues c between 0 (known from residuals) and 1
(as before any residual). Three things make this cheaper than one process after the other:

- Labels that learned from the same stars have the same points, and share a star's kernel.
- Eigenvalues within `BUDGET` / amplitude^2 of a common value stand for it: only the others need
  their eigenvectors. The common value is 1, or another for labels that share |phi|^2. Since |phi|^2
  is at most amplitude^2, this changes v by at most `BUDGET`, wherever the star is.
- Kernel and products are in single precision.

So factors, and errors made with them, are within a hundredth of themselves everywhere. Tables on a
grid would not be: labels and S/N are five dimensions, in which polynomials of the same accuracy
have more than a thousand terms, against at most 150 points (docs/speed.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from lamostvac.uncertainty.scale_process import ScaleProcess, Scaling

Array = NDArray[np.float64]
Single = NDArray[np.float32]

BUDGET = 0.008  # of ln factor; the rest of the hundredth is for single precision
_BLOCK = 2048  # stars whose kernel stays in a core's cache


@dataclass(frozen=True)
class _Member:
    """One process in the kernel k (n, m) of its group, of amplitude 1.

    ln factor = constant + k . line + common |phi|^2 + |k above|^2 - |k below|^2
    """

    place: int
    constant: np.float32
    line: Single
    common: np.float32
    above: Single
    below: Single


class _Group:
    """Processes with the same scaling, points and length scale.

    Parameters
    ----------
    places : where among all processes each is
    """

    def __init__(self, processes: Sequence[ScaleProcess], places: Sequence[int]) -> None:
        first = processes[0]
        self.scaling = first.scaling
        self.length_scale = first.length_scale
        points = first.points / first.length_scale
        half = -0.5 * (points**2).sum(axis=1)
        self.points: Single = np.column_stack([points, half, np.ones(len(points))]).astype("f4")
        inverse = solve_triangular(
            first.factor / first.amplitude, np.eye(len(first.factor)), lower=True
        )
        spectra = [np.linalg.eigh(one.root[1:] @ one.root[1:].T) for one in processes]
        narrow = [BUDGET / one.amplitude**2 for one in processes]
        # The eigenvalue that most others are near, and how many vectors that leaves.
        common = [_common(c, width) for (c, _), width in zip(spectra, narrow, strict=True)]
        left = sum(count for _, count in common) + len(points)
        alone = sum(int((c < 1 - w).sum()) for (c, _), w in zip(spectra, narrow, strict=True))
        values = [1.0] * len(common) if alone <= left else [value for value, _ in common]
        self.features: Single | None = None if alone <= left else inverse.T.astype("f4")
        self.members = [
            _member(one, place, inverse, spectrum, value, width)
            for one, place, spectrum, value, width in zip(
                processes, places, spectra, values, narrow, strict=True
            )
        ]

    def fill(self, inputs: Array, out: Array) -> None:
        """Write the factors for scaled inputs (n, d) into the columns `out` (n, p) of all."""
        for start in range(0, len(inputs), _BLOCK):
            rows = slice(start, start + _BLOCK)
            part = inputs[rows] / self.length_scale
            half = -0.5 * (part**2).sum(axis=1)
            left = np.column_stack([part, np.ones(len(part)), half]).astype("f4")
            kernel = left @ self.points.T
            np.exp(np.minimum(kernel, 0.0, out=kernel), out=kernel)
            norm = np.float32(0.0) if self.features is None else _squares(kernel, self.features)
            for one in self.members:
                value = kernel @ one.line + one.constant + one.common * norm
                value += _squares(kernel, one.above)
                value -= _squares(kernel, one.below)
                out[rows, one.place] = np.exp(value)


def _squares(kernel: Single, columns: Single) -> Single | np.float32:
    """The squared length (n,) of kernel (n, m) times columns (m, r)."""
    if not columns.shape[1]:
        return np.float32(0.0)
    product = kernel @ columns
    return np.vecdot(product, product)


def _common(eigenvalues: Array, width: float) -> tuple[float, int]:
    """The value from which most eigenvalues differ by less than `width`, and the number of others."""
    ends = np.searchsorted(eigenvalues, eigenvalues + 2 * width, side="right")
    counts = ends - np.arange(len(eigenvalues))
    best = int(np.argmax(counts))
    return float(eigenvalues[best] + width), int(len(eigenvalues) - counts[best])


def _member(
    process: ScaleProcess,
    place: int,
    inverse: Array,
    spectrum: tuple[Array, Array],
    common: float,
    width: float,
) -> _Member:
    """A process whose eigenvalues near `common` stand for it; `inverse` is that of its factor for
    amplitude 1.
    """
    eigenvalues, vectors = spectrum
    amplitude, root = process.amplitude, process.root
    rows = amplitude * (inverse.T @ vectors)
    constant = process.mean[0] + root[0] @ root[0] + amplitude**2
    line = amplitude * inverse.T @ (process.mean[1:] + 2.0 * root[1:] @ root[0])
    excess = eigenvalues - common
    scaled = rows * np.sqrt(np.abs(excess))
    kept = np.abs(excess) > width * (1 + 1e-9)
    return _Member(
        place,
        np.float32(constant),
        line.astype("f4"),
        np.float32((common - 1.0) * amplitude**2),
        np.ascontiguousarray(scaled[:, kept & (excess > 0)], np.float32),
        np.ascontiguousarray(scaled[:, kept & (excess < 0)], np.float32),
    )


class Factors:
    """The factors of several processes for the errors of the same stars.

    Parameters
    ----------
    processes : p of them; their labels are the first of the same list
    """

    def __init__(self, processes: Sequence[ScaleProcess]) -> None:
        self.count = len(processes)
        groups: dict[tuple[bytes, ...], list[int]] = {}
        for place, process in enumerate(processes):
            groups.setdefault(_key(process), []).append(place)
        self._groups = [
            _Group([processes[place] for place in places], places) for places in groups.values()
        ]

    def __call__(
        self, labels: NDArray[np.floating], snr: NDArray[np.floating] | None = None
    ) -> Array:
        """Factors (n, p) for labels (n, k) and S/N (n,); NaN where an input of a process is not
        finite.
        """
        result = np.full((len(labels), self.count), np.nan)
        for group in self._groups:
            inputs = group.scaling(labels[:, : len(group.scaling.names)], snr)
            usable = np.flatnonzero(np.isfinite(inputs).all(axis=1))
            if len(usable) == len(inputs):
                group.fill(inputs, result)
                continue
            found = np.empty((len(usable), self.count))
            group.fill(inputs[usable], found)
            for one in group.members:
                result[usable, one.place] = found[:, one.place]
        return result


def _key(process: ScaleProcess) -> tuple[bytes, ...]:
    """Equal for processes whose kernels with a star are equal but for the amplitude."""
    scaling: Scaling = process.scaling
    arrays = (scaling.centre, scaling.width, scaling.low, scaling.high, process.points)
    factor = process.factor / process.amplitude
    return (
        " ".join(scaling.names).encode(),
        bytes([scaling.with_snr]),
        np.float64(process.length_scale).tobytes(),
        *(np.ascontiguousarray(array, np.float64).tobytes() for array in arrays),
        # Digits that a product with the amplitude may change do not part processes.
        np.round(factor, 9).tobytes(),
    )
