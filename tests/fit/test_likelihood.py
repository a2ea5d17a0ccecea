"""Condensed spectra against generalised least squares with the full covariance of one star's pixels."""

import numpy as np
import pytest
from noisy import AMPLITUDE, FLOOR, SPACING, TYPE, condensed_of, design_of, mask_some, observe
from promise import SHARE, shift_in_errors
from toy import BUILD, toy_labels, toy_library

from lamostvac.emulator.distil import distil
from lamostvac.emulator.model import build_emulator
from lamostvac.emulator.settings import DistilSettings
from lamostvac.fit.likelihood import Design, _whitened, calibration_bumps
from lamostvac.spectra.grid import GRID

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def emulator():
    """An emulator of 501 pixels, so that their full covariance can be written down."""
    return build_emulator(toy_library(snr=200), [(4300.5, 8700.0)], BUILD.changed(variance=0.97))


def dense_chi2(emulator, flux, ivar, labels, spacing):
    """Generalised least squares with the full covariance of one star's pixels."""
    used = ivar[emulator.pixels] > 0
    basis = emulator.basis[:, used]
    covariance = basis.T @ emulator.discrepancy[TYPE] @ basis
    if spacing:
        bumps = calibration_bumps(GRID[emulator.pixels], spacing)[:, used]
        covariance += AMPLITUDE**2 * bumps.T @ bumps
    diagonal = 1 / ivar[emulator.pixels][used] + FLOOR**2 + emulator.truncation[TYPE][used]
    covariance[np.diag_indices(len(covariance))] += diagonal
    residual = flux[emulator.pixels][used] - emulator.spectra(labels[None])[0, used]
    return residual @ np.linalg.solve(covariance, residual)


@pytest.mark.parametrize("small", [False, True], ids=["whole", "distilled"])
@pytest.mark.parametrize("spacing", [0.0, 60.0, 200.0])
def test_chi2_is_that_of_the_full_covariance_of_the_pixels(emulator, spacing, small):
    """Sums of products are in single precision: chi2 of some hundred is right to a few thousandths."""
    if small:
        emulator, _ = distil(emulator, DistilSettings(signal_tolerance=0.02, error_tolerance=1e-3))
        assert emulator.n_signal < emulator.n_components
    flux, ivar = mask_some(*observe(emulator, toy_labels(4, seed=1), 50))
    condensed = condensed_of(emulator, flux, ivar, spacing)
    trials = toy_labels(5, seed=2)
    components = emulator.process.predict(emulator.to_scaled(trials))
    each = condensed.chi2_of_each(components)
    for star in range(len(flux)):
        found = condensed.chi2(components, np.full(len(trials), star))
        expected = [
            dense_chi2(emulator, flux[star], ivar[star], trial, spacing) for trial in trials
        ]
        np.testing.assert_allclose(found, expected, rtol=2e-5)
        np.testing.assert_allclose(each[star], found, rtol=1e-9)
        used = ivar[star, emulator.pixels] > 0
        assert condensed.n_pixels[star] == used.sum() < emulator.pixels.sum()


def covariances_of_g(design, condensed):
    """What single causes give to each element of g: `covariances` with one filter for each."""
    n, r = condensed.g.shape
    return design.covariances(condensed, TYPE, np.broadcast_to(np.eye(r), (n, r, r)))


