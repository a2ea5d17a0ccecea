"""The error model of Wang et al. (2022): coefficients from repeats, method error, Table 2."""

import dataclasses
from itertools import pairwise

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from lamostvac.core.exceptions import UserError
from lamostvac.uncertainty.method_error import method_error, published_method_error
from lamostvac.uncertainty.model_files import models_table, read_models, write_models
from lamostvac.uncertainty.published import beside_published, load_published_errors
from lamostvac.uncertainty.repeats import similar_pairs
from lamostvac.uncertainty.snr_curve import (
    RandomErrorModel,
    bin_residuals,
    choose_model,
    fit_repeats,
    fit_training,
    network_curve,
)
from lamostvac.uncertainty.snr_fit import Bins, fit_curve
from lamostvac.uncertainty.widths import weighted_width

pytestmark = pytest.mark.numeric

MAGNITUDE = (0.05, 1.05, 10.0)
LEVELS = np.array([10.0, 20.0, 50.0, 100.0])


def sigma(snr, truth=MAGNITUDE):
    a, b, c = truth
    return a + c * np.asarray(snr, float) ** -b


def survey_snr(rng, n):
    return np.exp(rng.normal(3.6, 0.8, n)).clip(5, 400)


def residuals(n, seed, truth=MAGNITUDE, scale=1.0):
    rng = np.random.default_rng(seed)
    snr = survey_snr(rng, n)
    return snr, rng.normal(0, scale * sigma(snr, truth))


# ---------------------------------------------------------------- widths


def test_the_weighted_width_is_the_one_of_repeated_values():
    values = np.random.default_rng(1).normal(0, 2, 501)
    assert weighted_width(values) == pytest.approx(1.4826 * np.median(np.abs(values)))
    assert weighted_width(values, width="deviation") == pytest.approx(np.sqrt(np.mean(values**2)))
    count = np.random.default_rng(2).integers(1, 4, 501)
    for width in ("robust", "deviation"):
        assert weighted_width(values, count, width) == pytest.approx(
            weighted_width(np.repeat(values, count), None, width), rel=0.01
        )
    assert np.isnan(weighted_width([]))


@pytest.mark.parametrize("width", ["robust", "deviation"])
def test_the_error_of_a_width_is_its_scatter(width):
    rng = np.random.default_rng(3)
    found = [
        bin_residuals(np.full(400, 20.0), rng.normal(0, 1, 400), bins=1, width=width)
        for _ in range(300)
    ]
    scatter = np.std([bins.sigma[0] for bins in found])
    assert np.mean([bins.error[0] for bins in found]) == pytest.approx(scatter, rel=0.15)


def test_bins_are_equally_heavy_and_few_pairs_make_few_bins():
    snr, values = residuals(2000, 4)
    bins = bin_residuals(snr, values, bins=20)
    assert len(bins) == 20
    np.testing.assert_allclose(bins.n, 100, atol=1)
    assert (np.diff(bins.snr) > 0).all()
    assert len(bin_residuals(snr[:130], values[:130], bins=20)) == 5
    assert len(bin_residuals(snr[:20], values[:20], bins=20)) == 0
    # A pair of weight a half counts as half a pair.
    halved = bin_residuals(snr, values, np.full(2000, 0.05), bins=20)
    assert len(halved) == 4
    np.testing.assert_allclose(halved.n, 25, atol=0.1)


def test_given_edges_are_the_bins_and_thin_ones_are_left_out():
    snr, values = residuals(3000, 5)
    edges = [5, 10, 20, 40, 80, 390, 400]
    bins = bin_residuals(snr, values, bins=edges)
    inside = [((snr >= low) & (snr < high)).sum() for low, high in pairwise(edges)]
    assert bins.n.tolist() == [n for n in inside if n >= 25]
    first = values[(snr >= 5) & (snr < 10)]
    assert bins.sigma[0] == pytest.approx(weighted_width(first))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 300), st.integers(4, 30))
