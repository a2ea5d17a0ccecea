"""Distances from magnitudes: injected truth, brute force, and astropy's Galaxy."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import Galactocentric, SkyCoord, galactocentric_frame_defaults

from lamostvac.distance import band_fit, distance
from lamostvac.distance.settings import Distance

pytestmark = pytest.mark.numeric

CLIP = Distance().clip
R = np.array(
    [2.5, 3.24, 1.91, 0.72, 0.46, 0.306, 0.19, 0.15, 3.626, 2.742, 2.285, 3.31, 2.32, 1.72]
)
KS = 5


def correlated(rho=0.9, n_bands=14):
    """Correlation that falls with the distance between bands, so that all bands do better than one."""
    apart = np.abs(np.subtract.outer(np.arange(n_bands), np.arange(n_bands)))
    return (0.7 + 0.3 * rho**apart).astype(np.float64)


def stars(n, seed, correlation, missing=0.2, worst=1.2):
    rng = np.random.default_rng(seed)
    mu, ebv = rng.uniform(5, 15, n), rng.exponential(0.1, n)
    true = rng.uniform(-2, 7, (n, 14))
    absolute_err = rng.uniform(0.1, 0.3, n)[:, None] * np.linspace(worst, 0.9, 14)
    noise = rng.normal(size=(n, 14)) @ np.linalg.cholesky(correlation).T
    apparent_err = 0.02 * np.exp(rng.normal(0, 0.4, (n, 14)))
    apparent = true + mu[:, None] + R * ebv[:, None] + apparent_err * rng.normal(size=(n, 14))
    ebv_err = np.full(n, 0.03)
    apparent[rng.random((n, 14)) < missing] = np.nan
    return {
        "apparent": apparent, "apparent_err": apparent_err, "absolute": true + absolute_err * noise,
        "absolute_err": absolute_err, "coefficients": np.broadcast_to(R, (n, 14)),
        "ebv": ebv + ebv_err * rng.normal(size=n), "ebv_err": ebv_err,
    }, mu  # fmt: skip


def robust(values):
    return 1.4826 * np.nanmedian(np.abs(values - np.nanmedian(values)))


def ks_alone(sample):
    per_band = ("apparent", "apparent_err", "absolute", "absolute_err", "coefficients")
    return distance.modulus_of_band(
        *(sample[name][:, KS] for name in per_band), sample["ebv"], sample["ebv_err"]
    )


def test_moduli_come_back_unbiased_with_errors_that_hold_and_more_bands_are_better():
    correlation = correlated()
    sample, mu = stars(8000, 1, correlation)
    one, all_bands = (
        ks_alone(sample),
        distance.modulus_of_bands(**sample, correlation=correlation, clip=CLIP),
    )
    for found in (one, all_bands):
        pull = (found.value - mu) / found.error
        assert abs(np.nanmedian(pull)) < 0.05
        assert 0.95 < robust(pull) < 1.05
    there = np.isfinite(one.value)
    assert robust((all_bands.value - mu)[there]) < 0.97 * robust((one.value - mu)[there])
    assert (all_bands.error[there] < one.error[there]).all()
    assert np.isfinite(all_bands.value).mean() > 0.99 > there.mean()
    assert one.n_bands[there].tolist() == [1] * there.sum()


def test_taking_correlated_errors_for_independent_ones_gives_errors_far_too_small():
    sample, mu = stars(3000, 2, correlated())
    found = distance.modulus_of_bands(**sample, correlation=np.eye(14), clip=CLIP)
    assert robust((found.value - mu) / found.error) > 2


def test_equals_brute_force():
    correlation = correlated()
    sample, _ = stars(20, 3, correlation)
    found = distance.modulus_of_bands(**sample, correlation=correlation, clip=1e9, guarded=False)
    guarded = distance.modulus_of_bands(**sample, correlation=correlation, clip=1e9)
    for i in range(20):
        bands = np.flatnonzero(np.isfinite(sample["apparent"][i]))
        sigma = sample["absolute_err"][i, bands]
        c = correlation[np.ix_(bands, bands)] * np.outer(sigma, sigma)
        c += np.diag(sample["apparent_err"][i, bands] ** 2) + 0.03**2 * np.outer(R[bands], R[bands])
        y = (sample["apparent"] - sample["absolute"])[i, bands] - R[bands] * sample["ebv"][i]
        weights = np.linalg.inv(c).sum(axis=0)
        assert found.value[i] == pytest.approx(weights @ y / weights.sum(), rel=1e-9)
        assert found.error[i] == pytest.approx(weights.sum() ** -0.5, rel=1e-9)
        assert found.n_bands[i] == len(bands)
        smaller = correlation[np.ix_(bands, bands)] * np.minimum.outer(sigma, sigma) ** 2
        own = smaller + c - correlation[np.ix_(bands, bands)] * np.outer(sigma, sigma)
        w = np.linalg.inv(own).sum(axis=0)
        w = w / w.sum()
        assert guarded.value[i] == pytest.approx(w @ y, rel=1e-9)
        assert guarded.error[i] == pytest.approx(np.sqrt(w @ c @ w), rel=1e-9)
        assert guarded.error[i] >= found.error[i] * (1 - 1e-12)


def test_wrong_ratios_of_errors_do_not_make_guarded_errors_too_small():
    """Bands with equal, all but common errors, of which the catalogue says different things."""
    correlation = 0.975 + 0.025 * np.eye(14)
    sample, mu = stars(4000, 11, correlation, missing=0.0, worst=0.9)
    rng = np.random.default_rng(12)
    claimed = sample["absolute_err"] * rng.uniform(0.75, 1.33, 14)
    sample["absolute_err"] = claimed
    guarded, free = (
        distance.modulus_of_bands(**sample, correlation=correlation, guarded=guard, clip=CLIP)
        for guard in (True, False)
    )
    assert robust(guarded.value - mu) < 1.02 * robust(free.value - mu)
    # No larger than the smallest claimed error makes it.
    assert 0.8 < robust((guarded.value - mu) / guarded.error) < 1 / 0.75
    assert robust((free.value - mu) / free.error) > 1.6


def test_errors_that_scatter_about_a_star_s_level_do_not_make_that_of_the_distance_too_small():
    """Each band's error is estimated on its own; weights go to those that came out small."""
    correlation = 0.93 + 0.07 * np.eye(14)
    sample, mu = stars(6000, 13, correlation)
    right = sample["absolute_err"]
    stated = right * np.exp(np.random.default_rng(14).normal(0, 0.15, right.shape))
    sample["absolute_err"] = stated
    typical = distance.errors_of_level(stated)
    assert robust(np.log(typical / right)) < 0.5 * robust(np.log(stated / right))
    naive, levelled = (
        distance.modulus_of_bands(**sample, correlation=correlation, clip=CLIP, typical_err=err)
        for err in (None, typical)
    )
    np.testing.assert_array_equal(naive.value, levelled.value)
    assert robust((naive.value - mu) / naive.error) > 1.1
    assert 0.95 < robust((levelled.value - mu) / levelled.error) < 1.05


