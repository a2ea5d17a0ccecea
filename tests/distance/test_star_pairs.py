"""E(B-V) by star pairs: injected reddening comes back with errors that hold."""

from dataclasses import replace

import numpy as np
import pytest

from lamostvac.core.vocabulary import BANDS
from lamostvac.distance import controls as distance_controls
from lamostvac.distance import extinction, star_pairs
from lamostvac.distance.settings import StarPairs
from lamostvac.simulate import photometry as simulated

pytestmark = pytest.mark.numeric

R = np.array([simulated.EXTINCTION[f"abs_mag_{band}"][0] for band in BANDS])
REFERENCE = BANDS.index("g_gaia")
SETTINGS = StarPairs(zero_point=0.0, control_scatter=0.0)


def sky(n, seed, label_errors=(60.0, 0.1, 0.06), phot=0.02, missing=0.15, intrinsic=0.01, ebv=None):
    """n FGK dwarfs and giants: magnitudes, errors, scaled labels as measured, true E(B-V)."""
    rng = np.random.default_rng(seed)
    teff, feh = rng.uniform(4600, 6800, n), np.clip(rng.normal(-0.3, 0.35, n), -1.5, 0.4)
    logg = np.where(rng.random(n) < 0.3, rng.uniform(1.5, 3.2, n), rng.uniform(4.0, 4.7, n))
    truth = np.zeros(n) if ebv is None else ebv(rng, n)
    magnitudes = np.column_stack(
        list(simulated.absolute_magnitudes(teff, logg, feh, np.ones(n)).values())
    )
    magnitudes += (
        rng.normal(8, 2, n)[:, None] + truth[:, None] * R + intrinsic * rng.normal(size=(n, len(R)))
    )
    errors = phot * np.exp(rng.normal(0, 0.3, (n, len(R))))
    magnitudes += errors * rng.normal(size=errors.shape)
    gone = rng.random(errors.shape) < missing
    gone[:, REFERENCE] &= rng.random(n) < 0.1
    magnitudes[gone] = np.nan
    given = np.broadcast_to(label_errors, (n, 3)) * np.exp(rng.normal(0, 0.2, (n, 3)))
    noise = given * rng.normal(size=(n, 3))
    labels, scaled = star_pairs.scale_labels(
        teff + noise[:, 0], logg + noise[:, 1], feh + noise[:, 2], given, SETTINGS
    )
    return magnitudes, errors, labels, scaled, truth


def controls_of(sample, settings=SETTINGS, **more):
    magnitudes, errors, labels, scaled, _ = sample
    n = len(labels)
    return distance_controls.choose_controls(
        magnitudes, errors, labels, scaled, np.arange(n), np.full(n, 50.0), np.ones(n, bool),
        np.broadcast_to(R, (n, len(R))), REFERENCE, settings, **more,
    )  # fmt: skip


def redden(sample, controls, settings=SETTINGS, first=10**6):
    magnitudes, errors, labels, scaled, _ = sample
    n = len(labels)
    return star_pairs.star_pair_reddening(
        magnitudes, errors, labels, scaled, first + np.arange(n), np.broadcast_to(R, (n, len(R))), controls, settings
    )  # fmt: skip


def robust(values):
    return 1.4826 * np.median(np.abs(values - np.median(values)))


@pytest.fixture(scope="module")
def controls():
    return controls_of(sky(4000, 1))[0]


def test_reddening_comes_back_unbiased_with_errors_that_hold(controls):
    sample = sky(3000, 2, ebv=lambda rng, n: rng.exponential(0.15, n))
    found = redden(sample, controls)
    good = np.isfinite(found.ebv)
    assert good.mean() > 0.9
    difference = (found.ebv - sample[4])[good]
    assert abs(np.median(difference)) < 0.003
    assert robust(difference) < 0.03
    pull = difference / found.error[good]
    assert 0.9 < robust(pull) < 1.1
    assert (np.abs(pull) > 4).mean() < 0.01
    # Where the labels, or the photometry, are worse, the errors are larger and still hold.
    assert (found.n_colours[good] >= SETTINGS.min_colours).all()
    assert (found.n_colours[~good] == 0).all()


def test_errors_follow_the_labels_errors(controls):
    sample = sky(
        3000, 3, label_errors=(120.0, 0.2, 0.12), ebv=lambda rng, n: rng.exponential(0.1, n)
    )
    worse = redden(sample, controls)
    good = np.isfinite(worse.ebv)
    assert np.nanmedian(worse.error) > 1.3 * np.nanmedian(redden(sky(500, 2), controls).error)
    assert 0.85 < robust((worse.ebv - sample[4])[good] / worse.error[good]) < 1.15


