"""Networks: training, files, prediction in one pass, flags."""

import hashlib
import logging
import os
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
from promise import assert_same_labels
from registries import PROJECT
from toy_networks import ALL, N_PIXELS, SMALL, WAVE, toy_spectra

import lamostvac.networks.predict as predict_module
from lamostvac.core.exceptions import UserError
from lamostvac.networks.clipping import judge
from lamostvac.networks.domain import fit_cloud
from lamostvac.networks.ensemble import (
    from_learned,
    keras_model,
    load_network,
    save_network,
    to_learned,
    untrained_network,
)
from lamostvac.networks.inputs import parts_of
from lamostvac.networks.label import train_label
from lamostvac.networks.optimise import _silent_unless_it_fails
from lamostvac.networks.predict import BLOCK, NetworkStack, predict, range_flags
from lamostvac.networks.problem import noise_factors
from lamostvac.networks.train import train_network
from lamostvac.spectra.network_grid import NetworkPreparation

pytestmark = [pytest.mark.numeric, pytest.mark.slow]


@pytest.fixture(scope="module")
def spectra():
    return toy_spectra(400, 100)


@pytest.fixture(scope="module")
def trained(spectra):
    found, teff, feh = spectra
    return {
        "teff_x": train_network("teff_x", teff, found, WAVE, ALL, SMALL, 5, scale="reciprocal"),
        "feh_x": train_network("feh_x", feh, found, WAVE, ALL, SMALL, 6, label_range=(-1.5, 0.5)),
    }


def test_injected_labels_come_back(trained):
    new, teff, feh = toy_spectra(300, 100, seed=1)
    stack = NetworkStack([trained["teff_x"][0], trained["feh_x"][0]])
    columns = dict(predict(stack, new.flux, new.ivar, {"teff_x": new.snr, "feh_x": new.snr}))
    for name, truth, limit in (("teff_x", teff, 220), ("feh_x", feh, 0.18)):
        difference = columns[name] - truth
        assert abs(np.median(difference)) < limit / 5
        assert np.std(difference) < limit
        # The errors say how far off the labels are.
        assert 0.6 < np.median(np.abs(difference / columns[f"{name}_err"])) / 0.6745 < 1.4


def test_noise_in_training_keeps_faint_stars_unbiased(spectra):
    found, _, feh = spectra
    faint, _, truth = toy_spectra(400, 6, seed=2)
    without = SMALL.changed(augmentation_snr=0.0, members=1)
    scatter = {}
    for name, how in (
        ("with", SMALL.changed(augmentation_snr=5.0, members=1)),
        ("without", without),
    ):
        network, _ = train_network("feh_x", feh, found, WAVE, ALL, how, 3)
        scaled, _ = network.standardise(faint.flux, faint.ivar)
        scatter[name] = np.std(network.members(scaled)[0] - truth)
    assert scatter["with"] < scatter["without"]


def test_stars_left_out_are_judged_by_members_that_did_not_learn_from_them(spectra, trained):
    _, teff, _ = spectra
    network, left_out = trained["teff_x"]
    assert np.isfinite(left_out).all()  # three members, three parts
    parts = parts_of(np.arange(len(teff)), 3, 5)
    scaled, _ = network.standardise(spectra[0].flux, spectra[0].ivar)
    expected = network.members(scaled)[parts, np.arange(len(teff))]
    np.testing.assert_allclose(left_out, expected, rtol=1e-5)


def test_a_star_is_never_divided():
    star = np.repeat(np.arange(50), 3)
    part = parts_of(star, 5, 1)
    assert all(len(set(part[star == number])) == 1 for number in range(50))
    assert set(part) == set(range(5))


def test_unknown_labels_take_no_part(spectra):
    found, teff, _ = spectra
    some = np.where(np.arange(len(teff)) < 300, teff, np.nan)
    network, left_out = train_network("t", some, found, WAVE, ALL, SMALL.changed(epochs=3), 1)
    assert network.attributes["n_spectra"] == 300
    assert np.isnan(left_out[300:]).all()


