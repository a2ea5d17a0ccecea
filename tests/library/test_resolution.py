"""Smoothing to the survey's resolution makes lines wider, not weaker, and by the right amount."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamostvac.library.resolution import (
    FWHM_PER_SIGMA,
    broaden,
    constant_fwhm,
    resolving_power_fwhm,
    smoothing_fwhm,
    tabulated_fwhm,
)

pytestmark = pytest.mark.numeric

LINEAR = np.arange(4000.0, 5000.0, 0.9)
LOGARITHMIC = 10 ** (3.60 + 1e-4 * np.arange(1000))


def line(wave, centre, fwhm, depth=0.5):
    return 1 - depth * np.exp(-0.5 * ((wave - centre) / (fwhm / FWHM_PER_SIGMA)) ** 2)


def moments(wave, flux, centre, reach=25.0):
    """Area, mean and FWHM of a line by its moments."""
    near = np.abs(wave - centre) < reach
    weight = (1 - flux[near]) * np.gradient(wave)[near]
    mean = (wave[near] * weight).sum() / weight.sum()
    variance = ((wave[near] - mean) ** 2 * weight).sum() / weight.sum()
    return weight.sum(), mean, np.sqrt(variance) * FWHM_PER_SIGMA


@pytest.mark.parametrize("wave", [LINEAR, LOGARITHMIC], ids=["linear", "logarithmic"])
@given(library=st.floats(2.5, 4.0), extra=st.floats(1.0, 6.0), centre=st.floats(4200, 4800))
def test_widths_add_in_quadrature(wave, library, extra, centre):
    sharp = line(wave, centre, library)
    area, mean, fwhm = moments(wave, broaden(wave, sharp, np.full(len(wave), extra)), centre)
    # integrated over the pixels, the kernel is wider by a pixel's own width, in quadrature
    assert fwhm == pytest.approx(np.hypot(library, extra), rel=0.03)
    assert mean == pytest.approx(centre, abs=0.02)
    assert area == pytest.approx(moments(wave, sharp, centre)[0], rel=0.002)


def test_flux_is_conserved():
    rng = np.random.default_rng(1)
    flux = np.ones(len(LINEAR))
    flux[100:-100] += rng.normal(0, 0.3, len(LINEAR) - 200)
    smoothed = broaden(LINEAR, flux, np.full(len(LINEAR), 5.0))
    assert smoothed.sum() == pytest.approx(flux.sum(), rel=1e-9)
    assert smoothed.std() < 0.5 * flux.std()


@given(level=st.floats(-1e3, 1e3), seed=st.integers(0, 50))
def test_a_constant_stays_the_constant_also_at_the_ends(level, seed):
    fwhm = np.random.default_rng(seed).uniform(0, 8, len(LINEAR))
    smoothed = broaden(LINEAR, np.full(len(LINEAR), level), fwhm)
    np.testing.assert_allclose(smoothed, level, rtol=1e-12, atol=1e-12)


def test_no_width_does_nothing():
    flux = np.random.default_rng(2).random(len(LINEAR))
    np.testing.assert_array_equal(broaden(LINEAR, flux, np.zeros(len(LINEAR))), flux)


def test_the_width_may_change_with_wavelength():
    narrow, wide = 4200.0, 4800.0
    flux = line(LINEAR, narrow, 2.5) + line(LINEAR, wide, 2.5) - 1
    smoothed = broaden(LINEAR, flux, np.where(LINEAR < 4500, 1.5, 5.0))
    assert moments(LINEAR, smoothed, narrow)[2] == pytest.approx(np.hypot(2.5, 1.5), rel=0.03)
    assert moments(LINEAR, smoothed, wide)[2] == pytest.approx(np.hypot(2.5, 5.0), rel=0.03)


def test_many_spectra_at_once_are_each_alone():
    rng = np.random.default_rng(3)
    flux, fwhm = rng.random((2, 3, len(LINEAR))), rng.uniform(0, 6, len(LINEAR))
    together = broaden(LINEAR, flux, fwhm)
    np.testing.assert_array_equal(together[1, 2], broaden(LINEAR, flux[1, 2], fwhm))


@given(library=st.floats(1, 6), survey=st.floats(1, 6))
def test_only_a_sharper_library_is_smoothed_and_by_what_is_missing(library, survey):
    extra = smoothing_fwhm(LINEAR, constant_fwhm(library), constant_fwhm(survey))
    if survey <= library:
        assert not extra.any()
    else:
        np.testing.assert_allclose(np.hypot(library, extra), survey)


def test_a_library_that_is_sharper_only_in_the_red_is_smoothed_only_there():
    # 2.5 A is R = 1800 at 4500 A
    extra = smoothing_fwhm(LINEAR, constant_fwhm(2.5), resolving_power_fwhm(1800.0))
    assert not extra[LINEAR <= 4500].any()
    assert (extra[LINEAR > 4501] > 0).all()


def test_a_table_of_widths_is_interpolated_in_any_order_and_constant_beyond_its_ends():
    fwhm = tabulated_fwhm([(5000.0, 3.0), (4000.0, 2.0)])
    np.testing.assert_allclose(
        fwhm(np.array([3500.0, 4000.0, 4500.0, 5000.0, 9000.0])), [2, 2, 2.5, 3, 3]
    )


def test_the_callers_arrays_stay_as_they_were():
    flux, fwhm = np.linspace(1, 2, len(LINEAR)), np.full(len(LINEAR), 3.0)
    copies = flux.copy(), fwhm.copy()
    broaden(LINEAR, flux, fwhm)
    np.testing.assert_array_equal(flux, copies[0])
    np.testing.assert_array_equal(fwhm, copies[1])
