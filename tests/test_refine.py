"""The per-star fit: its chi2 against brute force, its derivatives, its errors against injected truth."""

import numpy as np
import pytest
from toy import BUILD, toy_labels, toy_library

from lamostvac import refine, starfit
from lamostvac.emulator import build_emulator
from lamostvac.grid import GRID
from lamostvac.starfit import FitSettings, fit_stars

SCALE, FLOOR, SPACING, AMPLITUDE = 1.3, 0.01, 60.0, 0.03


@pytest.fixture(scope="module")
def emulator():
    """An emulator of 501 pixels, so that their full covariance can be written down."""
    library = toy_library(snr=200)
    return build_emulator(library, [(4300.5, 8700.0)], **(BUILD | {"variance": 0.97}))


def condensed_of(emulator, flux, ivar, scale=SCALE, spacing=SPACING):
    return refine.condense(emulator, flux, ivar, scale, FLOOR, spacing, AMPLITUDE)


def observe(emulator, labels, snr, seed=0, scale=SCALE):
    """Spectra with every error that the fit allows for, drawn from its own covariances."""
    rng = np.random.default_rng(seed)
    n = len(labels)
    components = emulator.process.predict(emulator.to_scaled(labels))
    components = components + rng.multivariate_normal(
        np.zeros(emulator.n_components), scale * emulator.discrepancy, n
    )
    bumps = refine.calibration_bumps(GRID[emulator.pixels], SPACING)
    noise = np.sqrt(1 / snr**2 + FLOOR**2 + emulator.truncation)
    modelled = emulator.mean + components @ emulator.basis
    modelled += rng.normal(0, AMPLITUDE, (n, len(bumps))) @ bumps
    flux = np.ones((n, len(GRID)))
    flux[:, emulator.pixels] = modelled + rng.normal(0, 1, modelled.shape) * noise
    return flux, np.full(flux.shape, float(snr) ** 2)


def mask_some(flux, ivar, seed=0):
    """Other pixels masked in each star, with values there that must not matter."""
    rng = np.random.default_rng(seed)
    masked = rng.random(flux.shape) < 0.1
    masked[:, 100:180] = True
    return np.where(masked, 1e6, flux), np.where(masked, 0.0, ivar * rng.uniform(0.3, 3, flux.shape))


def dense_chi2(emulator, flux, ivar, labels, spacing):
    """Generalised least squares with the full covariance of one star's pixels."""
    used = ivar[emulator.pixels] > 0
    basis = emulator.basis[:, used]
    covariance = SCALE * basis.T @ emulator.discrepancy @ basis
    if spacing:
        bumps = refine.calibration_bumps(GRID[emulator.pixels], spacing)[:, used]
        covariance += AMPLITUDE**2 * bumps.T @ bumps
    diagonal = 1 / ivar[emulator.pixels][used] + FLOOR**2 + emulator.truncation[used]
    covariance[np.diag_indices(len(covariance))] += diagonal
    residual = flux[emulator.pixels][used] - emulator.spectra(labels[None])[0, used]
    return residual @ np.linalg.solve(covariance, residual)


@pytest.mark.parametrize("block", [64, 512], ids=["many blocks", "one block"])
@pytest.mark.parametrize("spacing", [0.0, 60.0, 200.0])
def test_chi2_is_that_of_the_full_covariance_of_the_pixels(emulator, spacing, block, monkeypatch):
    monkeypatch.setattr(refine, "_BLOCK", block)
    flux, ivar = mask_some(*observe(emulator, toy_labels(4, seed=1), 50))
    condensed = condensed_of(emulator, flux, ivar, spacing=spacing)
    trials = toy_labels(5, seed=2)
    for star in range(len(flux)):
        components = emulator.process.predict(emulator.to_scaled(trials))
        found = condensed.chi2(components, np.full(len(trials), star))
        expected = [dense_chi2(emulator, flux[star], ivar[star], trial, spacing) for trial in trials]
        np.testing.assert_allclose(found, expected, rtol=1e-8)
        used = ivar[star, emulator.pixels] > 0
        assert condensed.n_pixels[star] == used.sum() < emulator.pixels.sum()


