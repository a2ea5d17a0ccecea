"""The whole fit of prepared spectra: starts, outliers, company."""

import numpy as np
import pytest
from noisy import AMPLITUDE, FLOOR, SPACING, TYPE, inner_labels, mask_some, observe
from promise import SHARE, assert_same_labels
from toy import BUILD, toy_library

from lamostvac.emulator.model import build_emulator
from lamostvac.fit import fitter as starfit
from lamostvac.fit import refine
from lamostvac.fit.fitter import StarFitter
from lamostvac.fit.settings import FitSettings
from lamostvac.spectra.grid import GRID

pytestmark = pytest.mark.numeric

SETTINGS = FitSettings(flux_floor=FLOOR, calibration_scale=SPACING, calibration_error=AMPLITUDE)
CLEAN = SETTINGS.changed(outlier_sigma=0.0)


@pytest.fixture(scope="module")
def emulator():
    """An emulator of 501 pixels, so that their full covariance can be written down."""
    return build_emulator(toy_library(snr=200), [(4300.5, 8700.0)], BUILD.changed(variance=0.97))


def robust(values):
    return 1.4826 * np.median(np.abs(values - np.median(values, axis=0)), axis=0)


@pytest.mark.parametrize("prior", ["none", "intervals", "density"])
@pytest.mark.parametrize("anchors", [True, False])
def test_stars_to_labels(emulator, prior, anchors):
    truth = inner_labels(30)
    flux, ivar = observe(emulator, truth, 80)
    starts = np.stack(
        [inner_labels(30, seed=3, share=0.2), inner_labels(30, seed=4, share=0.2)], axis=1
    )
    starts = None if anchors else (starts + truth[:, None] * 3) / 4
    fits = StarFitter(emulator, CLEAN.changed(prior=prior)).fit(flux, ivar, TYPE, starts)
    assert np.median(np.abs((fits.labels - truth) / fits.errors)) < 1.3
    used = emulator.pixels
    assert (fits.n_pixels == used.sum()).all()
    for labels, chi2 in ((fits.labels, fits.chi2), (fits.first, fits.chi2_first)):
        expected = ((flux[:, used] - emulator.spectra(labels)) ** 2).sum(axis=1)
        np.testing.assert_allclose(chi2, expected, rtol=1e-4)
    if starts is not None:
        np.testing.assert_allclose(fits.first, starts[:, 0])


def test_anchors_find_what_a_start_at_the_truth_finds(emulator):
    truth = inner_labels(100)
    flux, ivar = observe(emulator, truth, 60)
    fitter = StarFitter(emulator, CLEAN)
    found, near = fitter.fit(flux, ivar, TYPE), fitter.fit(flux, ivar, TYPE, truth[:, None])
    away = np.abs((found.labels - near.labels) / near.errors).max(axis=1)
    assert (away < 0.1).mean() > 0.97


def test_the_order_and_the_company_of_stars_do_not_matter(emulator, monkeypatch):
    flux, ivar = mask_some(*observe(emulator, inner_labels(20), 40))
    types = np.where(np.arange(20) % 3 == 0, "G", "K")
    fitter = StarFitter(emulator, SETTINGS)
    expected = fitter.fit(flux, ivar, types)
    monkeypatch.setattr(starfit, "_BATCH", 7)
    order = np.random.default_rng(0).permutation(20)
    shuffled = fitter.fit(flux[order], ivar[order], types[order])
    assert_same_labels(shuffled.labels, expected.labels[order], expected.errors[order])
    np.testing.assert_allclose(shuffled.errors, expected.errors[order], rtol=SHARE)
    np.testing.assert_array_equal(shuffled.status, expected.status[order])
    one = fitter.fit(flux[1:2], ivar[1:2], "K")
    assert_same_labels(one.labels[0], expected.labels[1], expected.errors[1])
    other = fitter.fit(flux[1:2], ivar[1:2], "M")  # a type whose errors are others
    assert (other.labels != one.labels).all()


def test_no_stars_give_empty_columns(emulator):
    none = np.empty((0, len(GRID)))
    fits = StarFitter(emulator, SETTINGS).fit(none, none, TYPE)
    assert fits.labels.shape == fits.errors.shape == fits.first.shape == (0, 3)
    assert (fits.status.dtype, fits.n_pixels.dtype) == (np.int8, np.int64)


