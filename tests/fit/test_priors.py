"""Priors: the density of library stars against sums by hand, the paper's intervals."""

import numpy as np
import pytest
from toy import BUILD, toy_library

from lamostvac.emulator.model import build_emulator
from lamostvac.fit.priors import DensityPrior, prior_intervals

pytestmark = pytest.mark.numeric


def plain(points, stars, bandwidth):
    squared = ((points[:, None] - stars) ** 2).sum(axis=2)
    return -2 * np.log(np.exp(-0.5 * squared / bandwidth**2).sum(axis=1) + 1e-3)


def test_derivatives_are_finite_differences_and_few_stars_a_plain_sum():
    rng = np.random.default_rng(3)
    stars = rng.normal(0, 1, (50, 3))
    prior = DensityPrior(stars, 0.4)
    points = np.concatenate([rng.normal(0, 1.5, (20, 3)), [[9.0, 9, 9]]])
    value, half, hessian = prior.evaluate(points)
    np.testing.assert_allclose(value, plain(points, stars, 0.4))
    np.testing.assert_allclose(half[-1], 0, atol=1e-12)  # far away it does not pull
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-5
        after, before = prior.evaluate(points + step), prior.evaluate(points - step)
        np.testing.assert_allclose(-2 * half[:, axis], (after[0] - before[0]) / 2e-5, atol=1e-6)
        np.testing.assert_allclose(-hessian[:, axis], (after[1] - before[1]) / 2e-5, atol=1e-5)


def test_near_one_star_the_hessian_is_that_of_its_gaussian():
    prior = DensityPrior(np.zeros((1, 2)), 0.5)
    _, half, hessian = prior.evaluate(np.array([[0.01, -0.005]]))
    np.testing.assert_allclose(hessian[0], np.eye(2) / 0.5**2, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(half[0], [-0.01 / 0.25, 0.005 / 0.25], rtol=2e-3)


def test_cells_of_a_large_library_are_close_to_the_sum_over_its_stars():
    rng = np.random.default_rng(0)
    ridge = rng.uniform(-2, 2, 4000)
    stars = np.column_stack(
        [ridge, np.sin(ridge) + 0.3 * rng.standard_normal(4000), rng.normal(0, 0.8, 4000)]
    )
    prior = DensityPrior(stars, 0.3)
    points = stars[::40] + 0.2 * rng.standard_normal((100, 3))
    difference = prior.evaluate(points)[0] - plain(points, stars, 0.3)
    # 0.5 of chi2 is 0.7 standard deviations of nothing: the density itself varies by far more.
    assert np.abs(difference).max() < 1.0
    assert np.median(np.abs(difference)) < 0.2
    assert np.ptp(plain(points, stars, 0.3)) > 4
    again = DensityPrior(stars, 0.3)
    np.testing.assert_array_equal(again.evaluate(points)[0], prior.evaluate(points)[0])


def test_prior_intervals_are_the_papers():
    emulator = build_emulator(toy_library(), [], BUILD)
    guess = np.array([[5000.0, 4.0, -1.0], [12000.0, 4.0, 0.0], [1500.0, 1.0, 0.0]])
    low, high = (emulator.from_scaled(edge) for edge in prior_intervals(emulator, guess))
    np.testing.assert_allclose(low, [[4000, 3, -1.5], [7000, 3, -0.5], [1000, 0, -0.5]])
    np.testing.assert_allclose(high, [[6000, 5, -0.5], [17000, 5, 0.5], [2500, 2, 0.5]])


def test_derivatives_of_cells_are_finite_differences_too():
    rng = np.random.default_rng(2)
    stars = rng.normal(0, 1, (1500, 4)) * [1.5, 1, 0.7, 0.3]
    prior = DensityPrior(stars, 0.3)
    assert len(prior.centres) <= 300 < len(stars)
    points = stars[:20] + rng.normal(0, 0.3, (20, 4))
    _, half, hessian = prior.evaluate(points)
    np.testing.assert_allclose(hessian, hessian.swapaxes(1, 2), atol=1e-9)
    for axis in range(4):
        step = np.zeros(4)
        step[axis] = 1e-5
        after, before = prior.evaluate(points + step), prior.evaluate(points - step)
        np.testing.assert_allclose(-2 * half[:, axis], (after[0] - before[0]) / 2e-5, atol=1e-5)
        np.testing.assert_allclose(-hessian[:, axis], (after[1] - before[1]) / 2e-5, atol=1e-4)


def test_cells_hold_every_star_once():
    """The integral over all labels is that of the sum over the stars: N Gaussians of unit peak."""
    rng = np.random.default_rng(4)
    stars = np.concatenate([rng.normal(0, 0.6, (1200, 2)), rng.normal([2, 1], 0.1, (400, 2))])
    prior = DensityPrior(stars, 0.3)
    assert len(prior.centres) < len(stars)
    axis = np.arange(-5.0, 5.0, 0.04)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(-0.5 * prior.evaluate(points)[0]) - 1e-3
    np.testing.assert_allclose(density.sum() * 0.04**2, 1600 * 2 * np.pi * 0.3**2, rtol=1e-4)


def test_the_order_of_a_large_library_changes_little():
    rng = np.random.default_rng(6)
    stars = rng.normal(0, 1, (2000, 3))
    points = rng.normal(0, 1, (50, 3))
    one, other = (DensityPrior(each, 0.4).evaluate(points)[0] for each in (stars, stars[::-1]))
    assert np.abs(one - other).max() < 1.0
    assert np.median(np.abs(one - other)) < 0.1


def test_many_stars_on_one_point_are_one_gaussian_of_their_number():
    prior = DensityPrior(np.zeros((500, 2)), 0.5)
    value = prior.evaluate(np.array([[0.0, 0.0], [0.5, 0.0]]))[0]
    np.testing.assert_allclose(
        value, [-2 * np.log(500 + 1e-3), -2 * np.log(500 * np.exp(-0.5) + 1e-3)]
    )
