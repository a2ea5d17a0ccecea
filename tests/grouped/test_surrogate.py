"""The surrogate without scikit-learn's checks against the one with them."""

import numpy as np
import pytest
from bayes_opt import BayesianOptimization

from lamostvac.grouped import search
from lamostvac.grouped.settings import GroupedSettings
from lamostvac.grouped.surrogate import Surrogate

pytestmark = pytest.mark.numeric

SETTINGS = GroupedSettings(max_extrapolation=0.05, max_iterations=8)


def bowl(d):
    return float(((d - np.array([0.3, -0.1])) ** 2).sum()) + 0.1 * float(np.sin(5 * d).sum())


def found():
    low, high, first = np.array([0.0, -0.5]), np.array([1.5, 1.0]), np.array([0.0, 1.0])
    return search.search_bayesian(bowl, low, high, first, SETTINGS, 1)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("values", ["different", "equal"])
def test_predictions_are_scikit_learns_to_the_last_bit(values):
    """Of the process that bayesian-optimization makes, at one point and at many, and at its own."""
    bounds = {"a": (0.0, 1.0), "b": (0.0, 2.0)}
    optimiser = BayesianOptimization(lambda a, b: 0.0, bounds, random_state=1, verbose=0)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (20, 2))
    given = np.sin(4 * points.sum(axis=1)) if values == "different" else np.full(20, 3.7)
    surrogate = Surrogate(optimiser._gp)
    surrogate.fit(points, given)
    np.testing.assert_array_equal(surrogate.X_train_, points)
    for where in (rng.uniform(0, 1, (1, 2)), rng.uniform(0, 2, (300, 2)), points):
        for one, other in zip(
            surrogate.predict(where), optimiser._gp.predict(where, return_std=True), strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_a_search_is_that_of_the_package(monkeypatch):
    with_it = found()
    monkeypatch.setattr(search, "Surrogate", lambda process: process)
    without = found()
    np.testing.assert_array_equal(with_it.d, without.d)
    assert with_it.history == without.history
    assert with_it.n_evaluations == without.n_evaluations > 12