def test_errors_of_level_are_a_level_times_a_ratio_and_missing_stay_missing():
    rng = np.random.default_rng(15)
    errors = rng.uniform(0.1, 0.5, (300, 1)) * rng.uniform(0.5, 2.0, 14)
    errors[rng.random(errors.shape) < 0.3] = np.nan
    errors[7], errors[:, 3] = np.nan, np.nan
    np.testing.assert_allclose(distance.errors_of_level(errors), errors, rtol=0.03)
    wild = distance.errors_of_level(np.array([[0.0, 0.2, np.inf], [-1.0, np.nan, 0.1]]))
    np.testing.assert_allclose(wild, [[np.nan, 0.2, np.nan], [np.nan, np.nan, 0.1]], rtol=1e-12)
    assert distance.errors_of_level(np.empty((0, 14))).shape == (0, 14)


def test_with_one_band_it_is_the_published_distance():
    sample, _ = stars(50, 4, correlated(), missing=0.0)
    one = ks_alone(sample)
    sample["apparent"][:, np.arange(14) != KS] = np.nan
    found = distance.modulus_of_bands(**sample, correlation=correlated(), clip=CLIP)
    np.testing.assert_allclose(found.value, one.value, rtol=1e-12)
    np.testing.assert_allclose(found.error, one.error, rtol=1e-12)


