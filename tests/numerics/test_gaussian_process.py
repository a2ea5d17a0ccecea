"""Panel Cholesky, and the process's variance, against brute force; scikit-learn and refits are in test_emulator."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from lamostvac.core.exceptions import UserError
from lamostvac.numerics import panel_cholesky
from lamostvac.numerics.gaussian_process import GaussianProcess, mean_terms, train
from lamostvac.numerics.kernel import rbf
from lamostvac.numerics.panel_cholesky import PanelCholesky

pytestmark = pytest.mark.numeric

MEANS = ("zero", "constant", "quadratic")
SETTINGS = {"amplitude": 2.1, "length_scale": 1.5, "noise": 0.2}


def sample(n=400, d=3, k=5, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(0, 1, (n, d))
    return inputs, np.sin(inputs @ rng.normal(0, 1, (d, k))) + rng.normal(0, 0.1, (n, k))


def positive(n, seed=1):
    root = np.random.default_rng(seed).normal(0, 1, (n, n + 5))
    return root @ root.T / n + 0.1 * np.eye(n)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 300])
def test_panels_do_what_the_whole_matrix_does(monkeypatch, n):
    monkeypatch.setattr(panel_cholesky, "_ROWS", 64)
    monkeypatch.setattr(panel_cholesky, "_COLUMNS", 10)
    matrix, right = positive(n), np.random.default_rng(2).normal(0, 1, (n, 25))
    lower = np.tril(matrix)  # what is above the diagonal panels' own blocks is not asked for
    asked = []

    def block(rows, columns):
        asked.append((rows.start, columns.start))
        return matrix[rows, columns] if rows == columns else lower[rows, columns]

    factor = PanelCholesky(block, n)
    np.testing.assert_allclose(
        factor.solve(right), np.linalg.solve(matrix, right), rtol=1e-9, atol=1e-11
    )
    expected = np.linalg.solve(np.linalg.cholesky(matrix), right)
    np.testing.assert_allclose(factor.half_solve(right), expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(
        factor.inverse_diagonal(), np.diag(np.linalg.inv(matrix)), rtol=1e-10
    )
    assert all(row >= column for row, column in asked)
    assert factor.solve(np.zeros((n, 0))).shape == (n, 0)


def test_a_matrix_that_is_not_positive_definite_is_refused():
    matrix = positive(100)
    matrix[70, 70] = -1.0
    with pytest.raises(np.linalg.LinAlgError):
        PanelCholesky(lambda rows, columns: matrix[rows, columns], 100)


def test_the_number_of_cores_does_not_change_a_byte(monkeypatch):
    monkeypatch.setattr(panel_cholesky, "_ROWS", 64)
    inputs, outputs = sample(700)
    results = []
    for cores in (1, 2):
        with threadpool_limits(cores):
            process, residuals = train(inputs, outputs, **SETTINGS)
        results.append(
            [process.weights, process.coefficients, residuals, *vars(process.spread).values()]
        )
    for one, two in zip(*results, strict=True):
        assert one.tobytes() == two.tobytes()


def test_a_failing_worker_is_heard():
    def block(rows, columns):
        raise ValueError("no such block")

    with threadpool_limits(2), pytest.raises(ValueError, match="no such block"):
        PanelCholesky(block, 10)


def exact_variance(inputs, points, mean, amplitude, length_scale, noise):
    """Rasmussen & Williams 2006, equations 2.26 and 2.42."""
    inverse = np.linalg.inv(
        rbf(inputs, inputs, amplitude, length_scale) + noise**2 * np.eye(len(inputs))
    )
    kernel = rbf(points, inputs, amplitude, length_scale)
    variance = amplitude**2 - ((kernel @ inverse) * kernel).sum(axis=1)
    terms = mean_terms(inputs, mean)[0]
    unsure = mean_terms(points, mean)[0] - kernel @ inverse @ terms
    return variance + ((unsure @ np.linalg.inv(terms.T @ inverse @ terms)) * unsure).sum(axis=1)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("n", [60, 1500])
@pytest.mark.parametrize("width", [1.0, 3.0, 20.0], ids=["inside", "around", "far outside"])
def test_the_variance_is_that_of_the_whole_matrix(mean, n, width):
    inputs, outputs = sample(n)
    points = np.random.default_rng(4).uniform(-width, width, (200, 3))
    process, _ = train(inputs, outputs, **SETTINGS, mean=mean)
    expected = exact_variance(inputs, points, mean, **SETTINGS)
    np.testing.assert_allclose(process.variance(points), expected, rtol=1e-3)
    if n == 1500:
        assert len(process.spread.points) < n / 2  # not simply all of them


def test_far_from_all_stars_the_variance_is_that_of_the_kernel():
    inputs, outputs = sample(100)
    process, _ = train(inputs, outputs, **SETTINGS, mean="zero")
    np.testing.assert_allclose(process.variance(np.full((1, 3), 50.0)), 2.1**2)
    assert (
        process.variance(inputs).max() < 0.2**2
    )  # less than one noisy observation of the star itself


def test_the_variance_is_the_scatter_of_processes_drawn_from_the_kernel():
    """No formula: functions with the kernel's covariance, observed with noise, and what is predicted of them."""
    rng = np.random.default_rng(8)
    inputs, points, count = rng.normal(0, 1, (80, 2)), rng.uniform(-3, 3, (6, 2)), 4000
    every = np.vstack([inputs, points])
    root = np.linalg.cholesky(rbf(every, every, 2.1, 1.5) + 1e-9 * np.eye(86))
    drawn = root @ rng.normal(0, 1, (86, count))
    process, _ = train(
        inputs, drawn[:80] + rng.normal(0, 0.2, (80, count)), **SETTINGS, mean="constant"
    )
    scatter = ((process.predict(points) - drawn[80:]) ** 2).mean(axis=1)
    np.testing.assert_allclose(process.variance(points), scatter, rtol=5 / np.sqrt(count / 2))


def test_many_points_are_predicted_as_few(monkeypatch):
    inputs, outputs = sample(100)
    process, _ = train(inputs, outputs, **SETTINGS)
    whole = [
        process.predict(inputs),
        *process.predict_with_jacobian(inputs),
        process.variance(inputs),
    ]
    monkeypatch.setattr("lamostvac.numerics.gaussian_process._BATCH", 7)
    batched = [
        process.predict(inputs),
        *process.predict_with_jacobian(inputs),
        process.variance(inputs),
    ]
    for one, other in zip(whole, batched, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


def test_stars_with_equal_labels_and_no_noise_are_the_users_mistake():
    inputs, outputs = sample(30)
    inputs[1] = inputs[0]
    with pytest.raises(UserError, match=r"emulator.noise: 1e-12 is too small for 30 stars"):
        train(inputs, outputs, 2.1, 1.5, 1e-12)


def test_the_process_keeps_nothing_of_the_size_of_the_kernel_matrix():
    process, _ = train(*sample(1500), **SETTINGS)
    arrays = [value for value in vars(process).values() if isinstance(value, np.ndarray)]
    kept = sum(value.size for value in [*arrays, *vars(process.spread).values()])
    assert isinstance(process, GaussianProcess)
    assert kept < 1500**2 / 4
