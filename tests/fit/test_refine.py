"""The search for labels: its derivatives, its errors against injected truth, its ends."""

from functools import partial

import numpy as np
import pytest
from noisy import TYPE, condensed_of, design_of, inner_labels, mask_some, observe
from promise import SHARE, assert_same_labels
from toy import BUILD, toy_labels, toy_library

from lamostvac.emulator.model import build_emulator
from lamostvac.fit import refine
from lamostvac.fit.priors import DensityPrior

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def emulator():
    """An emulator of 501 pixels, so that their full covariance can be written down."""
    return build_emulator(toy_library(snr=200), [(4300.5, 8700.0)], BUILD.changed(variance=0.97))


def free_fit(emulator, condensed, start, **keywords):
    low, high = refine.box(emulator, 0.2)
    return refine.refine(emulator, condensed, np.arange(len(start)), start, low, high, **keywords)


def evaluated(emulator, condensed, at, prior):
    """Half the Hessian, half the negative gradient, and the objective, of one start a star."""
    points = refine.at_points(emulator, at, prior)
    return refine._evaluate(condensed, np.arange(len(at)), points)


@pytest.mark.parametrize("with_prior", [False, True])
def test_the_gradient_is_the_finite_difference(emulator, with_prior):
    condensed = condensed_of(emulator, *mask_some(*observe(emulator, toy_labels(4, seed=3), 50)))
    prior = DensityPrior(emulator.library_scaled, 0.3) if with_prior else None
    at = emulator.to_scaled(toy_labels(4, seed=4))
    hessian, gradient, _ = evaluated(emulator, condensed, at, prior)
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-5
        after, before = (evaluated(emulator, condensed, at + s, prior) for s in (step, -step))
        np.testing.assert_allclose(
            -2 * gradient[:, axis], (after[2] - before[2]) / 2e-5, rtol=1e-5, atol=1e-4
        )
    if not with_prior:
        assert (np.linalg.eigvalsh(hessian) > 0).all()


def errors_of(emulator, fit):
    return refine.label_errors(emulator, fit)[0]


@pytest.mark.parametrize("snr", [15, 100])
def test_two_visits_of_a_star_differ_by_the_random_part_of_the_error(emulator, snr):
    truth = inner_labels(2000)
    scaled = emulator.to_scaled(truth)
    labels, random, errors = [], [], []
    for visit in (1, 2):
        design = design_of(emulator)
        condensed = design.condense(
            design.sums(*observe(emulator, truth, snr, visit=visit), TYPE), TYPE
        )
        fit = free_fit(emulator, condensed, scaled)
        labels.append(emulator.from_scaled(fit.scaled))
        whole, noise, lines = refine.label_errors(
            emulator, fit, partial(design.covariances, condensed, TYPE)
        )
        part = np.hypot(noise, lines)
        random.append(part)
        errors.append(whole)
    pull = (labels[1] - labels[0]) / np.hypot(*random)
    width = 1.4826 * np.median(np.abs(pull - np.median(pull, axis=0)), axis=0)
    np.testing.assert_allclose(width, 1, atol=0.08)
    assert (random[0] < errors[0]).all()


@pytest.mark.parametrize("snr", [15, 100])
def test_injected_truth_comes_back_with_honest_errors(emulator, snr):
    truth = inner_labels(3000)
    condensed = condensed_of(emulator, *observe(emulator, truth, snr))
    scaled = emulator.to_scaled(truth)
    start = scaled + np.random.default_rng(1).normal(0, 0.2, scaled.shape)
    fit = free_fit(emulator, condensed, start)
    assert (fit.status == refine.CONVERGED).mean() > 0.97
    labels, errors = emulator.from_scaled(fit.scaled), errors_of(emulator, fit)
    pulls = (labels - truth) / errors
    inside = fit.status == refine.CONVERGED
    for axis in range(3):
        pull = pulls[inside, axis]
        width = 1.4826 * np.median(np.abs(pull - np.median(pull)))
        assert 0.9 < width < 1.1, (axis, width)
        assert abs(np.median(pull)) < 0.1
    # chi2 at the truth has the mean of its degrees of freedom
    at_truth = condensed.chi2(emulator.process.predict(scaled), np.arange(3000))
    assert at_truth.mean() == pytest.approx(emulator.pixels.sum(), rel=0.01)


