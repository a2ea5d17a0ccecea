"""Velocity and width of lines from injected ones; the Cramer-Rao bound from all pixels."""

import numpy as np
import pytest
from noisy import TYPE, inner_labels
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from toy import BUILD, toy_library

from lamostvac.emulator.model import build_emulator
from lamostvac.fit.fitter import StarFitter
from lamostvac.fit.lines import LIGHT
from lamostvac.fit.settings import FitSettings
from lamostvac.spectra.grid import GRID

pytestmark = pytest.mark.numeric

FLOOR, SNR = 0.005, 60
SETTINGS = FitSettings(flux_floor=FLOOR, calibration_scale=0, calibration_error=0, prior="none")


@pytest.fixture(scope="module")
def emulator():
    return build_emulator(toy_library(snr=200), [], BUILD.changed(variance=0.97))


def observed(emulator, labels, velocity=0.0, dispersion=0.0, seed=0):
    """Spectra (n, 4901) of stars with a velocity (n,) and lines that are wider (km/s)."""
    rng = np.random.default_rng(seed)
    n, k = len(labels), emulator.n_components
    components = np.zeros((n, k))
    components[:, : emulator.n_signal] = emulator.process.predict(emulator.to_scaled(labels))
    components += rng.multivariate_normal(np.zeros(k), emulator.discrepancy[TYPE], n)
    wave, flux = GRID[emulator.pixels], np.ones((n, len(GRID)))
    for star, model in enumerate(emulator.mean + components @ emulator.basis):
        if dispersion:
            # A step of these is the same velocity everywhere.
            steps = np.geomspace(wave[0], wave[-1], 3 * len(wave))
            per_step = LIGHT * np.log(steps[1] / steps[0])
            model = gaussian_filter1d(CubicSpline(wave, model)(steps), dispersion / per_step)
            model = CubicSpline(steps, model)(wave)
        at = wave / (1 + np.broadcast_to(velocity, n)[star] / LIGHT)
        flux[star, emulator.pixels] = CubicSpline(wave, model)(np.clip(at, wave[0], wave[-1]))
    noise = np.sqrt(1 / SNR**2 + FLOOR**2 + emulator.truncation[TYPE])
    flux[:, emulator.pixels] += rng.normal(0, 1, (n, len(wave))) * noise
    return flux, np.full(flux.shape, float(SNR**2))


def width_of(values):
    return 1.4826 * np.median(np.abs(values - np.median(values)))


def test_injected_velocities_are_found_with_errors_that_hold(emulator):
    velocity = np.random.default_rng(5).uniform(-30, 30, 300)
    fits = StarFitter(emulator, SETTINGS).fit(
        *observed(emulator, inner_labels(300), velocity), TYPE
    )
    slope, offset = np.polyfit(velocity, fits.velocity, 1)
    assert slope == pytest.approx(1, abs=0.03)
    assert abs(offset) < 3 * np.median(fits.velocity_err) / np.sqrt(300)
    assert width_of((fits.velocity - velocity) / fits.velocity_err) == pytest.approx(1, abs=0.15)


def test_lines_that_are_wider_are_found_to_be_so(emulator):
    seen = observed(emulator, inner_labels(100), dispersion=40.0)
    wide = StarFitter(emulator, SETTINGS).fit(*seen, TYPE)
    same = StarFitter(emulator, SETTINGS).fit(*observed(emulator, inner_labels(100)), TYPE)
    assert np.sqrt(np.median(wide.variance)) == pytest.approx(40, rel=0.1)
    assert abs(np.median(same.variance)) < 0.3 * np.median(same.variance_err)
    assert width_of(same.variance / same.variance_err) == pytest.approx(1, abs=0.25)


def test_the_bound_is_that_of_all_pixels_without_other_errors(emulator):
    labels = inner_labels(5)
    flux, ivar = observed(emulator, labels)
    ivar[:, 1000:1500] = 0
    fits = StarFitter(emulator, SETTINGS.changed(outlier_sigma=0)).fit(flux, ivar, TYPE)
    used = emulator.pixels & (ivar[0] > 0)
    noise = np.sqrt(1 / SNR**2 + FLOOR**2 + emulator.truncation[TYPE])
    inverse_variance = np.zeros(len(GRID))
    inverse_variance[emulator.pixels] = 1 / np.broadcast_to(noise, emulator.mean.shape) ** 2
    for star in range(5):
        steps = np.diag([1.0, 1e-3, 1e-3])
        both = [emulator.spectra(fits.labels[star] + sign * steps) for sign in (1, -1)]
        change = np.zeros((3, len(GRID)))
        change[:, emulator.pixels] = (both[0] - both[1]) / (2 * np.diag(steps))[:, None]
        weighted = change[:, used] * inverse_variance[used]
        covariance = np.linalg.inv(weighted @ change[:, used].T)
        np.testing.assert_allclose(fits.bound[star], np.sqrt(np.diag(covariance)), rtol=2e-3)


