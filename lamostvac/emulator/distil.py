"""The exact emulator distilled into a small one, with differences too small to matter in the fit.

The exact Gaussian process sums over every library star (18,654 in MaStar) for every component
(237). Two facts make it small. First, its kernel is smooth, so a sum over all stars equals, to many
digits, a sum over some hundred of them: the weights move onto inducing points chosen by pivoted
Cholesky (the projection in the kernel's own space). Second, most components of a noisy library are
noise that does not depend on labels: the emulated spectra and the emulator's errors span far fewer
directions. These become the new basis; the rest of the error goes into the variance of the pixels.
The difference between both emulators is measured over the space of labels and stored with the small
one.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lamostvac.emulator.model import Emulator
from lamostvac.emulator.settings import DistilSettings
from lamostvac.numerics.gaussian_process import GaussianProcess
from lamostvac.numerics.pivoted_cholesky import pivoted_cholesky

_KERNEL_TOLERANCE = 1e-8  # share of the kernel's variance that inducing points may miss
_BATCH = 256


def distil(
    emulator: Emulator, settings: DistilSettings, max_inducing: int = 1200
) -> tuple[Emulator, dict[str, float]]:
    """The distilled emulator, and how far it is from the exact one.

    Parameters
    ----------
    max_inducing : largest number of inducing points

    Returns
    -------
    small : an emulator with the same labels, pixels and library
    distance : `signal_rms`, `signal_max`: differences between the spectra of both at the library's
        stars, the largest rms over the pixels and the largest in one pixel; `between_rms`,
        `between_max`: the same half-way between neighbours in the order of the library and up to
        half a length scale beside the stars
    """
    process = emulator.process
    exact = _predict(emulator, emulator.library_scaled)
    signal = _signal_directions(exact, np.sqrt(emulator.mean.size) * settings.signal_tolerance)
    error = _error_directions(emulator.discrepancy, signal, settings.error_tolerance)
    rotation = np.concatenate([signal, error])
    basis = rotation @ emulator.basis
    # The mean of the emulated components also has a part outside the signal's directions.
    centre = exact.mean(axis=0)
    outside = centre - (centre @ signal.T) @ signal
    small = replace(
        emulator,
        mean=emulator.mean + outside @ emulator.basis,
        basis=basis,
        process=_induced(process, signal, max_inducing),
        discrepancy={name: rotation @ s @ rotation.T for name, s in emulator.discrepancy.items()},
        lines={name: rotation @ s @ rotation.T for name, s in emulator.lines.items()},
        truncation=_truncation(emulator, rotation, basis),
    )
    return small, distance(emulator, small)


def _predict(emulator: Emulator, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Emulated components (n, k) in the emulator's whole basis."""
    components = np.zeros((len(points), emulator.n_components))
    components[:, : emulator.n_signal] = emulator.process.predict(points)
    return components


def _signal_directions(components: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """(r, k) orthonormal directions that hold components (n, k) about their mean.

    The norm of what is left is below `tolerance` (root of the mean square over the stars).
    """
    centred = components - components.mean(axis=0)
    vectors = np.linalg.eigh(centred.T @ centred)[1][:, ::-1].T
    vectors *= np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(axis=1)])[:, None]
    share = (centred @ vectors.T) ** 2
    left = np.sqrt(
        np.maximum((centred**2).sum() - np.cumsum(share.sum(axis=0)), 0.0) / len(centred)
    )
    enough = np.flatnonzero(left <= tolerance)
    return np.array(vectors[: int(enough[0]) + 1 if len(enough) else len(vectors)])


def _error_directions(
    discrepancy: Mapping[str, NDArray[np.float64]], signal: NDArray[np.float64], tolerance: float
) -> NDArray[np.float64]:
    """(e, k) orthonormal directions, orthogonal to the signal's, in which any type's error is
    large.
    """
    k = signal.shape[1]
    beside = np.eye(k) - signal.T @ signal
    # A direction matters by the largest error of any type there; the sum over types is an upper
    # bound.
    total = beside @ np.sum(list(discrepancy.values()), axis=0) @ beside
    values, vectors = np.linalg.eigh(total)
    count = min(np.count_nonzero(values > tolerance**2), k - len(signal))
    vectors = vectors[:, ::-1][:, :count].T
    vectors *= np.sign(vectors[np.arange(count), np.abs(vectors).argmax(axis=1)])[:, None]
    return np.asarray(vectors)


def _truncation(
    emulator: Emulator, rotation: NDArray[np.float64], basis: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Variance of pixels outside the basis: the exact emulator's plus what the new basis drops."""
    result = {}
    for name, covariance in emulator.discrepancy.items():
        whole = np.vecdot(emulator.basis.T @ covariance, emulator.basis.T)
        kept = np.vecdot(basis.T @ (rotation @ covariance @ rotation.T), basis.T)
        result[name] = emulator.truncation[name] + np.maximum(whole - kept, 0.0)
    return result


def _induced(
    process: GaussianProcess, signal: NDArray[np.float64], max_inducing: int
) -> GaussianProcess:
    """The process on inducing points instead of all stars, outputs along the signal's
    directions.
    """
    pivots, factor = pivoted_cholesky(
        process.inputs, process.amplitude, process.length_scale, max_inducing, _KERNEL_TOLERANCE
    )
    # With K ~ L L', the weights of the pivots are L_m^-T L' w, L_m the pivots' rows of L.
    given = signal[:, : process.weights.shape[1]].T
    projected = factor.T @ (process.weights @ given)
    weights = np.asarray(np.linalg.solve(factor[pivots].T, projected), dtype=np.float64)
    coefficients = process.coefficients @ given
    return replace(
        process,
        inputs=process.inputs[pivots],
        weights=weights,
        coefficients=coefficients,
        spread=None,
    )


def distance(exact: Emulator, small: Emulator) -> dict[str, float]:
    """How far the spectra of `small` are from those of `exact`; see `distil`."""
    stars = exact.library_scaled
    rng = np.random.default_rng(0)
    order = np.lexsort(stars.T[::-1])
    halfway = 0.5 * (stars[order[1:]] + stars[order[:-1]])
    beside = stars + rng.uniform(-0.5, 0.5, stars.shape) * exact.process.length_scale
    result = {}
    for name, points in (("signal", stars), ("between", np.concatenate([halfway, beside]))):
        rms, most = 0.0, 0.0
        for first in range(0, len(points), _BATCH):
            batch = points[first : first + _BATCH]
            difference = small.process.predict(batch) @ small.basis[: small.n_signal]
            difference += small.mean - exact.mean
            difference -= exact.process.predict(batch) @ exact.basis[: exact.n_signal]
            rms = max(rms, float(np.sqrt((difference**2).mean(axis=1)).max()))
            most = max(most, float(np.abs(difference).max()))
        result[f"{name}_rms"], result[f"{name}_max"] = rms, most
    return result
