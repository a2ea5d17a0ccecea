"""A chunk's spectra as each system can use them, made and made again."""

import gzip
import logging

import h5py
import numpy as np
import pandas as pd
import pytest

from lamostvac.core.hdf5 import atomic_hdf5, read_columns, write_columns
from lamostvac.networks.ensemble import untrained_network
from lamostvac.networks.predict import predict_chunk
from lamostvac.simulate import release
from lamostvac.spectra.chunk import names_of_networks, open_prepared, prepare_chunk, rejected_by_all
from lamostvac.spectra.network_grid import NetworkPreparation
from lamostvac.spectra.settings import Preparation

LOG = logging.getLogger("test")
NETWORKS = NetworkPreparation()
WAVE = 10 ** (3.5682 + 1e-4 * np.arange(3909))
# What each spectrum of the chunk is like, and which system can use it.
GOOD, SHORT, WITHOUT_BLUE, DARK, GONE = range(5)
USED_BY = {GOOD: "both", SHORT: "networks", WITHOUT_BLUE: "emulator", DARK: "none", GONE: "none"}


def spectrum_file(folder, fiber, kind):
    """A spectrum of one kind as a file of the release, and its row in the chunk."""
    wave = WAVE[WAVE > 3850] if kind == SHORT else WAVE
    rng = np.random.default_rng(fiber)
    flux = 100 * (1 + 0.02 * rng.normal(size=len(wave)))
    ivar = np.full(len(wave), 0.25)
    if kind == WITHOUT_BLUE:
        ivar[(wave > 4500) & (wave < 5800)] = 0
    if kind == DARK:
        flux = -flux
    row = {
        "obsid": 1000 + fiber, "obsdate": "2012-03-04", "lmjd": 55991, "mjd": 55990, "planid": "P1",
        "spid": 5, "fiberid": fiber, "ra": 80.1, "dec": 28.2, "ra_obs": 80.1, "dec_obs": 28.2,
        "designation": "LAMOST J052024+281200", "tsource": "x", "tfrom": "x", "fibermask": 0,
        "class": "STAR", "subclass": "G5", "z": 0.0, "z_err": 1e-5, "helio_rv": 3.0,
        **{f"mag_ps_{band}": 14.0 for band in "grizy"}, **{f"snr{band}": 50.0 for band in "ugriz"},
    }  # fmt: skip
    masks = np.zeros_like(flux)
    data = release.spectrum_bytes(row, "table", wave, flux, ivar, masks, masks)
    path = folder / f"{fiber}.fits.gz"
    if kind != GONE:
        path.write_bytes(gzip.compress(data, 1, mtime=0))
    return row | {
        "redshift": row["z"],
        "path": str(path),
        "spectrum_id": f"55991-P1-05-{fiber:03d}",
    }


@pytest.fixture
def rows(tmp_path):
    kinds = [GOOD, SHORT, WITHOUT_BLUE, DARK, GONE, GOOD]
    table = pd.DataFrame(
        [spectrum_file(tmp_path, fiber, kind) for fiber, kind in enumerate(kinds, 1)]
    )
    return table.assign(kind=kinds)


def prepared(rows, path, networks=NETWORKS):
    with atomic_hdf5(path) as handle:
        return prepare_chunk(rows, handle, Preparation(), networks, LOG)


def names(rows, *kinds):
    return rows.loc[rows["kind"].isin(kinds), "spectrum_id"].tolist()


