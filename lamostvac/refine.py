"""Each star's labels from its own spectrum: batched Levenberg-Marquardt in component space.

The spectrum of a star on its usable pixels is taken as

    flux = mean + basis' (f(labels) + e) + bumps' c + noise

with f the emulator, e its error (covariance `discrepancy`), c a smooth error of the survey's flux
calibration (independent amplitudes of overlapping bumps) and noise of each pixel. Errors of the
emulator and of the calibration are correlated over many pixels; a chi2 that takes pixels for
independent believes them (docs/method.md has what each term does on real spectra). Integrating e and
c out leaves

    chi2(labels) = (y - basis' f)' C^-1 (y - basis' f)

with C the sum of the three covariances. Woodbury's identity brings this, exactly and with each star's
own mask, into component space: chi2 = constant - 2 f'g + f'Q f, with one (k, k) matrix Q and one
vector g per star (`condense`). After that no pixel is looked at again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from lamostvac.emulator import Emulator
from lamostvac.grid import GRID

CODE_VERSION = 1

CONVERGED, EDGE, NO_PROGRESS = 0, 1, 2  # codes of fit_status
STATUS_NAMES = ("converged", "edge", "no_progress")

_TOLERANCE = 1e-4  # of chi2: one-hundredth of a standard deviation
_MAX_STEP = 0.7  # scaled labels; a step beyond half a length scale leaves the linear regime
_MAX_DAMPING = 1e8
_MAX_IVAR = 1e10  # of normalised flux; no spectrum is better, and absurd values would be singular
_BLOCK = 512  # pixels whose products are made at once; a design of this width stays in the cache


@dataclass(frozen=True)
class Condensed:
    """Spectra of n stars condensed to what the fit needs: chi2 = constant - 2 f'g + f'Q f.

    Attributes
    ----------
    q : (n, k, k)
    g : (n, k)
    constant : (n,)
    n_pixels : (n,) pixels used
    """

    q: NDArray[np.float64]
    g: NDArray[np.float64]
    constant: NDArray[np.float64]
    n_pixels: NDArray[np.int64]

    def chi2(self, components: NDArray[np.float64], rows: NDArray[np.integer]) -> NDArray[np.float64]:
        """chi2 (m,) of model components (m, k) for the stars `rows` (m,)."""
        quadratic = np.einsum("nk,nk->n", np.matvec(self.q[rows], components), components)
        return np.asarray(
            self.constant[rows] - 2.0 * np.einsum("nk,nk->n", components, self.g[rows]) + quadratic
        )


def calibration_bumps(wave: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """Gaussian bumps (b, p) every `spacing` A with a standard deviation of 0.8 spacings.

    Neighbours overlap so far that their sum can follow any curve smooth on the scale of the spacing.
    """
    centres = np.arange(wave[0] - spacing, wave[-1] + 2 * spacing, spacing)
    bumps = np.exp(-0.5 * ((wave - centres[:, None]) / (0.8 * spacing)) ** 2)
    # Denormal numbers in the far wings would make the products of `condense` ten times slower.
    return np.where(bumps > 1e-12, bumps, 0.0)


def condense(
    emulator: Emulator,
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    discrepancy_scale: float,
    flux_floor: float,
    calibration_scale: float,
    calibration_error: float,
) -> Condensed:
    """Condense normalised spectra.

    Parameters
    ----------
    flux, ivar : (n, 4901) prepared spectra; ivar 0 masks
    discrepancy_scale : factor on the emulator's covariance, `Emulator.discrepancy_scale` of the type
    flux_floor : standard deviation added to the noise of every pixel
    calibration_scale : spacing of the bumps, A; 0 leaves them out
    calibration_error : standard deviation of a bump's amplitude

    Cost: a symmetric product of (k + b, p) per star. A bump is local, so the product is made in
    blocks of wavelength with the few bumps that reach into each, half the time of one product.
    """
    bumps = np.empty((0, np.count_nonzero(emulator.pixels)))
    if calibration_scale > 0 and calibration_error > 0:
        bumps = calibration_bumps(GRID[emulator.pixels], calibration_scale)
    k, size = emulator.n_components, emulator.n_components + len(bumps)
    precision = np.zeros((size, size))
    precision[:k, :k] = np.linalg.inv(discrepancy_scale * emulator.discrepancy)
    np.fill_diagonal(precision[k:, k:], 1.0 / calibration_error**2 if len(bumps) else 0.0)
    blocks = _blocks(emulator.basis, bumps)
    designs = [
        np.empty_like(basis) for *_, basis in blocks
    ]  # made once: new memory costs more than a product
    n = len(flux)
    result = Condensed(np.empty((n, k, k)), np.empty((n, k)), np.empty(n), np.empty(n, dtype=np.int64))
    floor = flux_floor**2 + emulator.truncation
    for star in range(n):
        star_ivar = np.minimum(ivar[star, emulator.pixels], _MAX_IVAR).astype(np.float64)
        # 1 / (1 / ivar + floor), which is 0 where ivar is.
        root = np.sqrt(star_ivar / (1.0 + star_ivar * floor))
        residual = (flux[star, emulator.pixels] - emulator.mean) * root
        a, b = np.zeros((size, size)), np.zeros(size)  # the lower triangle of A
        for (pixels, near, basis), design in zip(blocks, designs, strict=True):
            np.multiply(basis, root[pixels], out=design)
            product, vector = design @ design.T, design @ residual[pixels]
            a[:k, :k] += product[:k, :k]
            a[near, :k] += product[k:, :k]
            a[near, near] += product[k:, k:]
            b[:k] += vector[:k]
            b[near] += vector[k:]
        # With T = (A + precision)^-1 the condensed matrix is A - A T A and the vector b - A T b.
        factor = cholesky(a + precision, lower=True, overwrite_a=True, check_finite=False)
        solved = solve_triangular(factor, np.column_stack([a[:, :k], b]), lower=True, check_finite=False)
        inner = solved.T @ solved
        result.q[star] = a[:k, :k] - inner[:k, :k]
        result.g[star] = b[:k] - inner[:k, k]
        result.constant[star] = residual @ residual - inner[k, k]
        result.n_pixels[star] = np.count_nonzero(star_ivar > 0)
    return result


def _blocks(
    basis: NDArray[np.float64], bumps: NDArray[np.float64]
) -> list[tuple[slice, slice, NDArray[np.float64]]]:
    """Blocks of pixels: which, the design's rows of the bumps that are not 0 there, and basis and these."""
    blocks = []
    for first in range(0, basis.shape[1], _BLOCK):
        pixels = slice(first, first + _BLOCK)
        near = np.flatnonzero(bumps[:, pixels].any(axis=1))
        rows = slice(near[0], near[-1] + 1) if len(near) else slice(0, 0)
        part = np.concatenate([basis[:, pixels], bumps[rows, pixels]])
        blocks.append((pixels, slice(len(basis) + rows.start, len(basis) + rows.stop), part))
    return blocks