def test_every_finite_pair_is_in_one_bin_whatever_the_order(seed, n, n_bins):
    rng = np.random.default_rng(seed)
    snr = rng.choice([5.0, 10.0, 20.0, np.nan, 0.0, 33.0], n)
    values = rng.choice([np.nan, -1.0, 0.5, 2.0], n)
    weight = rng.choice([1.0, 0.5, 0.25], n)
    bins = bin_residuals(snr, values, weight, bins=n_bins, smallest=10)
    use = (snr > 0) & np.isfinite(values)
    if len(bins):
        assert bins.n.sum() == pytest.approx(weight[use].sum())
        assert len(bins) <= n_bins
    else:
        assert weight[use].sum() < 10
    order = rng.permutation(n)
    again = bin_residuals(snr[order], values[order], weight[order], bins=n_bins, smallest=10)
    np.testing.assert_array_equal(bins.sigma, again.sigma)
    np.testing.assert_array_equal(bins.n, again.n)


# ---------------------------------------------------------------- the curve


@pytest.mark.parametrize("truth", [MAGNITUDE, (0.21, 1.229, 42.827), (0.0075, 1.084, 1.557)])
@pytest.mark.parametrize("width", ["robust", "deviation"])
def test_coefficients_are_the_injected_ones_within_their_errors(truth, width):
    """Over 100 surveys of 4000 pairs, pulls of a, b, c and of the curve itself have width one."""
    models = [fit_repeats("x", *residuals(4000, seed, truth), width=width) for seed in range(100)]
    pulls = np.array(
        [
            (np.array([model.a, model.b, model.c]) - truth) / np.array(model.errors)
            for model in models
        ]
    )
    assert np.isfinite(pulls).all()
    assert (np.abs(np.median(pulls, axis=0)) < 0.4).all()
    assert ((pulls.std(axis=0) > 0.8) & (pulls.std(axis=0) < 1.25)).all()
    curve = np.array(
        [(m.evaluate(LEVELS) - sigma(LEVELS, truth)) / m.evaluate_error(LEVELS) for m in models]
    )
    assert (np.abs(curve.mean(axis=0)) < 0.4).all()
    assert ((curve.std(axis=0) > 0.8) & (curve.std(axis=0) < 1.2)).all()
    assert np.mean([model.chi2 for model in models]) == pytest.approx(1, abs=0.12)


def test_stars_observed_often_do_not_make_errors_too_small():
    """Repeats of one star are correlated; the pairs' weights know it."""
    curve = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        star = np.repeat(np.arange(900), rng.choice([2, 3, 6], 900))
        n = len(star)
        snr = survey_snr(rng, 900)[star] * rng.uniform(0.97, 1.03, n)
        label = rng.normal(0, 1, 900)[star] + rng.normal(0, sigma(snr))
        pairs = similar_pairs(star / 10, np.zeros(n), rng.permutation(n), snr, 0.1, star=star)
        model = fit_repeats("x", pairs.snr, pairs.residual(label), pairs.weight)
        curve.append((model.evaluate(LEVELS) - sigma(LEVELS)) / model.evaluate_error(LEVELS))
    assert (np.abs(np.mean(curve, axis=0)) < 0.5).all()
    assert (np.std(curve, axis=0) < 1.25).all()


def test_pairs_gone_wrong_do_not_move_the_curve():
    snr, values = residuals(20_000, 7)
    wrong = np.random.default_rng(8).random(20_000) < 0.02
    values[wrong] += 5
    np.testing.assert_allclose(
        fit_repeats("x", snr, values).evaluate(LEVELS), sigma(LEVELS), rtol=0.08
    )
    published = fit_repeats("x", snr, values, width="deviation")
    assert (published.evaluate(LEVELS[1:]) > 1.3 * sigma(LEVELS[1:])).all()


def test_teff_is_in_hundreds_of_kelvin():
    snr, values = residuals(20_000, 9, (0.21, 1.229, 42.827), scale=100)
    model = fit_repeats("teff_pastel", snr, values, scale=100.0, sigma_m=(75.0, 2.0))
    assert model.a == pytest.approx(0.21, abs=4 * model.errors[0])
    assert model.evaluate(50) == pytest.approx(56, rel=0.05)
    assert model.total(50) == pytest.approx(np.hypot(model.evaluate(50), 75))
    plain = fit_repeats("teff_pastel", snr, values)
    np.testing.assert_allclose(plain.evaluate(LEVELS), model.evaluate(LEVELS), rtol=1e-5)
    assert plain.c == pytest.approx(100 * model.c, rel=1e-4)


