"""Weights of several systems: the least variance without negative weights, and no jump where a system fades."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from lamostvac.recommend.weights import best_weights, weights_of

pytestmark = pytest.mark.numeric


def covariances(rng, n, s):
    """Covariances (n, s, s) of all kinds, also nearly singular ones."""
    a = rng.normal(size=(n, s, s)) * 10.0 ** rng.uniform(-2, 2, (n, s, 1))
    return a @ a.transpose(0, 2, 1) + 1e-6 * np.eye(s)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_no_mean_that_is_allowed_has_less_variance(seed, s):
    rng = np.random.default_rng(seed)
    covariance = covariances(rng, 20, s)
    weights = best_weights(covariance, range(s))
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-9)
    variance = np.einsum("ni,nij,nj->n", weights, covariance, weights)
    others = rng.dirichlet(np.full(s, 0.3), 500)
    tried = np.einsum("ki,nij,kj->nk", others, covariance, others)
    assert (variance[:, None] <= tried * (1 + 1e-9)).all()


def test_the_weights_are_those_of_a_solver_of_such_problems():
    """min w'Cw with w >= 0: of nnls, with the sum as a heavy equation."""
    rng = np.random.default_rng(3)
    for covariance in covariances(rng, 50, 3):
        covariance = covariance / np.trace(covariance) + 0.05 * np.eye(3)
        root = np.linalg.cholesky(covariance).T
        found, _ = nnls(np.vstack([root, 1e4 * np.ones(3)]), np.append(np.zeros(3), 1e4))
        np.testing.assert_allclose(best_weights(covariance[None], range(3))[0], found, atol=1e-6)


def test_systems_that_are_not_valid_have_no_weight_and_leave_the_others_as_they_are():
    rng = np.random.default_rng(4)
    covariance = covariances(rng, 30, 3)
    validity = np.tile([1.0, 0.0, 1.0], (30, 1))
    spoiled = covariance.copy()
    spoiled[:, 1], spoiled[:, :, 1] = np.nan, np.nan
    weights = weights_of(validity, spoiled)
    assert (weights[:, 1] == 0).all()
    np.testing.assert_array_equal(weights, best_weights(covariance, (0, 2)))
    assert (weights_of(np.zeros((2, 3)), covariance[:2]) == 0).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 2), st.floats(0, 1))
def test_nothing_jumps_where_a_system_fades(seed, which, at):
    rng = np.random.default_rng(seed)
    covariance = covariances(rng, 10, 3)
    validity = rng.uniform(0.2, 1, (10, 3))
    near = validity.copy()
    validity[:, which], near[:, which] = at, min(at + 1e-6, 1.0)
    change = np.abs(weights_of(validity, covariance) - weights_of(near, covariance)).max()
    assert change < 1e-5


def test_two_systems_of_equal_error_share_and_three_too():
    for s in (2, 3, 4):
        covariance = np.full((1, s, s), 0.3) + 0.7 * np.eye(s)
        np.testing.assert_allclose(best_weights(covariance, range(s)), np.full((1, s), 1 / s))