def test_a_hopeless_star_among_good_ones_harms_nobody(emulator):
    flux, ivar = observe(emulator, inner_labels(5), 60)
    fitter = StarFitter(emulator, SETTINGS)
    expected = fitter.fit(flux, ivar, TYPE)
    ivar[2] = 0
    flux[3], ivar[3] = -1e15, 1e15  # absurd, yet what float32 can hold the square of
    fits = fitter.fit(flux, ivar, TYPE)
    for star in (0, 1, 4):
        assert_same_labels(fits.labels[star], expected.labels[star], expected.errors[star])
        assert fits.status[star] == expected.status[star]
    assert fits.n_pixels[2] == 0


def test_clean_spectra_lose_no_pixel_and_keep_their_labels(emulator):
    flux, ivar = observe(emulator, inner_labels(200), 60)
    masked, plain = (StarFitter(emulator, s).fit(flux, ivar, TYPE) for s in (SETTINGS, CLEAN))
    assert (masked.n_outliers == 0).mean() > 0.98
    same = masked.n_outliers == 0
    np.testing.assert_array_equal(masked.labels[same], plain.labels[same])
    np.testing.assert_array_equal(masked.errors[same], plain.errors[same])


@pytest.mark.parametrize("what", ["cosmic rays", "emission", "bad columns"])
def test_spoiled_spectra_get_their_labels_back(emulator, what):
    truth = inner_labels(200)
    flux, ivar = observe(emulator, truth, 60)
    clean = StarFitter(emulator, CLEAN).fit(flux, ivar, TYPE)
    rng = np.random.default_rng(1)
    spoiled = flux.copy()
    pixels = np.flatnonzero(emulator.pixels)
    for star in range(200):
        if what == "cosmic rays":
            spoiled[star, rng.choice(pixels, 4)] += rng.uniform(0.3, 1.0, 4)
        elif what == "emission":
            line = np.exp(-0.5 * ((GRID - GRID[rng.choice(pixels)]) / 3.0) ** 2)
            spoiled[star] += rng.uniform(0.3, 0.8) * line
        else:
            first = rng.choice(pixels[:-12])
            spoiled[star, first : first + 12] -= rng.uniform(0.3, 0.6)
    left, found = (StarFitter(emulator, s).fit(spoiled, ivar, TYPE) for s in (CLEAN, SETTINGS))
    assert (found.n_outliers > 0).mean() > 0.9
    wrong, right = (robust((fits.labels - clean.labels) / clean.errors) for fits in (left, found))
    assert (right < 0.5 * wrong).all(), (right, wrong)
    assert (robust((found.labels - truth) / found.errors) < 1.3).all()
    assert (found.n_pixels + found.n_outliers == emulator.pixels.sum()).all()


def test_the_intervals_are_about_each_start_and_kept(emulator):
    """A start whose [Fe/H] is 0.9 off cannot reach the truth, one that is 0.2 off can."""
    truth = np.tile([5750.0, 3.0, -0.5], (20, 1))
    flux, ivar = observe(emulator, truth, 100)
    fitter = StarFitter(emulator, CLEAN.changed(prior="intervals"))
    near = fitter.fit(flux, ivar, TYPE, (truth + np.array([300.0, 0.3, 0.2]))[:, None])
    assert (near.status == refine.CONVERGED).all()
    far = fitter.fit(flux, ivar, TYPE, (truth + np.array([300.0, 0.3, 0.9]))[:, None])
    assert (far.status == refine.EDGE).all()
    np.testing.assert_allclose(far.labels[:, 2], -0.5 + 0.9 - 0.5)
    assert (np.abs(far.labels - far.first) <= np.array([1000.0, 1.0, 0.5]) * (1 + 1e-9)).all()