def test_exact_widths_give_exact_coefficients():
    snr = np.geomspace(8, 200, 12)
    bins = dataclasses.replace(
        bin_residuals(snr, np.ones(12), bins=12, smallest=1),
        snr=snr,
        sigma=sigma(snr),
        error=sigma(snr) / 50,
    )
    coefficients, covariance, chi2 = fit_curve(bins)
    np.testing.assert_allclose(coefficients, MAGNITUDE, rtol=1e-5)
    assert chi2 == pytest.approx(0, abs=1e-9)
    # The covariance is that of the linearised problem, here by finite differences.
    steps = 1e-5 * np.array(MAGNITUDE)
    slopes = [
        (sigma(snr, np.add(MAGNITUDE, step)) - sigma(snr, np.subtract(MAGNITUDE, step)))
        / (2 * step.sum())
        for step in np.diag(steps)
    ]
    weighted = np.array(slopes).T / bins.error[:, None]
    np.testing.assert_allclose(covariance, np.linalg.inv(weighted.T @ weighted), rtol=1e-3)


def test_a_falling_curve_is_found_behind_bins_that_look_constant():
    """With the bins' own weights a constant is best, with those of the curve one that falls."""
    widths = np.array([0.1288, 0.0514, 0.4332, 0.0965, 0.0973, 0.1204, 0.0662, 0.124])
    count = np.array([34.0, 18, 57, 46, 37, 8, 42, 20])
    found = Bins(np.geomspace(10, 100, 8), widths, widths * 1.17 / np.sqrt(count), count)
    (a, b, c), _, chi2 = fit_curve(found)
    model = a + c * found.snr**-b
    noise = found.error / found.sigma * model
    grid = np.geomspace(0.05, 4, 400)
    for exponent in grid:
        design = np.column_stack([np.ones(8), (found.snr / 30) ** -exponent]) / noise[:, None]
        best, misfit = nnls(design, widths / noise)
        assert chi2 * 5 <= misfit**2 * (1 + 1e-9), (exponent, best)


def test_bins_at_hardly_different_snr_are_a_constant():
    snr = 30.0 * (1 + 1e-15 * np.arange(5))
    widths = np.array([0.1, 0.12, 0.09, 0.11, 0.1])
    coefficients, _, _ = fit_curve(Bins(snr, widths, widths / 10, np.full(5, 50.0)))
    a, b, c = coefficients
    assert a + c * 30.0**-b == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("n", [0, 3, 99])
def test_too_few_pairs_give_no_model(n):
    model = fit_repeats("x", *residuals(n, 1), sigma_m=(0.1, 0.01))
    assert model.source == "none"
    assert (model.n_pairs, model.sigma_m) == (n, 0.1)
    assert np.isnan([model.a, model.b, model.c, *model.errors, model.chi2]).all()
    assert np.isnan(model.evaluate(LEVELS)).all()
    assert np.isnan(model.total(LEVELS)).all()


def test_an_error_without_noise_has_its_constant():
    rng = np.random.default_rng(11)
    model = fit_repeats("x", survey_snr(rng, 8000), rng.normal(0, 0.3, 8000))
    np.testing.assert_allclose(model.evaluate(LEVELS), 0.3, rtol=0.07)
    assert model.a >= 0
    assert model.c >= 0
    assert 0 < model.b <= 4


def test_bounds_hold_where_the_truth_is_on_them():
    for seed in range(10):
        model = fit_repeats("x", *residuals(2000, seed, (0.0, 0.9, 5.0)))
        assert model.a >= 0
        np.testing.assert_allclose(model.evaluate(LEVELS), sigma(LEVELS, (0, 0.9, 5)), rtol=0.25)


def test_the_errors_of_spectra_without_snr_are_unknown():
    model = load_published_errors()["feh_apogee"]
    assert np.isnan(model.evaluate([0, -3, np.nan])).all()
    assert model.evaluate(np.float32(20)).shape == ()
    assert np.isnan(model.evaluate_error(20))


# ---------------------------------------------------------------- method error


def test_the_published_method_error_is_the_standard_deviation():
    values = np.random.default_rng(1).normal(30, 75, 5000)
    assert published_method_error([*values, np.nan])[0] == pytest.approx(values.std(ddof=1))
    assert published_method_error(values)[1] == pytest.approx(75 / np.sqrt(10_000), rel=0.05)
    assert np.isnan(published_method_error([1.0])).all()