def test_a_star_is_no_control_of_itself():
    sample = sky(1500, 4)
    controls, rows = controls_of(sample)
    own = star_pairs.star_pair_reddening(
        *sample[:4], np.arange(1500), np.broadcast_to(R, (1500, len(R))), controls, SETTINGS
    )
    strangers = redden(sample, controls)
    used = rows[np.isfinite(own.ebv[rows])]
    # Its own colours would pull the fit towards them.
    assert np.nanstd(strangers.ebv[used]) < np.nanstd(own.ebv[used])
    shifted = sample[0][rows[0]] + 0.0
    tree_fit = star_pairs.intrinsic_colours(sample[2][rows[:1]], rows[:1], controls, SETTINGS)[0]
    changed = controls.colours.copy()
    changed[0] += 5.0
    again = star_pairs.intrinsic_colours(
        sample[2][rows[:1]], rows[:1], replace(controls, colours=changed), SETTINGS
    )[0]
    assert np.array_equal(tree_fit, again, equal_nan=True)
    assert np.isfinite(shifted).any()


def test_dusty_candidates_are_dropped_and_the_zero_point_is_that_of_the_cleanest():
    def mostly_clean(rng, n):
        return np.where(rng.random(n) < 0.6, 0.0, rng.uniform(0.05, 0.6, n))

    sample = sky(4000, 5, ebv=mostly_clean)
    controls, rows = controls_of(sample)
    assert len(rows) > 2000
    assert (sample[4][rows] > 0.1).mean() < 0.01
    target = sky(2000, 6, ebv=lambda rng, n: rng.exponential(0.1, n))
    found = redden(target, controls)
    assert abs(np.nanmedian(found.ebv - target[4])) < 0.012
    raised = SETTINGS.changed(zero_point=0.02)
    shifted = redden(target, controls_of(sample, raised)[0], raised)
    assert np.nanmedian(shifted.ebv - found.ebv) == pytest.approx(0.02, abs=0.002)


def test_a_map_takes_the_dust_off_the_controls():
    sample = sky(4000, 7, ebv=lambda rng, n: rng.exponential(0.03, n))
    settings = SETTINGS.changed(max_ebv=0.2)
    controls, rows = controls_of(sample, settings, map_ebv=sample[4] * 1.0)
    assert len(rows) > 3500
    target = sky(2000, 8, ebv=lambda rng, n: rng.exponential(0.2, n))
    found = redden(target, controls, settings)
    good = np.isfinite(found.ebv)
    difference = (found.ebv - target[4])[good]
    assert abs(np.median(difference)) < 0.003
    assert 0.9 < robust(difference / found.error[good]) < 1.1


def test_equals_brute_force_least_squares_over_colours():
    """The free constant is what colours do away with: any set of independent colours gives the same."""
    rng = np.random.default_rng(9)
    half = rng.normal(size=(14, 14))
    covariance = half @ half.T / 1000 + 1e-4 * np.eye(14)
    magnitudes = rng.normal(10, 1, (1, 14))
    magnitudes = 10 + 0.3 * R + np.linalg.cholesky(covariance) @ rng.normal(size=14)
    present = np.array([0, 1, 2, 5, 8, 12])
    seen = np.full((1, 14), np.nan)
    seen[0, present] = magnitudes[present]
    wide = SETTINGS.changed(clip=1e9)
    found = star_pairs.solve_reddening(seen, np.zeros((1, 14)), covariance[None], R[None], wide)
    differences = np.diff(np.eye(len(present)), axis=0)
    c = differences @ covariance[np.ix_(present, present)] @ differences.T
    y, r = differences @ magnitudes[present], differences @ R[present]
    inverse = np.linalg.inv(c)
    assert found.ebv[0] == pytest.approx(r @ inverse @ y / (r @ inverse @ r), rel=1e-9)
    assert found.error[0] == pytest.approx((r @ inverse @ r) ** -0.5, rel=1e-9)
    assert found.n_colours[0] == 5