def test_a_wrong_magnitude_is_left_out():
    sample, _ = stars(200, 5, correlated(), missing=0.0)
    sample["apparent"][:, 9] += 3.0
    found = distance.modulus_of_bands(**sample, correlation=correlated(), clip=CLIP)
    sample["apparent"][:, 9] = np.nan
    expected = distance.modulus_of_bands(**sample, correlation=correlated(), clip=CLIP)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-9)
    assert (found.n_bands == 13).all()


def test_wild_inputs_give_nan_and_no_warning():
    sample, _ = stars(12, 6, correlated(), missing=0.0)
    sample = {name: np.array(values) for name, values in sample.items()}
    sample["ebv"][0], sample["ebv_err"][1], sample["apparent"][2] = np.nan, np.nan, np.nan
    sample["absolute_err"][3], sample["apparent_err"][4], sample["absolute"][5] = 0.0, -1.0, np.nan
    sample["apparent"][6], sample["ebv"][7] = np.inf, -np.inf
    found, one = (
        distance.modulus_of_bands(**sample, correlation=correlated(), clip=CLIP),
        ks_alone(sample),
    )
    for modulus in (found, one):
        assert np.isnan(modulus.value[:8]).all()
        assert np.isnan(modulus.error[:8]).all()
        assert np.isfinite(modulus.value[8:]).all()
    assert np.isnan(distance.distance_kpc(found.value, found.error)[0][:8]).all()
    empty = {name: values[:0] for name, values in sample.items()}
    assert distance.modulus_of_bands(**empty, correlation=correlated(), clip=CLIP).value.shape == (
        0,
    )


def test_negative_reddening_is_allowed():
    sample, mu = stars(500, 7, correlated())
    sample["ebv"] = sample["ebv"] - 0.3
    found = distance.modulus_of_bands(**sample, correlation=correlated(), clip=CLIP)
    assert np.isfinite(found.value).mean() > 0.99
    assert np.nanmedian(found.value - mu) > 0


# ---------------------------------------------------------------- correlation


def test_correlation_is_found_with_missing_bands_outliers_and_offsets():
    truth = correlated()
    rng = np.random.default_rng(8)
    values = (
        rng.normal(size=(6000, 14)) @ np.linalg.cholesky(truth).T * np.linspace(0.1, 0.4, 14) + 0.3
    )
    values[rng.random(values.shape) < 0.3] = np.nan
    values[:60] += 50.0 * rng.normal(size=(60, 1))
    found = distance.estimate_correlation(values)
    np.testing.assert_allclose(found, 0.98 * truth + 0.02 * np.eye(14), atol=0.03)
    assert np.diagonal(found).tolist() == pytest.approx([1.0] * 14)
    assert np.linalg.eigvalsh(found).min() > 0.015


def test_correlation_of_the_mean_of_networks_from_single_ones():
    truth = correlated()
    rng = np.random.default_rng(13)
    common = 0.2 * rng.normal(size=(6000, 14)) @ np.linalg.cholesky(truth).T
    members = 0.1 * rng.normal(size=(6000, 5, 14))
    single = common + members[:, 0]
    published = common + members.mean(axis=1)
    found = distance.estimate_correlation(single, np.full(14, 0.1**2 * (1 - 1 / 5)), shrinkage=0)
    np.testing.assert_allclose(found, np.corrcoef(published.T), atol=0.03)
    assert (distance.estimate_correlation(single, shrinkage=0) < found + 1e-9).all()


def test_correlation_of_few_stars_is_still_positive_definite():
    rng = np.random.default_rng(9)
    few = rng.normal(size=(25, 1)) + 0.1 * rng.normal(size=(25, 14))
    few[10:, 3] = np.nan
    found = distance.estimate_correlation(few)
    assert np.linalg.eigvalsh(found).min() > 0.015
    assert found[3, 0] > 0.8
    for nothing in (np.empty((0, 14)), np.full((50, 14), np.nan), np.zeros((50, 14))):
        found = distance.estimate_correlation(nothing)
        assert np.linalg.eigvalsh(found).min() > 0.015
        assert found[0, 1] == pytest.approx(0.98)


