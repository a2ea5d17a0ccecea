"""Pairs of spectra of one star from different nights."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from lamostvac.spectra.names import fingerprint
from lamostvac.uncertainty.repeats import FOLLOWING, alike, repeat_pairs, similar_pairs

pytestmark = pytest.mark.numeric

# Star, night, S/N: few of each, so that everything coincides now and then.
SPECTRA = st.lists(
    st.tuples(
        st.integers(0, 3), st.integers(0, 4), st.sampled_from([0, 9, 9.5, 10, 10.5, 12, 30, np.nan])
    ),
    max_size=25,
)


def sky(star, rng=None):
    """Positions of stars, a degree apart, each spectrum up to an arcsecond off when there is an `rng`."""
    star = np.asarray(star, float)
    jitter = (
        np.zeros((2, len(star))) if rng is None else rng.uniform(-0.5, 0.5, (2, len(star))) / 3600
    )
    return 359.9 + star + jitter[0], 20.0 + jitter[1]


def unpack(spectra):
    star, night, snr = (
        (np.array(column) for column in zip(*spectra, strict=True)) if spectra else [[]] * 3
    )
    return np.array(star, int), np.array(night, int), np.array(snr, float)


def brute(star, night, snr, tolerance):
    """All pairs of one star from different nights with S/N alike, as sets of two row numbers."""
    return {
        frozenset((i, j))
        for i, j in combinations(range(len(star)), 2)
        if star[i] == star[j]
        and night[i] != night[j]
        and snr[i] > 0
        and snr[j] > 0
        and min(snr[i], snr[j]) >= (1 - tolerance) * max(snr[i], snr[j])
    }


def as_sets(pairs):
    return [
        frozenset(pair) for pair in zip(pairs.earlier.tolist(), pairs.later.tolist(), strict=True)
    ]


@settings(max_examples=200, deadline=None)
@given(SPECTRA, st.sampled_from([0.0, 0.1, 0.2, 0.5]))
def test_without_a_limit_the_pairs_are_those_of_brute_force(spectra, tolerance):
    star, night, snr = unpack(spectra)
    pairs = similar_pairs(*sky(star), night, snr, tolerance, following=100)
    found = as_sets(pairs)
    assert len(set(found)) == len(found)
    assert set(found) == brute(star, night, snr, tolerance)
    assert (night[pairs.earlier] < night[pairs.later]).all()
    np.testing.assert_allclose(pairs.snr, (snr[pairs.earlier] + snr[pairs.later]) / 2)


@settings(max_examples=200, deadline=None)
@given(SPECTRA, st.integers(1, 4))
def test_with_a_limit_no_star_that_has_pairs_is_without(spectra, following):
    star, night, snr = unpack(spectra)
    every = brute(star, night, snr, 0.2)
    pairs = similar_pairs(*sky(star), night, snr, 0.2, following=following)
    found = as_sets(pairs)
    assert set(found) <= every
    assert {star[i] for pair in found for i in pair} == {star[i] for pair in every for i in pair}
    assert len(found) <= following * len(star)
    for one in np.unique(star[pairs.earlier]):
        mine = star[pairs.earlier] == one
        n_spectra = len(np.unique(np.concatenate([pairs.earlier[mine], pairs.later[mine]])))
        assert pairs.weight[mine].sum() == pytest.approx(min(n_spectra - 1, mine.sum(), 3))


@settings(max_examples=100, deadline=None)
@given(SPECTRA, st.randoms(use_true_random=False))
def test_pairs_belong_to_the_spectra_not_to_their_order(spectra, random):
    star, night, snr = unpack(spectra)
    order = list(range(len(star)))
    random.shuffle(order)
    order = np.array(order, int)
    ra, dec = sky(star)
    name = np.arange(len(star))
    one = similar_pairs(ra, dec, night, snr, 0.2, identity=name, following=2)
    other = similar_pairs(
        ra[order], dec[order], night[order], snr[order], 0.2, identity=name[order], following=2
    )
    np.testing.assert_array_equal(one.earlier, order[other.earlier])
    np.testing.assert_array_equal(one.later, order[other.later])
    np.testing.assert_array_equal(one.weight, other.weight)


def test_a_star_is_known_by_its_position_or_by_its_number():
    rng = np.random.default_rng(1)
    star = rng.integers(0, 40, 200)
    night, snr = rng.integers(0, 9, 200), rng.uniform(5, 50, 200)
    by_position = similar_pairs(*sky(star, rng), night, snr, 0.2)
    by_number = similar_pairs(*sky(star), night, snr, 0.2, star=star)
    assert set(as_sets(by_position)) == set(as_sets(by_number))
    assert len(by_position) > 50


def test_a_star_observed_often_counts_as_three_differences():
    """Thirty spectra of one star beside a hundred stars with two."""
    star = np.concatenate([np.zeros(30, int), np.repeat(np.arange(1, 101), 2)])
    night = np.concatenate([np.arange(30), np.tile([0, 1], 100)])
    pairs = similar_pairs(*sky(star / 400), night, np.full(230, 20.0), 0.1)
    often = star[pairs.earlier] == 0
    assert often.sum() == FOLLOWING * 30 - 10
    assert pairs.weight[often].sum() == pytest.approx(3)
    assert (pairs.weight[~often] == 1).all()
    assert (~often).sum() == 100


def test_the_residual_is_the_random_error_of_one_spectrum():
    rng = np.random.default_rng(2)
    star = np.repeat(np.arange(20_000), 2)
    label = (5000 + star / 10 + rng.normal(0, 50, 40_000)).astype(np.float32)
    pairs = similar_pairs(
        *sky(star / 400), np.tile([2, 1], 20_000), np.full(40_000, 20.0), 0.1, star=star
    )
    assert pairs.residual(label).std() == pytest.approx(50, rel=0.02)
    # Later minus earlier: the second of each two is the earlier one.
    np.testing.assert_allclose(
        pairs.residual(label), (label[::2].astype(float) - label[1::2]) / np.sqrt(2)
    )


def test_a_sample_of_pairs_is_drawn_by_names():
    """So it is the same whatever the order of rows, and like all pairs in S/N and in how often a star is in it."""
    rng = np.random.default_rng(5)
    n = 40_000
    star, night, snr = (
        rng.integers(0, 15_000, n),
        rng.integers(0, 1000, n),
        rng.lognormal(3.0, 1.0, n),
    )
    name = fingerprint(np.char.add("s", np.arange(n).astype(str)).astype("S"))
    order = rng.permutation(n)
    ra, dec = sky(star / 100)
    one = similar_pairs(ra, dec, night, snr, 0.2, identity=name)
    assert len(one) > 5000
    assert one.sample(len(one), name) is one
    few = one.sample(2000, name)
    assert len(few) == 2000
    other = similar_pairs(
        ra[order], dec[order], night[order], snr[order], 0.2, identity=name[order]
    )
    again = other.sample(2000, name[order])
    np.testing.assert_array_equal(few.earlier, order[again.earlier])
    np.testing.assert_array_equal(few.weight, again.weight)
    assert set(as_sets(few)) < set(as_sets(one))
    for part in ("snr", "weight"):
        assert ks_2samp(getattr(few, part), getattr(one, part)).pvalue > 0.01


def test_alike_is_a_share_of_the_larger():
    assert alike([90, 89, 0, -1, np.nan], [100, 100, 0, 1, 5], 0.1).tolist() == [True] + 4 * [False]


@pytest.mark.parametrize("n", [0, 1])
def test_no_spectra_no_pairs(n):
    pairs = similar_pairs(np.ones(n), np.ones(n), np.ones(n, int), np.ones(n), 0.1)
    assert len(pairs) == 0
    assert pairs.residual(np.ones(n)).shape == (0,)
    assert len(repeat_pairs(np.ones(n), np.ones(n), np.ones(n, int))[0]) == 0
