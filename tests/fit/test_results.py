"""What a fit leaves: columns, rejections with their reasons, examples."""

from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
from toy import BUILD, toy_library

from lamostvac.core.hdf5 import read_columns
from lamostvac.core.rejection import REASONS
from lamostvac.emulator.model import build_emulator
from lamostvac.fit.fitter import StarFits, StarFitter
from lamostvac.fit.results import (
    Examples,
    choose_examples,
    fit_columns,
    line_columns,
    rejections,
    write_fit,
)
from lamostvac.fit.settings import FitSettings
from lamostvac.spectra.grid import GRID


def fits_of(n: int, n_labels: int = 2) -> StarFits:
    labels, ones, counts = np.ones((n, n_labels)), np.ones(n), np.full(n, 1000)
    return StarFits(
        labels, 0.1 * labels, labels, labels, labels, np.zeros(n, np.int8), ones, ones,
        counts, counts, np.zeros(n, np.int64), 0.0 * ones, ones, 0.0 * ones, ones, labels,
    )  # fmt: skip


def identity_of(n: int) -> pd.DataFrame:
    return pd.DataFrame({"spectrum_id": [f"star{i}" for i in range(n)], "obsid": np.arange(n)})


def test_a_good_fit_is_not_rejected():
    rejected = rejections(identity_of(3), fits_of(3), 0.2)
    assert len(rejected) == 0
    assert list(rejected) == ["spectrum_id", "obsid", "stage", "reason", "detail"]


def test_each_spectrum_is_rejected_for_one_reason():
    fits = fits_of(6)
    fits.errors[1, 0] = np.inf
    fits.labels[2, 1] = np.nan
    fits.n_pixels[3] = 0
    fits.n_outliers[3:5] = [900, 251]  # of 900 and 1251 pixels
    fits.n_outliers[5] = 250  # of 1250: a fifth, which may be
    rejected = rejections(identity_of(6), fits, 0.2)
    assert rejected.index.tolist() == [1, 2, 3, 4]
    assert rejected["spectrum_id"].tolist() == ["star1", "star2", "star3", "star4"]
    assert rejected["obsid"].tolist() == [1, 2, 3, 4]
    assert rejected["reason"].tolist() == ["fit_failed"] * 3 + ["too_many_outliers"]
    assert rejected["detail"].iloc[-1] == "251 of 1251 pixels"
    assert set(rejected["stage"]) == {"fit"}
    assert set(rejected["reason"]) <= set(REASONS)


def test_labels_that_the_library_lacks_are_nan():
    columns = fit_columns(("teff", "feh"), fits_of(4))
    assert np.all(columns["teff_err"] == 0.1)
    assert np.all(columns["feh_first"] == 1)
    for name in ("logg", "alpha_fe_err", "alpha_fe_err_random"):
        assert np.isnan(columns[name]).all()
    assert columns["outlier_fraction"].tolist() == [0, 0, 0, 0]


def test_examples_are_the_least_noisy_in_their_order():
    ivar = np.repeat(np.array([1.0, 9.0, 4.0, 25.0, 16.0])[:, None], 7, axis=1)
    assert choose_examples(ivar).tolist() == [1, 3, 4]
    assert choose_examples(ivar[:2]).tolist() == [0, 1]
    assert choose_examples(ivar[:0]).tolist() == []


@pytest.fixture(scope="module")
def emulator():
    return build_emulator(toy_library(60), [(4300.5, 8700.0)], BUILD)


def test_rejected_spectra_are_neither_in_the_table_nor_among_the_examples(emulator, tmp_path):
    n, names = 5, emulator.label_names
    middle = np.tile([5750.0, 3.0, -0.5], (n, 1))
    fits = replace(fits_of(n, len(names)), labels=middle)
    fits.errors[2] = np.nan
    identity = identity_of(n)
    columns = {name: identity[name].to_numpy() for name in identity} | fit_columns(names, fits)
    ivar = np.ones((2, len(GRID)), np.float32)
    ivar[:, :100] = 0
    examples = Examples(np.array([2, 3]), np.ones_like(ivar), ivar)
    rejected = rejections(identity, fits, 0.2)
    fitter = StarFitter(emulator, FitSettings())
    write_fit(tmp_path / "fit.h5", columns, rejected, examples, fits.labels, fitter, "G")
    with h5py.File(tmp_path / "fit.h5") as handle:
        assert read_columns(handle["fit"])["spectrum_id"].tolist() == [
            "star0",
            "star1",
            "star3",
            "star4",
        ]
        assert read_columns(handle["rejected"])["spectrum_id"].tolist() == ["star2"]
        assert handle["examples/spectrum_id"][()].tolist() == [b"star3"]
        assert handle["examples/used"][0].sum() == (emulator.pixels & (ivar[1] > 0)).sum()
        model = handle["examples/model"][0]
    assert np.allclose(model[emulator.pixels], emulator.spectra(middle[:1])[0])
    assert np.all(model[~emulator.pixels] == 1)


def test_the_columns_are_heliocentric_and_widths_have_a_sign():
    fits = replace(
        fits_of(3),
        velocity=np.array([0.0, 10.0, -10.0]),
        variance=np.array([400.0, -400.0, 1.0]),
        variance_err=np.full(3, 100.0),
    )
    columns = line_columns(fits, np.array([0.0, 1e-4, 1e-4]))
    np.testing.assert_allclose(columns["rv_fit"], [0, 39.98, 19.98], atol=0.01)
    np.testing.assert_allclose(columns["line_width"], [20, -20, 1])
    np.testing.assert_allclose(columns["line_width_err"][:2], [2.5, 2.5])
    assert columns["line_width_err"][2] == pytest.approx(np.sqrt(50), rel=1e-6)
