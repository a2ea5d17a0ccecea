"""The choice of the process's hyperparameters: what was put in is found, the criterion is that of refits."""

import logging

import numpy as np
import pytest

from lamostvac.numerics import hyperparameters
from lamostvac.numerics.gaussian_process import train
from lamostvac.numerics.hyperparameters import best_hyperparameters, cross_validation_table
from lamostvac.numerics.kernel import rbf

pytestmark = pytest.mark.numeric


def drawn(length_scale, amplitude, noise, n=300, k=40, seed=0):
    """Inputs and outputs of a process with known hyperparameters."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(0, 1, (n, 2))
    root = np.linalg.cholesky(rbf(inputs, inputs, amplitude, length_scale) + 1e-9 * np.eye(n))
    return inputs, root @ rng.normal(0, 1, (n, k)) + rng.normal(0, noise, (n, k))


@pytest.mark.parametrize("truth", [(1.0, 2.0, 0.2), (0.5, 0.1, 0.02)])
def test_the_truth_is_found(truth):
    found = best_hyperparameters(*drawn(*truth), "constant")
    assert found[0] == truth[0]
    np.testing.assert_allclose(found[1:], truth[1:], rtol=0.1)


def test_the_table_is_what_refits_without_each_star_give():
    inputs, outputs = drawn(1.0, 2.0, 0.2, n=20, k=3)
    table = cross_validation_table(inputs, outputs, "constant")
    row = table[(table["length_scale"] == 1.5) & (table["noise_ratio"] == 0.2)].iloc[0]
    logarithms, squares = [], []
    for star in range(20):
        others = np.arange(20) != star
        settings = row["amplitude"], row["length_scale"], row["noise"], "constant"
        process, _ = train(inputs[others], outputs[others], *settings)
        residual = outputs[star] - process.predict(inputs[[star]])[0]
        variance = process.variance(inputs[[star]])[0] + row["noise"] ** 2
        logarithms.append(-0.5 * (np.log(2 * np.pi * variance) + residual**2 / variance))
        squares.append(residual**2)
    assert row["log_probability"] == pytest.approx(np.mean(logarithms), rel=1e-5)
    assert row["rms"] == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-8)


def test_the_amplitude_is_the_best_one():
    inputs, outputs = drawn(1.0, 2.0, 0.2, n=50)
    row = cross_validation_table(inputs, outputs, "zero").iloc[10]

    def probability(factor):
        scale = (factor * row["amplitude"]) ** 2
        residuals, variances = hyperparameters.leave_one_out(
            inputs, outputs, 1.0, row["length_scale"], row["noise_ratio"], "zero"
        )
        each = np.log(2 * np.pi * scale * variances)[:, None] + residuals**2 / (
            scale * variances[:, None]
        )
        return -0.5 * each.mean()

    assert probability(1.0) == pytest.approx(row["log_probability"])
    assert probability(1.0) > max(probability(0.97), probability(1.03))


def test_the_log_has_the_table_and_says_when_the_best_is_at_the_end(caplog):
    log = logging.getLogger("lamostvac.test")
    with caplog.at_level(logging.INFO):
        best_hyperparameters(*drawn(1.0, 2.0, 0.2), "constant", log)
        good = list(caplog.messages)
        caplog.clear()
        best_hyperparameters(*drawn(20.0, 2.0, 0.2), "zero", log)
    assert len(good) == 2 + len(hyperparameters.LENGTH_SCALES) * len(hyperparameters.NOISE_RATIOS)
    assert "the best length_scale, 4.5, is at the end of what was tried" in caplog.messages


def test_a_large_library_is_thinned_always_in_the_same_way(monkeypatch):
    monkeypatch.setattr(hyperparameters, "MAX_STARS", 60)
    inputs, outputs = drawn(1.0, 2.0, 0.2)
    first, again = (best_hyperparameters(inputs, outputs, "constant") for _ in range(2))
    assert first == again
    assert first[0] in (0.75, 1.0, 1.5)
    monkeypatch.setattr(hyperparameters, "MAX_STARS", 300)
    assert best_hyperparameters(inputs, outputs, "constant") != first
