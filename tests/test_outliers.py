"""Outliers on synthetic differences."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamostvac.outliers import find_outliers, hat_functions

WAVE = np.arange(4000.0, 5000.0)
HATS = hat_functions(WAVE, 60.0)


def spectra(n, seed=0, sigma=0.01):
    return np.random.default_rng(seed).normal(0, sigma, (n, len(WAVE))), np.full((n, len(WAVE)), 1 / sigma**2)


def test_hats_add_up_to_one():
    np.testing.assert_allclose(HATS.sum(axis=0), 1, atol=1e-6)


def test_a_spike_is_found_and_noise_is_not():
    difference, weight = spectra(20)
    assert not find_outliers(difference, weight, np.zeros(len(WAVE)), 6.0, HATS).any()
    difference[3, 500] = 0.2
    found = find_outliers(difference, weight, np.zeros(len(WAVE)), 6.0, HATS)
    assert found[3, 500]
    assert found.sum() <= 5
    assert not found[np.arange(20) != 3].any()


def test_a_line_goes_with_its_wings_but_not_with_what_leans_the_other_way():
    difference, weight = np.zeros((1, len(WAVE))), np.full((1, len(WAVE)), 1e4)
    line = 0.3 * np.exp(-0.5 * ((WAVE - 4500) / 4) ** 2)
    difference[0] = line
    difference[0, 512:515] = -0.03  # 3 sigma, beside the line, on the other side
    found = find_outliers(difference, weight, np.zeros(len(WAVE)), 5.0)[0]
    np.testing.assert_array_equal(np.flatnonzero(found), np.flatnonzero((line > 0.02) & (difference[0] > 0)))


def test_an_error_of_the_calibration_is_no_outlier():
    difference, weight = spectra(1)
    difference[0] += 0.1 * np.sin(2 * np.pi * WAVE / 800)
    assert find_outliers(difference, weight, np.zeros(len(WAVE)), 7.0).sum() > 300
    assert not find_outliers(difference, weight, np.full(len(WAVE), 0.01**2), 7.0, HATS).any()


def test_where_the_emulator_may_be_wrong_more_is_allowed():
    difference, weight = np.zeros((1, len(WAVE))), np.full((1, len(WAVE)), 1e4)
    difference[0, 300] = 0.1
    assert find_outliers(difference, weight, np.zeros(len(WAVE)), 5.0)[0, 300]
    assert not find_outliers(difference, weight, np.full(len(WAVE), 0.03**2), 5.0).any()


@given(seed=st.integers(0, 10**6), share=st.floats(0, 1), size=st.floats(0, 1e6))
def test_masked_pixels_are_never_outliers_and_nothing_is_changed(seed, share, size):
    rng = np.random.default_rng(seed)
    difference, weight = rng.normal(0, 1 + size, (3, len(WAVE))), rng.uniform(0, 1e4, (3, len(WAVE)))
    weight[rng.random(weight.shape) < share] = 0.0
    copies = difference.copy(), weight.copy()
    found = find_outliers(difference, weight, np.zeros(len(WAVE)), 5.0, HATS)
    assert not found[weight == 0].any()
    np.testing.assert_array_equal(difference, copies[0])
    np.testing.assert_array_equal(weight, copies[1])
