"""Errors of a type's labels: each is learned and used in one band of S/N."""

import numpy as np
import pandas as pd
import pytest

from lamostvac.catalog.registry import NetworkLabel
from lamostvac.catalog.rows import apply_curves, apply_errors
from lamostvac.core.hdf5 import atomic_hdf5
from lamostvac.uncertainty.all_types import curves_of_all_types
from lamostvac.uncertainty.model_files import load_models, write_models
from lamostvac.uncertainty.repeats import Alike
from lamostvac.uncertainty.settings import Errors
from lamostvac.uncertainty.snr_curve import RandomErrorModel
from lamostvac.uncertainty.type_errors import TypeErrors, read_type_errors, write_type_errors

pytestmark = pytest.mark.numeric

SETTINGS = Errors().model_dump()
# Red stars: S/N in r is twice that in g, as LAMOST's of K and M stars.
RATIO = 2.0
SYSTEMATIC = 0.1


def random_error(snrg):
    return 0.02 + 3.0 / snrg


def red_stars(n_stars, seed=0, ratio=RATIO):
    """Rows of stars seen twice, and stars left out of the training of the network of `feh_net`.

    The network predicts the same random error at every S/N, so that all its dependence on S/N has
    to be learned.
    """
    rng = np.random.default_rng(seed)
    star = np.repeat(np.arange(n_stars), 2)
    n = len(star)
    snrg = np.exp(rng.uniform(np.log(10), np.log(150), n_stars))[star]
    value = (SYSTEMATIC * rng.normal(size=n_stars))[star] + random_error(snrg) * rng.normal(size=n)
    rows = np.zeros(n, [
        ("spectrum_id", "S12"), ("ra", "f8"), ("dec", "f8"), ("lmjd", "i4"), ("snrg", "f4"),
        ("snrr", "f4"), ("teff", "f4"), ("fit_status", "i1"), ("feh_net", "f4"),
        ("feh_net_err", "f4"), ("feh_net_err_random", "f4"), ("flag_feh_net", "u1"),
        ("flag_cloud_feh_net", "u1"),
    ])  # fmt: skip
    rows["spectrum_id"] = [f"{seed}-{number}".encode() for number in range(n)]
    rows["ra"], rows["dec"], rows["lmjd"] = star * 0.05, 10.0 * seed, np.arange(n)
    rows["snrg"], rows["snrr"] = snrg, ratio * snrg
    rows["teff"] = rng.uniform(3500, 4500, n_stars)[star]
    rows["feh_net"], rows["feh_net_err_random"] = value, 0.1
    rows["feh_net_err"] = np.hypot(0.1, 0.2)
    left_out = pd.DataFrame(
        {
            "spectrum_id": rows["spectrum_id"].astype(str),
            "star": star,
            "reference": 0.0,
            "reference_err": 0.0,
            "left_out": value,
            "snr": snrg,
            "random": 0.1,
            "systematic": 0.2,
        }
    )
    return rows, left_out


def columns_of(rows):
    return {name: rows[name] for name in rows.dtype.names}


def test_a_networks_errors_are_functions_of_the_s_n_that_it_was_trained_with(tmp_path):
    rows, left_out = red_stars(3000)
    true_random = random_error(rows["snrg"].astype(float))
    learner = TypeErrors(
        columns_of(rows),
        {"feh_net": Alike("snrg", 0.1)},
        ["teff"],
        np.ones(len(rows), bool),
        SETTINGS,
    )
    write_type_errors(
        tmp_path / "M.h5", {"feh_net": learner.network_label("feh_net", left_out)}, np.nan
    )
    models, _ = read_type_errors(tmp_path / "M.h5")
    apply_errors(rows, models)
    part = rows["feh_net_err_random"].astype(float)
    for low, high in ((10, 20), (20, 50), (50, 150)):
        some = (rows["snrg"] >= low) & (rows["snrg"] < high)
        assert np.median(part[some] / true_random[some]) == pytest.approx(1, abs=0.1)
    whole = np.hypot(true_random, SYSTEMATIC)
    assert np.median(rows["feh_net_err"] / whole) == pytest.approx(1, abs=0.06)
    systematic = np.sqrt(rows["feh_net_err"].astype(float) ** 2 - part**2)
    assert np.median(systematic) == pytest.approx(SYSTEMATIC, rel=0.12)


def test_a_networks_curve_and_method_error_are_in_its_own_band():
    rows, left_out = red_stars(4000)
    learner = TypeErrors(
        columns_of(rows),
        {"feh_net": Alike("snrg", 0.1)},
        ["teff"],
        np.ones(len(rows), bool),
        SETTINGS,
    )
    curve = learner.network_curve("feh_net", "", left_out, None, {})
    levels = np.array([20.0, 50.0, 100.0])
    np.testing.assert_allclose(curve.evaluate(levels), random_error(levels), rtol=0.1)
    assert curve.sigma_m == pytest.approx(SYSTEMATIC, rel=0.1)
    apply_curves(rows, {"feh_net": curve}, keep=False)
    expected = np.hypot(random_error(rows["snrg"].astype(float)), SYSTEMATIC)
    np.testing.assert_allclose(rows["feh_net_err"], expected, rtol=0.12)


def test_published_errors_have_one_curve_for_all_types(tmp_path):
    """A type with a single training star has the method error of all."""
    label = NetworkLabel("feh_net", "", "", "", "set", "snrg")
    red, known = red_stars(3000, 1)
    hot, _ = red_stars(400, 2, ratio=1.2)
    hot["feh_net"][:5], hot["flag_feh_net"][:5] = 100.0, 1
    rows = np.concatenate([red, hot])
    settings = SETTINGS | {"method_error": "published"}
    (curve,) = curves_of_all_types(
        lambda name: rows[name], [label], settings, {}, {"feh_net": known}, {}
    )
    # Of the hot stars' pairs those with a flagged label are missing.
    assert (curve.source, curve.n_pairs) == ("repeats", 3000 + 400 - 3)
    np.testing.assert_allclose(curve.evaluate([20, 50]), random_error(np.array([20, 50])), rtol=0.1)
    assert curve.sigma_m == pytest.approx(np.std(known["left_out"], ddof=1), rel=1e-3)
    with atomic_hdf5(tmp_path / "curves.h5") as out:
        write_models(out, [curve])
    assert apply_curves(hot, load_models(tmp_path / "curves.h5"), keep=True) == []
    assert np.isfinite(hot["feh_net_err"]).all()


@pytest.mark.parametrize("keep", [True, False])
def test_a_label_without_a_curve_keeps_its_errors_unless_none_are_wanted(keep):
    rows, _ = red_stars(10)
    before = rows["feh_net_err"].copy()
    # A curve without a method error is no error either.
    half = RandomErrorModel("feh_net", a=0.1, b=1.0, c=2.0, source="repeats")
    assert apply_curves(rows, {"feh_net": half}, keep) == ["feh_net"]
    if keep:
        np.testing.assert_array_equal(rows["feh_net_err"], before)
    else:
        assert np.isnan(rows["feh_net_err"]).all()
