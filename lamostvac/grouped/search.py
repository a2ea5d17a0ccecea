"""Grouped search of Liang+ 2024 (L24, section 2.2 steps 3-7): labels of many stars by few numbers.

Stars of one spectral type are sorted by their first guess and cut into groups. Row j of a matrix
Theta (t, n_labels * N) holds, for each of the N stars of a group, the labels of its j-th candidate,
a library star that resembles it. Principal components reduce Theta to t rows of m numbers, and a
search over one such row d, within the range that the t rows span, moves the labels of all N stars
together. Whatever m is, there are only as many directions as candidates: choosing d means choosing
one weighted mean of the candidates, with the same weights by rank for every star of the group.

The misfit of a star (their equation 2) is the plain sum of squared differences between its
normalised flux and the emulated spectrum. The basis of the emulator is orthonormal, so the part of
the flux that no component can follow adds a constant, and what is left is a distance between
components:

    chi2 = residual + |c - f(labels)|^2

with `components` c and `residual` as `components.project` makes them, by least squares on the
pixels that a spectrum has. For a spectrum without masked pixels this is exactly the sum over its
pixels; where pixels are masked it counts them as if they agreed with c. In return a group of 1000
stars needs its components only, not its pixels.

docs/grouped.md compares the forms of the reduction and the searches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lamostvac.emulator.model import Emulator
from lamostvac.fit import refine
from lamostvac.grouped.reduced import ReducedLabels, group_equations
from lamostvac.grouped.settings import GroupedSettings
from lamostvac.grouped.steps import Posterior
from lamostvac.grouped.surrogate import Surrogate

Form = Literal["published", "centred", "scaled"]
Search = Literal["bayesian", "gradient"]

_BATCH = 256  # stars emulated at once; bounds the memory of kernel and Jacobian
_RANK = 1e-12  # directions below this share of the largest eigenvalue are rounding errors
_ROUNDING = 1e-10  # labels with a smaller relative difference are equal
_SAME = 1e-3  # of the Bayesian search: misfits with a smaller relative difference are the same
# Of the Bayesian search: points at which the acquisition function is tried, climbs to its maximum from
# the best of them, and further starts for the surrogate's length scale (the package: 10,000, 10, 5).
_TRIALS, _CLIMBS, _RESTARTS = 2000, 2, 1
_TOLERANCE = 1e-5  # of the gradient search: expected decrease, as a share of chi2
_MAX_DAMPING = 1e8


@dataclass(frozen=True)
class GroupFit:
    """Labels of one group's N stars.

    Attributes
    ----------
    labels : (N, L)
    chi2, chi2_first : (N,) misfit at the solution and at the first match itself
    coordinates : (m,) the solution d
    history : least value of what is minimised after the initial points and after each iteration that
        followed: the mean chi2, or with the form `steps` the mean of `steps.Posterior.values`
    n_dimensions : m
    n_evaluations : how often all spectra of the group were emulated
    settled : whether the search ended by itself, not by `max_iterations`
    """

    labels: NDArray[np.float64]
    chi2: NDArray[np.float64]
    chi2_first: NDArray[np.float64]
    coordinates: NDArray[np.float64]
    history: NDArray[np.float64]
    n_dimensions: int
    n_evaluations: int
    settled: bool


def group_order(
    first_guess: NDArray[np.floating], identifiers: NDArray[np.generic]
) -> NDArray[np.int64]:
    """Order (n,) of the stars of one spectral type: ascending first guess (n, L), first by Teff.

    Many stars have the same first match; the identifiers (n,), which must differ, order these, so
    that groups do not depend on how a release was cut into chunks (L24 section 2.2 step 3).
    """
    keys = [identifiers, *reversed(first_guess.T)]
    return np.lexsort(keys)


def group_slices(n_stars: int, group_size: int) -> list[slice]:
    """Groups of `group_size` stars in the order of `group_order`; the last takes the rest."""
    return [
        slice(first, min(first + group_size, n_stars)) for first in range(0, n_stars, group_size)
    ]


def reduce_labels(candidates: NDArray[np.floating], variance: float, form: Form) -> ReducedLabels:
    """Principal components of a group's candidate labels, and the range that the candidates span.

    Parameters
    ----------
    candidates : (t, N, L), the first matches first
    variance : share of the variance, or of the sum of squares when not centred, to keep
    form : `published` takes labels = dQ as L24 write it: nothing subtracted, kelvin beside dex.
        `centred` first subtracts the mean over the candidates; `scaled` also divides each label by
        its standard deviation about these means. In these two, labels = first match + (d - d_first)
        Q, not mean + dQ, so that the search contains the first match itself and not only its
        reconstruction.
    """
    t, n, n_labels = candidates.shape
    candidates = np.asarray(candidates, dtype=np.float64)
    matrix = candidates if form == "published" else candidates - candidates.mean(axis=0)
    scale = np.ones(n_labels)
    if form == "scaled":
        scatter = np.sqrt((matrix**2).mean(axis=(0, 1)))
        size = np.sqrt((candidates**2).mean(axis=(0, 1)))
        scale = np.where(scatter > _ROUNDING * size, scatter, 1.0)
    matrix = (matrix / scale).reshape(t, n * n_labels)
    # t is small and N * L large: the eigenvectors of the small Gram matrix are enough.
    values, vectors = np.linalg.eigh(matrix @ matrix.T)
    values, vectors = np.clip(values[::-1], 0.0, None), vectors[:, ::-1]
    # Where all candidates agree there is nothing to search: the mean's rounding is no direction.
    floor = max(_RANK * float(values[0]), _ROUNDING**2 * float(((candidates / scale) ** 2).sum()))
    share = np.cumsum(values) / max(values.sum(), np.finfo(float).tiny)
    m = min(
        int(np.searchsorted(share, variance - 1e-12)) + 1, int(np.count_nonzero(values > floor))
    )
    basis = (vectors[:, :m] / np.sqrt(np.where(values[:m] > 0, values[:m], 1.0))).T @ matrix
    # An eigenvector's sign is arbitrary; it is fixed so that the search is the same on any machine.
    basis *= np.sign(basis[np.arange(m), np.abs(basis).argmax(axis=1)])[:, None]
    scores = matrix @ basis.T
    basis = basis.reshape(m, n, n_labels) * scale
    offset = np.zeros((n, n_labels))
    if form != "published":
        offset = candidates[0] - np.tensordot(scores[0], basis, axes=1)
    return ReducedLabels(basis, offset, scores.min(axis=0), scores.max(axis=0), scores[0])


def label_limits(
    emulator: Emulator, max_extrapolation: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest labels (L,) that are emulated: `refine.box` in the labels' units."""
    low, high = emulator.from_scaled(np.stack(refine.box(emulator, max_extrapolation)))
    return low, high


