"""The form `steps` of the grouped search: two numbers for a group, along directions that fit each star.

Candidates say where a star is, not which way its own spectrum wants its labels to move. So the
labels of a group are here

    labels = mean of the best ten candidates + d_1 * own step + d_2 * (first match - mean)

The own step of a star is two Gauss-Newton steps from the mean towards the smallest value of

    (c - f)' S^-1 (c - f) + (x - m)' P^-1 (x - m)

with components c, emulated components f, scaled labels x and their mean m over the candidates. S is
the covariance of the emulator's own errors, that of its leave-one-out residuals for stars of this
type, plus the noise of the spectrum; P is the scatter of the star's candidates. So the library says
how far a difference between spectrum and emulator should be believed, in each direction: a plain sum
of squares takes the emulator's errors for information on labels. The Bayesian search minimises the
mean of the same quantity over the group. The first match is the point (0, 1).
"""

import numpy as np
from numpy.typing import NDArray

from lamostvac.core.vocabulary import spectral_type_of
from lamostvac.emulator.model import Emulator
from lamostvac.grouped.reduced import ReducedLabels, group_equations

# Chosen on left-out stars of simulated libraries (docs/grouped.md).
_MEAN_OF = 10  # candidates in the mean and its scatter
_OWN = 0.8  # share of a star's own candidates in its scatter; the rest is the group's mean
_N_STEPS = 2
_MOST = 1.0  # longest step of a scaled label; beyond it the emulator is not linear
_LEAST = 1e-8  # variance of a scaled label that does not differ between candidates
_LEAST_NOISE = 1e-12  # variance of a pixel
_LOW, _HIGH = np.array([0.0, -0.5]), np.array([1.5, 1.0])


class Posterior:
    """How well labels suit each of a group's N stars: its misfit and their distance from its candidates.

    Both are in units of what is expected of them; but for a constant this is -2 ln of the
    probability of the labels.

    Parameters
    ----------
    components, residual : (N, k) and (N,) of `components.project`
    candidates : (N, t, L), the first matches first; their Teff says which type's covariance applies
    limits : smallest and largest labels (L,), within which the mean and steps are kept
    """

    def __init__(
        self,
        emulator: Emulator,
        components: NDArray[np.floating],
        residual: NDArray[np.floating],
        candidates: NDArray[np.floating],
        limits: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> None:
        n_labels, k = candidates.shape[2], components.shape[1]
        best = candidates[:, :_MEAN_OF]
        self.emulator, self.first, self.limits = emulator, candidates[:, 0], limits
        self.mean = np.clip(best.mean(axis=1), *limits)
        self._centre = emulator.to_scaled(self.mean)
        spread = emulator.to_scaled(best.reshape(-1, n_labels)).reshape(best.shape)
        spread -= spread.mean(axis=1, keepdims=True)
        own = spread.swapaxes(1, 2) @ spread / best.shape[1]
        scatter = _OWN * own + (1.0 - _OWN) * own.mean(axis=0) + _LEAST * np.eye(n_labels)
        self._precision = np.linalg.inv(scatter)
        noise = residual / max(emulator.basis.shape[1] - k, 1)
        types = spectral_type_of(candidates[:, 0, 0])
        # Of each type: its stars, the axes of its emulator's errors, and 1 / error along them.
        self._axes = []
        for name in np.unique(types):
            rows = np.flatnonzero(types == name)
            values, vectors = np.linalg.eigh(emulator.discrepancy[str(name)][:k, :k])
            variance = np.maximum(values, 0.0) + np.maximum(noise[rows, None], _LEAST_NOISE)
            self._axes.append((rows, vectors, 1.0 / np.sqrt(variance)))
        self._observed = self._in_errors(components)

    def values(self, labels: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) at the labels (N, L)."""
        scaled = self.emulator.to_scaled(labels)
        model = self._in_errors(self.emulator.process.predict(scaled))
        return self._value(scaled, model)

    def equations(
        self,
        labels: NDArray[np.float64],
        moving: NDArray[np.bool_],
        basis: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """As `search.normal_equations`, of the mean of `values`."""
        scaled = self.emulator.to_scaled(labels)
        values, matrix, vector = self._normal_equations(scaled)
        per_label = moving / self.emulator.label_derivative(scaled)
        matrix = matrix * per_label[:, :, None] * per_label[:, None, :]
        return values, *group_equations(basis, matrix, vector * per_label)

    def step_labels(self) -> ReducedLabels:
        """The group's labels as functions of two numbers."""
        ends = np.sort(self.emulator.to_scaled(np.stack(self.limits)), axis=0)
        scaled = self._centre
        for _ in range(_N_STEPS):
            _, matrix, vector = self._normal_equations(scaled)
            step = np.linalg.solve(matrix, vector[..., None])[..., 0]
            scaled = np.clip(scaled + np.clip(step, -_MOST, _MOST), *ends)
        basis = np.stack([self.emulator.from_scaled(scaled) - self.mean, self.first - self.mean])
        return ReducedLabels(basis, self.mean, _LOW, _HIGH, np.array([0.0, 1.0]))

    def _normal_equations(
        self, scaled: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Values (N,), half their Gauss-Newton Hessian (N, L, L) and half their negative gradient
        (N, L) in scaled labels (N, L).
        """
        model, jacobian = self.emulator.process.predict_with_jacobian(scaled)
        model, jacobian = self._in_errors(model), self._in_errors(jacobian)
        matrix = jacobian @ jacobian.swapaxes(1, 2) + self._precision
        vector = np.matvec(jacobian, self._observed - model)
        vector -= np.matvec(self._precision, scaled - self._centre)
        return self._value(scaled, model), matrix, vector

    def _value(
        self, scaled: NDArray[np.float64], model: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        away, difference = scaled - self._centre, self._observed - model
        distance = np.vecdot(np.matvec(self._precision, away), away)
        return np.asarray(np.vecdot(difference, difference) + distance)

    def _in_errors(self, components: NDArray[np.floating]) -> NDArray[np.float64]:
        """Components (N, ..., k) along the axes of the errors, in units of these."""
        result = np.empty(components.shape)
        for rows, vectors, scale in self._axes:
            shape = (len(rows), *(1,) * (components.ndim - 2), components.shape[-1])
            result[rows] = (components[rows] @ vectors) * scale.reshape(shape)
        return result
