"""Errors of a type: injected random and systematic errors come back as such."""

import h5py
import numpy as np
import pandas as pd
import pytest

from lamostvac.core.exceptions import UserError
from lamostvac.spectra.names import RowsByName
from lamostvac.uncertainty.models import (
    Residuals,
    learn,
    left_out_residuals,
    library_residuals,
    pair_residuals,
    read_errors,
    summary,
    systematic_part,
    write_errors,
)
from lamostvac.uncertainty.repeats import RepeatPairs, similar_pairs
from lamostvac.uncertainty.type_errors import read_type_errors

pytestmark = pytest.mark.numeric

THETA = ("teff", "logg")


def survey(n_stars, visits, seed=0):
    """Stars seen several times: theta, S/N, truth and observed label with a random and a systematic error."""
    rng = np.random.default_rng(seed)
    star = np.repeat(np.arange(n_stars), visits)
    theta = np.column_stack([rng.uniform(4500, 6500, n_stars), rng.uniform(1, 5, n_stars)])[star]
    snr = np.exp(rng.uniform(np.log(10), np.log(150), len(star)))
    systematic = (0.05 * rng.normal(size=n_stars))[star]
    random = 1.5 / snr
    label = systematic + random * rng.normal(size=len(star))
    return star, theta, snr, label, random


def pairs_of(star, snr, tolerance):
    return similar_pairs(star * 0.05, star * 0.0, np.arange(len(star)), snr, tolerance)


def library(n, seed=1):
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 0.5, n)
    return pd.DataFrame(
        {
            "id": [f"{number // 2}_1" for number in range(n)],
            "spectral_type": "G",
            "teff": rng.uniform(4500, 6500, n),
            "logg": rng.uniform(1, 5, n),
            "feh_true": truth,
            "feh_true_err": 0.03,
            "feh": truth + np.hypot(0.05, 0.03) * rng.normal(size=n),
            "feh_err": 0.1,
            "feh_err_random": 1e-3,
            "feh_noise": 1e-3,
        }
    )


@pytest.mark.parametrize("kind", ["calibrated", "published"])
def test_injected_errors_come_back_and_pulls_are_one(kind):
    star, theta, snr, label, random = survey(6000, 2)
    predicted = 0.6 * random  # too small
    repeats = pair_residuals(label, theta, predicted, pairs_of(star, snr, 0.2))
    known = library_residuals(library(4000), "G", "feh", THETA)
    model = learn("feh", THETA, kind, "snrr", repeats, known)
    # the published model leaves the library's own label errors in
    systematic = 0.05 if kind == "calibrated" else np.hypot(0.05, 0.03)
    error, part = model.apply(theta, snr, predicted, np.full(len(star), 0.1))
    assert np.median(part / random) == pytest.approx(1, abs=0.1)
    assert np.median(systematic_part(error, part)) == pytest.approx(systematic, rel=0.12)
    pull = label / error
    assert 1.4826 * np.median(np.abs(pull)) == pytest.approx(
        1 if kind == "calibrated" else 0.95, abs=0.08
    )


def test_networks_from_elsewhere_have_no_stars_left_out_and_lean_on_repeats():
    star, theta, snr, label, random = survey(600, 2)
    repeats = pair_residuals(label, theta, random, pairs_of(star, snr, 0.2))
    model = learn(
        "feh", THETA, "calibrated", "snrg", repeats, Residuals(np.empty((0, 0)), *[np.empty(0)] * 6)
    )
    error, part = model.apply(theta, snr, random, np.full(len(star), 0.1))
    assert np.median(part / random) == pytest.approx(1, abs=0.25)
    assert (error >= part).all()


def test_repeats_are_compared_over_root_two():
    pairs = RepeatPairs(
        np.array([0, 2]), np.array([1, 0]), np.array([30.0, 20.0]), np.array([1.0, 0.5])
    )
    theta = np.array([[1.0], [3.0], [5.0]])
    found = pair_residuals(np.array([0.0, 1.0, 4.0]), theta, np.array([3.0, 4.0, 1.0]), pairs)
    np.testing.assert_allclose(found.residual * np.sqrt(2), [1, -4])
    np.testing.assert_allclose(found.theta[:, 0], [2, 3])
    np.testing.assert_allclose(found.random * np.sqrt(2), [5, np.sqrt(10)])
    np.testing.assert_array_equal(found.weight, [1, 0.5])