def test_each_system_has_the_spectra_that_it_can_use(rows, tmp_path):
    tables = prepared(rows, tmp_path / "a.h5")
    assert tables["meta"]["spectrum_id"].tolist() == names(rows, GOOD, WITHOUT_BLUE)
    assert tables["network_meta"]["spectrum_id"].tolist() == names(rows, GOOD, SHORT)
    reasons, of_networks = (
        tables[name].set_index("spectrum_id")["reason"].to_dict()
        for name in ("rejected", "network_rejected")
    )
    (short,), (blue,) = names(rows, SHORT), names(rows, WITHOUT_BLUE)
    (dark,), (gone,) = names(rows, DARK), names(rows, GONE)
    assert reasons == {
        short: "wavelength_coverage",
        dark: "negative_continuum",
        gone: "missing_file",
    }
    assert of_networks == {
        blue: "too_few_pixels", dark: "negative_continuum", gone: "missing_file"
    }  # fmt: skip
    assert rejected_by_all(tables)["spectrum_id"].tolist() == [dark, gone]
    with h5py.File(tmp_path / "a.h5") as handle:
        assert len(handle["flux"]) == len(handle["ivar"]) == 3
        assert len(handle["network_flux"]) == len(handle["network_ivar"]) == 3
        assert names_of_networks(handle) == set(names(rows, GOOD, SHORT))
        # Of the spectrum that begins at 3850 A the networks see every pixel.
        assert (handle["network_ivar"][1] > 0).all()
        assert np.count_nonzero(handle["ivar"][1]) > 2450


def test_without_networks_the_emulators_rejection_is_that_of_the_spectrum(rows, tmp_path):
    tables = prepared(rows, tmp_path / "a.h5", networks=None)
    assert set(tables) == {"meta", "rejected"}
    assert rejected_by_all(tables)["spectrum_id"].tolist() == names(rows, SHORT, DARK, GONE)


def test_the_spectra_of_both_systems_come_back_after_their_removal(rows, tmp_path):
    tables = prepared(rows, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as handle:
        digest = handle.attrs["digest"]
        wanted = {
            name: handle[name][()] for name in handle if isinstance(handle[name], h5py.Dataset)
        }
    with atomic_hdf5(tmp_path / "meta.h5") as handle:
        handle.attrs["digest"] = digest
        for name, table in tables.items():
            write_columns(handle.create_group(name), table)
    rows.to_parquet(tmp_path / "chunk.parquet")
    settings = Preparation().model_dump(mode="json"), NETWORKS.model_dump(mode="json")
    files = tmp_path / "gone.h5", tmp_path / "meta.h5", tmp_path / "chunk.parquet"
    with open_prepared(*files, *settings, LOG) as handle:
        for name, values in wanted.items():
            np.testing.assert_array_equal(handle[name][()], values)
        assert read_columns(handle["network_meta"])["spectrum_id"].tolist() == names(
            rows, GOOD, SHORT
        )


@pytest.mark.parametrize("n", [1, 16, 17])
def test_a_chunk_without_one_readable_file_is_rejected_file_by_file(tmp_path, n):
    table = pd.DataFrame([spectrum_file(tmp_path, fiber, GONE) for fiber in range(1, n + 1)])
    tables = prepared(table, tmp_path / "spectra.h5")
    assert tables["meta"].empty
    assert tables["rejected"]["reason"].tolist() == ["missing_file"] * n
    assert len(rejected_by_all(tables)) == n


def test_a_chunk_of_which_a_system_can_use_nothing_is_an_empty_table(rows, tmp_path):
    tables = prepared(rows[rows["kind"] == SHORT].reset_index(drop=True), tmp_path / "a.h5")
    assert (len(tables["meta"]), len(tables["network_meta"])) == (0, 1)
    seen = np.ones(NETWORKS.n_pixels, bool)
    network = untrained_network("teff_x", NETWORKS.wave, seen, {"snr_band": "snrg"})
    nothing = np.empty((0, NETWORKS.n_pixels), np.float32)
    columns = predict_chunk([network], nothing, nothing, {"teff_x": np.empty(0, np.float32)})
    assert {name: len(values) for name, values in columns["teff_x"].items()} == dict.fromkeys(
        ("teff_x", "teff_x_err", "teff_x_err_random", "teff_x_spread", "cloud_teff_x"), 0
    )