def test_masked_pixels_never_matter_and_nothing_is_changed(emulator):
    flux, ivar = mask_some(*observe(emulator, toy_labels(3, seed=1), 50))
    copies = flux.copy(), ivar.copy()
    first = condensed_of(emulator, flux, ivar)
    np.testing.assert_array_equal(flux, copies[0])
    np.testing.assert_array_equal(ivar, copies[1])
    second = condensed_of(emulator, np.where(ivar > 0, flux, -3.0), ivar)
    np.testing.assert_array_equal(first.q, second.q)
    np.testing.assert_array_equal(first.g, second.g)


def test_single_precision_spectra_are_as_good(emulator):
    flux, ivar = observe(emulator, toy_labels(3, seed=1), 50)
    double, single = (condensed_of(emulator, flux.astype(t), ivar.astype(t)) for t in ("f8", "f4"))
    np.testing.assert_allclose(single.q, double.q, rtol=1e-5, atol=1e-5 * np.abs(double.q).max())
    np.testing.assert_allclose(single.constant, double.constant, rtol=1e-4)


@pytest.mark.parametrize("with_prior", [False, True])
def test_the_gradient_is_the_finite_difference(emulator, with_prior):
    labels = toy_labels(4, seed=3)
    condensed = condensed_of(emulator, *mask_some(*observe(emulator, labels, 50)))
    prior = refine.DensityPrior(emulator.library_scaled, 0.3) if with_prior else None
    rows = np.arange(4)

    def objective(scaled):
        value = condensed.chi2(emulator.process.predict(scaled), rows)
        return value + prior.evaluate(scaled)[0] if with_prior else value

    at = emulator.to_scaled(toy_labels(4, seed=4))
    components, jacobian = emulator.process.predict_with_jacobian(at)
    hessian, gradient = refine._normal_equations(condensed, components, jacobian, at, rows, prior)
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-5
        difference = (objective(at + step) - objective(at - step)) / 2e-5
        np.testing.assert_allclose(-2 * gradient[:, axis], difference, rtol=1e-5, atol=1e-4)
    assert (np.linalg.eigvalsh(hessian) > 0).all()


def test_the_density_priors_gradient_and_hessian():
    rng = np.random.default_rng(3)
    prior = refine.DensityPrior(rng.normal(0, 1, (50, 3)), 0.4)
    points = np.concatenate([rng.normal(0, 1.5, (20, 3)), [[9.0, 9, 9]]])
    value, half, hessian = prior.evaluate(points)
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-5
        difference = (prior.evaluate(points + step)[0] - prior.evaluate(points - step)[0]) / 2e-5
        np.testing.assert_allclose(-2 * half[:, axis], difference, atol=1e-6)
    np.testing.assert_allclose(hessian, hessian.swapaxes(1, 2), atol=1e-12)
    assert np.linalg.eigvalsh(hessian).min() > -1e-10
    brute = np.exp(-0.5 * ((points[:, None] - prior.centres) ** 2).sum(axis=2) / 0.4**2).sum(axis=1)
    np.testing.assert_allclose(value, -2 * np.log(brute + prior.floor))
    np.testing.assert_allclose(half[-1], 0, atol=1e-12)  # far away it does not pull


def test_near_one_star_the_priors_hessian_is_that_of_its_gaussian():
    prior = refine.DensityPrior(np.zeros((1, 2)), 0.5, floor=1e-12)
    _, half, hessian = prior.evaluate(np.array([[0.1, -0.05]]))
    np.testing.assert_allclose(hessian[0], np.eye(2) / 0.5**2, atol=1e-6)
    np.testing.assert_allclose(half[0], [-0.1 / 0.25, 0.05 / 0.25], rtol=1e-6)


