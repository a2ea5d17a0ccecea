"""Networks are refused for spectra unlike those that they were trained on."""

import json
from contextlib import nullcontext as does_not_raise
from dataclasses import replace

import h5py
import numpy as np
import pytest
from toy_networks import random_network

from lamostvac.core.exceptions import UserError
from lamostvac.networks.agreement import check_agreement, check_files
from lamostvac.networks.ensemble import load_network, save_network
from lamostvac.spectra.network_grid import STEP, NetworkPreparation

PREPARATION = NetworkPreparation(windows=[(4000.0, 4050.0), (8450.0, 8500.0)], polynomial_degree=3)


def check(network, preparation=PREPARATION, label="teff_x"):
    check_agreement(label, "folder/teff_x.h5", network, preparation, "snrg")


def test_a_network_is_taken_by_a_run_that_prepares_spectra_as_its_training_did(tmp_path):
    save_network(tmp_path / "n.h5", random_network(PREPARATION))
    # That more or fewer spectra are rejected does not change what a network sees.
    with does_not_raise():
        check(load_network(tmp_path / "n.h5"))
        check(load_network(tmp_path / "n.h5"), PREPARATION.changed(min_good_fraction=0.9))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"windows": [(4000.0 * 10 ** (11 * STEP), 4050.0), (8450.0, 8500.0)]},
            r"networks.windows \[\[4000.0, 4050.0\], \[8450.0, 8500.0\]\], this run has \[\[4010.*set networks.windows",
        ),
        ({"median_window": 41}, "networks.median_window 21, this run has 41.*set networks.median"),
        ({"polynomial_degree": 4}, "networks.polynomial_degree 3, this run has 4"),
        (
            {"max_normalised_flux": 3.0},
            "networks.max_normalised_flux 2.0, this run has 3.0.*set networks.max_normalised_flux",
        ),
        ({"min_normalised_flux": None}, "min_normalised_flux 0.0, this run has null"),
    ],
)
def test_another_grid_window_or_normalisation_is_named_with_both_values(changes, sentence):
    with pytest.raises(
        UserError, match=f"folder/teff_x.h5 was trained on spectra with.*{sentence}"
    ):
        check(random_network(PREPARATION), PREPARATION.changed(**changes))


def test_errors_in_another_band_of_s_n_are_named():
    network = random_network(PREPARATION)
    with pytest.raises(
        UserError, match=r"are functions of snrg, and .* has snr_band snrr; set that"
    ):
        check_agreement("teff_x", "folder/teff_x.h5", network, PREPARATION, "snrr")


@pytest.mark.parametrize("key", ["frame", "wavelengths", "step", "normalised_by"])
def test_what_no_key_can_change_is_compared_too(key):
    text = json.dumps(PREPARATION.record() | {key: "another"})
    with pytest.raises(UserError, match=f'with {key} "another", this run has'):
        check(random_network(PREPARATION, preparation=text))


@pytest.mark.parametrize("text", ["", "{", "[]", "1", None])
def test_a_file_that_does_not_say_how_its_spectra_were_prepared_is_refused(text):
    network = random_network(PREPARATION, preparation=text)
    if text is None:
        without = {name: value for name, value in network.attributes.items() if value is not None}
        network = replace(network, attributes=without)
    with pytest.raises(UserError, match=r"does not say how the spectra.*earlier version.*train"):
        check(network)


def test_a_file_of_another_label_or_without_its_band_is_refused():
    with pytest.raises(UserError, match="is the network of teff_x, not of feh_x"):
        check(random_network(PREPARATION), label="feh_x")
    with pytest.raises(UserError, match="snr_band"):
        check(random_network(PREPARATION, snr_band="snrq"))


def test_a_record_that_the_wavelengths_contradict_is_refused():
    network = random_network(PREPARATION)
    check(replace(network, wave=network.wave * (1 + 1e-12)))
    with pytest.raises(UserError, match=r"its .* wavelengths are others"):
        check(replace(network, wave=network.wave * 10**STEP))


def test_all_files_that_are_there_are_checked_before_a_run(tmp_path):
    files = {name: str(tmp_path / f"{name}.h5") for name in ("feh_x", "teff_x", "missing")}
    for name in ("feh_x", "teff_x"):
        save_network(files[name], random_network(PREPARATION, name))
    check_files(files, PREPARATION, dict.fromkeys(files, "snrg"))
    with h5py.File(files["teff_x"], "r+") as handle:
        handle.attrs["training_preparation"] = "{}"
    with pytest.raises(UserError, match=r"teff_x.h5 was trained on spectra with"):
        check_files(files, PREPARATION, dict.fromkeys(files, "snrg"))


# ---------------------------------------------------------------- files


def broken(path, change):
    save_network(path, random_network(PREPARATION))
    with h5py.File(path, "r+") as handle:
        change(handle)


def put(name, values):
    def change(handle):
        del handle[name]
        handle[name] = values

    return change


def scaled(name, factor):
    return lambda handle: handle[name].write_direct(handle[name][()] * factor)


def attribute(name, value):
    return lambda handle: handle.attrs.__setitem__(name, value)


def huge(handle):
    """An array of terabytes that takes no room in the file."""
    del handle["wave"]
    handle.create_dataset("wave", (1 << 42,), "f8", chunks=(1 << 20,))


CHANGES = {
    "cloud/variance is missing": lambda handle: handle.__delitem__("cloud/variance"),
    "wave has values of type": put("wave", np.array([b"a"])),
    "flux_mean has values of type": put("flux_mean", np.zeros(3, "c8")),
    "flux_scale has shape": put("flux_scale", np.ones(3, np.float32)),
    "wave has shape": put("wave", np.ones((3, 3))),
    "error has shape": put("error", np.ones(5, np.float32)),
    "layers/1/weight has shape": put("layers/1/weight", np.ones((2, 5, 3), np.float32)),
    "layers/2/bias has shape": put("layers/2/bias", np.ones((2, 2), np.float32)),
    "layers/0/bias has shape": put("layers/0/bias", np.ones((3, 4), np.float32)),
    "cloud/centres has shape": put("cloud/centres", np.ones((3, 4), np.float32)),
    "cloud/max_distance has shape": put("cloud/max_distance", np.ones(2)),
    "flux_scale has values outside": scaled("flux_scale", 0),
    "error_snr does not increase": scaled("error_snr", np.array([10, 1])),
    "flux_mean has values that are not finite": scaled("flux_mean", np.nan),
    "layers/0/weight has values that are not finite": scaled("layers/0/weight", np.inf),
    "more than any file": huge,
    "0 layers": lambda handle: handle.__delitem__("layers"),
    "layers/3/weight is missing": lambda handle: handle.create_group("layers/3"),
    "label is not a text": attribute("label", 3),
    "label_mean is not a number": attribute("label_mean", np.nan),
    "label_scale is not a number": attribute("label_scale", "1"),
    "label_kind is cubic": attribute("label_kind", "cubic"),
    r"label_range is not \[low, high\]": attribute("label_range", [1.0, 0.0]),
    "not as many values as the network sees": lambda handle: handle["pixels"].__setitem__(0, False),
}


@pytest.mark.parametrize("sentence", CHANGES)
def test_a_damaged_network_is_one_sentence_that_says_what_is_wrong(tmp_path, sentence):
    broken(tmp_path / "n.h5", CHANGES[sentence])
    with pytest.raises(UserError, match=f"the network .*n.h5 cannot be read: .*{sentence}.*; copy"):
        load_network(tmp_path / "n.h5")
