"""The form `steps` of the grouped search: two numbers for a group, along directions that fit each star.

Candidates say where a star is, not which way its own spectrum wants its labels to move. So the
labels of a group are here

    labels = mean of the best five candidates + d_1 * own step + d_2 * (first match - mean)

The own step of a star is one Gauss-Newton step of its misfit from the mean, drawn back towards the
mean by the scatter of the group's candidates: without it a single spectrum follows its noise and
the emulator's errors. The Bayesian search finds how far a group goes along both, by the misfit of
all its stars. The first match is the point (0, 1), so the misfit found is never above its.
"""

import numpy as np
from numpy.typing import NDArray

from lamostvac.emulator.model import Emulator
from lamostvac.grouped.reduced import ReducedLabels

_MEAN_OF = 5  # candidates in the mean
# How much less a pixel's difference says than noise of that size would: differences of neighbouring
# pixels are alike, since most of them are the emulator's errors. Chosen on left-out library stars
# (docs/grouped.md).
_CORRELATED = 16.0
_MOST = 1.0  # longest step of a scaled label; beyond it the emulator is not linear
_LOW, _HIGH = np.array([0.0, -0.5]), np.array([1.5, 1.0])


def step_labels(
    emulator: Emulator,
    components: NDArray[np.floating],
    residual: NDArray[np.floating],
    candidates: NDArray[np.floating],
    limits: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> ReducedLabels:
    """Labels of a group's N stars as functions of two numbers.

    Parameters
    ----------
    components, residual : (N, k) and (N,) of `components.project`
    candidates : (N, t, L), the first matches first
    limits : smallest and largest labels (L,), within which steps end
    """
    _, t, n_labels = candidates.shape
    best = candidates[:, : min(_MEAN_OF, t)]
    mean = np.clip(best.mean(axis=1), *limits)
    scaled = emulator.to_scaled(mean)
    model, jacobian = emulator.process.predict_with_jacobian(scaled)
    difference = components - model
    variance = _CORRELATED * (residual + (difference**2).sum(axis=1)) / emulator.basis.shape[1]
    spread = emulator.to_scaled(best.reshape(-1, n_labels)).reshape(best.shape)
    scatter = spread.var(axis=1).mean(axis=0)
    # A label without scatter among the candidates stays where it is.
    stiffness = 1.0 / np.maximum(scatter, np.finfo(float).tiny ** 0.25)
    hessian = jacobian @ jacobian.swapaxes(1, 2) / variance[:, None, None]
    gradient = np.matvec(jacobian, difference) / variance[:, None]
    step = np.linalg.solve(hessian + np.diag(stiffness), gradient[..., None])[..., 0]
    ends = np.sort(emulator.to_scaled(np.stack(limits)), axis=0)
    moved = emulator.from_scaled(np.clip(scaled + np.clip(step, -_MOST, _MOST), *ends))
    basis = np.stack([moved - mean, candidates[:, 0] - mean])
    return ReducedLabels(basis, mean, _LOW, _HIGH, np.array([0.0, 1.0]))