def test_more_signal_gives_smaller_errors_and_the_emulators_own_remain(emulator):
    labels = inner_labels(20)
    errors = {}
    for snr in (10, 100, 1e4, 1e5):
        condensed = condensed_of(emulator, *observe(emulator, labels, snr))
        fit = free_fit(emulator, condensed, emulator.to_scaled(labels))
        errors[snr] = errors_of(emulator, fit)
    assert (errors[100] < errors[10]).all()
    np.testing.assert_allclose(np.median(errors[1e5] / errors[1e4]), 1, atol=0.02)
    assert (errors[1e5] > 0).all()


def test_many_stars_at_once_are_each_alone(emulator):
    flux, ivar = mask_some(*observe(emulator, inner_labels(12), 30))
    start = emulator.to_scaled(inner_labels(12, seed=5))
    prior = DensityPrior(emulator.library_scaled, 0.3)
    together = free_fit(emulator, condensed_of(emulator, flux, ivar), start, prior=prior)
    for star in range(12):
        one = slice(star, star + 1)
        alone = free_fit(
            emulator, condensed_of(emulator, flux[one], ivar[one]), start[one], prior=prior
        )
        errors = np.sqrt(np.diagonal(np.linalg.inv(together.precision[one]), axis1=1, axis2=2))
        assert_same_labels(alone.scaled, together.scaled[one], errors)
        size = np.sqrt(np.einsum("nii->ni", together.precision[one]))
        change = (alone.precision - together.precision[one]) / size[:, :, None] / size[:, None, :]
        assert np.abs(change).max() < SHARE
        assert alone.status[0] == together.status[star]


def test_the_minimum_is_a_minimum(emulator):
    condensed = condensed_of(emulator, *observe(emulator, inner_labels(10), 50))
    fit = free_fit(emulator, condensed, emulator.to_scaled(inner_labels(10, seed=7)))
    rng = np.random.default_rng(0)
    for _ in range(20):
        nearby = fit.scaled + rng.normal(0, 0.02, fit.scaled.shape)
        chi2 = condensed.chi2(emulator.process.predict(nearby), np.arange(10))
        assert (chi2 > fit.objective - 1e-3).all()
    np.testing.assert_allclose(fit.objective, condensed.chi2(fit.components, np.arange(10)))


def test_no_iteration_gives_the_value_at_the_start(emulator):
    condensed = condensed_of(emulator, *observe(emulator, inner_labels(5), 50))
    start = emulator.to_scaled(inner_labels(5, seed=7))
    fit = free_fit(emulator, condensed, start, max_iterations=0)
    np.testing.assert_array_equal(fit.scaled, start)
    chi2 = condensed.chi2(emulator.process.predict(start), np.arange(5))
    np.testing.assert_allclose(fit.objective, chi2)
    assert (fit.status == refine.NO_PROGRESS).all()


def test_what_is_known_at_the_starts_is_not_used_elsewhere(emulator):
    """The same fit with and without it; a start that was brought into the box is evaluated there."""
    condensed = condensed_of(emulator, *observe(emulator, inner_labels(6), 50))
    prior = DensityPrior(emulator.library_scaled, 0.3)
    start = emulator.to_scaled(inner_labels(6, seed=7))
    outside = start.copy()
    outside[2] = 50.0
    for points in (start, outside):
        known = refine.at_points(emulator, points, prior)
        fit = free_fit(emulator, condensed, points, prior=prior, at_start=known)
        expected = free_fit(emulator, condensed, points, prior=prior)
        for name in refine.Fit.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(fit, name), getattr(expected, name))