@pytest.mark.parametrize("small", [False, True], ids=["whole", "distilled"])
def test_noise_is_what_another_spectrum_of_the_star_would_have_other(emulator, small):
    """g = B C^-1 y, so noise and calibration of covariance N give it B C^-1 N C^-1 B'."""
    if small:
        emulator, _ = distil(emulator, DistilSettings(signal_tolerance=0.02, error_tolerance=1e-3))
    flux, ivar = mask_some(*observe(emulator, toy_labels(2, seed=1), 50))
    condensed = condensed_of(emulator, flux, ivar, 60.0)
    from_noise, from_lines = covariances_of_g(design_of(emulator, 60.0), condensed)
    for star in range(len(flux)):
        used = ivar[star, emulator.pixels] > 0
        basis = emulator.basis[:, used]
        bumps = calibration_bumps(GRID[emulator.pixels], 60.0)[:, used]
        noise = AMPLITUDE**2 * bumps.T @ bumps
        diagonal = (
            1 / ivar[star, emulator.pixels][used] + FLOOR**2 + emulator.truncation[TYPE][used]
        )
        noise[np.diag_indices(len(noise))] += diagonal
        whole = noise + basis.T @ emulator.discrepancy[TYPE] @ basis
        filters = np.linalg.solve(whole, basis[: emulator.n_signal].T)
        expected = filters.T @ noise @ filters
        np.testing.assert_allclose(from_noise[star], expected, atol=2e-4 * np.abs(expected).max())
        moved = filters.T @ basis.T
        expected = moved @ emulator.lines[TYPE] @ moved.T
        np.testing.assert_allclose(from_lines[star], expected, atol=2e-4 * np.abs(expected).max())


def test_pixels_left_out_afterwards_are_as_if_masked_from_the_beginning(emulator):
    flux, ivar = mask_some(*observe(emulator, toy_labels(4, seed=1), 50))
    out = np.random.default_rng(5).random((4, emulator.pixels.sum())) < 0.05
    out[2] = False
    design = design_of(emulator)
    rows = np.array([3, 0, 2])
    later = design.condense(design.sums(flux, ivar, TYPE), TYPE, rows, out[rows])
    masked = ivar.copy()
    masked[:, emulator.pixels] = np.where(out, 0.0, ivar[:, emulator.pixels])
    before = design.condense(design.sums(flux, masked, TYPE), TYPE, rows)
    np.testing.assert_array_equal(later.n_pixels, before.n_pixels)
    np.testing.assert_allclose(later.q, before.q, rtol=1e-4, atol=1e-4 * np.abs(before.q).max())
    np.testing.assert_allclose(later.g, before.g, rtol=1e-3, atol=1e-4 * np.abs(before.g).max())
    np.testing.assert_allclose(later.constant, before.constant, rtol=1e-4)
    for one, other in zip(
        covariances_of_g(design, later), covariances_of_g(design, before), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * np.abs(other).max())


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


def test_a_stars_condensed_spectrum_says_the_same_of_its_labels_in_any_batch():
    """The sums may differ in their last bits; what they say of labels does not change by a thousandth of an error.

    A design for few stars makes them without the table of products.
    """
    # Of usual size: BLAS has other ways for tiny products.
    emulator = build_emulator(toy_library(snr=50), [], BUILD.changed(variance=0.995))
    assert emulator.n_components > 20
    labels = toy_labels(150, seed=1)
    flux, ivar = mask_some(*observe(emulator, labels, 50))
    scaled = emulator.to_scaled(labels)
    design, few = design_of(emulator), Design(emulator, FLOOR, SPACING, AMPLITUDE, few=True)
    together = design.sums(flux, ivar, TYPE)
    for rows, own in (
        (slice(0, 1), design),
        (slice(0, 2), few),
        (slice(70, 90), design),
        (slice(70, 90), few),
        (slice(149, 150), design),
        (slice(10, 140), design),
    ):
        part = own.sums(flux[rows], ivar[rows], TYPE)
        for name in ("pairs", "bump_basis", "bump_bump", "basis_flux", "bump_flux", "square"):
            one, all_ = getattr(part, name), getattr(together, name)[rows]
            np.testing.assert_allclose(one, all_, rtol=0, atol=2e-6 * np.abs(all_).max())
        numbers = np.arange(150)[rows]
        alone = design.condense(part, TYPE)
        beside = design.condense(together, TYPE, numbers)
        assert shift_in_errors(emulator, alone, beside, scaled[rows]).max() < SHARE


