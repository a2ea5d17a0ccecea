"""Factors of many labels at once are those of each process, to a hundredth, wherever a star is."""

import numpy as np
import pytest

from lamostvac.uncertainty.factors import Factors
from lamostvac.uncertainty.scale_process import scaling_of, train

pytestmark = pytest.mark.numeric

NAMES = ("teff", "logg", "feh", "alpha_fe")


def stars(n, seed):
    """Labels (n, 4) of dwarfs, giants and a halo, and S/N (n,)."""
    rng = np.random.default_rng(seed)
    giant, halo = rng.random(n) < 0.2, rng.random(n) < 0.05
    labels = np.column_stack(
        [
            np.where(giant, rng.normal(4900, 200, n), rng.normal(5600, 250, n)),
            np.where(giant, rng.normal(2.6, 0.4, n), rng.normal(4.3, 0.2, n)),
            np.where(halo, rng.normal(-1.5, 0.5, n), rng.normal(-0.2, 0.25, n)),
            rng.normal(0.1, 0.1, n),
        ]
    )
    return labels, np.exp(rng.normal(3.8, 0.8, n)), rng


def process(seed=1, n=3000, error=False, with_snr=True, residuals=0):
    labels, snr, _ = stars(n, 0)
    rng = np.random.default_rng(seed)
    scale = np.exp(0.3 * np.sin(labels[:, 0] / 300) + 0.2 * labels[:, 2] + 0.2 * np.log(snr / 40))
    seen = snr if with_snr else None
    base = None if error else np.ones(n)
    drawn = rng.normal(0, scale)
    drawn[residuals:] = np.nan if residuals else drawn[residuals:]
    return train(scaling_of(labels, NAMES, seen), labels, drawn, seen, base)


def everywhere(n=4000):
    """Stars like those learned from, stars all over the labels' range, and far beyond it."""
    labels, snr, rng = stars(n, 7)
    wide = np.column_stack(
        [rng.uniform(*limits, n) for limits in ((3500, 9000), (-1, 6), (-4, 1.5), (-1, 1))]
    )
    return np.concatenate([labels, wide]), np.concatenate([snr, np.exp(rng.uniform(0, 8, n))])


@pytest.fixture(scope="module")
def processes():
    """Eleven that learned from the same stars, and four that share no stars with another."""
    return [
        *(process(seed) for seed in range(8)),
        *(process(seed, error=True) for seed in range(3)),
        process(1, 300), process(2, 900, with_snr=False), process(3, 900, True, False), process(4, residuals=50),
    ]  # fmt: skip


def test_factors_are_within_a_hundredth_of_the_exact_process_everywhere(processes):
    labels, snr = everywhere()
    found = Factors(processes)(labels, snr)
    for number, one in enumerate(processes):
        exact = one.factor_of_error(labels, snr if one.scaling.with_snr else None)
        assert np.abs(np.log(found[:, number] / exact)).max() < 0.01, number
        alone = Factors([one])(labels, snr)[:, 0]
        assert np.abs(np.log(alone / exact)).max() < 0.01, number


def test_labels_that_learned_from_the_same_stars_share_a_kernel(processes):
    groups = Factors(processes[:8])._groups
    lengths = {one.length_scale for one in processes[:8]}
    assert len(groups) == len(lengths)
    kept = [one.above.shape[1] + one.below.shape[1] for group in groups for one in group.members]
    assert max(kept) < min(len(one.points) for one in processes[:8])


def test_a_star_has_the_same_factors_in_any_company(processes):
    labels, snr = everywhere(2500)
    factors = Factors(processes)
    found = factors(labels, snr)
    np.testing.assert_allclose(factors(labels[::-7], snr[::-7]), found[::-7], rtol=1e-5)
    np.testing.assert_allclose(factors(labels[:1], snr[:1]), found[:1], rtol=1e-5)


def test_missing_inputs_give_no_factor_and_leave_other_stars_alone(processes):
    labels, snr = everywhere(50)
    factors = Factors(processes)
    whole = factors(labels, snr)
    labels[3, 1], labels[4, 0], snr[5], snr[6] = np.nan, 0.0, np.nan, 0.0
    found = factors(labels, snr)
    for number, one in enumerate(processes):
        exact = one.factor_of_error(labels, snr if one.scaling.with_snr else None)
        np.testing.assert_array_equal(np.isnan(found[:, number]), np.isnan(exact))
        assert np.isnan(exact).sum() >= 1
    good = np.isfinite(found)
    np.testing.assert_allclose(found[good], whole[good], rtol=1e-5)


def test_a_process_without_labels_has_one_factor():
    drawn = np.random.default_rng(0).normal(0, 2, 500)
    one = train(scaling_of(np.zeros((1, 0)), ()), np.empty((500, 0)), drawn, base=np.ones(500))
    labels, snr = everywhere(10)
    np.testing.assert_allclose(
        Factors([one])(labels, snr)[:, 0], one.factor_of_error(labels[:, :0]), rtol=0.01
    )