def test_the_jacobian_of_a_fit_is_that_at_its_solution(emulator):
    condensed = condensed_of(emulator, *observe(emulator, inner_labels(6), 50))
    prior = DensityPrior(emulator.library_scaled, 0.3)
    fit = free_fit(emulator, condensed, emulator.to_scaled(inner_labels(6, seed=7)), prior=prior)
    there = refine.at_points(emulator, fit.scaled, prior)
    np.testing.assert_allclose(fit.components, there.components, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fit.jacobian, there.jacobian, rtol=1e-9, atol=1e-9)


def test_a_star_beyond_the_box_stops_at_its_rim_and_says_so(emulator):
    labels = np.tile([5750.0, 3.0, -0.5], (6, 1))
    condensed = condensed_of(emulator, *observe(emulator, labels, 200))
    low, high = np.full(3, -3.0), np.full(3, 3.0)
    high[0] = emulator.to_scaled(labels[:1])[0, 0] - 0.5  # hotter than allowed
    start = np.tile([high[0] - 0.3, 0.0, 0.0], (6, 1))
    fit = refine.refine(emulator, condensed, np.arange(6), start, low, high)
    assert (fit.status == refine.EDGE).all()
    assert (fit.scaled[:, 0] == high[0]).all()
    assert (fit.scaled[:, 1:] > low[1:]).all()
    # the others are at their minimum given the one that is held
    for step in ([0, 0.02, 0], [0, -0.02, 0], [0, 0, 0.02], [0, 0, -0.02]):
        chi2 = condensed.chi2(emulator.process.predict(fit.scaled + np.array(step)), np.arange(6))
        assert (chi2 > fit.objective - 1e-3).all()


def test_starts_outside_the_box_are_brought_in_and_not_changed_for_the_caller(emulator):
    start = np.full((3, 3), 50.0)
    fit = free_fit(emulator, condensed_of(emulator, *observe(emulator, inner_labels(3), 50)), start)
    assert (start == 50.0).all()
    assert np.isfinite(fit.scaled).all()


def test_of_several_starts_the_deepest_minimum_counts(emulator):
    """A start that is given up ends above the one that is taken, and none is given up that would win."""
    condensed = condensed_of(emulator, *observe(emulator, inner_labels(40), 50))
    rng = np.random.default_rng(2)
    low, high = refine.box(emulator, 0.2)
    starts = rng.uniform(low, high, (40, 4, 3))
    alone = np.stack(
        [free_fit(emulator, condensed, starts[:, s]).objective for s in range(4)], axis=1
    )
    stars = np.repeat(np.arange(40), 4)
    fit = refine.refine(emulator, condensed, stars, starts.reshape(-1, 3), low, high)
    best = refine.best_starts(fit.objective, stars)
    np.testing.assert_array_equal(stars[best], np.arange(40))
    np.testing.assert_array_equal(fit.objective[best], fit.objective.reshape(40, 4).min(axis=1))
    assert (fit.objective[best] <= alone.min(axis=1) + 1e-2).mean() > 0.95
    assert (
        fit.n_iterations.sum()
        < 0.9 * 4 * free_fit(emulator, condensed, starts[:, 0]).n_iterations.sum()
    )


def test_without_a_pixel_the_prior_alone_decides(emulator):
    flux, ivar = observe(emulator, inner_labels(2), 50)
    ivar[0] = 0
    condensed = condensed_of(emulator, flux, ivar)
    assert condensed.n_pixels.tolist() == [0, emulator.pixels.sum()]
    assert condensed.constant[0] == 0
    prior = DensityPrior(emulator.library_scaled, 0.5)
    start = np.zeros((2, 3))
    fit = free_fit(emulator, condensed, start, prior=prior)
    alone, half, _ = prior.evaluate(fit.scaled[:1])
    assert fit.objective[0] == pytest.approx(alone[0])
    np.testing.assert_allclose(half, 0, atol=0.1)  # where the density is highest
    errors = errors_of(emulator, free_fit(emulator, condensed, start))
    assert np.isnan(errors[0]).all()  # nothing is known: the star is rejected
    assert np.isfinite(errors[1]).all()


