"""Pivoted Cholesky decomposition, against the plain greedy one."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from lamostvac.numerics.kernel import rbf
from lamostvac.numerics.pivoted_cholesky import pivoted_cholesky

pytestmark = pytest.mark.numeric

SETTINGS = {"amplitude": 2.1, "length_scale": 1.5}


def inputs(n=900, d=3, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (n, d))


def greedy(points, count):
    """One column at a time, from the whole matrix."""
    kernel = rbf(points, points, **SETTINGS)
    left, pivots, factor = np.diag(kernel).copy(), [], np.zeros((len(points), count))
    for k in range(count):
        pivot = int(left.argmax())
        column = kernel[:, pivot] - factor @ factor[pivot]
        factor[:, k] = column / np.sqrt(column[pivot])
        left -= factor[:, k] ** 2
        pivots.append(pivot)
    return np.array(pivots), factor


def test_it_is_the_greedy_decomposition():
    points = inputs()
    pivots, factor = pivoted_cholesky(points, **SETTINGS, max_points=120, tolerance=1e-9)
    expected_pivots, expected = greedy(points, 120)
    np.testing.assert_array_equal(pivots, expected_pivots)
    np.testing.assert_allclose(factor, expected, atol=1e-6)
    np.testing.assert_array_equal(np.triu(factor[pivots], 1), 0)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5, 1e-8])
def test_no_variance_above_the_tolerance_is_left_and_no_point_too_many_taken(tolerance):
    points = inputs()
    pivots, factor = pivoted_cholesky(points, **SETTINGS, max_points=900, tolerance=tolerance)
    assert len(set(pivots)) == len(pivots) == factor.shape[1] < 900
    kernel = rbf(points, points, **SETTINGS)
    left = np.diag(kernel) - (factor**2).sum(axis=1)
    assert left.max() <= tolerance * 2.1**2 * 1.001
    assert (np.diag(kernel) - (factor[:, :-1] ** 2).sum(axis=1)).max() > tolerance * 2.1**2
    # An element of a positive matrix is at most the geometric mean of its two on the diagonal.
    np.testing.assert_allclose(factor @ factor.T, kernel, atol=1.001 * tolerance * 2.1**2)
    np.testing.assert_allclose(
        factor[pivots] @ factor[pivots].T, kernel[np.ix_(pivots, pivots)], atol=1e-12
    )


def test_stars_with_equal_labels_are_one_point():
    points = np.repeat(inputs(60), 3, axis=0)
    pivots, _ = pivoted_cholesky(points, **SETTINGS, max_points=180, tolerance=0.0)
    assert len(set(pivots // 3)) == len(pivots) <= 60
    np.testing.assert_array_equal(pivots % 3, 0)  # the first of the three


def test_the_number_of_cores_does_not_change_a_byte():
    results = []
    for cores in (1, 2):
        with threadpool_limits(cores):
            results.append(
                pivoted_cholesky(inputs(3000), **SETTINGS, max_points=300, tolerance=1e-9)
            )
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1].tobytes() == results[1][1].tobytes()