def inner_labels(n, seed=0, share=0.6):
    centre = np.array([5750, 3.0, -0.5])
    return (toy_labels(n, seed) - centre) * share + centre


def free_fit(emulator, condensed, start, **keywords):
    low, high = refine.box(emulator, 0.2)
    return refine.refine(emulator, condensed, start, low, high, **keywords)


@pytest.mark.parametrize("snr", [15, 100])
def test_injected_truth_comes_back_with_honest_errors(emulator, snr):
    truth = inner_labels(3000)
    condensed = condensed_of(emulator, *observe(emulator, truth, snr))
    scaled = emulator.to_scaled(truth)
    start = scaled + np.random.default_rng(1).normal(0, 0.2, scaled.shape)
    fit = free_fit(emulator, condensed, start)
    assert (fit.status == refine.CONVERGED).mean() > 0.97
    labels, errors = emulator.from_scaled(fit.scaled), refine.label_errors(emulator, fit)
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
        errors[snr] = refine.label_errors(emulator, free_fit(emulator, condensed, emulator.to_scaled(labels)))
    assert (errors[100] < errors[10]).all()
    np.testing.assert_allclose(np.median(errors[1e5] / errors[1e4]), 1, atol=0.02)
    assert (errors[1e5] > 0).all()


def test_many_stars_at_once_are_each_alone(emulator):
    flux, ivar = mask_some(*observe(emulator, inner_labels(12), 30))
    start = emulator.to_scaled(inner_labels(12, seed=5))
    prior = refine.DensityPrior(emulator.library_scaled, 0.3)
    together = free_fit(emulator, condensed_of(emulator, flux, ivar), start, prior=prior)
    for star in range(12):
        one = slice(star, star + 1)
        alone = free_fit(emulator, condensed_of(emulator, flux[one], ivar[one]), start[one], prior=prior)
        np.testing.assert_allclose(alone.scaled, together.scaled[one], atol=1e-7)
        np.testing.assert_allclose(alone.precision, together.precision[one], rtol=1e-6, atol=1e-6)
        assert alone.status[0] == together.status[star]


def test_the_minimum_is_a_minimum(emulator):
    flux, ivar = observe(emulator, inner_labels(10), 50)
    condensed = condensed_of(emulator, flux, ivar)
    fit = free_fit(emulator, condensed, emulator.to_scaled(inner_labels(10, seed=7)))
    rng = np.random.default_rng(0)
    for _ in range(20):
        nearby = fit.scaled + rng.normal(0, 0.02, fit.scaled.shape)
        chi2 = condensed.chi2(emulator.process.predict(nearby), np.arange(10))
        assert (chi2 > fit.objective - 1e-3).all()
    np.testing.assert_allclose(fit.objective, condensed.chi2(fit.components, np.arange(10)))


def test_a_star_beyond_the_box_stops_at_its_rim_and_says_so(emulator):
    labels = np.tile([5750.0, 3.0, -0.5], (6, 1))
    flux, ivar = observe(emulator, labels, 200)
    low, high = np.full(3, -3.0), np.full(3, 3.0)
    high[0] = emulator.to_scaled(labels[:1])[0, 0] - 0.5  # hotter than allowed
    start = np.tile([high[0] - 0.3, 0.0, 0.0], (6, 1))
    fit = refine.refine(emulator, condensed_of(emulator, flux, ivar), start, low, high)
    assert (fit.status == refine.EDGE).all()
    assert (fit.scaled[:, 0] == high[0]).all()
    assert (fit.scaled[:, 1:] > low[1:]).all()
    # the others are at their minimum given the one that is held
    condensed = condensed_of(emulator, flux, ivar)
    for step in ([0, 0.02, 0], [0, -0.02, 0], [0, 0, 0.02], [0, 0, -0.02]):
        chi2 = condensed.chi2(emulator.process.predict(fit.scaled + np.array(step)), np.arange(6))
        assert (chi2 > fit.objective - 1e-3).all()


