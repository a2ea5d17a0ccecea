"""Where chi2 stops following S/N."""

import numpy as np
import pytest

from lamostvac.uncertainty.snr_threshold import (
    SnrThreshold,
    find_threshold,
    snr_by_chi2,
    threshold_in_use,
    thresholds_table,
)


def stars(n, threshold, seed, floor=1.0, noise=60.0, slope=2.0, below=0.0, scatter=0.35):
    """chi2 = floor + noise (S/N / 3)^-slope down to the threshold, then (S/N)^below, with scatter."""
    rng = np.random.default_rng(seed)
    snr = np.exp(rng.normal(3.2, 0.9, n)).clip(1.5, 500)
    chi2 = floor + noise * (np.maximum(snr, threshold) / 3) ** -slope
    chi2 *= np.where(snr < threshold, (snr / threshold) ** below, 1)
    return snr, chi2 * np.exp(rng.normal(0, scatter, n))


@pytest.mark.parametrize("threshold", [5.0, 8.0, 12.0])
@pytest.mark.parametrize(
    "kind", [{}, {"below": 0.5}, {"slope": 1.2}, {"scatter": 0.6}, {"floor": 4.0}]
)
def test_the_injected_threshold_is_found(threshold, kind):
    found = [find_threshold(*stars(5000, threshold, seed, **kind)) for seed in range(2)]
    for one in found:
        assert one.found
        assert one.value == pytest.approx(threshold, rel=0.15)
        assert one.low < one.value < one.high
        assert one.n == 5000


def test_the_interval_holds_the_truth_two_times_in_three():
    found = [find_threshold(*stars(1000, 8.0, seed)) for seed in range(15)]
    assert all(one.found for one in found)
    inside = np.mean([one.low <= 8 <= one.high for one in found])
    assert 0.45 <= inside <= 0.95


def test_more_stars_find_the_same_threshold_better():
    few, many = find_threshold(*stars(500, 8.0, 1)), find_threshold(*stars(50_000, 8.0, 1))
    assert many.value == pytest.approx(8.0, rel=0.03)
    assert few.value == pytest.approx(8.0, rel=0.3)
    assert np.log(many.high / many.low) < 0.5 * np.log(few.high / few.low)


def test_without_a_relation_there_is_no_threshold():
    reasons = []
    for seed in range(10):
        rng = np.random.default_rng([seed, 1])
        reasons.append(find_threshold(stars(800, 8.0, seed)[0], rng.lognormal(0, 0.4, 800)).reason)
    assert reasons.count("no relation") >= 9
    assert np.isnan(find_threshold(stars(800, 8.0, 0)[0], np.ones(800)).value)


def test_chi2_that_rises_with_snr_has_no_threshold():
    snr, chi2 = stars(2000, 1.0, 3)
    assert not find_threshold(snr, 1 / chi2).found


@pytest.mark.parametrize("n", [400, 5000])
def test_a_relation_through_all_data_has_no_end(n):
    for seed in range(4):
        snr, chi2 = stars(n, 0.5, seed)
        found = find_threshold(snr, chi2)
        assert not found.found
        assert found.reason == "no end"
        assert (found.low, found.high) == (0.0, snr.min())


def test_few_stars_are_not_enough_and_missing_values_do_not_count():
    snr, chi2 = stars(1000, 8.0, 4)
    assert find_threshold(snr[:239], chi2[:239]).reason == "few stars"
    assert find_threshold([], []).n == 0
    holes = np.full(30, np.nan)
    with_holes = find_threshold(
        np.concatenate([holes, snr, np.zeros(9)]), np.concatenate([np.ones(30), chi2, np.ones(9)])
    )
    assert with_holes == find_threshold(snr, chi2)


def test_the_order_of_stars_does_not_matter():
    snr, chi2 = stars(1000, 8.0, 5)
    order = np.random.default_rng(6).permutation(1000)
    assert find_threshold(snr, chi2) == find_threshold(snr[order], chi2[order])


def test_the_curve_of_figure_11_falls_to_the_stars_below_the_threshold():
    snr, chi2 = stars(20_000, 8.0, 7)
    level, mean = snr_by_chi2(snr, chi2, 20)
    assert len(level) == 20
    assert (np.diff(level) > 0).all()
    assert mean[0] > 40
    assert mean[-1] < 8
    assert [len(part) for part in snr_by_chi2(snr[:3], chi2[:3])] == [3, 3]


def test_types_without_a_threshold_keep_the_configured_one():
    found = find_threshold(*stars(2000, 8.0, 8))
    missing = SnrThreshold(False, np.nan, np.nan, np.nan, 3, "few stars")
    assert threshold_in_use((5.0, 8.0), found.value) == (found.value, found.value)
    assert threshold_in_use((5.0, 8.0), missing.value) == (5.0, 8.0)
    rows = thresholds_table({"G": found, "OB": missing})
    assert [row["type"] for row in rows] == ["G", "OB"]
    assert rows[1]["reason"] == "few stars"
