"""Labelled spectra of the survey as a library: which are taken, and what the library knows of their stars."""

import logging

import numpy as np
import pandas as pd
import pytest

from lamostvac.core.exceptions import UserError
from lamostvac.library import survey
from lamostvac.library.library import read_library, write_library
from lamostvac.library.settings import FurtherEmulator, Library
from lamostvac.library.survey import survey_library
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.normalise import prepare_spectrum
from lamostvac.spectra.reader import Spectrum
from lamostvac.spectra.settings import Preparation

SETTINGS = Preparation()
WAVE = np.geomspace(3700.0, 9000.0, 3909)
LABELS = ("teff", "logg", "feh")


def spectrum(path):
    """A made-up spectrum whose continuum depends on its number."""
    number = int(str(path).partition(".")[0])
    flux = (100.0 + number) * (1 - 0.3 * np.exp(-0.5 * ((WAVE - 5000 - number) / 5) ** 2))
    masks = np.zeros(len(WAVE), int)
    ivar = np.full(len(WAVE), 25.0)
    ivar[1000 + number : 1020 + number] = 0
    return Spectrum(WAVE, flux, ivar, masks, masks, {}, "table")


def stars(n=12):
    number = np.arange(n)
    return pd.DataFrame(
        {
            "spectrum_id": [f"56000-P-1-{i}" for i in number], "obsid": number, "lmjd": 56000,
            "planid": "P", "spid": 1, "fiberid": number, "redshift": 1e-4 * number,
            # 0 and 1 are of one star, and so are 10 and 11
            "ra": np.array([0, 2 / 3600, *range(2, n - 1), n - 2 + 1 / 3600])[:n], "dec": 0.0,
            "path": [f"{i}.fits" for i in number], "snr": 10.0 * (number + 1),
            "teff": 5000.0 + number, "logg": 4.0, "feh": np.where(number == 5, np.nan, -0.1),
            "feh_err": 0.05,
        }
    )  # fmt: skip


@pytest.fixture
def files(monkeypatch):
    """The release's files, without that of the sixth and the seventh spectrum."""

    def read(path):
        if path == "6.fits":
            raise survey.SpectrumRejected("missing_file", path)
        return spectrum(path)

    monkeypatch.setattr(survey, "read_spectrum", read)


def test_spectra_with_labels_a_file_and_enough_snr_are_prepared_as_all_others(files, caplog):
    caplog.set_level(logging.INFO)
    seen = []
    library = survey_library(stars(), "mine", LABELS, SETTINGS, 30.0, progress=seen.append)
    # 0, 1, 2 are too faint, 5 has no [Fe/H], 6 no file
    assert [name.split("_")[1] for name in library.ids] == [
        f"56000-P-1-{i}" for i in (3, 4, 7, 8, 9, 10, 11)
    ]
    assert sum(seen) == 8
    for text in (
        "11 of 12 spectra have all of teff, logg, feh",
        "8 of these have S/N > 30",
        "1 rejected",
    ):
        assert text in caplog.text
    assert "the library mine has 6 stars; below some 300" in caplog.text
    one = spectrum("4.fits")
    flux, ivar = prepare_spectrum(one.wave, one.flux, one.ivar, 4e-4, SETTINGS)
    np.testing.assert_array_equal(library.flux[1], flux)
    np.testing.assert_array_equal(library.ivar[1], ivar)
    assert library.flux.shape == (7, len(GRID))
    assert library.label_array()[1].tolist() == [5004.0, 4.0, -0.1]
    assert library.labels["feh_err"].tolist() == [0.05] * 7
    assert library.labels["alpha_fe"].isna().all()


def test_spectra_of_one_star_share_the_part_of_the_name_by_which_folds_are_made(files, tmp_path):
    library = survey_library(stars(), "mine", LABELS, SETTINGS)
    numbers = [name.split("_")[0] for name in library.ids]
    assert numbers[0] == numbers[1]
    assert numbers[-1] == numbers[-2]
    assert len(set(numbers)) == len(numbers) - 2
    write_library(library, tmp_path / "mine.h5")
    kept = read_library(tmp_path / "mine.h5").labels
    assert kept[["ra", "dec"]].equals(library.labels[["ra", "dec"]])


def test_a_set_without_a_usable_spectrum_is_named_with_what_to_change(files):
    with pytest.raises(UserError, match=r"none of the 12 .* S/N > 500.* lower its min_snr"):
        survey_library(stars(), "mine", LABELS, SETTINGS, 500.0)


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"format": "survey"}, "library.training_set is not set"),
        ({"format": "survey", "training_set": "a", "spectra": "b"}, "library.spectra is set"),
        ({"format": "survey", "training_set": "a", "labels_file": "b"}, "library.labels_file is"),
        ({"format": "miles", "training_set": "a"}, "the format is miles"),
    ],
)
def test_a_library_is_of_a_set_or_of_files(keys, complaint):
    for model in (Library, FurtherEmulator):
        with pytest.raises(ValueError, match=complaint):
            model.model_validate({"name": "x", **keys})


def test_labels_are_the_training_sets_under_its_name_or_as_given():
    library = Library(format="survey", training_set="lasp", label_columns={"feh": "m_h_lasp"})
    assert [library.column_of(label) for label in ("teff", "feh")] == ["teff_lasp", "m_h_lasp"]