def test_a_wrong_magnitude_is_left_out(controls):
    sample = sky(400, 10, missing=0.0)
    clean = redden(sample, controls)
    spoilt = sample[0].copy()
    band = BANDS.index("v_apass")
    spoilt[:, band] += 1.5
    found = redden((spoilt, *sample[1:]), controls)
    without = sample[0].copy()
    without[:, band] = np.nan
    expected = redden((without, *sample[1:]), controls)
    good = np.isfinite(expected.ebv)
    assert np.nanmedian(np.abs(found.ebv - expected.ebv)[good]) < 1e-9
    assert (found.n_colours[good] == clean.n_colours[good] - 1).mean() > 0.9


def test_wild_inputs_give_nan_and_no_warning(controls):
    magnitudes, errors, labels, scaled, _ = sky(60, 11)
    magnitudes[0], errors[1], errors[2], labels[3], scaled[4] = np.nan, np.nan, -1.0, np.nan, np.nan
    magnitudes[5] = np.inf
    labels[6] = 1e6
    magnitudes[7, 2:] = np.nan
    found = redden((magnitudes, errors, labels, scaled, None), controls)
    assert np.isnan(found.ebv[:8]).all()
    assert np.isnan(found.error[:8]).all()
    assert np.isfinite(found.ebv[8:]).mean() > 0.9
    few = star_pairs.star_pair_reddening(
        magnitudes[:0], errors[:0], labels[:0], scaled[:0], np.empty(0, int), np.empty((0, 14)), controls, SETTINGS
    )  # fmt: skip
    assert few.ebv.shape == (0,)
    teff = np.array([-5.0, np.nan, 0.0, 5000.0])
    wild, _ = star_pairs.scale_labels(teff, np.ones(4), np.ones(4), np.ones((4, 3)), SETTINGS)
    assert np.isfinite(wild).all(axis=1).tolist() == [False, False, False, True]


def test_no_controls_no_reddening():
    sample = sky(50, 12)
    nothing, rows = distance_controls.choose_controls(
        *sample[:4], np.arange(50), np.full(50, 50.0), np.zeros(50, bool), np.broadcast_to(R, (50, 14)), 0, SETTINGS
    )  # fmt: skip
    assert len(rows) == 0
    assert np.isnan(redden(sample, nothing).ebv).all()


def test_the_order_of_stars_and_the_size_of_blocks_do_not_matter(controls, monkeypatch):
    sample = sky(300, 13)
    found = redden(sample, controls)
    order = np.random.default_rng(0).permutation(300)
    monkeypatch.setattr(star_pairs, "_BLOCK", 77)
    again = redden(tuple(part[order] for part in sample), controls)
    np.testing.assert_allclose(again.ebv, found.ebv[order], rtol=0, atol=1e-12)


# ---------------------------------------------------------------- coefficients


def test_scales_of_coefficients():
    sfd = {band: 1.0 for band in BANDS if band != "bp"}
    published, on_sfd, on_true = (
        extinction.constants(sfd, {"bp": 2.0}, scale) for scale in ("mixed", "sfd", "corrected")
    )
    bp = BANDS.index("bp")
    assert published[bp] == 2.0
    assert on_sfd[bp] == pytest.approx(1.72)
    assert on_true[bp] == 2.0
    assert on_true[0] == pytest.approx(1 / 0.86)
    # An extinction is the same on either scale.
    assert on_sfd * 0.1 == pytest.approx(on_true * 0.086)


def test_coefficients_of_zhang_and_yuan():
    """Numbers printed by their package extinction-coefficient 1.8."""
    found = extinction.zhang_yuan(np.array([5000.0, 6000.0]), np.array([0.3, 0.3]))
    assert found[:, BANDS.index("bp")] == pytest.approx([2.87763, 2.87793], abs=1e-5)
    assert np.isnan(found[:, BANDS.index("v_apass")]).all()
    beyond = extinction.zhang_yuan(np.array([2000.0, 20000.0]), np.array([-0.5, 3.0]))
    limits = extinction.zhang_yuan(np.array([4000.0, 10000.0]), np.array([0.0, 0.5]))
    np.testing.assert_array_equal(beyond, limits)
    constant = np.arange(1.0, 15.0)
    mixed = extinction.coefficients(
        "zhang_yuan_2022", constant, "corrected", np.array([5000.0, np.nan]), [0.258, 0.1]
    )
    assert mixed[0, BANDS.index("bp")] == pytest.approx(2.87763 / 0.86, abs=1e-5)
    assert mixed[0, BANDS.index("v_apass")] == constant[BANDS.index("v_apass")]
    assert mixed[1].tolist() == constant.tolist()
