"""Each star's labels from its own condensed spectrum: batched Levenberg-Marquardt.

The objective of a star is its chi2 (`likelihood`) plus -2 ln prior. The emulator's Jacobian is
analytic, second derivatives are learned from the steps, all stars step together, and finished stars
leave the batch. A star may begin at several points, because chi2 often has a minimum for a dwarf
and one for a giant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamostvac.core.vocabulary import CONVERGED, EDGE, NO_PROGRESS
from lamostvac.emulator.model import Emulator
from lamostvac.fit.likelihood import Condensed
from lamostvac.fit.priors import DensityPrior
from lamostvac.fit.settings import FitSettings

_SECTION = FitSettings()  # for defaults of parameters

_TOLERANCE = 1e-5  # of chi2: three-thousandths of a standard deviation, before the last step
_NEAR = 1.0  # of chi2: a star farther above its minimum does not learn second derivatives
_SAME_MINIMUM = 0.05  # scaled labels; starts closer than this go to one minimum
_REACH = 4.0
_LEAST_CURVATURE = 0.01  # in units of the Gauss-Newton curvature
_MAX_STEP = 0.7  # scaled labels; a step beyond half a length scale leaves the linear regime
_MAX_DAMPING = 1e8


@dataclass(frozen=True)
class Points:
    """Emulator and prior at n points: what the objective of any star is made of there.

    Attributes
    ----------
    components : (n, r) of the model
    jacobian : (n, d, r) their derivatives with respect to the scaled labels
    value : (n,) -2 ln prior
    pull, curvature : (n, d), (n, d, d) half its negative gradient, and half its Hessian
    """

    components: NDArray[np.float64]
    jacobian: NDArray[np.float64]
    value: NDArray[np.float64]
    pull: NDArray[np.float64]
    curvature: NDArray[np.float64]

    def take(self, rows: NDArray[np.integer]) -> "Points":
        """The points `rows` (m,)."""
        return Points(**{name: getattr(self, name)[rows] for name in Points.__dataclass_fields__})


def at_points(
    emulator: Emulator, scaled: NDArray[np.float64], prior: DensityPrior | None
) -> Points:
    """Emulator and prior at scaled labels (n, d)."""
    n, d = scaled.shape
    model = emulator.process.predict_with_jacobian(scaled)
    if prior is None:
        return Points(*model, np.zeros(n), np.zeros((n, d)), np.zeros((n, d, d)))
    return Points(*model, *prior.evaluate(scaled))


@dataclass(frozen=True)
class Fit:
    """Solutions of n starts with d labels.

    Attributes
    ----------
    scaled : (n, d) scaled labels
    components, jacobian : (n, r), (n, d, r) of the model, as in `Points`
    objective : (n,) chi2 plus -2 ln prior
    precision : (n, d, d) inverse covariance of the scaled labels
    status : (n,) int8, CONVERGED, EDGE or NO_PROGRESS
    n_iterations : (n,)
    """

    scaled: NDArray[np.float64]
    components: NDArray[np.float64]
    jacobian: NDArray[np.float64]
    objective: NDArray[np.float64]
    precision: NDArray[np.float64]
    status: NDArray[np.int8]
    n_iterations: NDArray[np.int64]

    def take(self, rows: NDArray[np.integer]) -> "Fit":
        """The solutions `rows` (m,)."""
        return Fit(**{name: getattr(self, name)[rows] for name in Fit.__dataclass_fields__})

    def put(self, rows: NDArray[np.integer], other: "Fit") -> None:
        """Replace the solutions `rows` (m,) by those of `other` (m)."""
        for name in Fit.__dataclass_fields__:
            getattr(self, name)[rows] = getattr(other, name)


def refine(
    emulator: Emulator,
    condensed: Condensed,
    stars: NDArray[np.integer],
    start: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    prior: DensityPrior | None = None,
    max_iterations: int = _SECTION.max_iterations,
    at_start: Points | None = None,
) -> Fit:
    """Minimise chi2 (plus prior) from each start, all scaled labels.

    Parameters
    ----------
    stars : (n,) rows of `condensed` that the starts are for; a star may have several
    start : (n, d)
    low, high : (n, d) or (d,) box that the solution stays in
    max_iterations : 0 evaluates objective and precision at the start
    at_start : emulator and prior at the starts, where they are known

    A label on the rim of the box whose gradient points outwards is held there while the others go
    on. Finished starts leave the batch, and those that will not become the best of their star:
    their status is NO_PROGRESS, their objective larger than that of another start.
    """
    n, d = start.shape
    low, high = np.broadcast_to(low, (n, d)), np.broadcast_to(high, (n, d))
    scaled = np.clip(start, low, high)
    damping = np.full(n, 1e-2)
    status = np.full(n, NO_PROGRESS, dtype=np.int8)
    n_iterations = np.zeros(n, dtype=np.int64)
    everyone = np.arange(n)
    if at_start is None or (scaled != start).any():
        at_start = at_points(emulator, scaled, prior)
    components, jacobian = at_start.components, at_start.jacobian
    curvature = at_start.curvature
    hessian, gradient, objective = _evaluate(condensed, stars, at_start)
    secant = np.zeros((n, d, d))
    active = everyone
    for _ in range(max_iterations):
        n_iterations[active] += 1
        force = gradient[active]
        held = ((scaled[active] <= low[active]) & (force < 0)) | (
            (scaled[active] >= high[active]) & (force > 0)
        )
        step, expected = _step(hessian[active], secant[active], force, held, damping[active])
        done = expected < _TOLERANCE
        trial = np.clip(scaled[active] + step, low[active], high[active])
        there = at_points(emulator, trial, prior)
        new_hessian, new_gradient, new_objective = _evaluate(condensed, stars[active], there)
        better = new_objective < objective[active]
        here = np.where(better[:, None, None], new_hessian, hessian[active])
        learned = _learn(secant[active], here, trial - scaled[active], force - new_gradient)
        # Far from the minimum, second derivatives learned from one step no longer hold after the
        # next.
        secant[active] = np.where((expected < _NEAR)[:, None, None], learned, 0.0)
        moved = active[better]
        scaled[moved] = trial[better]
        for values, found in (
            (components, there.components),
            (jacobian, there.jacobian),
            (curvature, there.curvature),
            (hessian, new_hessian),
            (gradient, new_gradient),
            (objective, new_objective),
        ):
            values[moved] = found[better]
        damping[moved] = np.maximum(damping[moved] / 5.0, 1e-9)
        damping[active[~better]] *= 5.0
        status[active[done]] = CONVERGED
        hopeless = _hopeless(stars, scaled, objective, active, expected)
        active = active[~(done | hopeless | (damping[active] > _MAX_DAMPING))]
        if len(active) == 0:
            break
    at_rim = ((scaled <= low) | (scaled >= high)).any(axis=1)
    status[at_rim & (status == CONVERGED)] = EDGE
    precision = hessian
    if prior is not None:
        precision = hessian - curvature + _positive(curvature)
    return Fit(scaled, components, jacobian, objective, precision, status, n_iterations)


def _positive(hessian: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hessians (n, d, d) with negative eigenvalues set to 0, where a prior has no constraint."""
    values, vectors = np.linalg.eigh(hessian)
    return np.asarray((vectors * np.maximum(values, 0.0)[:, None, :]) @ vectors.swapaxes(1, 2))