def test_the_method_error_is_what_the_known_errors_leave():
    pulls = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        quoted = rng.uniform(0.02, 0.1, 1500)
        noise = sigma(survey_snr(rng, 1500) * 3)
        found, error = method_error(
            0.3 + rng.normal(0, np.sqrt(0.08**2 + quoted**2 + noise**2)), quoted, noise
        )
        pulls.append((found - 0.08) / error)
    assert abs(np.mean(pulls)) < 0.3
    assert np.std(pulls) == pytest.approx(1, abs=0.25)


def test_the_method_error_is_not_negative_and_needs_ten_stars():
    values = np.random.default_rng(2).normal(0, 0.1, 1000)
    assert method_error(values, 0.2, np.nan)[0] == 0
    assert method_error(values, np.nan, np.nan)[0] == pytest.approx(
        weighted_width(values), rel=0.02
    )
    assert method_error(np.zeros(50), 0.0, 0.0)[0] == pytest.approx(0, abs=1e-12)
    assert np.isnan(method_error(values[:9], 0.0, 0.0)).all()


# ---------------------------------------------------------------- the published table


def test_the_published_table_has_every_label_but_feh_vmp(project):
    networks = yaml.safe_load((project / "config" / "published_networks.yaml").read_text())[
        "networks"
    ]
    models = load_published_errors()
    assert set(models) == set(networks) - {"feh_vmp"}
    for label, model in models.items():
        # sigma_m is the standard deviation of the training residuals, rounded in the text.
        assert model.sigma_m == pytest.approx(networks[label]["train"], abs=0.0011), label
        assert model.source == "published"


def test_the_published_errors_are_those_of_the_paper():
    models = load_published_errors()
    assert models["teff_pastel"].evaluate(50) == pytest.approx(100 * (0.21 + 42.827 / 50**1.229))
    assert models["teff_pastel"].evaluate(50) == pytest.approx(56, abs=0.1)
    # The precisions at S/N > 50 of the abstract; most spectra are near the limit.
    abstract = {
        "teff_pastel": 85, "logg_apogee": 0.098, "feh_apogee": 0.05, "mh_apogee": 0.05, "c_fe_apogee": 0.052,
        "n_fe_apogee": 0.082, "alpha_m_apogee": 0.027,
    }  # fmt: skip
    for label, precision in abstract.items():
        assert models[label].total(90) == pytest.approx(precision, rel=0.15), label
    for label, model in models.items():
        random = model.evaluate([20, 50, 100])
        assert (np.diff(random) < 0).all()
        # Between photon noise and nothing: a factor of at most 5 between S/N 20 and 100.
        assert 2 < random[0] / random[2] < 5, label
        if label.startswith("abs_mag"):
            np.testing.assert_allclose(random, [0.515, 0.228, 0.137], rtol=0.1)


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ("errors: {x: {a: 1, b: 1, c: 1}}", "x must have exactly"),
        ("errors: {x: {a: 1, b: 1, c: 1, sigma_m: -1}}", "x.sigma_m = -1"),
        ("errors: {x: {a: 1, b: no, c: 1, sigma_m: 1}}", "x.b = False"),
        ("other: 1", "mapping `errors:`"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, entry, part):
    (tmp_path / "t.yaml").write_text(entry)
    with pytest.raises(UserError, match=r"t\.yaml") as caught:
        load_published_errors(tmp_path / "t.yaml")
    assert part in str(caught.value)
    with pytest.raises(UserError, match="cannot be read"):
        load_published_errors(tmp_path / "absent.yaml")


# ---------------------------------------------------------------- which one, and files


def test_few_repeats_take_what_the_configuration_says():
    published = load_published_errors()
    level = np.geomspace(10, 300, 12)
    few = fit_repeats("feh_apogee", *residuals(60, 1))
    enough = fit_repeats("feh_apogee", *residuals(300, 1))
    training = fit_training("feh_apogee", level, sigma(level), 900)
    assert choose_model(enough, 200, "published", published, training) is enough
    assert choose_model(enough, 301, "published", published, training) is published["feh_apogee"]
    assert choose_model(few, 50, "published", published, training) is published["feh_apogee"]
    assert choose_model(few, 200, "training", published, training) is training
    nothing = choose_model(few, 200, "none", published, training)
    assert (nothing.source, nothing.n_pairs) == ("none", 60)
    assert np.isnan(nothing.total(50))
    # Table 2 does not have it.
    vmp = dataclasses.replace(few, label="feh_vmp")
    own = dataclasses.replace(training, label="feh_vmp")
    assert choose_model(vmp, 200, "published", published, own) is own
    assert choose_model(vmp, 200, "published", published).source == "none"


