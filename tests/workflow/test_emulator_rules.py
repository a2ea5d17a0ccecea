"""The spectra of a training set as the library of a second emulator, on the survey of the shared run."""

import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.io import fits

from lamostvac.catalog.files import read_rows
from lamostvac.configuration.root import read_configuration
from lamostvac.external.match import STAR_RADIUS, sky_pairs
from lamostvac.library.library import read_library
from lamostvac.numerics.statistics import robust_sigma
from lamostvac.run.context import resolve
from lamostvac.run.mock import run_script
from lamostvac.run.site import Site
from lamostvac.training.files import read_training
from lamostvac.validation.truth import read_truth

pytestmark = pytest.mark.slow

EMULATOR = {
    "name": "mine", "format": "survey", "training_set": "pastel", "labels": ["teff", "feh"],
    "min_snr": 0,
}  # fmt: skip
LABELS = ("teff", "feh")


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """A copy of the shared run with the emulator, as far as the recommended values of G stars."""
    folder = shutil.copytree(run.parent, tmp_path_factory.mktemp("emulators") / "run")
    configuration = yaml.safe_load((folder / "tiny.yaml").read_text())
    (folder / "mine.yaml").write_text(yaml.safe_dump(configuration | {"emulators": [EMULATOR]}))
    library = {"library": "mine"}
    for rule, wildcards in (
        ("survey_library", library),
        ("emulator", library),
        ("crossvalidation_survey", library),
        ("fit", {"type": "G", "chunk": "0000"}),
        ("fit_further", {"type": "G", "chunk": "0000"}),
        ("collect", {"type": "G"}),
        ("errors", {"type": "G"}),
        ("recommend", {"type": "G"}),
    ):
        run_script(rule, folder / "mine.yaml", folder=folder, **wildcards)
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    """The rows of the G stars."""
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.chdir(folder)
        registry = resolve(read_configuration("mine.yaml"), Site()).registry
    return read_rows(folder / "results/recommended/G.fits", registry)


@pytest.fixture(scope="module")
def library(folder):
    return read_library(folder / "results/library/mine.h5")


def test_the_library_is_the_spectra_that_train(folder, library):
    training = read_training(folder / "results/training/pastel.fits")
    complete = training[["teff_pastel", "feh_pastel"]].notna().all(axis=1)
    train = training[(training["split"] == "train") & complete].set_index("spectrum_id")
    names = [name.split("_", 1)[1] for name in library.ids]
    assert set(names) <= set(train.index)
    assert len(names) > 0.9 * len(train)
    np.testing.assert_array_equal(library.labels["teff"], train.loc[names, "teff_pastel"])
    np.testing.assert_array_equal(library.labels["feh_err"], train.loc[names, "feh_pastel_err"])


def test_stars_of_the_library_are_known_by_place_and_labelled_without_themselves(
    folder, rows, library
):
    places = library.labels["ra"], library.labels["dec"]
    near = np.unique(sky_pairs(rows["ra"], rows["dec"], *places, STAR_RADIUS)[0])
    assert np.flatnonzero(rows["in_library_mine"]).tolist() == near.tolist()
    assert 0 < len(near) < len(rows)
    assert (rows["in_library"] == 0).all()
    # Its own spectra have the labels of the cross-validation, where that took the same type's error.
    table = pd.read_csv(folder / "results/emulator/mine_crossvalidation.csv")
    table.index = table["id"].str.split("_", n=1).str[1]
    table = table[table["spectral_type"] == "G"]
    own = [row for row in rows[near] if row["spectrum_id"].decode() in table.index]
    assert len(own) > 2
    for row in own:
        expected = table.loc[row["spectrum_id"].decode()]
        for label in LABELS:
            apart = abs(row[f"{label}_mine"] - expected[label]) / expected[f"{label}_err"]
            assert apart < 1e-2


def test_labels_are_recovered_with_errors_beside_those_of_the_first_emulator(folder, run, rows):
    truth = read_truth(folder / "results/simulated/truth.fits").set_index("spectrum_id")
    truth = truth.loc[rows["spectrum_id"].astype(str)]
    ordinary = ~truth["binary"] & ~truth["emission"] & (rows["fit_status_mine"] == 0)
    assert ordinary.sum() > 15
    for label, limit in (("teff", 250.0), ("feh", 0.3)):
        value, error = rows[f"{label}_mine"][ordinary], rows[f"{label}_mine_err"][ordinary]
        difference = (value - truth.loc[ordinary.to_numpy(), f"ref_{label}"]).to_numpy()
        assert robust_sigma(difference) < limit
        assert abs(np.median(difference)) < limit
        assert 0.3 < robust_sigma(difference / error) < 3
    # What the run has without it is unchanged.
    before = fits.getdata(run / "recommended/G.fits")
    for name in ("teff", "teff_err", "logg", "chi2", "teff_pastel", "teff_pastel_err", "flags"):
        np.testing.assert_array_equal(rows[name], before[name])
    assert set(rows["flag_mine"]) <= {0, 1}
    assert (rows["flag_mine"][rows["fit_status_mine"] != 0] == 1).all()
    assert np.isfinite(rows["teff_mine"]).mean() > 0.9