def misfits(
    emulator: Emulator,
    components: NDArray[np.floating],
    residual: NDArray[np.floating],
    labels: NDArray[np.float64],
) -> NDArray[np.float64]:
    """chi2 (N,) of stars with `components` (N, k) and `residual` (N,) at the labels (N, L)."""
    result = np.empty(len(labels))
    for first in range(0, len(labels), _BATCH):
        rows = slice(first, first + _BATCH)
        model = emulator.process.predict(emulator.to_scaled(labels[rows]))
        result[rows] = residual[rows] + ((components[rows] - model) ** 2).sum(axis=1)
    return result


def normal_equations(
    emulator: Emulator,
    components: NDArray[np.floating],
    residual: NDArray[np.floating],
    labels: NDArray[np.float64],
    moving: NDArray[np.bool_],
    basis: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """chi2 (N,), and the normal equations of the group's mean chi2 in the coordinates d.

    Formally the residuals of all stars are stacked and J_d = J_labels @ basis. Neither is stored: a
    star enters by its (L, L) matrix J J' and its vector J r.

    Parameters
    ----------
    labels, moving : (N, L); whether a label moves with d; one at its limit does not
    basis : (m, N, L) of `ReducedLabels`

    Returns
    -------
    chi2 : (N,)
    hessian : (m, m) half the second derivatives (Gauss-Newton)
    gradient : (m,) half the negative gradient
    """
    n, n_labels = labels.shape
    chi2, vector, matrix = np.empty(n), np.empty((n, n_labels)), np.empty((n, n_labels, n_labels))
    for first in range(0, n, _BATCH):
        rows = slice(first, first + _BATCH)
        scaled = emulator.to_scaled(labels[rows])
        model, jacobian = emulator.process.predict_with_jacobian(scaled)
        jacobian *= (moving[rows] / emulator.label_derivative(scaled))[:, :, None]
        difference = components[rows] - model
        chi2[rows] = residual[rows] + (difference**2).sum(axis=1)
        vector[rows] = np.matvec(jacobian, difference)
        matrix[rows] = jacobian @ jacobian.swapaxes(1, 2)
    return chi2, *group_equations(basis, matrix, vector)


def group_seed(seed: int, spectral_type: str, group: int) -> int:
    """Seed of one group's search, from the run's seed, the type and the group's number only."""
    return int(np.random.SeedSequence([seed, group, *spectral_type.encode()]).generate_state(1)[0])


@dataclass(frozen=True)
class _Found:
    """Result of a search: coordinates d (m,), history, evaluations, and whether it settled."""

    d: NDArray[np.float64]
    history: list[float]
    n_evaluations: int
    settled: bool


def bayes_opt() -> Any:
    """The package bayes_opt, not imported above because every fit imports this module, most do not
    use this search, and scikit-learn takes a second to load.
    """
    import bayes_opt.acquisition

    return bayes_opt


def search_bayesian(
    objective: Callable[[NDArray[np.float64]], float],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    first: NDArray[np.float64],
    settings: GroupedSettings,
    seed: int,
    tolerance: float = 0.0,
) -> _Found:
    """Minimum of `objective` between `low` and `high` (m,) as L24 search it (2.2 steps 6 and 7).

    The first surrogate is made from random points and the first match. Then the upper confidence
    bound chooses each point, until `patience` points in a row have not lowered the minimum by more
    than its share `tolerance`. The package searches in d less its lower bound, divided by the
    widest range. So lengths keep their proportions, and the surrogate's length scale starts near
    the right one, whatever N and the labels' units are.
    """
    width = float((high - low).max())
    top = (high - low) / width
    names = [f"d{i:04d}" for i in range(len(low))]
    best_value, best, n_evaluations = np.inf, first, 0

    def target(**point: float) -> float:
        nonlocal best_value, best, n_evaluations
        d = np.clip(low + width * np.array([point[name] for name in names]), low, high)
        value = objective(d)
        n_evaluations += 1
        if value < best_value:
            best_value, best = value, d
        return -value

    package = bayes_opt()

    class Acquisition(package.acquisition.UpperConfidenceBound):  # type: ignore[misc,name-defined]
        """With fewer trials than the package has by default, which take most of a search's time."""

        def suggest(
            self,
            gp: Any,
            target_space: Any,
            n_random: int = _TRIALS,
            n_smart: int = _CLIMBS,
            fit_gp: bool = True,
            random_state: Any = None,
        ) -> NDArray[np.floating]:
            surrogate = Surrogate(gp)
            return super().suggest(surrogate, target_space, n_random, n_smart, fit_gp, random_state)

    optimiser = package.BayesianOptimization(
        f=target,
        pbounds={name: (0.0, float(limit)) for name, limit in zip(names, top, strict=True)},
        acquisition_function=Acquisition(kappa=settings.kappa),
        random_state=seed,
        verbose=0,
    )
    optimiser.set_gp_params(n_restarts_optimizer=_RESTARTS)
    match = np.clip((first - low) / width, 0.0, top)
    for point in [
        *optimiser.random_sample(settings.random_points),
        dict(zip(names, match, strict=True)),
    ]:
        optimiser.probe(point, lazy=False)
    history, idle = [best_value], 0
    while idle < settings.patience and len(history) <= settings.max_iterations:
        # The package remembers its points: one that is suggested again is not evaluated again.
        optimiser.probe(optimiser.suggest(), lazy=False)
        idle = 0 if best_value < (1.0 - tolerance) * history[-1] else idle + 1
        history.append(best_value)
    return _Found(best, history, n_evaluations, idle >= settings.patience)


def search_gradient(
    equations: Callable[
        [NDArray[np.float64]], tuple[float, NDArray[np.float64], NDArray[np.float64]]
    ],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    first: NDArray[np.float64],
    settings: GroupedSettings,
) -> _Found:
    """Minimum between `low` and `high` (m,) by Levenberg-Marquardt from the first match.

    `equations` gives objective, half its Gauss-Newton Hessian and half its negative gradient. It
    evaluates at most as many points as the Bayesian search may, and draws no random number.
    """
    d = np.clip(first, low, high)
    value, hessian, gradient = equations(d)
    history, idle, damping, settled = [value], 0, 1e-3, False
    most = settings.random_points + settings.max_iterations
    while len(history) <= most:
        # A coordinate whose step would cross its bound is held there while the others go on.
        free = ~(((d <= low) & (gradient < 0)) | ((d >= high) & (gradient > 0)))
        if not free.any():
            settled = True
            break
        inner = hessian[np.ix_(free, free)]
        diagonal = np.maximum(np.diag(inner), 1e-12 * max(float(np.diag(inner).max()), 1e-300))
        step = np.zeros_like(d)
        step[free] = np.linalg.solve(inner + damping * np.diag(diagonal), gradient[free])
        if (
            float(step @ gradient) < _TOLERANCE * value
            or damping > _MAX_DAMPING
            or idle >= settings.patience
        ):
            settled = True
            break
        trial = np.clip(d + step, low, high)
        new = equations(trial)
        if new[0] < value:
            d, (value, hessian, gradient) = trial, new
            damping, idle = max(damping / 5.0, 1e-9), 0
        else:
            damping, idle = damping * 5.0, idle + 1
        history.append(value)
    return _Found(d, history, len(history), settled)


def fit_group(
    emulator: Emulator,
    components: NDArray[np.floating],
    residual: NDArray[np.floating],
    candidates: NDArray[np.floating],
    settings: GroupedSettings,
    seed: int,
) -> GroupFit:
    """Labels of the stars of one group.

    Parameters
    ----------
    components, residual : (N, k) and (N,) of `components.project`
    candidates : (N, t, L) labels of `candidate_rows`
    seed : of `group_seed`

    Labels outside `label_limits` are set to the limit: near the edges of the box in d, combinations
    of candidates can be unlike any star, and far from the library the emulator is not valid.
    """
    components = np.asarray(components, dtype=np.float64)
    residual = np.asarray(residual, dtype=np.float64)
    candidates = np.asarray(candidates, dtype=np.float64)
    limits = label_limits(emulator, settings.max_extrapolation)
    if settings.form == "steps":
        posterior = Posterior(emulator, components, residual, candidates, limits)
        reduced, values, derivatives = (
            posterior.step_labels(),
            posterior.values,
            posterior.equations,
        )
    else:
        reduced = reduce_labels(candidates.swapaxes(0, 1), settings.variance, settings.form)
        values = partial(misfits, emulator, components, residual)
        derivatives = partial(normal_equations, emulator, components, residual)

    def objective(d: NDArray[np.float64]) -> float:
        return float(values(np.clip(reduced.labels(d), *limits)).mean())

    def equations(d: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        labels = reduced.labels(d)
        inside = (labels >= limits[0]) & (labels <= limits[1])
        value, hessian, gradient = derivatives(np.clip(labels, *limits), inside, reduced.basis)
        return float(value.mean()), hessian, gradient

    bounds = reduced.low, reduced.high, reduced.first
    if not (reduced.high > reduced.low).any():
        found = _Found(reduced.first, [objective(reduced.first)], 1, True)
    elif settings.search == "gradient":
        found = search_gradient(equations, *bounds, settings)
    else:
        # As published, a misfit "remains the same" if it does to the last digit.
        tolerance = _SAME if settings.form == "steps" else 0.0
        found = search_bayesian(objective, *bounds, settings, seed, tolerance)
    labels = np.clip(reduced.labels(found.d), *limits)
    return GroupFit(
        labels=labels,
        chi2=misfits(emulator, components, residual, labels),
        chi2_first=misfits(emulator, components, residual, np.clip(candidates[:, 0], *limits)),
        coordinates=found.d,
        history=np.array(found.history),
        n_dimensions=len(reduced.first),
        n_evaluations=found.n_evaluations,
        settled=found.settled,
    )
