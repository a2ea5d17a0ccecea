"""Libraries that are on disk are compared with the run's own, without a word in the configuration."""

import pytest

from lamostvac.configuration.libraries import listed_libraries, with_libraries_on_disk
from lamostvac.configuration.root import load_configuration
from lamostvac.core.exceptions import UserError

REAL = {
    "simulation": {"enabled": False},
    "survey": {"catalogues": ["c.csv"]},
    "library": {"spectra": "own.fits"},
}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A working folder with MILES and STELIB, and MaStar without its labels."""
    monkeypatch.chdir(tmp_path)
    for file in (
        "miles/miles_v9.1_stack.fits.gz", "stelib/spectra/1.fits",
        "mastar/mastar-goodspec-v3_1_1-v1_7_7.fits.gz",
    ):  # fmt: skip
        path = tmp_path / "data" / file
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    return tmp_path / "data"


def names(**sections):
    return list(with_libraries_on_disk(load_configuration(REAL | sections)).libraries())


def test_those_on_disk_are_compared_after_those_of_the_configuration(data):
    assert names(library={"name": "own", "spectra": "own.fits"}) == ["own", "miles", "stelib"]
    mine = {"libraries": [{"name": "miles", "spectra": "mine.fits"}]}
    found = with_libraries_on_disk(load_configuration(REAL | {"validation": mine})).libraries()
    assert list(found) == ["mastar", "miles", "stelib"]
    assert found["miles"].spectra == "mine.fits"
    assert found["stelib"].spectra == "data/stelib/spectra"
    assert found["stelib"].min_snr == 0


def test_a_library_with_all_its_files_is_taken_but_never_the_runs_own(data):
    (data / "mastar/mastar-goodvisits-v3_1_1-v1_7_7-params-v2.fits").write_bytes(b"")
    assert names(library={"name": "own", "spectra": "own.fits"})[:2] == ["own", "mastar"]
    own = {"name": "own", "format": "miles", "spectra": f"{data}/miles/miles_v9.1_stack.fits.gz",
           "labels": ["teff", "logg", "feh"]}  # fmt: skip
    assert names(library=own) == ["own", "mastar", "stelib"]


def test_other_folders_files_and_simulated_surveys_are_as_told(data):
    assert names(validation={"libraries_file": None}) == ["mastar"]
    assert names(validation={"enabled": False}) == ["mastar"]
    assert names(validation={"libraries_root": "elsewhere"}) == ["mastar"]
    simulated = load_configuration({})
    assert with_libraries_on_disk(simulated) is simulated


def test_a_wrong_entry_is_one_sentence(tmp_path):
    path = tmp_path / "libraries.yaml"
    path.write_text("libraries: [{name: a, spectra: f, folds: 2}]\n")
    with pytest.raises(UserError, match=r"libraries\.yaml: .*folds"):
        listed_libraries(path)