def test_labels_of_a_set_share_projection_and_cloud_whoever_has_them(spectra):
    found, teff, feh = spectra
    preparation = NetworkPreparation(windows=((4000.0, 4100.0),))
    flux, ivar = (values[:, : preparation.n_pixels] for values in (found.flux, found.ivar))
    rows = pd.DataFrame({"star": found.star, "snr": found.snr, "spectral_type": "G"}).assign(
        teff_x=teff, feh_x=np.where(np.arange(len(feh)) < 300, feh, np.nan)
    )
    settings, log = SMALL.changed(epochs=1), logging.getLogger("networks")
    networks = {}
    for name, of_set in (("teff_x", "a"), ("feh_x", "a"), ("feh_x", "b")):
        entry = {
            "label": {"name": name, "unit": "", "range": None, "learn": "linear"},
            "set": of_set,
            "optional": False,
            "snr_band": "snrg",
            "network": {"windows": None},
        }
        found = train_label(rows, flux, ivar, entry, preparation, settings, 1, log)[0]
        networks[name, of_set] = found
    one, other, elsewhere = networks.values()
    assert other.attributes["n_spectra"] == 300
    for name in ("flux_mean", "flux_scale", "projection"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.cloud.centres, other.cloud.centres)
    assert not np.array_equal(one.cloud.centres, elsewhere.cloud.centres)


def test_too_few_stars_are_said_in_one_sentence(spectra):
    found, teff, _ = spectra
    few = np.where(np.arange(len(teff)) < 7, teff, np.nan)
    with pytest.raises(UserError, match="7 stars with different labels are too few to train on"):
        train_network("teff_x", few, found, WAVE, ALL, SMALL, 1)


@pytest.mark.parametrize("scale", ["linear", "reciprocal"])
def test_learned_quantities_go_back_to_labels(scale):
    label = np.array([3500.0, 5777.0, 30000.0])
    np.testing.assert_allclose(from_learned(to_learned(label, scale), scale), label)


def test_noise_brings_spectra_to_lower_signal_to_noise():
    snr = np.full(20000, 100, np.float32)
    factor = noise_factors(snr, 10, np.random.default_rng(1))
    resulting = snr / np.sqrt(1 + factor**2)
    assert resulting.min() >= 9.99
    assert resulting.max() <= 100.01
    # evenly in the logarithm
    assert np.median(resulting) == pytest.approx(np.sqrt(10 * 100), rel=0.03)
    faint = noise_factors(np.full(10, 4, np.float32), 10, np.random.default_rng(1))
    np.testing.assert_array_equal(faint, 0)


# ---------------------------------------------------------------- files


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_network_survives_its_file(tmp_path, trained):
    network, _ = trained["teff_x"]
    save_network(tmp_path / "a.h5", network)
    again = load_network(tmp_path / "a.h5")
    save_network(tmp_path / "b.h5", again)
    assert digest(tmp_path / "a.h5") == digest(tmp_path / "b.h5")
    assert again.label_range == network.label_range
    assert again.label_kind == "reciprocal"
    assert again.attributes == dict(network.attributes)


def test_a_file_of_the_first_format_is_read_as_a_network_that_sees_pixels(
    tmp_path, trained, spectra
):
    network = on_pixels(trained["teff_x"][0])
    save_network(tmp_path / "old.h5", network)
    with h5py.File(tmp_path / "old.h5", "a") as handle:
        assert "projection" not in handle
        handle.attrs["format"] = "lamost-vac network 1"
    again = load_network(tmp_path / "old.h5")
    scaled = network.scaled(spectra[0].flux)
    np.testing.assert_array_equal(again.members(scaled), network.members(scaled))


@pytest.mark.parametrize("shape", [(N_PIXELS, 0), (N_PIXELS - 1, 20), (N_PIXELS, 19)])
def test_a_projection_of_another_shape_than_pixels_and_layers_is_refused(tmp_path, trained, shape):
    save_network(tmp_path / "n.h5", trained["teff_x"][0])
    with h5py.File(tmp_path / "n.h5", "a") as handle:
        del handle["projection"]
        handle["projection"] = np.zeros(shape, np.float32)
    with pytest.raises(UserError, match=r"n\.h5"):
        load_network(tmp_path / "n.h5")