@dataclass(frozen=True)
class DensityPrior:
    """Prior by the density of library stars in scaled labels: a sum of Gaussians, one on each star.

    Attributes
    ----------
    centres : (N, d) scaled labels of the library
    bandwidth : of the Gaussians, in scaled labels
    floor : density far from every library star, in units of the peak of one star's Gaussian
    """

    centres: NDArray[np.float64]
    bandwidth: float
    floor: float = 1e-3

    def evaluate(
        self, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """-2 ln p (m,), half its negative gradient (m, d) and a positive semi-definite half Hessian.

        The Hessian of a logarithm of a sum is not definite; I / bandwidth^2 less the covariance of
        the nearby centres is kept where it is positive.
        """
        h2 = self.bandwidth**2
        squared = (
            (points**2).sum(axis=1)[:, None] + (self.centres**2).sum(axis=1) - 2.0 * points @ self.centres.T
        )
        kernel = np.exp(-0.5 * np.clip(squared, 0.0, None) / h2)
        total = kernel.sum(axis=1) + self.floor
        share = kernel / total[:, None]
        covered = share.sum(axis=1)
        pull = share @ self.centres - covered[:, None] * points
        second = np.einsum("mn,ni,nj->mij", share, self.centres, self.centres, optimize=True)
        centre = share @ self.centres
        # sum of share * (centre_i - point)(centre_j - point)'
        spread = (
            second
            - centre[:, :, None] * points[:, None, :]
            - points[:, :, None] * centre[:, None, :]
            + covered[:, None, None] * points[:, :, None] * points[:, None, :]
        )
        identity = np.eye(points.shape[1])
        hessian = covered[:, None, None] * identity / h2 - spread / h2**2
        hessian += pull[:, :, None] * pull[:, None, :] / h2**2
        values, vectors = np.linalg.eigh(hessian)
        definite = np.einsum("mij,mj,mkj->mik", vectors, np.clip(values, 0.0, None), vectors)
        return -2.0 * np.log(total), pull / h2, definite


@dataclass(frozen=True)
class Fit:
    """Solutions of n stars with d labels.

    Attributes
    ----------
    scaled : (n, d) scaled labels
    components : (n, k) of the model
    objective : (n,) chi2 plus -2 ln prior
    precision : (n, d, d) inverse covariance of the scaled labels
    status : (n,) int8, CONVERGED, EDGE or NO_PROGRESS
    n_iterations : (n,)
    """

    scaled: NDArray[np.float64]
    components: NDArray[np.float64]
    objective: NDArray[np.float64]
    precision: NDArray[np.float64]
    status: NDArray[np.int8]
    n_iterations: NDArray[np.int64]


def refine(
    emulator: Emulator,
    condensed: Condensed,
    start: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    prior: DensityPrior | None = None,
    max_iterations: int = 30,
) -> Fit:
    """Minimise chi2 (plus prior) for each star from `start`, all scaled labels.

    Parameters
    ----------
    start : (n, d)
    low, high : (n, d) or (d,) box that the solution stays in

    A label on the rim of the box whose gradient points outwards is held there while the others go
    on. Finished stars leave the batch.
    """
    n, d = start.shape
    low, high = np.broadcast_to(low, (n, d)), np.broadcast_to(high, (n, d))
    scaled = np.clip(start, low, high)
    damping = np.full(n, 1e-2)
    status = np.full(n, NO_PROGRESS, dtype=np.int8)
    n_iterations = np.zeros(n, dtype=np.int64)
    everyone = np.arange(n)
    components, jacobian = emulator.process.predict_with_jacobian(scaled)
    objective = condensed.chi2(components, everyone)
    if prior is not None:
        objective = objective + prior.evaluate(scaled)[0]
    active = everyone
    for _ in range(max_iterations):
        n_iterations[active] += 1
        hessian, gradient = _normal_equations(condensed, components, jacobian, scaled, active, prior)
        held = ((scaled[active] <= low[active]) & (gradient < 0)) | (
            (scaled[active] >= high[active]) & (gradient > 0)
        )
        hessian, gradient = _hold(hessian, gradient, held)
        diagonal = np.maximum(np.einsum("nii->ni", hessian), 1e-12)
        damped = hessian + (damping[active, None] * diagonal)[:, :, None] * np.eye(d)
        step = np.linalg.solve(damped, gradient[..., None])[..., 0]
        expected = np.einsum("ni,ni->n", step, gradient)  # of the decrease; the Newton decrement
        step = np.clip(step, -_MAX_STEP, _MAX_STEP)
        trial = np.clip(scaled[active] + step, low[active], high[active])
        new_components, new_jacobian = emulator.process.predict_with_jacobian(trial)
        new_objective = condensed.chi2(new_components, active)
        if prior is not None:
            new_objective = new_objective + prior.evaluate(trial)[0]
        better = new_objective < objective[active]
        done = expected < _TOLERANCE
        moved = active[better]
        scaled[moved], components[moved] = trial[better], new_components[better]
        jacobian[moved] = new_jacobian[better]
        objective[moved] = new_objective[better]
        damping[moved] = np.maximum(damping[moved] / 5.0, 1e-9)
        damping[active[~better]] *= 5.0
        status[active[done]] = CONVERGED
        finished = done | (damping[active] > _MAX_DAMPING)
        active = active[~finished]
        if len(active) == 0:
            break
    at_rim = ((scaled <= low) | (scaled >= high)).any(axis=1)
    status[at_rim & (status == CONVERGED)] = EDGE
    precision = _normal_equations(condensed, components, jacobian, scaled, everyone, prior)[0]
    return Fit(scaled, components, objective, precision, status, n_iterations)


def _normal_equations(
    condensed: Condensed,
    components: NDArray[np.float64],
    jacobian: NDArray[np.float64],
    scaled: NDArray[np.float64],
    rows: NDArray[np.integer],
    prior: DensityPrior | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Half the Hessian (Gauss-Newton) and half the negative gradient for the stars `rows`."""
    q = condensed.q[rows]
    projected = jacobian[rows] @ q
    hessian = projected @ jacobian[rows].swapaxes(1, 2)
    gradient = np.matvec(jacobian[rows], condensed.g[rows]) - np.matvec(projected, components[rows])
    if prior is not None:
        _, pull, curvature = prior.evaluate(scaled[rows])
        hessian, gradient = hessian + curvature, gradient + pull
    return hessian, gradient


def _hold(
    hessian: NDArray[np.float64], gradient: NDArray[np.float64], held: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take the labels `held` (n, d) out of the normal equations: their step becomes 0."""
    if not held.any():
        return hessian, gradient
    free = ~held
    both = free[:, :, None] & free[:, None, :]
    return np.where(both, hessian, np.where(np.eye(held.shape[1], dtype=bool), 1.0, 0.0)), gradient * free


def best_of(fits: Sequence[Fit]) -> Fit:
    """The solution with the smallest objective for each star, of fits from several starts."""
    best = np.argmin([fit.objective for fit in fits], axis=0)
    stars = np.arange(len(best))

    def pick(values: list[NDArray[Any]]) -> NDArray[Any]:
        return np.array(np.stack(values)[best, stars])

    return Fit(**{name: pick([getattr(fit, name) for fit in fits]) for name in Fit.__dataclass_fields__})


def label_errors(emulator: Emulator, fit: Fit) -> NDArray[np.float64]:
    """(n, d) standard deviations of the labels from the inverse of the fit's precision.

    They contain the noise of the pixels, the emulator's and the calibration's covariance and, when
    one was used, the prior. NaN where the precision is singular.
    """
    d = fit.scaled.shape[1]
    scale = np.sqrt(np.maximum(np.einsum("nii->ni", fit.precision), 1e-300))
    correlation = fit.precision / scale[:, :, None] / scale[:, None, :]
    singular = np.linalg.cond(correlation) > 1e12
    safe = np.where(singular[:, None, None], np.eye(d), correlation)
    variance = np.einsum("nii->ni", np.linalg.inv(safe)) / scale**2
    variance[singular] = np.nan
    return np.abs(np.sqrt(variance) * emulator.label_derivative(fit.scaled))


def box(emulator: Emulator, max_extrapolation: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scaled labels (d,) of the library's limits, widened by a share of each label's range."""
    inputs = emulator.library_scaled
    low, high = inputs.min(axis=0), inputs.max(axis=0)
    margin = max_extrapolation * (high - low)
    # The linearised Teff must keep its sign, or Teff runs through infinity.
    low, high = low - margin, high + margin
    high[0] = min(high[0], (-5040.0 / 100000.0 - emulator.offset[0]) / emulator.scale[0])
    return low, high


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
            np.where(first_guess[:, 0] < 10000.0, 1000.0, 5000.0) if name == "teff" else half_widths[name]
        )
    low, high = first_guess - half, first_guess + half
    low[:, 0] = np.maximum(low[:, 0], 1000.0)
    return emulator.to_scaled(low), emulator.to_scaled(high)
