"""Principal components, Gaussian process and the emulator made of them, against other people's and brute force."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from toy import BUILD, toy_labels, toy_library, toy_spectra

from lamostvac.core.exceptions import UserError
from lamostvac.core.vocabulary import TYPE_LIMITS, spectral_type_of
from lamostvac.emulator.distil import distil
from lamostvac.emulator.model import (
    build_emulator,
    covered_pixels,
    label_columns,
    nearest_library_star,
    read_emulator,
    write_emulator,
)
from lamostvac.emulator.settings import DistilSettings
from lamostvac.numerics.gaussian_process import train
from lamostvac.numerics.hyperparameters import best_hyperparameters
from lamostvac.numerics.kernel import rbf
from lamostvac.numerics.pca import fill_masked, in_basis, masked_components, principal_components
from lamostvac.spectra.grid import GRID

pytestmark = pytest.mark.numeric

EXACT = BUILD.changed(process="exact", noise=0.05)
MEANS = ("zero", "constant", "quadratic")


def sample(n=40, d=3, k=4, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(0, 1, (n, d))
    outputs = np.sin(inputs @ rng.normal(0, 1, (d, k))) + 3 + rng.normal(0, 0.1, (n, k))
    return inputs, outputs, rng.normal(0, 1.2, (7, d))


def test_the_process_predicts_what_scikit_learn_predicts():
    inputs, outputs, points = sample()
    process, _ = train(inputs, outputs, amplitude=2.1, length_scale=1.5, noise=0.2, mean="zero")
    kernel = ConstantKernel(2.1**2, "fixed") * RBF(1.5, "fixed")
    theirs = GaussianProcessRegressor(kernel, alpha=0.2**2, optimizer=None).fit(inputs, outputs)
    np.testing.assert_allclose(process.predict(points), theirs.predict(points), rtol=1e-9)
    np.testing.assert_allclose(rbf(points, inputs, 2.1, 1.5), kernel(points, inputs), rtol=1e-9)


@pytest.mark.parametrize("mean", MEANS)
def test_the_jacobian_is_the_finite_difference(mean):
    inputs, outputs, points = sample()
    process, _ = train(inputs, outputs, 2.1, 1.5, 0.2, mean)
    value, jacobian = process.predict_with_jacobian(points)
    np.testing.assert_allclose(value, process.predict(points), rtol=1e-12)
    for axis in range(points.shape[1]):
        step = np.zeros(points.shape[1])
        step[axis] = 1e-5
        difference = (process.predict(points + step) - process.predict(points - step)) / 2e-5
        np.testing.assert_allclose(jacobian[:, axis], difference, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("mean", MEANS)
def test_leave_one_out_residuals_are_those_of_refits(mean):
    inputs, outputs, _ = sample(n=25, d=2)
    settings = {"amplitude": 2.1, "length_scale": 1.5, "noise": 0.2, "mean": mean}
    _, residuals = train(inputs, outputs, **settings)
    for i in range(len(inputs)):
        others = np.arange(len(inputs)) != i
        process, _ = train(inputs[others], outputs[others], **settings)
        expected = outputs[i] - process.predict(inputs[i : i + 1])[0]
        np.testing.assert_allclose(residuals[i], expected, rtol=1e-6, atol=1e-9)


def test_a_quadratic_mean_carries_a_parabola_beyond_the_data():
    rng = np.random.default_rng(5)
    inputs = rng.uniform(-1, 1, (60, 2))

    def parabola(x):
        return np.stack([1 + x[:, 0] - 2 * x[:, 1] * x[:, 0], x[:, 1] ** 2], axis=1)

    process, _ = train(inputs, parabola(inputs), 2.1, 1.5, 0.1, "quadratic")
    far = np.array([[3.0, -4.0], [6.0, 6.0]])
    np.testing.assert_allclose(process.predict(far), parabola(far), rtol=1e-8)
    # a process without mean falls to zero out there
    assert (
        np.abs(train(inputs, parabola(inputs), 2.1, 1.5, 0.1, "zero")[0].predict(far[1:])).max() < 1
    )


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)], ids=["more spectra", "more pixels"])
@pytest.mark.parametrize("variance", [0.5, 0.9, 0.95, 1.0])
def test_principal_components_are_scikit_learns_up_to_sign(shape, variance):
    rng = np.random.default_rng(2)
    spectra = rng.normal(0, 1, shape) @ np.diag(np.linspace(1, 3, shape[1]))
    mean, basis, kept = principal_components(spectra, variance)
    theirs = PCA(
        n_components=variance if variance < 1 else min(shape[0] - 1, shape[1]), svd_solver="full"
    )
    theirs.fit(spectra)
    assert basis.shape == theirs.components_.shape
    np.testing.assert_allclose(mean, theirs.mean_)
    signs = np.sign((basis * theirs.components_).sum(axis=1))
    np.testing.assert_allclose(basis, theirs.components_ * signs[:, None], atol=1e-8)
    assert kept == pytest.approx(theirs.explained_variance_ratio_.sum())
    assert kept >= variance - 1e-9


@given(seed=st.integers(0, 10**6), n=st.integers(2, 12), p=st.integers(1, 12))
def test_the_basis_is_orthonormal_and_its_sign_fixed(seed, n, p):
    spectra = np.random.default_rng(seed).normal(0, 1, (n, p))
    _, basis, _ = principal_components(spectra, 0.95)
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-8)
    assert (basis[np.arange(len(basis)), np.abs(basis).argmax(axis=1)] > 0).all()
    # turning all spectra about their mean turns nothing
    np.testing.assert_allclose(principal_components(-spectra, 0.95)[1], basis, atol=1e-6)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), share=st.floats(0.0, 0.03))
def test_masked_pixels_are_filled_from_the_other_spectra(seed, share):
    rng = np.random.default_rng(seed)
    truth = 1 + rng.normal(0, 1, (60, 2)) @ rng.normal(0, 0.1, (2, 200))  # of rank two
    spectra = truth + rng.normal(0, 0.01, truth.shape)
    good = rng.random(spectra.shape) >= share
    spoiled = np.where(good, spectra, np.nan)
    filled = fill_masked(spoiled, good)
    np.testing.assert_array_equal(filled[good], spectra[good])
    np.testing.assert_array_equal(np.isnan(spoiled), ~good)  # the caller's array stays
    hidden = ~good
    if hidden.sum() > 20:
        wrong = np.sqrt(((filled - truth)[hidden] ** 2).mean())
        mean = np.broadcast_to(np.nanmean(spoiled, axis=0), truth.shape)
        assert wrong < 0.3 * np.sqrt(((mean - truth)[hidden] ** 2).mean())


@pytest.mark.parametrize("hidden", [1, 5, 30], ids=["none", "few", "more than components"])
def test_components_of_masked_spectra_are_the_least_squares_ones(hidden):
    rng = np.random.default_rng(6)
    basis = np.linalg.qr(rng.normal(0, 1, (100, 8)))[0].T
    spectra = rng.normal(0, 1, (4, 100))
    good = np.ones(spectra.shape, bool)
    for star in range(1, 4):
        good[star, rng.permutation(100)[:hidden]] = False
    found = masked_components(np.where(good, spectra, 0.0), good, basis)
    for star in range(4):
        expected = np.linalg.lstsq(basis[:, good[star]].T, spectra[star, good[star]])[0]
        np.testing.assert_allclose(found[star], expected, atol=1e-4)


def test_work_in_batches_and_in_single_precision_changes_only_rounding(monkeypatch):
    rng = np.random.default_rng(3)
    spectra = rng.normal(0, 1, (60, 3)) @ rng.normal(0, 1, (3, 50)) + rng.normal(0, 0.1, (60, 50))
    good = rng.random(spectra.shape) > 0.02
    filled, single = fill_masked(spectra, good), fill_masked(spectra.astype(np.float32), good)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, filled, atol=1e-4)
    mean, basis, _ = principal_components(filled, 0.9)
    components, left_out = in_basis(filled, mean, basis)
    np.testing.assert_allclose(components, (filled - mean) @ basis.T)
    np.testing.assert_allclose(left_out, ((filled - mean - components @ basis) ** 2).mean(axis=0))
    monkeypatch.setattr("lamostvac.numerics.pca._BATCH", 7)
    np.testing.assert_allclose(fill_masked(spectra, good), filled, atol=1e-9)
    np.testing.assert_allclose(principal_components(filled, 0.9)[1], basis, atol=1e-9)
    np.testing.assert_allclose(in_basis(filled, mean, basis)[1], left_out)


@pytest.fixture(scope="module")
def library():
    return toy_library()


@pytest.fixture(scope="module")
def emulator(library):
    return build_emulator(library, [(7600.0, 7700.0)], BUILD)


def test_the_emulator_reproduces_stars_it_has_not_seen(emulator):
    labels = toy_labels(50, seed=9)
    labels = (labels - [5750, 3.0, -0.5]) * 0.8 + [5750, 3.0, -0.5]  # not at the rim
    truth = toy_spectra(labels)[:, emulator.pixels]
    wrong = np.sqrt(((emulator.spectra(labels) - truth) ** 2).mean())
    assert wrong < 0.1 * np.sqrt(truth.var(axis=0).mean())


def test_masked_regions_and_often_masked_pixels_are_not_modelled(library, emulator):
    assert not emulator.pixels[(GRID >= 7600) & (GRID <= 7700)].any()
    assert emulator.pixels.sum() == len(GRID) - 101
    ivar = library.ivar.copy()
    ivar[: len(ivar) // 5, 100] = 0  # a fifth of the stars
    ivar[: len(ivar) // 20, 101] = 0  # a twentieth
    pixels = covered_pixels(toy_library().__class__(**(vars(library) | {"ivar": ivar})), [])
    assert not pixels[100]
    assert pixels[101]


def test_scaled_labels_have_mean_0_and_scatter_1_and_turn_back(library, emulator):
    labels = library.label_array()
    scaled = emulator.to_scaled(labels)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scaled.std(axis=0), 1)
    np.testing.assert_allclose(emulator.from_scaled(scaled), labels)
    np.testing.assert_array_equal(emulator.library_scaled, scaled)
    hotter = labels + np.array([100, 0, 0])
    assert (emulator.to_scaled(hotter)[:, 0] > scaled[:, 0]).all()


def test_the_labels_derivative_is_the_finite_difference(library, emulator):
    scaled = emulator.to_scaled(library.label_array()[:5])
    derivative = emulator.label_derivative(scaled)
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-5
        difference = (
            emulator.from_scaled(scaled + step) - emulator.from_scaled(scaled - step)
        ) / 2e-5
        np.testing.assert_allclose(derivative[:, axis], difference[:, axis], rtol=1e-6)


@pytest.mark.parametrize("settings", [BUILD, EXACT], ids=["by component", "exact"])
def test_the_discrepancy_is_the_covariance_of_the_errors_on_unseen_stars(settings):
    """Leave-one-out residuals stand for what happens to stars that the library does not have.

    With more stars than pixels: components of few stars follow the noise of these stars, which others do not have.
    """
    built = build_emulator(toy_library(600), [(4300.5, 8700.0)], settings)
    new = toy_library(400, seed=4, snr=1e4)
    components = (new.flux[:, built.pixels] - built.mean) @ built.basis.T
    error = components - built.process.predict(built.to_scaled(new.label_array()))
    types = spectral_type_of(new.label_array()[:, 0])
    for name in ("F", "G", "K"):
        found = (error[types == name] ** 2).sum(axis=1)
        expected = np.trace(built.discrepancy[name])
        assert expected / 3 < found.mean() < expected * 3, name
        np.testing.assert_allclose(built.discrepancy[name], built.discrepancy[name].T)
        assert np.linalg.eigvalsh(built.discrepancy[name]).min() > 0
    assert set(built.discrepancy) == set(built.truncation) == set(TYPE_LIMITS)


def test_a_noise_for_each_component_predicts_unseen_stars_better(library):
    new = toy_library(400, seed=4, snr=1e4)
    noisy = toy_library(150, snr=60.0)
    errors = []
    for chosen in (BUILD, EXACT.changed(noise=0.2)):
        built = build_emulator(noisy, [], chosen)
        difference = built.spectra(new.label_array()) - new.flux[:, built.pixels]
        errors.append(np.sqrt((difference**2).mean()))
    assert errors[0] < 0.9 * errors[1]


@pytest.mark.parametrize(
    ("teff", "name"),
    [(3000, "M"), (3900, "K"), (5777, "G"), (6500, "F"), (9500, "A"), (30000, "OB")],
)
def test_types_by_temperature(teff, name):
    assert spectral_type_of(teff) == name
    assert spectral_type_of(np.array([teff, 5000.0])).tolist() == [name, "K"]


def test_distance_to_the_library_is_0_at_its_stars_and_grows_outside(emulator):
    at = nearest_library_star(emulator, emulator.library_scaled)
    np.testing.assert_allclose(at, 0, atol=1e-6)
    away = emulator.library_scaled[:3] + np.array([100.0, 0, 0])
    expected = (
        np.sqrt(((away[:, None] - emulator.library_scaled) ** 2).sum(axis=2).min(axis=1)) / 1.5
    )
    np.testing.assert_allclose(nearest_library_star(emulator, away), expected)


@pytest.mark.parametrize("settings", [BUILD, EXACT], ids=["by component", "exact"])
def test_an_emulator_is_read_as_it_was_written(tmp_path, library, settings):
    emulator = build_emulator(library, [], settings)
    write_emulator(emulator, tmp_path / "e.h5", {"library": "toy", "code_version": "1"})
    again = read_emulator(tmp_path / "e.h5")
    labels = toy_labels(10, seed=2)
    np.testing.assert_allclose(again.spectra(labels), emulator.spectra(labels), rtol=1e-12)
    scaled = emulator.to_scaled(labels)
    if settings is EXACT:
        np.testing.assert_array_equal(
            again.process.variance(scaled), emulator.process.variance(scaled)
        )
        assert again.process.noise == EXACT.noise
    else:
        with pytest.raises(ValueError, match="no variance common to all"):
            again.process.variance(scaled)
    for name in ("pixels", "offset", "scale", "library_scaled"):
        np.testing.assert_array_equal(getattr(again, name), getattr(emulator, name))
    for name in TYPE_LIMITS:
        np.testing.assert_array_equal(again.discrepancy[name], emulator.discrepancy[name])
        np.testing.assert_array_equal(again.truncation[name], emulator.truncation[name])
    assert again.label_names == emulator.label_names
    assert (again.process.mean, again.variance_kept) == (
        emulator.process.mean,
        emulator.variance_kept,
    )


def test_a_distilled_emulator_is_read_as_it_was_written(tmp_path, library):
    """Its basis has more rows than the process has components, and the process has no variance."""
    emulator, _ = distil(build_emulator(library, [], EXACT), DistilSettings(signal_tolerance=0.01))
    assert emulator.n_signal < emulator.n_components
    write_emulator(emulator, tmp_path / "e.h5", {"library": "toy"})
    again = read_emulator(tmp_path / "e.h5")
    assert (again.n_signal, again.n_components) == (emulator.n_signal, emulator.n_components)
    assert again.process.spread is None
    for name in ("mean", "basis", "library_scaled"):
        np.testing.assert_array_equal(getattr(again, name), getattr(emulator, name))
    for name in TYPE_LIMITS:
        np.testing.assert_array_equal(again.discrepancy[name], emulator.discrepancy[name])
        np.testing.assert_array_equal(again.truncation[name], emulator.truncation[name])
    labels = toy_labels(10, seed=2)
    np.testing.assert_array_equal(again.spectra(labels), emulator.spectra(labels))


def test_same_library_same_bytes(tmp_path, library, emulator):
    again = build_emulator(library, [(7600.0, 7700.0)], BUILD)
    for name, each in (("a.h5", emulator), ("b.h5", again)):
        write_emulator(each, tmp_path / name, {"library": "toy"})
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_building_looks_only_at_its_rows_and_changes_nothing(library):
    rows = np.arange(0, len(library.ids), 2)
    flux, ivar = library.flux.copy(), library.ivar.copy()
    spoiled = library.__class__(**(vars(library) | {"flux": library.flux.copy()}))
    spoiled.flux[1::2] = 0.0
    for each in (library, spoiled):
        built = build_emulator(each, [], BUILD, rows=rows)
        np.testing.assert_array_equal(built.mean, library.flux[rows].astype(float).mean(axis=0))
        assert len(built.library_scaled) == len(rows)
    np.testing.assert_array_equal(library.flux, flux)
    np.testing.assert_array_equal(library.ivar, ivar)


def test_hyperparameters_are_chosen_on_request(library):
    built = build_emulator(library, [], EXACT.changed(hyperparameters="cross_validation"))
    components = (library.flux[:, built.pixels] - built.mean) @ built.basis.T
    best = best_hyperparameters(built.library_scaled, components, "quadratic")
    process = built.process
    np.testing.assert_allclose((process.length_scale, process.amplitude, process.noise), best)
    given = build_emulator(library, [], EXACT).process
    assert (given.length_scale, given.amplitude, given.noise) == (1.5, 2.1, 0.05)


def test_too_small_a_library_is_the_users_mistake(library):
    with pytest.raises(
        UserError, match=r"20 spectra of toy are too few for 3 labels; lower library.min_snr"
    ):
        build_emulator(library, [], BUILD, rows=np.arange(20))


def test_columns_are_named_after_the_labels():
    columns = label_columns(("teff", "feh"), np.array([[5000.0, 0.1], [6000.0, -1.0]]), "_cfi")
    assert {name: values.tolist() for name, values in columns.items()} == {
        "teff_cfi": [5000.0, 6000.0],
        "feh_cfi": [0.1, -1.0],
    }


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("mean", np.ones(7), "basis has shape .*, but pixel is 7"),
        ("scale", np.ones(9), "scale has shape .*, but label is"),
        ("inputs", np.ones((2, 2)), "inputs has shape"),
        ("library_scaled", None, "library_scaled is missing"),
        ("truncation", np.full((6, 1), np.nan), "truncation has shape"),
    ],
)
def test_a_damaged_emulator_is_one_sentence(tmp_path, library, name, values, sentence):
    write_emulator(build_emulator(library, [], BUILD), tmp_path / "e.h5", {"library": "toy"})
    with h5py.File(tmp_path / "e.h5", "r+") as handle:
        del handle[name]
        if values is not None:
            handle[name] = values
    with pytest.raises(UserError, match=f"the emulator .*e.h5 cannot be read: {sentence}.*delete"):
        read_emulator(tmp_path / "e.h5")