def test_what_is_no_network_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as handle:
        handle["a"] = 1
    (tmp_path / "y.h5").write_text("nothing")
    for name in ("x.h5", "y.h5", "missing.h5"):
        with pytest.raises(UserError, match=name):
            load_network(tmp_path / name)


def test_keras_says_the_same(trained, spectra):
    network, _ = trained["feh_x"]
    scaled, _ = network.standardise(spectra[0].flux[:50], spectra[0].ivar[:50])
    model = keras_model(network, 1)
    assert [layer.units for layer in model.layers] == [24, 12, 6, 1]
    found = network.to_label(model.predict(scaled, verbose=0)[:, 0])
    np.testing.assert_allclose(found, network.members(scaled)[1], atol=1e-4)


TRAIN_SCRIPT = """
import os, sys
threads, path = sys.argv[1:3]
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = threads
from dataclasses import replace
from registries import PROJECT
from toy_networks import ALL, SMALL, WAVE, toy_spectra
from lamostvac.networks.train import train_network
from lamostvac.networks.ensemble import save_network
found, teff, _ = toy_spectra(150, 50)
save_network(path, train_network("t", teff, found, WAVE, ALL, SMALL.changed(epochs=5), 1)[0])
"""


def in_another_process(script, *words):
    """What a script has written, in a Python of its own with next to no environment."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        check=True,
        capture_output=True,
        text=True,
        env={
            "PYTHONPATH": f"{PROJECT}:{PROJECT}/tests/helpers",
            "PATH": "/usr/bin:/bin",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
    )


def test_same_seed_same_bytes_on_one_core_or_two(tmp_path):
    for name, threads in (("a", "1"), ("b", "2")):
        done = in_another_process(TRAIN_SCRIPT, threads, tmp_path / name)
        assert done.stderr == ""  # TensorFlow's libraries have nothing to say to a user
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


FORKED_SCRIPT = """
import os
from lamostvac.networks.optimise import tensorflow
tensorflow()
os.environ.clear()  # as a script's that is forked behind the import
import tensorflow as tf
print(tf.config.threading.get_intra_op_parallelism_threads(), tf.config.threading.get_inter_op_parallelism_threads())
"""


def test_a_forked_training_has_one_thread():
    assert in_another_process(FORKED_SCRIPT).stdout.split() == ["1", "1"]


ALREADY_RUNNING_SCRIPT = """
import tensorflow as tf
tf.zeros(1) + 1
from registries import PROJECT
from toy_networks import ALL, SMALL, WAVE, toy_spectra
from lamostvac.networks.train import train_network
found, teff, _ = toy_spectra(150, 50)
train_network("t", teff, found, WAVE, ALL, SMALL.changed(epochs=1), 1)
print("trained")
"""


def test_a_notebook_that_has_used_tensorflow_is_told_what_that_does():
    done = in_another_process(ALREADY_RUNNING_SCRIPT)
    assert done.stdout == "trained\n"
    assert "TensorFlow has computed in this process before" in done.stderr


def test_what_an_import_said_is_shown_when_it_fails(capfd):
    @_silent_unless_it_fails()
    def broken():
        os.write(2, b"no such instruction")
        raise ImportError

    with pytest.raises(ImportError):
        broken()
    with _silent_unless_it_fails():
        os.write(2, b"hello")
    assert capfd.readouterr().err == "no such instruction"


# ---------------------------------------------------------------- prediction


def test_one_pass_equals_network_by_network(trained, spectra):
    found = spectra[0]
    networks = [trained["teff_x"][0], trained["feh_x"][0]]
    answers = NetworkStack(networks).members(found.flux)
    for network, answer in zip(networks, answers, strict=True):
        scaled, _ = network.standardise(found.flux, found.ivar)
        np.testing.assert_allclose(answer, network.members(scaled), rtol=2e-4, atol=2e-4)


def on_pixels(network):
    """A network in the published form."""
    return replace(network, projection=None, weights=network.pixel_weights())


def test_first_layers_on_directions_say_what_those_on_pixels_say(trained, spectra):
    """To a hundredth of the error that the network states."""
    found, network = spectra[0], trained["teff_x"][0]
    assert network.weights[0].shape[1] == SMALL.input_components
    columns = [
        dict(predict(NetworkStack([form]), found.flux, found.ivar, {"teff_x": found.snr}))
        for form in (network, on_pixels(network))
    ]
    errors = columns[1]["teff_x_err"]
    assert_same_labels(columns[0]["teff_x"], columns[1]["teff_x"], errors, share=0.01)
    np.testing.assert_array_equal(columns[0]["cloud_teff_x"], columns[1]["cloud_teff_x"])


def test_networks_of_a_set_project_a_spectrum_once(trained, spectra, monkeypatch):
    flux, ivar, _, _ = vars(spectra[0]).values()
    one, other = trained["teff_x"][0], trained["feh_x"][0]
    sister = replace(
        other,
        projection=one.projection.copy(),
        cloud=replace(one.cloud, radii=one.cloud.radii.copy()),
    )
    projected = []

    def counted(flux, network, project=predict_module._seen):
        projected.append(network.label)
        return project(flux, network)

    monkeypatch.setattr(predict_module, "_seen", counted)
    stack = NetworkStack([one, other, sister])
    answers, outside = stack.members(flux), stack.outside(flux, ivar)
    assert projected == ["teff_x", "feh_x"]
    for network, answer, out in zip(stack.networks, answers, outside, strict=True):
        alone = NetworkStack([network])
        np.testing.assert_array_equal(answer, alone.members(flux)[0])
        np.testing.assert_array_equal(out, alone.outside(flux, ivar)[0])


def test_the_answer_does_not_depend_on_the_company(trained, spectra):
    found = spectra[0]
    flux, ivar, snr = (
        np.tile(values, (4, 1) if values.ndim == 2 else 4)
        for values in (found.flux, found.ivar, found.snr)
    )
    assert len(flux) > BLOCK
    stack = NetworkStack([trained["teff_x"][0]])
    together = dict(predict(stack, flux, ivar, {"teff_x": snr}))
    for rows in (slice(0, 1), slice(100, 107), slice(5, BLOCK + 3)):
        alone = dict(predict(stack, flux[rows], ivar[rows], {"teff_x": snr[rows]}))
        for name in ("teff_x", "teff_x_err", "teff_x_spread"):
            assert_same_labels(alone[name], together[name][rows], together["teff_x_err"][rows])


def test_networks_of_different_grids_do_not_mix(trained):
    other = replace(trained["feh_x"][0], wave=WAVE + 1)
    with pytest.raises(UserError, match="different grids"):
        NetworkStack([trained["teff_x"][0], other])


def test_one_member_has_no_spread(spectra):
    found, _, feh = spectra
    network, left_out = train_network(
        "f", feh, found, WAVE, ALL, SMALL.changed(members=1, epochs=3), 1
    )
    columns = dict(predict(NetworkStack([network]), found.flux, found.ivar, {"f": found.snr}))
    assert (columns["f_spread"] == 0).all()
    assert (columns["f_err"] > 0).all()
    assert 0.25 < np.isfinite(left_out).mean() < 0.42


def test_an_untrained_network_leaves_the_label_empty(spectra, tmp_path):
    save_network(tmp_path / "n.h5", untrained_network("x", WAVE, ALL, {"snr_band": "snrg"}))
    network = load_network(tmp_path / "n.h5")
    found = spectra[0]
    columns = dict(predict(NetworkStack([network]), found.flux, found.ivar, {"x": found.snr}))
    assert np.isnan(columns["x"]).all()
    assert np.isnan(columns["x_err"]).all()
    assert columns["cloud_x"].all()
    assert range_flags({"x": columns["x"]}, {"x": network.label_range}, {})["x"].all()


def test_the_published_flag_is_one_beyond_the_training_grid():
    labels = {
        "teff": np.array([5000.0, 12000.0, np.nan, 5000.0]),
        "feh": np.array([0.0, 0.0, 0.0, -5.0]),
    }
    ranges = {"teff": (3500.0, 10000.0), "feh": (-4.0, 0.5)}
    flags = range_flags(labels, ranges, {"feh": {"teff": (3500.0, 10000.0), "absent": (0.0, 1.0)}})
    np.testing.assert_array_equal(flags["teff"], [0, 1, 1, 0])
    np.testing.assert_array_equal(flags["feh"], [0, 1, 1, 1])


# ---------------------------------------------------------------- training cloud


def test_the_cloud_knows_its_own_and_strangers(trained):
    network, _ = trained["feh_x"]
    own, *_ = toy_spectra(300, 100, seed=9)
    assert network.cloud.outside(*network.standardise(own.flux, own.ivar)).mean() < 0.05
    # Faint stars of the same kind are no strangers: at worst the sixth that one standard deviation of the noise's
    # contribution leaves, when the training spectra themselves hardly differ but for noise, as here.
    faint, *_ = toy_spectra(300, 8, seed=10)
    assert network.cloud.outside(*network.standardise(faint.flux, faint.ivar)).mean() < 0.2
    strange = own.flux + 0.5 * np.exp(-0.5 * ((WAVE - 4650) / 10) ** 2).astype(np.float32)
    assert network.cloud.outside(*network.standardise(strange, own.ivar)).all()
    far = 1 - 3 * (1 - own.flux)
    assert network.cloud.outside(*network.standardise(far, own.ivar)).mean() > 0.9


def test_the_cloud_is_strict_where_training_spectra_crowd():
    """A spectrum between a dense and a loose cluster is a stranger to the dense one only."""
    rng = np.random.default_rng(5)
    dense = 0.05 * rng.standard_normal((300, 30))
    loose = 1.0 * rng.standard_normal((300, 30))
    dense[:, 0] -= 20
    loose[:, 0] += 20
    flux = np.concatenate([dense, loose]).astype(np.float32)
    noise = np.full_like(flux, 1e-3)
    cloud = fit_cloud(flux, noise, np.arange(600) % 5, 0.99, 1)
    step = np.zeros((1, 30), np.float32)
    step[0, 1] = 2.0
    near_dense, near_loose = dense[:1] + step, loose[:1] + step
    assert cloud.outside(near_dense.astype(np.float32), noise[:1]).all()
    assert not cloud.outside(near_loose.astype(np.float32), noise[:1]).any()


def test_the_clouds_limits_let_in_the_share_asked_for():
    rng = np.random.default_rng(3)
    flux = rng.standard_normal((600, 3)).astype(np.float32) @ rng.standard_normal((3, 40)).astype(
        np.float32
    )
    noise = np.full_like(flux, 0.1)
    flux += 0.1 * rng.standard_normal(flux.shape).astype(np.float32)
    cloud = fit_cloud(flux[:400], noise[:400], np.arange(400) % 5, 0.95, 1)
    share = cloud.outside(flux[400:], noise[400:]).mean()
    assert 0.02 < share < 0.2  # two limits of 5 % each


# ---------------------------------------------------------------- clipping


def test_binaries_go_first_and_then_the_far_ones():
    rng = np.random.default_rng(4)
    residual = 0.1 * rng.standard_normal(2000)
    residual[:100] -= 0.7  # equal pairs
    faint = np.zeros(2000, bool)
    faint[1000:] = True
    verdict = judge(residual, faint, binary_magnitude=0.45, sigma=1.5)
    assert (verdict[:100] == "binary").mean() > 0.95
    assert not (verdict[1000:] == "clipped").any()
    # 13 % of a normal distribution lie beyond 1.5 standard deviations.
    assert (verdict[100:1000] == "clipped").mean() == pytest.approx(0.134, abs=0.04)
    # A star that is four magnitudes off is no pair of stars.
    assert judge(np.append(residual, -4.0), np.append(faint, False), 0.45, 1.5)[-1] == "clipped"
    assert judge(np.array([np.nan]), np.array([False]), 0.45, 1.5)[0] == ""