def test_the_scatter_of_training_stars_stands_for_the_whole_error():
    level = np.geomspace(10, 300, 12)
    model = fit_training("teff_pastel", level, 100 * sigma(level), 800, scale=100.0)
    np.testing.assert_allclose(model.total(LEVELS), 100 * sigma(LEVELS), rtol=1e-4)
    assert model.c == pytest.approx(10, rel=1e-3)
    assert (model.source, model.n_pairs) == ("training", 800)


def test_models_come_back_from_their_file(tmp_path):
    models = [
        fit_repeats(
            "teff_pastel", *residuals(3000, 2, scale=100), scale=100.0, sigma_m=(70.0, 3.0)
        ),
        load_published_errors()["feh_apogee"],
        RandomErrorModel("feh_vmp", n_pairs=3),
    ]
    with h5py.File(tmp_path / "m.h5", "w") as handle:
        write_models(handle.create_group("networks"), models)
    with h5py.File(tmp_path / "m.h5") as handle:
        again = read_models(handle["networks"])
    assert list(again) == [model.label for model in models]
    pd.testing.assert_frame_equal(models_table(models), models_table(again.values()))
    np.testing.assert_allclose(again["teff_pastel"].covariance, models[0].covariance)
    np.testing.assert_allclose(
        again["teff_pastel"].evaluate_error(LEVELS), models[0].evaluate_error(LEVELS), rtol=1e-6
    )


def test_coefficients_stand_beside_table_2():
    fitted = fit_repeats("mh_apogee", *residuals(3000, 3))
    table = beside_published(
        [fitted, RandomErrorModel("feh_vmp")], load_published_errors()
    ).set_index("label")
    assert table.loc["mh_apogee", "published_b"] == 1.029
    assert table.loc["mh_apogee", "b"] == fitted.b
    assert table.loc["mh_apogee", "random_50"] == pytest.approx(float(fitted.evaluate(50)))
    assert table.loc["mh_apogee", "published_random_20"] == pytest.approx(0.011 + 2.677 / 20**1.029)
    assert np.isnan(table.loc["feh_vmp", "published_c"])


def test_a_networks_curve_has_the_random_and_the_method_error_that_were_put_in():
    rng = np.random.default_rng(0)
    n = 6000
    snr = np.exp(rng.uniform(np.log(10), np.log(150), n))
    star = np.repeat(np.arange(n // 2), 2)
    random, method = 0.02 + 3.0 / snr, 0.06
    value = (method * rng.normal(size=n // 2))[star] + random * rng.normal(size=n)
    pairs = similar_pairs(star * 0.05, star * 0.0, np.arange(n), snr, 0.3)
    known = pd.DataFrame(
        {"reference": 0.0, "reference_err": 0.03, "left_out": value, "snr": snr, "value": value}
    )
    known["reference"] = 0.03 * rng.normal(size=n)
    options = {
        "bins": 20,
        "width": "robust",
        "method_error": "left_out",
        "min_pairs": 100,
        "few_repeats": "training",
    }
    model = network_curve("feh_apogee", "", "snrg", pairs, value, options, {}, known)
    assert model.source == "repeats"
    np.testing.assert_allclose(
        model.evaluate([20, 50, 100]), 0.02 + 3.0 / np.array([20, 50, 100]), rtol=0.12
    )
    assert model.sigma_m == pytest.approx(method, rel=0.1)
    scatter = np.array([10.0, 20, 40, 80, 160]), 0.05 + 2 / np.array([10.0, 20, 40, 80, 160])
    few = network_curve(
        "feh_apogee", "", "snrg", pairs, value, options | {"min_pairs": 10**6}, {}, known, scatter
    )
    assert few.source == "training"
    np.testing.assert_allclose(few.total(scatter[0]), scatter[1], rtol=0.02)
    plain = network_curve(
        "feh_apogee", "", "snrg", pairs, value, options | {"method_error": "published"}, {}, known
    )
    assert plain.sigma_m == pytest.approx(np.std(value - known["reference"], ddof=1))
