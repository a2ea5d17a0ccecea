"""Outliers on synthetic differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamostvac.fit.outliers import find_outliers, hat_functions

pytestmark = pytest.mark.numeric

WAVE = np.arange(4000.0, 5000.0)
HATS = hat_functions(WAVE, 60.0)


def spectra(n, seed=0, sigma=0.01):
    return np.random.default_rng(seed).normal(0, sigma, (n, len(WAVE))), np.full(
        (n, len(WAVE)), 1 / sigma**2
    )


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
    np.testing.assert_array_equal(
        np.flatnonzero(found), np.flatnonzero((line > 0.02) & (difference[0] > 0))
    )


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
    difference, weight = (
        rng.normal(0, 1 + size, (3, len(WAVE))),
        rng.uniform(0, 1e4, (3, len(WAVE))),
    )
    weight[rng.random(weight.shape) < share] = 0.0
    copies = difference.copy(), weight.copy()
    found = find_outliers(difference, weight, np.zeros(len(WAVE)), 5.0, HATS)
    assert not found[weight == 0].any()
    np.testing.assert_array_equal(difference, copies[0])
    np.testing.assert_array_equal(weight, copies[1])


def grown_by_walking(squared, side, sigma):
    """From every core pixel to both sides while pixels differ by 2 sigma and lean the same way."""
    found = np.zeros(squared.shape, bool)
    for row, core in zip(*np.nonzero(squared > sigma**2), strict=True):
        for step in (-1, 1):
            at = core
            while (
                0 <= at < squared.shape[1]
                and squared[row, at] > 4
                and side[row, at] == side[row, core]
            ):
                found[row, at] = True
                at += step
    return found


@given(
    seed=st.integers(0, 10**6),
    sigma=st.floats(2.5, 8),
    smooth=st.integers(1, 30),
    share=st.floats(0, 0.5),
)
def test_growing_is_what_walking_from_each_core_finds(seed, sigma, smooth, share):
    rng = np.random.default_rng(seed)
    kernel = np.ones(smooth) / np.sqrt(smooth)
    difference = np.stack([np.convolve(rng.normal(0, 3, 300), kernel, "same") for _ in range(3)])
    weight = rng.uniform(0.3, 2, difference.shape) * (rng.random(difference.shape) >= share)
    spread = rng.uniform(0, 0.5, 300)
    squared = np.where(
        weight > 0, difference**2 / (1 / np.where(weight > 0, weight, 1) + spread), 0
    )
    found = find_outliers(difference, weight, spread, sigma)
    np.testing.assert_array_equal(found, grown_by_walking(squared, np.sign(difference), sigma))


@given(seed=st.integers(0, 10**6), factor=st.floats(1e-3, 1e3), flip=st.sampled_from([-1, 1]))
def test_only_the_ratio_to_the_noise_counts_and_each_spectrum_is_alone(seed, factor, flip):
    rng = np.random.default_rng(seed)
    difference, weight = rng.standard_t(3, (4, len(WAVE))), np.ones((4, len(WAVE)))
    zero = np.zeros(len(WAVE))
    found = find_outliers(difference, weight, zero, 4.0, HATS)
    scaled = find_outliers(flip * factor * difference, weight / factor**2, zero, 4.0, HATS)
    assert (found != scaled).mean() < 1e-3  # rounding of a pixel at the limit
    for row in range(4):
        alone = find_outliers(difference[row : row + 1], weight[row : row + 1], zero, 4.0, HATS)
        np.testing.assert_array_equal(alone[0], found[row])


def test_a_spike_does_not_bend_the_curve_beside_it():
    difference, weight = spectra(1)
    difference[0, 500] = 50.0
    found = find_outliers(difference, weight, np.zeros(len(WAVE)), 5.0, HATS)
    assert found[0, 500]
    assert found.sum() <= 3
