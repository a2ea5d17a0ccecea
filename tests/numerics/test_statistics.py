"""Errors of offset and scatter are as large as the numbers really scatter, stars seen twice included."""

import numpy as np
import pytest

from lamostvac.numerics import statistics as bootstrap
from lamostvac.numerics.statistics import offset_and_scatter_errors, star_index
from lamostvac.validation.statistics import statistics

pytestmark = pytest.mark.numeric


def samples(repeats, n_stars=150, trials=300):
    """Medians and deviations of injected samples with `repeats` spectra per star, and the errors stated for them."""
    rng = np.random.default_rng(5)
    star = np.repeat(np.arange(n_stars), repeats)
    found = []
    for trial in range(trials):
        own, noise = rng.normal(0, 1, n_stars), rng.normal(0, 0.3, n_stars * repeats)
        numbers = statistics(3 + own[star] + noise, np.zeros(len(star)), star, seed=trial)
        found.append([numbers[key] for key in ("offset", "sigma", "offset_err", "sigma_err")])
    return np.array(found)


@pytest.mark.parametrize("repeats", [1, 4])
def test_errors_cover_the_truth_however_often_stars_were_seen(repeats):
    offset, sigma, offset_err, sigma_err = samples(repeats).T
    assert np.mean(offset_err) == pytest.approx(np.std(offset), rel=0.15)
    assert np.mean(sigma_err) == pytest.approx(np.std(sigma), rel=0.15)
    assert np.mean(np.abs(offset - 3) < offset_err) == pytest.approx(0.683, abs=0.08)
    assert np.mean(np.abs(sigma - np.hypot(1, 0.3)) < sigma_err) == pytest.approx(0.683, abs=0.08)


def test_spectra_of_one_star_taken_as_stars_would_state_errors_that_are_too_small():
    rng = np.random.default_rng(1)
    star = np.repeat(np.arange(100), 9)
    values = rng.normal(0, 1, 100)[star]
    by_star, by_spectrum = (offset_and_scatter_errors(values, which)[1] for which in (star, None))
    assert by_star == pytest.approx(3 * by_spectrum, rel=0.35)


def test_against_a_loop_over_resamples():
    rng = np.random.default_rng(2)
    values, star = rng.normal(0, 2, 60), rng.integers(0, 20, 60)
    index, n_stars = star_index(star)
    weights = bootstrap.resampled_weights(index, n_stars, 7)
    medians, deviations = [], []
    for row in weights:
        drawn = np.repeat(values, row.astype(int))
        medians.append(np.median(drawn))
        deviations.append(np.std(drawn))
        # Each star comes with all its spectra.
        assert all(len(set(row[index == number])) == 1 for number in range(n_stars))
    found = offset_and_scatter_errors(values, star, 7)
    # The function numbers the stars by their values, so its draws are others: equal within the noise of 200.
    assert found[0] == pytest.approx(np.std(medians), rel=0.25)
    assert found[1] == pytest.approx(np.std(deviations), rel=0.25)
    assert found[2] == n_stars


def test_one_draw_is_the_weighted_median_and_deviation(monkeypatch):
    values, star = np.array([4.0, 1.0, 3.0, 2.0, 9.0]), np.array([0, 0, 1, 2, 2])
    # In the order of values stars are 0 (of 1 and 4), 1 (of 2 and 9), 2 (of 3).
    counts = np.array([[2.0, 0.0, 1.0], [0.0, 2.0, 1.0]])
    monkeypatch.setattr(bootstrap, "resampled_counts", lambda n_stars, seed: counts)
    drawn = [[1, 1, 4, 4, 3], [2, 2, 9, 9, 3]]
    found = offset_and_scatter_errors(values, star)
    assert found[0] == pytest.approx(np.std([np.median(row) for row in drawn], ddof=1))
    assert found[1] == pytest.approx(np.std([np.std(row) for row in drawn], ddof=1))


def test_stars_of_one_value_each_have_the_errors_of_stars_that_are_numbered():
    """Where each row is a star, the places of the middles are kept for a number of stars; a star of
    two equal values goes the other way through the function, with the same draws.
    """
    values = np.random.default_rng(2).normal(size=(20, 31)).round(1)
    kept = [offset_and_scatter_errors(row, None, 4)[:2] for row in values]
    star = np.tile(np.arange(31), 2)
    searched = [offset_and_scatter_errors(np.r_[row, row], star, 4)[:2] for row in values]
    np.testing.assert_allclose(searched, kept, rtol=1e-12)
    assert len(set(kept)) == 20
    first, again, other = (bootstrap.resampled_counts(31, seed) for seed in (4, 4, 5))
    assert first is again
    assert first is not other


def test_neither_the_order_of_rows_nor_the_numbers_of_stars_matter():
    rng = np.random.default_rng(3)
    values, star = rng.normal(size=200), rng.integers(-1, 50, 200)
    order = rng.permutation(200)
    named = np.where(star < 0, -1, 1000 - star)
    expected = offset_and_scatter_errors(values, star, 1)
    assert offset_and_scatter_errors(values[order], star[order], 1) == expected
    assert offset_and_scatter_errors(values, named, 1) == expected
    assert offset_and_scatter_errors(values, star, 2) != expected


def test_equal_values_and_numbers_far_apart_change_nothing():
    """Sorting is by value alone, and by star only where values are equal; numbers need no sorting."""
    rng = np.random.default_rng(5)
    values, star = rng.integers(0, 9, 300).astype(float), rng.integers(0, 40, 300)
    order = rng.permutation(300)
    expected = offset_and_scatter_errors(values, star, 1)
    assert offset_and_scatter_errors(values[order], star[order], 1) == pytest.approx(expected)
    assert offset_and_scatter_errors(values, star * 10**12, 1) == expected
    index, n_stars = star_index(star)
    assert n_stars == len(np.unique(star))
    assert np.array_equal(np.unique(star)[index], star)


def test_stars_without_number_are_stars_of_their_own():
    index, n_stars = star_index([-1, 7, 7, -1, 3])
    assert n_stars == 4
    assert index[1] == index[2]
    assert len(set(index.tolist())) == 4


def test_many_stars_are_thinned_and_errors_scaled():
    values = np.random.default_rng(4).normal(0, 2, 40_000)
    offset_err, sigma_err, n_stars = offset_and_scatter_errors(values)
    assert n_stars == 40_000
    assert offset_err == pytest.approx(2 * np.sqrt(np.pi / 2 / 40_000), rel=0.2)
    assert sigma_err == pytest.approx(2 / np.sqrt(80_000), rel=0.2)


def test_one_star_has_no_error():
    offset_err, sigma_err, n_stars = offset_and_scatter_errors([1.0, 2.0], [5, 5])
    assert np.isnan(offset_err)
    assert np.isnan(sigma_err)
    assert n_stars == 1
    assert statistics([np.nan], [1.0])["n_stars"] == 0