def test_starts_outside_the_box_are_brought_in_and_not_changed_for_the_caller(emulator):
    flux, ivar = observe(emulator, inner_labels(3), 50)
    start = np.full((3, 3), 50.0)
    fit = free_fit(emulator, condensed_of(emulator, flux, ivar), start)
    assert (start == 50.0).all()
    assert np.isfinite(fit.scaled).all()


def test_the_better_of_two_solutions_is_taken_for_each_star(emulator):
    flux, ivar = observe(emulator, inner_labels(5), 50)
    condensed = condensed_of(emulator, flux, ivar)
    starts = emulator.to_scaled(inner_labels(5)), np.full((5, 3), -1.5)
    fits = [free_fit(emulator, condensed, start, max_iterations=1) for start in starts]
    best = refine.best_of(fits)
    np.testing.assert_array_equal(best.objective, np.minimum(fits[0].objective, fits[1].objective))
    for star in range(5):
        chosen = fits[int(fits[1].objective[star] < fits[0].objective[star])]
        for name in ("scaled", "components", "precision", "status", "n_iterations"):
            np.testing.assert_array_equal(getattr(best, name)[star], getattr(chosen, name)[star])


def test_without_a_pixel_the_prior_alone_decides(emulator):
    flux, ivar = observe(emulator, inner_labels(2), 50)
    ivar[0] = 0
    condensed = condensed_of(emulator, flux, ivar)
    assert condensed.n_pixels.tolist() == [0, emulator.pixels.sum()]
    assert condensed.constant[0] == 0
    prior = refine.DensityPrior(emulator.library_scaled, 0.5)
    start = np.zeros((2, 3))
    fit = free_fit(emulator, condensed, start, prior=prior)
    alone, half, _ = prior.evaluate(fit.scaled[:1])
    assert fit.objective[0] == pytest.approx(alone[0])
    np.testing.assert_allclose(half, 0, atol=0.1)  # where the density is highest
    without = free_fit(emulator, condensed, start)
    errors = refine.label_errors(emulator, without)
    assert np.isnan(errors[0]).all()  # nothing is known: fit.py rejects the star
    assert np.isfinite(errors[1]).all()


def test_the_box_is_the_librarys_and_a_margin_and_keeps_teff_finite(emulator):
    inputs = emulator.library_scaled
    low, high = refine.box(emulator, 0.1)
    span = inputs.max(axis=0) - inputs.min(axis=0)
    np.testing.assert_allclose(low, inputs.min(axis=0) - 0.1 * span)
    np.testing.assert_allclose(high, inputs.max(axis=0) + 0.1 * span)
    wide = np.array(refine.box(emulator, 100.0))
    assert 0 < emulator.from_scaled(wide)[1, 0] <= 100000.0 * (1 + 1e-9)


def test_prior_intervals_are_the_papers(emulator):
    guess = np.array([[5000.0, 4.0, -1.0], [12000.0, 4.0, 0.0], [1500.0, 1.0, 0.0]])
    low, high = (emulator.from_scaled(edge) for edge in refine.prior_intervals(emulator, guess))
    np.testing.assert_allclose(low, [[4000, 3, -1.5], [7000, 3, -0.5], [1000, 0, -0.5]])
    np.testing.assert_allclose(high, [[6000, 5, -0.5], [17000, 5, 0.5], [2500, 2, 0.5]])


def test_bumps_can_follow_any_smooth_curve():
    wave = GRID[(GRID > 4000) & (GRID < 6000)]
    bumps = refine.calibration_bumps(wave, 60.0)
    curve = 0.05 * np.sin(2 * np.pi * wave / 400) + 0.02 * (wave - 5000) / 1000
    amplitudes = np.linalg.lstsq(bumps.T, curve, rcond=None)[0]
    assert np.abs(amplitudes @ bumps - curve).max() < 1e-3
    line = np.exp(-0.5 * ((wave - 5000) / 3) ** 2)
    amplitudes = np.linalg.lstsq(bumps.T, line, rcond=None)[0]
    assert np.abs(amplitudes @ bumps - line).max() > 0.7


