"""Stars are found again where they were put, whatever the order of the rows."""

import warnings

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time
from erfa import ErfaWarning
from hypothesis import given
from hypothesis import strategies as st

from lamostvac.external.match import (
    ARCSEC,
    canonical_order,
    group_stars,
    match_identifiers,
    match_sky,
    sky_pairs,
)
from lamostvac.external.sky import galactic_coordinates, propagate

SECOND = 1 / 3600


def sky(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def test_propagation_agrees_with_astropy():
    ra, dec = sky(200)
    rng = np.random.default_rng(1)
    pmra, pmdec = rng.normal(0, 300, (2, 200))
    found = propagate(ra, dec, pmra, pmdec, 2016.0, 2000.0)
    moving = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        obstime=Time(2016.0, format="jyear"),
    )
    with warnings.catch_warnings():
        # ERFA warns of every star without a parallax.
        warnings.simplefilter("ignore", ErfaWarning)
        expected = moving.apply_space_motion(new_obstime=Time(2000.0, format="jyear"))
    separation = SkyCoord(*found, unit="deg").separation(expected)
    assert separation.to_value("mas").max() < 1e-3


def test_no_proper_motion_counts_as_none():
    ra, dec = propagate([10.0, 10.0], [20.0, 20.0], [np.nan, 3600.0], [5.0, 0.0], 2000.0, 2010.0)
    assert (ra[0], dec[0]) == (10.0, 20.0)
    assert (ra[1] - 10) * np.cos(np.radians(20)) == pytest.approx(36 * SECOND, rel=1e-6)
    assert propagate([1.0], [2.0], None, None, 2000, 2016) == (np.array([1.0]), np.array([2.0]))


def test_galactic_coordinates_agree_with_astropy():
    ra, dec = sky(100)
    expected = SkyCoord(ra, dec, unit="deg").galactic
    longitude, latitude = galactic_coordinates(ra, dec)
    ours = SkyCoord(longitude, latitude, unit="deg", frame="galactic")
    # The frames of Hipparcos and of astropy differ by 25 mas at most.
    assert ours.separation(expected).to_value("mas").max() < 26


def test_pairs_agree_with_brute_force_at_poles_and_at_zero():
    rng = np.random.default_rng(2)
    ra = np.concatenate([rng.uniform(-0.002, 0.002, 60) % 360, rng.uniform(0, 360, 60)])
    dec = np.concatenate([rng.uniform(-0.002, 0.002, 60), 90 - rng.uniform(0, 0.002, 60)])
    i, j, separation = sky_pairs(ra[::2], dec[::2], ra[1::2], dec[1::2], 3.0)
    first, second = (
        SkyCoord(ra[::2], dec[::2], unit="deg"),
        SkyCoord(ra[1::2], dec[1::2], unit="deg"),
    )
    brute = first[:, None].separation(second[None, :]).to_value("arcsec")
    assert set(zip(i.tolist(), j.tolist(), strict=True)) == set(
        zip(*map(list, np.nonzero(brute <= 3)), strict=True)
    )
    np.testing.assert_allclose(separation, brute[i, j], atol=1e-6)


def test_positions_that_are_missing_match_nothing():
    star, separation = match_sky([10.0, np.nan], [0.0, 0.0], [np.nan, 10.0], [0.0, 0.0], 3.0)
    assert star.tolist() == [1, -1]
    assert np.isnan(separation[1])


def test_fast_stars_match_only_with_their_motion():
    ra, dec = sky(500)
    pmra, pmdec = np.random.default_rng(3).normal(0, 1000, (2, 500))
    now = propagate(ra, dec, pmra, pmdec, 2000.0, 2016.0)
    without = match_sky(ra, dec, *now, 3.0)[0]
    back = propagate(*now, pmra, pmdec, 2016.0, 2000.0)
    assert np.array_equal(match_sky(ra, dec, *back, 3.0)[0], np.arange(500))
    assert np.mean(without == np.arange(500)) < 0.1


def test_neighbours_are_not_confused():
    """Two stars 2 arcsec apart, each observed twice: each spectrum gets its own."""
    ra, dec = [10.0, 10.0, 10.0, 10.0], [0.0, 2 * SECOND, 0.1 * SECOND, 1.9 * SECOND]
    star, separation = match_sky(ra, dec, [10.0, 10.0], [0.0, 2 * SECOND], 3.0)
    assert star.tolist() == [0, 1, 0, 1]
    assert separation == pytest.approx([0, 0, 0.1, 0.1], abs=1e-6)


def test_a_star_is_given_to_one_position_and_its_repeats():
    """The second object 2.5 arcsec away is not in the catalogue, so it gets nothing; repeats share."""
    ra = [10.0, 10.0, 10.0]
    dec = [0.2 * SECOND, 2.5 * SECOND, -0.2 * SECOND]
    assert match_sky(ra, dec, [10.0], [0.0], 3.0)[0].tolist() == [0, -1, 0]