# ---------------------------------------------------------------- distances and positions


def test_distances_and_their_quantiles():
    kpc, error = distance.distance_kpc(np.array([0.0, 10.0, 15.0]), np.array([0.1, 0.2, 0.0]))
    assert kpc.tolist() == pytest.approx([0.01, 1.0, 10.0])
    assert error.tolist() == pytest.approx([0.01 * 0.0460517, 0.0921034, 0.0], rel=1e-5)
    rng = np.random.default_rng(0)
    drawn = distance.distance_kpc(rng.normal(10, 0.4, 200_000), 0.0)[0]
    low, high = np.quantile(drawn, [0.158655, 0.841345])
    assert low == pytest.approx(10 ** (-0.08), rel=3e-3)
    assert high == pytest.approx(10**0.08, rel=3e-3)


def test_positions_are_astropys_to_micro_parsecs():
    rng = np.random.default_rng(10)
    ra, dec, kpc = (
        rng.uniform(0, 360, 500),
        np.degrees(np.arcsin(rng.uniform(-1, 1, 500))),
        rng.uniform(0, 12, 500),
    )
    found, _ = distance.galactocentric(ra, dec, kpc, 0.1 * kpc, Distance())
    with galactocentric_frame_defaults.set("v4.0"):
        expected = SkyCoord(ra * u.deg, dec * u.deg, distance=kpc * u.kpc).transform_to(
            Galactocentric()
        )
    theirs = np.column_stack(
        [axis.to_value(u.kpc) for axis in (expected.x, expected.y, expected.z)]
    )
    assert np.abs(found - theirs).max() < 1e-9


def test_axes_point_where_the_paper_says_and_are_right_handed():
    sun = Distance(z_sun=0.0)
    centre, rotation, pole = (
        SkyCoord(lon, lat, unit="deg", frame="galactic").icrs
        for lon, lat in ((0, 0), (90, 0), (0, 90))
    )
    points, _ = distance.galactocentric(
        [p.ra.deg for p in (centre, rotation, pole)], [p.dec.deg for p in (centre, rotation, pole)],
        np.array([20.0, 1.0, 1.0]), np.zeros(3), sun,
    )  # fmt: skip
    np.testing.assert_allclose(points[0], [20 - 8.122, 0, 0], atol=0.05)
    axes = points - [[-8.122, 0, 0]]
    np.testing.assert_allclose(axes[1], [0, 1, 0], atol=0.003)
    np.testing.assert_allclose(axes[2], [0, 0, 1], atol=0.003)
    assert np.linalg.det(axes / [[20.0], [1], [1]]) == pytest.approx(1.0, abs=1e-3)
    here, _ = distance.galactocentric([0.0], [0.0], np.zeros(1), np.zeros(1), Distance())
    assert here[0, 2] == pytest.approx(0.0208, abs=1e-9)


def test_errors_of_positions_follow_the_line_of_sight():
    ra, dec = np.array([10.0, 200.0]), np.array([-30.0, 70.0])
    kpc, error = np.array([1.0, 4.0]), np.array([0.1, np.nan])
    position, spread = distance.galactocentric(ra, dec, kpc, error, Distance())
    farther, _ = distance.galactocentric(ra, dec, kpc + 0.1, error, Distance())
    assert spread[0].tolist() == pytest.approx(np.abs(farther - position)[0].tolist())
    assert np.linalg.norm(spread[0]) == pytest.approx(0.1)
    assert np.isnan(spread[1]).all()


def test_bands_that_cannot_tell_give_nan():
    design = np.ones((1, 3, 2))
    found = band_fit.fit_bands(np.ones((1, 3)), design, np.eye(3)[None], 5.0, 1)
    assert np.isnan(found.values).all()
    assert found.n_bands.tolist() == [0]