def test_chi2_and_pixels_count_neither_masked_pixels_nor_outliers(emulator):
    truth = inner_labels(40)
    flux, ivar = mask_some(*observe(emulator, truth, 60))
    used = emulator.pixels & (ivar > 0)
    rng = np.random.default_rng(1)
    spikes = np.array([rng.choice(np.flatnonzero(row), 5, replace=False) for row in used])
    kept = used.copy()
    np.put_along_axis(kept, spikes, False, axis=1)
    spoiled = np.where(used & ~kept, flux + 0.4, flux)
    fits = StarFitter(emulator, SETTINGS).fit(spoiled, ivar, TYPE)
    np.testing.assert_array_equal(fits.n_pixels + fits.n_outliers, used.sum(axis=1))
    assert (fits.n_outliers >= 5).mean() > 0.9
    assert np.median(fits.n_outliers) <= 6  # neighbours by chance on the same side
    # without its outliers a spectrum is as close to its model as without its spikes
    whole = np.zeros(flux.shape)
    whole[:, emulator.pixels] = emulator.spectra(fits.labels)
    clean = (np.where(kept, flux - whole, 0.0) ** 2).sum(axis=1)
    all_found = fits.n_outliers >= 5
    assert (fits.chi2 <= clean * (1 + 1e-4))[all_found].all()
    assert np.median(fits.chi2 / clean) > 0.9
    with_spikes = (np.where(used, spoiled - whole, 0.0) ** 2).sum(axis=1)
    assert (fits.chi2 < with_spikes - 5 * 0.3**2)[all_found].all()


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_spectra_are_not_changed_and_masked_pixels_do_not_matter(emulator, kind):
    flux, ivar = (
        values.astype(kind) for values in mask_some(*observe(emulator, inner_labels(10), 40))
    )
    copies = flux.copy(), ivar.copy()
    fitter = StarFitter(emulator, SETTINGS)
    one = fitter.fit(flux, ivar, TYPE)
    np.testing.assert_array_equal(flux, copies[0])
    np.testing.assert_array_equal(ivar, copies[1])
    other = fitter.fit(np.where(ivar > 0, flux, np.nan), ivar, TYPE)
    for name in starfit.StarFits.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(other, name), getattr(one, name))


def test_without_outliers_searched_absurd_pixels_stay(emulator):
    flux, ivar = observe(emulator, inner_labels(5), 60)
    flux[:, np.flatnonzero(emulator.pixels)[50]] = 9.0
    assert (StarFitter(emulator, CLEAN).fit(flux, ivar, TYPE).n_outliers == 0).all()
    assert (StarFitter(emulator, SETTINGS).fit(flux, ivar, TYPE).n_outliers > 0).all()


def test_errors_of_spoiled_spectra_are_honest(emulator):
    """A few cosmic rays cost a few pixels: errors as before within some per cent, pulls near 1."""
    truth = inner_labels(400)
    flux, ivar = observe(emulator, truth, 60)
    before = StarFitter(emulator, CLEAN).fit(flux, ivar, TYPE)
    rng = np.random.default_rng(3)
    pixels = np.flatnonzero(emulator.pixels)
    for star in range(400):
        flux[star, rng.choice(pixels, 3)] += rng.uniform(0.4, 2.0, 3)
    after = StarFitter(emulator, SETTINGS).fit(flux, ivar, TYPE)
    np.testing.assert_allclose(np.median(after.errors / before.errors, axis=0), 1, atol=0.05)
    good = (before.status == refine.CONVERGED) & (after.status == refine.CONVERGED)
    was, now = (robust(((f.labels - truth) / f.errors)[good]) for f in (before, after))
    assert (np.abs(now / was - 1) < 0.12).all(), (was, now)


def test_parts_are_joined_in_their_order(emulator):
    flux, ivar = observe(emulator, inner_labels(6), 60)
    fitter = StarFitter(emulator, CLEAN)
    whole = fitter.fit(flux, ivar, TYPE)
    parts = starfit.join(
        [fitter.fit(flux[rows], ivar[rows], TYPE) for rows in (slice(0, 2), slice(2, 6))]
    )
    for name in starfit.StarFits.__dataclass_fields__:
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-6)


def test_pixels_found_against_a_spoiled_model_come_back(emulator):
    """Five strong cosmic rays draw the first model away from good pixels too; the last model knows better."""
    truth = inner_labels(100)
    flux, ivar = observe(emulator, truth, 60)
    known = ivar.copy()
    rng = np.random.default_rng(1)
    for star in range(100):
        hit = rng.choice(np.flatnonzero(emulator.pixels), 5, replace=False)
        flux[star, hit] += 2.0
        known[star, hit] = 0.0
    found = StarFitter(emulator, SETTINGS).fit(flux, ivar, TYPE)
    ideal = StarFitter(emulator, CLEAN).fit(flux, known, TYPE)
    assert (found.n_outliers <= 8).mean() > 0.9
    away = np.abs((found.labels - ideal.labels) / ideal.errors)
    assert (np.percentile(away, 95, axis=0) < 0.3).all()