def test_who_loses_a_star_gets_the_next():
    """Both positions are nearest to star 0; the farther one has star 1 within the radius."""
    ra, dec = [10.0, 10.0], [0.1 * SECOND, 1.4 * SECOND]
    assert match_sky(ra, dec, [10.0, 10.0], [0.0, 4 * SECOND], 3.0)[0].tolist() == [0, 1]


def test_of_equally_near_stars_the_brighter_is_taken():
    for magnitude, expected in (
        ([12.0, 11.0], 1),
        ([11.0, 12.0], 0),
        ([np.nan, 12.0], 1),
        ([12.0, 12.0], 0),
    ):
        star, _ = match_sky([10.0], [0.0], [10.0, 10.0], [0.0, 0.0], 3.0, magnitude=magnitude)
        assert star.tolist() == [expected]


@given(st.integers(0, 2**32 - 1))
def test_matches_do_not_depend_on_order(seed):
    rng = np.random.default_rng(seed)
    n, m = 40, 30
    ra, dec = rng.uniform(0, 6 * SECOND, (2, n))  # crowded on purpose
    other_ra, other_dec = rng.uniform(0, 6 * SECOND, (2, m))
    ra[:10], dec[:10] = ra[10:20], dec[10:20]
    magnitude = rng.integers(10, 12, m).astype(float)
    star, separation = match_sky(ra, dec, other_ra, other_dec, 3.0, magnitude=magnitude)
    rows, others = rng.permutation(n), rng.permutation(m)
    shuffled, again = match_sky(
        ra[rows], dec[rows], other_ra[others], other_dec[others], 3.0, magnitude=magnitude[others]
    )
    named = np.where(shuffled >= 0, others[shuffled], -1)
    assert np.array_equal(named, star[rows])
    assert np.array_equal(again, separation[rows], equal_nan=True)
    # One to one, but for repeats.
    group = group_stars(ra, dec, 1.0)
    for owned in set(star[star >= 0].tolist()):
        assert len(set(group[star == owned].tolist())) == 1


def test_identifiers_match_exactly_and_missing_ones_never():
    ids = np.array([2**62 + 1, -1, 5, 2**62 + 2])
    assert match_identifiers(ids, [-1, 2**62 + 2, 2**62 + 1, 5, 5]).tolist() == [2, -1, 3, 1]
    assert match_identifiers(ids, []).tolist() == [-1] * 4


# ---------------------------------------------------------------- groups


def test_groups_are_chains_and_cross_zero():
    ra = np.array([359.9999, 0.0001, 10.0, 10.0, 10.0])
    dec = np.array([0.0, 0.0, 0.0, 0.9 * SECOND, 1.8 * SECOND])
    assert group_stars(ra, dec, 1.0).tolist() == [0, 0, 1, 1, 1]
    assert len(set(group_stars(ra, dec, 0.7).tolist())) == 5


def test_groups_join_what_has_one_name():
    assert group_stars([10.0, 50.0, 90.0], [0.0] * 3, 1.0, same=[7, -1, 7]).tolist() == [0, 1, 0]
    assert group_stars([10.0, 50.0, 90.0], [0.0] * 3, 1.0, same=[-1, -1, -1]).tolist() == [0, 1, 2]
    assert group_stars([], [], 1.0).tolist() == []


POSITIONS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(-15, 15)).map(
        lambda p: (p[0] * 0.4 * SECOND, p[1] * 0.4 * SECOND)
    ),
    min_size=1,
    max_size=25,
)


@given(POSITIONS, st.randoms(use_true_random=False))
def test_groups_are_components_in_any_order(positions, random):
    ra, dec = (np.array(column) for column in zip(*positions, strict=True))
    group = group_stars(ra, dec, 1.0)
    # Brute force: the transitive closure.
    near = np.hypot(ra[:, None] - ra, dec[:, None] - dec) <= 1.0 * SECOND
    for _ in range(len(ra)):
        near = (near.astype(int) @ near.astype(int)) > 0
    assert np.array_equal(group[:, None] == group, near)
    rows = list(range(len(ra)))
    random.shuffle(rows)
    assert np.array_equal(group_stars(ra[rows], dec[rows], 1.0), group[rows])
    assert set(group.tolist()) == set(range(group.max() + 1))


def test_canonical_order_belongs_to_the_content():
    table = pd.DataFrame({"x": [3.0, 1.0, np.nan, 1.0], "name": ["a", "b", "c", "b"]})
    ordered = table.iloc[canonical_order(table)].reset_index(drop=True)
    shuffled = table.iloc[[2, 0, 3, 1]]
    pd.testing.assert_frame_equal(
        shuffled.iloc[canonical_order(shuffled)].reset_index(drop=True), ordered
    )
    assert ARCSEC == pytest.approx(np.radians(SECOND))