def test_a_spectrum_without_pixels_says_nothing(emulator):
    flux, ivar = observed(emulator, inner_labels(2))
    ivar[1] = 0
    fits = StarFitter(emulator, SETTINGS.changed(prior="density")).fit(flux, ivar, TYPE)
    for values in (fits.velocity, fits.velocity_err, fits.variance, fits.bound[:, 0]):
        assert np.isfinite(values).tolist() == [True, False]


BORDER = 5875  # A, between the arms


def in_one_arm(emulator, labels, dispersion, blue):
    """The same stars with the same noise twice: with the library's lines, and with wider ones in one arm."""
    same, ivar = observed(emulator, labels)
    wide, _ = observed(emulator, labels, dispersion=dispersion)
    return same, np.where((BORDER > GRID) == blue, wide, same), ivar


@pytest.mark.parametrize("blue", [True, False])
def test_lines_that_are_wider_in_one_arm_move_labels_less_when_their_own_width_is_used(
    emulator, blue
):
    same, wide, ivar = in_one_arm(emulator, inner_labels(100), 60.0, blue)
    moved, chi2 = {}, {}
    for scatter in (0.0, 60.0):
        fitter = StarFitter(emulator, SETTINGS.changed(line_width_scatter=scatter))
        before, after = fitter.fit(same, ivar, TYPE), fitter.fit(wide, ivar, TYPE)
        moved[scatter] = np.abs((after.labels - before.labels) / before.errors).mean(axis=0)
        chi2[scatter] = after.chi2
    assert (moved[60.0] < 0.4 * moved[0.0]).all()
    assert np.median(chi2[60.0] / chi2[0.0]) < 1


@pytest.mark.parametrize("blue", [True, False])
def test_the_model_beside_a_spectrum_has_the_widths_with_which_it_was_fitted(emulator, blue):
    _, flux, ivar = in_one_arm(emulator, inner_labels(20), 60.0, blue)
    flux[3, 2000:2010] += 1.0
    for scatter, closest in ((0.0, 1e-5), (60.0, 1e-3)):  # widths are found again
        fitter = StarFitter(emulator, SETTINGS.changed(line_width_scatter=scatter))
        fits = fitter.fit(flux, ivar, TYPE)
        found = fitter.residuals(flux, ivar, fits.labels, TYPE)
        used = np.isfinite(found.sigma) & ~found.left_out
        np.testing.assert_array_equal(used.sum(axis=1), fits.n_pixels)
        difference = np.where(used, flux - found.model, 0).astype(np.float64)
        np.testing.assert_allclose((difference**2).sum(axis=1), fits.chi2, rtol=closest)


def test_own_widths_leave_labels_and_their_errors_where_lines_are_as_wide_as_the_librarys(emulator):
    labels = inner_labels(200)
    flux, ivar = observed(emulator, labels)
    library, own = (
        StarFitter(emulator, SETTINGS.changed(line_width_scatter=scatter)).fit(flux, ivar, TYPE)
        for scatter in (0.0, 40.0)
    )
    shift = (own.labels - library.labels) / library.errors
    assert np.abs(np.median(shift, axis=0)).max() < 0.1
    np.testing.assert_allclose(own.errors, library.errors, rtol=0.2)
    for way in (library, own):
        for pull in ((way.labels - labels) / way.errors).T:
            assert width_of(pull) == pytest.approx(1, abs=0.2)
    for name in ("velocity", "variance", "bound"):  # read off the fit at the library's width
        np.testing.assert_array_equal(getattr(own, name), getattr(library, name))


def test_own_widths_with_outliers_few_spectra_or_no_pixels(emulator):
    flux, ivar = observed(emulator, inner_labels(6), dispersion=60.0)
    flux[0, 2000:2010] += 1.0
    ivar[5] = 0
    settings = SETTINGS.changed(line_width_scatter=60.0, prior="density")
    many = StarFitter(emulator, settings).fit(flux, ivar, TYPE)
    few = StarFitter(emulator, settings, few=True).fit(flux, ivar, TYPE)
    assert many.n_outliers[0] >= 10
    assert many.n_pixels[5] == 0
    for name in ("labels", "errors"):
        a, b = getattr(many, name)[:5], getattr(few, name)[:5]
        assert (np.abs(a - b) < 1e-3 * many.errors[:5]).all()