def test_a_type_without_library_stars_leans_on_all():
    table = library(400)
    few = library_residuals(table, "OB", "feh", THETA)
    assert len(few) == 200
    assert np.isnan(few.theta).all()
    _, theta, snr, label, random = survey(100, 2)
    none = pair_residuals(label, theta, random, pairs_of(np.arange(200), snr, 0.2))
    model = learn("feh", THETA, "calibrated", "snrr", none, few)
    error, part = model.apply(theta, snr, random, np.full(200, 0.1))
    # without repeats the predicted random part stays, with room for being wrong
    assert (part >= random).all()
    assert np.ptp(systematic_part(error, part)) < 1e-9
    assert len(library_residuals(table, "G", "alpha_fe", THETA)) == 0


def test_of_two_spectra_of_a_library_star_one_counts():
    table = library(100)
    found = library_residuals(table, "G", "feh", THETA)
    np.testing.assert_array_equal(found.residual, (table["feh"] - table["feh_true"])[::2])


def test_stars_left_out_of_training_are_joined_by_name():
    n = 60
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "spectrum_id": [f"s{i}" for i in range(n)],
            "star": np.arange(n),
            "snr": 100.0,
            "reference": 0.0,
            "reference_err": np.where(np.arange(n) % 2, np.nan, 0.1),
            "left_out": rng.normal(size=n),
            "random": 0.3,
            "systematic": 1.0,
        }
    )
    table.loc[5, "left_out"] = np.nan
    names = np.array([f"s{i}" for i in range(n - 1, -1, -1)], "S4")
    labels = np.column_stack([np.full(n, 5000.0), np.arange(n)])
    found = left_out_residuals(table, RowsByName(names)(table["spectrum_id"]), labels)
    assert len(found) == n - 1
    np.testing.assert_array_equal(found.theta[:5, 1], [59, 58, 57, 56, 55])
    np.testing.assert_array_equal(found.known[:4], [0.1, 0, 0.1, 0])
    few = left_out_residuals(table, RowsByName(names[:10])(table["spectrum_id"]), labels[:10])
    assert len(few) == n - 1
    assert np.isnan(few.theta).all()


def test_missing_labels_keep_the_predicted_errors_and_models_come_back(tmp_path):
    star, theta, snr, label, random = survey(300, 2)
    model = learn(
        "feh",
        THETA,
        "calibrated",
        "snrr",
        pair_residuals(label, theta, random, pairs_of(star, snr, 0.9)),
        library_residuals(library(400), "G", "feh", THETA),
    )
    theta[3] = np.nan
    error, part = model.apply(theta, snr, random, np.full(600, 0.1))
    assert (error[3], part[3]) == (np.hypot(random[3], 0.1), random[3])
    assert np.isfinite(error).all()
    with h5py.File(tmp_path / "e.h5", "w") as handle:
        write_errors(handle.create_group("errors"), {"feh": model})
    with h5py.File(tmp_path / "e.h5") as handle:
        again = read_errors(handle["errors"])
    np.testing.assert_array_equal(
        again["feh"].apply(theta, snr, random, np.full(600, 0.1))[0], error
    )
    with h5py.File(tmp_path / "e.h5", "r+") as handle:
        handle["errors/feh/random/factor"][...] = 0
        with pytest.raises(ValueError, match="factor is singular"):
            read_errors(handle["errors"])
        del handle["errors/feh/random/points"]
        handle["errors/feh/random/points"] = np.ones((2, 2))
        with pytest.raises(ValueError, match="points has shape"):
            read_errors(handle["errors"])
        del handle["errors/feh/random"]
        with pytest.raises(ValueError, match="random is missing"):
            read_errors(handle["errors"])
    with pytest.raises(UserError, match=r"the file of error models .*cannot be read: .*delete it"):
        read_type_errors(tmp_path / "e.h5")
    (row,) = summary(again, "G")
    assert (row["n_systematic"], row["label"]) == (200, "feh")
    assert row["n_random"] > 200
