"""The figure of scatters beside the Cramer-Rao bound."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lamostvac.report.bound import bounds
from lamostvac.uncertainty.repeats import RepeatPairs


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def made_up(n=2000):
    """Stars observed twice: noise as large as the bound, 100 / (S/N), and 30 K that a star keeps."""
    rng = np.random.default_rng(0)
    snr = rng.uniform(10, 200, n // 2).repeat(2)
    noise = 100 / snr
    teff = 5500 + rng.normal(0, 30, n // 2).repeat(2) + rng.normal(0, noise)
    table = pd.DataFrame({"snr": snr, "spectral_type": "G", "teff": teff, "teff_bound": noise})
    first = np.arange(0, n, 2)
    pairs = RepeatPairs(first, first + 1, snr[first], np.ones(len(first)))
    compared = {"label": "teff", "value": teff, "reference": 5500.0, "snr": snr}
    return table, pairs, pd.DataFrame(compared | {"spectral_type": "G", "dataset": "truth"})


def lines_of(figure):
    (axes,) = figure.axes
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def test_repeats_lie_on_the_bound_and_the_truth_where_noise_is_not_all():
    table, pairs, others = made_up()
    lines = lines_of(bounds(table, {"teff": pairs}, others))
    for name, also in (("Cramer-Rao bound", 0), ("repeats", 0), ("against truth", 30)):
        snr, found = lines[name].T
        assert len(snr) == 8
        np.testing.assert_allclose(found, np.hypot(100 / snr, also), rtol=0.25)


def test_our_own_labels_are_no_others_and_the_largest_data_set_is_taken():
    table, pairs, truth = made_up()
    datasets = [("repeats", 2000), ("training_lasp", 2000), ("small", 300), ("large", 900)]
    others = pd.concat([truth.iloc[:n].assign(dataset=name) for name, n in datasets])
    lines = lines_of(bounds(table, {"teff": pairs}, others))
    assert set(lines) == {"Cramer-Rao bound", "repeats", "against large"}


def test_without_bounds_there_is_a_sentence():
    table, pairs, others = made_up()
    figure = bounds(table.assign(teff_bound=np.nan), {"teff": pairs}, others)
    assert "Too few" in figure.axes[0].texts[0].get_text()