def test_the_box_is_the_librarys_and_a_margin_and_keeps_teff_finite(emulator):
    inputs = emulator.library_scaled
    low, high = refine.box(emulator, 0.1)
    span = inputs.max(axis=0) - inputs.min(axis=0)
    np.testing.assert_allclose(low, inputs.min(axis=0) - 0.1 * span)
    np.testing.assert_allclose(high, inputs.max(axis=0) + 0.1 * span)
    wide = np.array(refine.box(emulator, 100.0))
    assert 0 < emulator.from_scaled(wide)[1, 0] <= 100000.0 * (1 + 1e-9)


def test_with_a_prior_the_minimum_is_a_minimum_of_both_and_the_precision_positive(emulator):
    condensed = condensed_of(
        emulator, *observe(emulator, inner_labels(40), 5)
    )  # so noisy that the prior matters
    prior = DensityPrior(emulator.library_scaled, 0.3)
    start = emulator.to_scaled(inner_labels(40, seed=7))
    fit = free_fit(emulator, condensed, start, prior=prior)
    rows = np.arange(40)
    done = fit.status == refine.CONVERGED
    assert done.mean() > 0.9

    def objective(scaled):
        return condensed.chi2(emulator.process.predict(scaled), rows) + prior.evaluate(scaled)[0]

    np.testing.assert_allclose(fit.objective, objective(fit.scaled))
    rng = np.random.default_rng(0)
    for _ in range(20):
        nearby = fit.scaled + rng.normal(0, 0.02, fit.scaled.shape)
        assert (objective(nearby) > fit.objective - 2e-3)[done].all()
    assert (np.linalg.eigvalsh(fit.precision) > 0).all()
    # what the prior knows is never less than nothing: errors do not grow by it
    without = refine.refine(
        emulator, condensed, rows, fit.scaled, *refine.box(emulator, 0.2), max_iterations=0
    )
    errors, alone = (errors_of(emulator, each) for each in (fit, without))
    assert (errors <= alone * (1 + 1e-9)).all()
    assert np.median(errors / alone) < 0.99


def test_errors_are_those_of_the_curvature_of_chi2(emulator):
    """By second differences of a chi2 whose residuals are 0, where Gauss and Newton are exact."""
    labels = inner_labels(5)
    scaled = emulator.to_scaled(labels)
    flux = np.ones((5, len(emulator.pixels)))
    flux[:, emulator.pixels] = emulator.spectra(labels)
    condensed = condensed_of(emulator, flux, np.full(flux.shape, 1e4))
    fit = free_fit(emulator, condensed, scaled, max_iterations=0)
    errors = errors_of(emulator, fit)
    step = 1e-3
    for star in range(5):
        curvature = np.empty((3, 3))
        for i in range(3):
            for j in range(3):
                corners = [
                    scaled[star] + step * (a * np.eye(3)[i] + b * np.eye(3)[j])
                    for a in (1, -1)
                    for b in (1, -1)
                ]
                values = condensed.chi2(
                    emulator.process.predict(np.array(corners)), np.full(4, star)
                )
                curvature[i, j] = values @ [1, -1, -1, 1] / (4 * step**2)
        expected = np.sqrt(np.diag(np.linalg.inv(curvature / 2)))
        slope = emulator.label_derivative(scaled[star : star + 1])[0]
        np.testing.assert_allclose(errors[star], expected * slope, rtol=0.01)


def test_best_starts_by_hand():
    stars = np.array([2, 0, 2, 1, 0, 2])
    objective = np.array([3.0, 5.0, 1.0, 7.0, 5.0, 1.0])  # equal ones: the first
    np.testing.assert_array_equal(refine.best_starts(objective, stars), [1, 3, 2])
