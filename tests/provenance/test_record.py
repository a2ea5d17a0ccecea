"""The record of a run says what it was made of, and what it used."""

import json

import pytest

from lamostvac.configuration.root import load_configuration
from lamostvac.core.code_version import LIBRARY
from lamostvac.core.exceptions import UserError
from lamostvac.provenance.record import (
    SIMULATED,
    Record,
    as_inputs,
    code_versions,
    flat,
    read_record,
    software_versions,
)
from lamostvac.run.context import resolve
from lamostvac.run.recorded import input_files, used
from lamostvac.run.site import Site

RECORD = Record(
    program={"version": "1", "commit": "abc"},
    settings={"fit": {"limit": 3}},
    packages={"fit": 2},
    software={"numpy": "2"},
    inputs=[{"role": "release", "file": "a.csv", "sha256": "00"}],
    used=["workflow"],
)


def test_a_record_is_read_as_it_was_written(tmp_path):
    (tmp_path / "provenance.json").write_text(RECORD.text())
    assert read_record(tmp_path / "provenance.json") == RECORD


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"settings": 1}', '{"unknown": {}}'])
def test_a_damaged_record_is_one_sentence(tmp_path, text):
    (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(UserError, match=r"provenance\.json cannot be read .*delete it and run"):
        read_record(tmp_path / "provenance.json")


def test_a_run_without_a_record_is_told_how_to_get_one(tmp_path):
    with pytest.raises(UserError, match=r"does not exist: .*run it again"):
        read_record(tmp_path / "provenance.json")


def test_nested_settings_become_keys_and_named_entries_keep_their_names():
    settings = {
        "fit": {"sigma": 3, "none": {}},
        "emulators": [{"name": "mine", "min_snr": 5}],
        "training_sets": {"pastel": {"labels": [{"name": "teff", "cuts": [1, 2]}]}},
    }
    assert flat(settings) == {
        "fit.sigma": 3,
        "fit.none": {},
        "emulators.mine.name": "mine",
        "emulators.mine.min_snr": 5,
        "training_sets.pastel.labels.teff.name": "teff",
        "training_sets.pastel.labels.teff.cuts": [1, 2],
    }


def test_versions_of_all_packages_and_of_other_software_are_recorded():
    versions = code_versions()
    assert set(versions) == {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    assert min(versions.values()) >= 1
    assert software_versions(["numpy"])["numpy"].split(".")[0].isdigit()


def test_inputs_are_named_without_their_folders():
    assert as_inputs([("release", "/data/mine/a.csv", "00")]) == RECORD.inputs


def test_a_simulated_run_uses_nobodys_data():
    context = resolve(load_configuration({"simulation": {"enabled": True}}), Site())
    found = used(context)
    assert {"workflow", "emulator", "networks", SIMULATED} <= set(found)
    assert not [name for name in found if name.startswith(("lamost", "library", "training"))]
    assert input_files(context) == []


def test_a_real_run_names_what_is_there_and_its_inputs(tmp_path):
    (tmp_path / "catalogue.csv").write_text("obsid\n")
    (tmp_path / "gaia").mkdir()
    (tmp_path / "gaia/gaia_edr3.csv").write_text("source_id\n")
    (tmp_path / "miles.fits").write_text("")
    sections = {
        "simulation": {"enabled": False},
        "survey": {"root": str(tmp_path), "catalogues": ["catalogue.csv"]},
        "library": {"name": "mine", "format": "miles", "spectra": str(tmp_path / "miles.fits")},
        "networks": {"training_sets": None},
        "photometry": {"root": str(tmp_path)},
    }
    sections["library"]["labels"] = ["teff", "logg", "feh"]
    context = resolve(load_configuration(sections), Site())
    found = used(context)
    assert {"lamost", "library miles", "photometry catalogue", "extinction scale sfd"} <= set(found)
    assert not {"networks", "photometry twomass", SIMULATED} & set(found)
    assert input_files(context) == [("photometry catalogue", str(tmp_path / "gaia/gaia_edr3.csv"))]
    assert json.loads(json.dumps(context.row_settings)) == context.row_settings