def _evaluate(
    condensed: Condensed, stars: NDArray[np.integer], at: Points
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Half the Hessian (Gauss-Newton), half the negative gradient, and the objective."""
    q, g = condensed.q[stars], condensed.g[stars]
    inner = np.matvec(q, at.components)
    hessian = at.jacobian @ q @ at.jacobian.swapaxes(1, 2) + at.curvature
    gradient = np.matvec(at.jacobian, g - inner) + at.pull
    objective = condensed.constant[stars] + np.vecdot(at.components, inner - 2.0 * g) + at.value
    return hessian, gradient, objective


def _hopeless(
    stars: NDArray[np.integer],
    scaled: NDArray[np.float64],
    objective: NDArray[np.float64],
    active: NDArray[np.integer],
    expected: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Starts (a,) that need not go on: near a better one of the same star, or unable to reach it.

    A start cannot reach it when it would stay worse even if the next steps gained several times
    what the model predicts for the next one.
    """
    best = np.empty(stars.max() + 1, dtype=np.int64)
    chosen = best_starts(objective, stars)
    best[stars[chosen]] = chosen
    better = best[stars[active]]
    behind = objective[active] - objective[better]
    near = (np.abs(scaled[active] - scaled[better]) < _SAME_MINIMUM).all(axis=1)
    return (better != active) & (near | (behind > _REACH * expected))


def _step(
    hessian: NDArray[np.float64],
    secant: NDArray[np.float64],
    force: NDArray[np.float64],
    held: NDArray[np.bool_],
    damping: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Damped Newton steps (n, d), and the decrease (n,) of the objective that the model promises.

    Labels that are held (n, d) do not step. Negative curvatures, in units of the Gauss-Newton
    standard deviations, are replaced by their absolute values, so that the step leads downhill.
    """
    free = ~held
    size = np.sqrt(np.maximum(np.abs(np.einsum("nii->ni", hessian)), 1e-12))
    matrix = (hessian + secant) / size[:, :, None] / size[:, None, :]
    identity = np.eye(force.shape[1])
    matrix = np.where(free[:, :, None] & free[:, None, :], matrix, identity)
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(np.abs(values), _LEAST_CURVATURE) + damping[:, None]
    pushed = np.where(free, force, 0.0) / size
    step = np.matvec(vectors, np.vecmat(pushed, vectors) / values) / size
    expected = np.vecdot(step, np.where(free, force, 0.0))
    return np.clip(step, -_MAX_STEP, _MAX_STEP), expected


def _learn(
    secant: NDArray[np.float64],
    hessian: NDArray[np.float64],
    step: NDArray[np.float64],
    change: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What the Gauss-Newton Hessian lacks (n, d, d), from a step and the gradient's change over it.

    It lacks the emulator's second derivatives times the residual, and the negative part of the
    prior's Hessian. Both are not computed but learned, by the symmetric rank-one update.
    """
    missing = change - np.matvec(hessian + secant, step)
    along = np.vecdot(missing, step)
    known = np.abs(along) <= 1e-8 * np.sqrt(np.vecdot(missing, missing) * np.vecdot(step, step))
    update = missing[:, :, None] * missing[:, None, :] / np.where(known, 1.0, along)[:, None, None]
    return np.asarray(secant + np.where(known[:, None, None], 0.0, update))


def best_starts(objective: NDArray[np.float64], stars: NDArray[np.integer]) -> NDArray[np.int64]:
    """The start with the smallest objective of each star, in the order of the stars' numbers.

    Parameters
    ----------
    objective : (n,) of each start
    stars : (n,) star of each start
    """
    order = np.lexsort((np.arange(len(stars)), objective, stars))
    first = np.ones(len(order), dtype=bool)
    first[1:] = stars[order[1:]] != stars[order[:-1]]
    return np.asarray(order[first])


def label_errors(
    emulator: Emulator,
    fit: Fit,
    causes: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], ...]] = lambda filters: (),
) -> tuple[NDArray[Any], ...]:
    """Standard deviations of the labels, and the parts of them that are due to single causes.

    The first is from the inverse of the fit's precision H and contains the noise of the pixels, the
    emulator's and the calibration's covariance and, when one was used, the prior. A cause that
    contributes the covariance N to the g of a condensed spectrum contributes H^-1 J N J' H^-1 to
    the solution's, with J the emulator's Jacobian.

    Parameters
    ----------
    causes : what each cause contributes (n, d, d) to d linear functions (n, d, r) of g, as
        `likelihood.Design.covariances` says it

    Returns
    -------
    errors, and one array for each cause : (n, d); NaN where the precision is singular
    """
    d = fit.scaled.shape[1]
    scale = np.sqrt(np.maximum(np.einsum("nii->ni", fit.precision), 1e-300))
    correlation = fit.precision / scale[:, :, None] / scale[:, None, :]
    singular = np.linalg.cond(correlation) > 1e12
    safe = np.where(singular[:, None, None], np.eye(d), correlation)
    covariance = np.linalg.inv(safe) / scale[:, :, None] / scale[:, None, :]
    parts_of_covariance = causes(covariance @ fit.jacobian)
    variances = [np.einsum("nii->ni", each) for each in (covariance, *parts_of_covariance)]
    derivative = np.abs(emulator.label_derivative(fit.scaled))
    derivative[singular] = np.nan
    errors, *parts = (np.sqrt(np.maximum(variance, 0.0)) * derivative for variance in variances)
    return errors, *(np.minimum(part, errors) for part in parts)


def box(
    emulator: Emulator, max_extrapolation: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scaled labels (d,) of the library's limits, widened by a share of each label's range."""
    inputs = emulator.library_scaled
    low, high = inputs.min(axis=0), inputs.max(axis=0)
    margin = max_extrapolation * (high - low)
    # -5040 / Teff must keep its sign, or Teff would pass through infinity.
    low, high = low - margin, high + margin
    high[0] = min(high[0], (-5040.0 / 100000.0 - emulator.offset[0]) / emulator.scale[0])
    return low, high