def test_what_single_precision_cannot_factorise_is_computed_in_double_precision():
    """Its determinant is 2e-6, which the rounding of 49 / 3 to single precision hides."""
    matrix = np.array([[3.0, 7.0], [7.0, 16.333334]], dtype=np.float32)
    right = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    half = _whitened(matrix.copy(), right)
    assert half.dtype == np.float64
    expected = np.linalg.solve(np.linalg.cholesky(matrix.astype(np.float64)), right)
    np.testing.assert_allclose(half, expected, rtol=1e-6)
    assert _whitened(matrix + np.eye(2, dtype=np.float32), right).dtype == np.float32
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        _whitened(matrix - np.float32(0.1), right)


def test_bumps_can_follow_any_smooth_curve():
    wave = GRID[(GRID > 4000) & (GRID < 6000)]
    bumps = calibration_bumps(wave, SPACING)
    curve = 0.05 * np.sin(2 * np.pi * wave / 400) + 0.02 * (wave - 5000) / 1000
    amplitudes = np.linalg.lstsq(bumps.T, curve, rcond=None)[0]
    assert np.abs(amplitudes @ bumps - curve).max() < 1e-3
    line = np.exp(-0.5 * ((wave - 5000) / 3) ** 2)
    amplitudes = np.linalg.lstsq(bumps.T, line, rcond=None)[0]
    assert np.abs(amplitudes @ bumps - line).max() > 0.7


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_a_masked_pixel_may_hold_anything(emulator, value, kind):
    flux, ivar = mask_some(*observe(emulator, toy_labels(2, seed=1), 50))
    first = condensed_of(emulator, flux.astype(kind), ivar.astype(kind))
    spoiled = np.where(ivar > 0, flux, value).astype(kind)
    second = condensed_of(emulator, spoiled, ivar.astype(kind))
    for name in ("q", "g", "constant", "n_pixels"):
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name))


def test_no_precision_is_believed_beyond_a_limit(emulator):
    """Without the limit a pixel of infinite weight would make the sums NaN."""
    flux, ivar = observe(emulator, toy_labels(2, seed=1), 50)
    ivar[:, ::7] = 1e10
    expected = condensed_of(emulator, flux, ivar)
    for absurd in (1e30, np.inf):
        found = condensed_of(emulator, flux, np.where(ivar == 1e10, absurd, ivar))
        np.testing.assert_array_equal(found.q, expected.q)
        np.testing.assert_array_equal(found.constant, expected.constant)


def test_leaving_out_every_pixel_says_nothing(emulator):
    flux, ivar = observe(emulator, toy_labels(2, seed=1), 50)
    design = design_of(emulator)
    out = np.zeros((2, emulator.pixels.sum()), bool)
    out[1] = True
    condensed = design.condense(design.sums(flux, ivar, TYPE), TYPE, None, out)
    assert condensed.n_pixels.tolist() == [emulator.pixels.sum(), 0]
    assert (condensed.q[1] == 0).all()
    assert (condensed.g[1] == 0).all()
    assert condensed.constant[1] == 0
    noise, lines = covariances_of_g(design, condensed)
    assert (noise[1] == 0).all()
    assert (lines[1] == 0).all()
    assert (np.diagonal(noise[0]) > 0).all()


def test_the_quadratic_form_is_a_chi2(emulator):
    """Symmetric and positive definite, so that chi2 is nowhere below its least value, which is not negative."""
    condensed = condensed_of(emulator, *mask_some(*observe(emulator, toy_labels(20, seed=1), 50)))
    np.testing.assert_allclose(condensed.q, condensed.q.swapaxes(1, 2), rtol=1e-9, atol=1e-6)
    assert (np.linalg.eigvalsh(condensed.q) > 0).all()
    best = np.linalg.solve(condensed.q, condensed.g[..., None])[..., 0]
    assert (condensed.chi2(best, np.arange(20)) > 0).all()