SETTINGS = FitSettings(flux_floor=FLOOR, calibration_scale=SPACING, calibration_error=AMPLITUDE)


@pytest.mark.parametrize("prior", ["none", "intervals", "density"])
def test_stars_from_first_guess_to_labels(emulator, prior):
    truth = inner_labels(30)
    flux, ivar = observe(emulator, truth, 80)
    starts = np.stack([inner_labels(30, seed=3, share=0.2), inner_labels(30, seed=4, share=0.2)], axis=1)
    starts = (starts + truth[:, None] * 3) / 4
    settings = FitSettings(**(vars(SETTINGS) | {"prior": prior}))
    fits = fit_stars(emulator, flux, ivar, starts, SCALE, settings)
    pulls = (fits.labels - truth) / fits.errors
    assert np.median(np.abs(pulls)) < 1.3
    assert (fits.n_pixels == emulator.pixels.sum()).all()
    used = emulator.pixels
    expected = ((flux[:, used] - emulator.spectra(fits.labels)) ** 2).sum(axis=1)
    np.testing.assert_allclose(fits.chi2, expected, rtol=1e-6)
    first = ((flux[:, used] - emulator.spectra(starts[:, 0])) ** 2).sum(axis=1)
    np.testing.assert_allclose(fits.chi2_first, first, rtol=1e-6)


def test_the_order_and_the_company_of_stars_do_not_matter(emulator, monkeypatch):
    flux, ivar = mask_some(*observe(emulator, inner_labels(20), 40))
    starts = np.stack([inner_labels(20, seed=3)], axis=1)
    scale = np.where(np.arange(20) % 3 == 0, 1.0, 2.5)
    expected = fit_stars(emulator, flux, ivar, starts, scale, SETTINGS)
    monkeypatch.setattr(starfit, "_BATCH", 7)
    order = np.random.default_rng(0).permutation(20)
    shuffled = fit_stars(emulator, flux[order], ivar[order], starts[order], scale[order], SETTINGS)
    np.testing.assert_allclose(shuffled.labels, expected.labels[order], rtol=1e-6)
    np.testing.assert_allclose(shuffled.errors, expected.errors[order], rtol=1e-5)
    np.testing.assert_array_equal(shuffled.status, expected.status[order])
    one = fit_stars(emulator, flux[1:2], ivar[1:2], starts[1:2], 2.5, SETTINGS)
    np.testing.assert_allclose(one.labels[0], expected.labels[1], rtol=1e-6)


def test_no_stars_give_empty_columns(emulator):
    none = np.empty((0, len(GRID)))
    fits = fit_stars(emulator, none, none, np.empty((0, 2, 3)), 1.0, SETTINGS)
    assert fits.labels.shape == fits.errors.shape == (0, 3)
    assert (fits.status.dtype, fits.n_pixels.dtype) == (np.int8, np.int64)


def test_a_hopeless_star_among_good_ones_harms_nobody(emulator):
    flux, ivar = observe(emulator, inner_labels(5), 60)
    starts = inner_labels(5, seed=2)[:, None]
    expected = fit_stars(emulator, flux, ivar, starts, SCALE, SETTINGS)
    ivar[2] = 0
    flux[3], ivar[3] = -1e30, 1e30  # absurd, yet what float32 can hold
    fits = fit_stars(emulator, flux, ivar, starts, SCALE, SETTINGS)
    for star in (0, 1, 4):
        np.testing.assert_allclose(fits.labels[star], expected.labels[star], rtol=1e-6)
        assert fits.status[star] == expected.status[star]
    assert fits.n_pixels[2] == 0
