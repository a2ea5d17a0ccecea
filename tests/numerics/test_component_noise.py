"""A noise for each output: leave-one-out by brute force, and the exact process as a special case."""

import numpy as np
import pytest

from lamostvac.numerics import component_noise
from lamostvac.numerics.component_noise import train_by_component
from lamostvac.numerics.gaussian_process import mean_terms, train
from lamostvac.numerics.kernel import rbf

pytestmark = pytest.mark.numeric

MEANS = ("zero", "constant", "quadratic")
AMPLITUDE, LENGTH, NOISE = 2.1, 1.5, 0.03


def sample(n=120, seed=0):
    """Inputs (n, 3); outputs: smooth without noise, smooth with noise, nothing but noise."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (n, 3))
    smooth = np.column_stack([np.sin(x[:, 0]) * x[:, 1], np.cos(x @ [0.5, 1.0, -0.5])])
    noise = rng.standard_normal((n, 2))
    return x, np.column_stack([smooth[:, 0], smooth[:, 1] + 0.3 * noise[:, 0], noise[:, 1]])


@pytest.mark.parametrize(
    ("n", "tolerance"), [(120, 1e-9), (700, 2e-4)], ids=["all points", "fewer points"]
)
@pytest.mark.parametrize("mean", MEANS)
def test_with_one_ratio_it_is_the_exact_process(monkeypatch, mean, n, tolerance):
    """To rounding on all points; to a thousandth of the noise on the fewer that carry a larger set."""
    x, y = sample(n)
    monkeypatch.setattr(component_noise, "_FACTORS", np.ones(1))
    found, residuals = train_by_component(x, y, AMPLITUDE, LENGTH, 0.2, mean)
    exact, expected = train(x, y, AMPLITUDE, LENGTH, 0.2, mean)
    assert (len(found.inputs) == n) == (n == 120)
    points = np.random.default_rng(1).uniform(-2.5, 2.5, (50, 3))
    np.testing.assert_allclose(found.predict(points), exact.predict(points), atol=tolerance)
    np.testing.assert_allclose(residuals, expected, atol=tolerance)


def test_residuals_are_those_of_refits_without_the_star():
    x, y = sample(40)
    process, residuals = train_by_component(x, y, AMPLITUDE, LENGTH, NOISE, "constant")
    ratios = []
    for column in range(3):
        errors = []
        for ratio in component_noise._FACTORS * (NOISE / AMPLITUDE) ** 2:
            kernel = rbf(x, x, AMPLITUDE, LENGTH) + ratio * AMPLITUDE**2 * np.eye(40)
            left_out = []
            for star in range(40):
                rest = np.arange(40) != star
                inverse = np.linalg.inv(kernel[np.ix_(rest, rest)])
                ones = np.ones(39)
                beta = ones @ inverse @ y[rest, column] / (ones @ inverse @ ones)
                across = kernel[star, rest]
                left_out.append(
                    y[star, column] - beta - across @ inverse @ (y[rest, column] - beta)
                )
            errors.append(left_out)
        errors = np.array(errors)
        best = (errors**2).mean(axis=1).argmin()
        ratios.append(best)
        np.testing.assert_allclose(residuals[:, column], errors[best], atol=1e-3)
    assert process.weights.shape == (len(process.inputs), 3)
    assert ratios[0] < ratios[2]


def test_noise_is_smoothed_away_and_signal_is_not():
    x, y = sample(400)
    process, residuals = train_by_component(x, y, AMPLITUDE, LENGTH, NOISE)
    predicted = process.predict(x)
    assert predicted[:, 2].std() < 0.25 * y[:, 2].std()
    np.testing.assert_allclose(predicted[:, 0], y[:, 0], atol=0.4 * NOISE)
    assert residuals[:, 1].std() == pytest.approx(0.3, rel=0.2)


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_each_output_is_an_exact_process_with_the_given_noise_or_more(noise):
    x, y = sample()
    found, residuals = train_by_component(x, y, AMPLITUDE, LENGTH, noise, "constant")
    points = np.random.default_rng(1).uniform(-2, 2, (20, 3))
    predicted = found.predict(points)
    chosen = []
    for column in range(3):
        distances = []
        for factor in component_noise._FACTORS:
            exact, left = train(x, y, AMPLITUDE, LENGTH, noise * np.sqrt(factor), "constant")
            away = np.abs(exact.predict(points)[:, column] - predicted[:, column]).max()
            distances.append(max(away, np.abs(left - residuals)[:, column].max()))
        assert min(distances) < 1e-6
        chosen.append(noise * np.sqrt(component_noise._FACTORS[np.argmin(distances)]))
    assert chosen[0] == noise  # no noise in it, and yet not less
    assert chosen[0] < min(chosen[1:])
    assert np.isnan(found.noise)


def test_outputs_do_not_know_of_each_other():
    x, y = sample()
    whole, residuals = train_by_component(x, y, AMPLITUDE, LENGTH, NOISE)
    for column in range(3):
        alone, left = train_by_component(x, y[:, [column]], AMPLITUDE, LENGTH, NOISE)
        np.testing.assert_allclose(left[:, 0], residuals[:, column], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(alone.predict(x)[:, 0], whole.predict(x)[:, column], atol=1e-8)


def test_few_points_carry_the_kernel_of_many():
    x, y = sample(600)
    whole, _ = train_by_component(x, y, AMPLITUDE, LENGTH, NOISE)
    few, _ = train_by_component(x, y, AMPLITUDE, LENGTH, NOISE, max_points=150)
    assert len(few.inputs) == 150 < len(whole.inputs)
    points = np.random.default_rng(1).uniform(-2, 2, (50, 3))
    np.testing.assert_allclose(few.predict(points)[:, 0], whole.predict(points)[:, 0], atol=0.02)


@pytest.mark.parametrize("mean", MEANS)
def test_the_jacobian_is_the_finite_difference_and_calls_repeat(mean):
    x, y = sample()
    process, residuals = train_by_component(x, y, AMPLITUDE, LENGTH, NOISE, mean)
    again, once_more = train_by_component(x, y, AMPLITUDE, LENGTH, NOISE, mean)
    np.testing.assert_array_equal(process.weights, again.weights)
    np.testing.assert_array_equal(residuals, once_more)
    points = np.random.default_rng(1).uniform(-2, 2, (5, 3))
    value, jacobian = process.predict_with_jacobian(points)
    np.testing.assert_allclose(value, process.predict(points), atol=1e-9)
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-4
        difference = (process.predict(points + step) - process.predict(points - step)) / 2e-4
        np.testing.assert_allclose(jacobian[:, axis], difference, atol=1e-5)
    assert process.coefficients.shape[0] == mean_terms(x, mean)[0].shape[1]
