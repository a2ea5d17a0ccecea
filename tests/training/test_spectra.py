"""A training star whose file contradicts the catalogue does not train, for the survey's reasons."""

import logging

import numpy as np
import pandas as pd
import pytest

from lamostvac.core.rejection import REASONS
from lamostvac.simulate import release
from lamostvac.spectra.network_grid import NetworkPreparation
from lamostvac.spectra.settings import HeaderTolerances
from lamostvac.training.schema import TrainingSet
from lamostvac.training.spectra import usable_spectra

ROW = {
    "obsid": 123456, "obsdate": "2012-03-04", "lmjd": 55991, "mjd": 55990, "planid": "GAC_080N28_B1", "spid": 5,
    "fiberid": 17, "ra": 80.1, "dec": 28.2, "ra_obs": 80.1, "dec_obs": 28.2, "designation": "LAMOST J052024+281200",
    "tsource": "x", "tfrom": "x", "fibermask": 0, "class": "STAR", "subclass": "G5", "z": 1e-4, "z_err": 1e-5,
    "helio_rv": 3.0, **{f"mag_ps_{band}": 14.0 for band in "grizy"}, **{f"snr{band}": 30.0 for band in "ugriz"},
}  # fmt: skip
ENTRY = TrainingSet.model_validate(
    {
        "name": "x",
        "title": "X",
        "catalogue": {"file": "x.csv", "columns": {"ra": "RA", "dec": "DEC", "teff": "T"}},
        "match": {"by": "sky"},
        "split": {"train_fraction": 0.5},
        "labels": [{"name": "teff_x", "column": "teff", "description": "temperature"}],
    }
)


@pytest.fixture
def spectrum(tmp_path):
    """Writes the file of a believable star, with cards of its header changed."""
    wave = 10 ** (3.5682 + 1e-4 * np.arange(3909)).astype("f8")
    flux, ivar = 1000 * (1 + 0.1 * np.sin(wave / 50)), np.full(len(wave), 0.01)
    masks = np.zeros((2, len(wave)), "f4")

    def write(**cards):
        data = release.spectrum_bytes(
            ROW, "image", *(values.astype("f4") for values in (wave, flux, ivar, *masks))
        )
        for keyword, value in cards.items():
            at = data.index(f"{keyword:<8}= ".encode())
            data = data[:at] + f"{keyword:<8}= {value:>20}".ljust(80).encode() + data[at + 80 :]
        (tmp_path / "s.fits").write_bytes(data)
        return str(tmp_path / "s.fits")

    return write


def usable(path, caplog, tolerances=None, **columns):
    names = ("obsid", "lmjd", "planid", "spid", "fiberid", "ra", "dec")
    row = {name: ROW[name] for name in names} | {"spectrum_id": "s", "path": path, "star": 0}
    row["redshift"] = ROW["z"]
    table = pd.DataFrame([row | {"snr": 30.0} | columns])
    log = logging.getLogger("test_spectra")
    with caplog.at_level(logging.INFO, log.name):
        rows, _, _ = usable_spectra(
            table, ENTRY, NetworkPreparation(), tolerances or HeaderTolerances(), log
        )
    return len(rows)


def test_a_star_whose_file_agrees_with_the_catalogue_trains(spectrum, caplog):
    assert usable(spectrum(), caplog) == 1


@pytest.mark.parametrize(
    ("cards", "columns", "reason"),
    [
        ({"VACUUM": "F"}, {}, "not_vacuum"),
        ({"HELIO": "F"}, {}, "not_heliocentric"),
        ({"Z": 0.1}, {}, "wrong_redshift"),
        ({}, {"dec": 28.3}, "wrong_position"),
        ({"FIBERID": 18}, {}, "wrong_spectrum"),
    ],
)
def test_a_star_whose_header_contradicts_the_catalogue_does_not_train(
    spectrum, caplog, cards, columns, reason
):
    assert usable(spectrum(**cards), caplog, **columns) == 0
    assert f"1 rejected: {REASONS[reason]}" in caplog.text


def test_the_configured_tolerances_hold_for_training_stars_too(spectrum, caplog):
    loose = HeaderTolerances(position_tolerance=0, redshift_tolerance=0)
    assert usable(spectrum(Z=0.1), caplog, loose, dec=28.3) == 1
