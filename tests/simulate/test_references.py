"""The catalogues that only comparisons use: each published cut removes something, and what is left is the truth."""

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from lamostvac.simulate import reference_files, references


@pytest.fixture(scope="module")
def truth():
    """Spectra of 3000 stars, every fifth star twice."""
    rng = np.random.default_rng(1)
    n = 3000
    stars = pd.DataFrame(
        {
            "star_id": np.arange(n),
            "ra": rng.uniform(0, 360, n),
            "dec": rng.uniform(-5, 60, n),
            "pmra": rng.normal(0, 20, n),
            "pmdec": rng.normal(0, 20, n),
            "teff": rng.choice([3400.0, 4700, 5800, 6500, 8500, 14_000], n),
            "logg": rng.choice([2.5, 4.5], n),
            "feh": rng.uniform(-3, 0.4, n),
            "g_mag": 14.0,
            "distance": 500.0,
            "is_binary": rng.random(n) < 0.1,
            "rv": rng.normal(0, 50, n),
        }
    )
    kinds = {3400: "M", 4700: "K", 5800: "G", 6500: "F", 8500: "A", 14_000: "OB"}
    stars["spectral_type"] = stars["teff"].map(kinds)
    table = stars.loc[np.sort(np.concatenate([np.arange(n), np.arange(0, n, 5)]))].reset_index(
        drop=True
    )
    table["obsid"], table["snrg"] = np.arange(len(table)) + 10, rng.uniform(1, 120, len(table))
    return table


@pytest.fixture(scope="module")
def folder(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    references.write_references(folder, truth, 7)
    return folder


def test_every_file_is_written_and_equal_seeds_give_equal_bytes(folder, truth, tmp_path):
    references.write_references(tmp_path, truth, 7)
    for name in reference_files.NAMES:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()
    references.write_references(tmp_path, truth, 8)
    assert (folder / reference_files.LASP).read_bytes() != (
        tmp_path / reference_files.LASP
    ).read_bytes()


def test_pipelines_scatter_by_their_errors_about_the_truth(folder, truth):
    for name, offset in ((reference_files.LASP, 0.0), (reference_files.LASPM, 0.35)):
        table = pd.read_csv(folder / name).merge(truth, on="obsid", suffixes=("", "_true"))
        failed = table["teff"] == -9999
        assert 0 < failed.sum() < 0.05 * len(table)
        dwarfs = table[~failed & (table["logg_true"] > 3.8)]
        pull = (dwarfs["logg"] - dwarfs["logg_true"] - offset) / dwarfs["logg_err"]
        assert pull.mean() == pytest.approx(0, abs=0.15)
        assert pull.std() == pytest.approx(1, abs=0.12)


def test_lasps_velocities_scatter_by_their_errors_about_the_truth(folder, truth):
    table = pd.read_csv(folder / reference_files.LASP).merge(
        truth, on="obsid", suffixes=("", "_true")
    )
    failed = table["rv"] == -9999
    assert list(failed) == list(table["teff"] == -9999) == list(table["rv_err"] == -9999)
    pull = ((table["rv"] - table["rv_true"]) / table["rv_err"])[~failed]
    assert pull.mean() == pytest.approx(0, abs=0.1)
    assert pull.std() == pytest.approx(1, abs=0.1)


def test_the_published_cuts_have_something_to_remove(folder):
    hot = Table.read(folder / reference_files.HOTPAYNE).to_pandas()
    assert 0 < (hot["chi2ratio"] >= 10).sum() < 0.1 * len(hot)
    seismic = pd.read_csv(folder / reference_files.SEISMIC, sep="\t")
    assert 0 < (seismic["e_logg"] >= 0.05).sum() < 0.2 * len(seismic)
    high = pd.read_csv(folder / reference_files.VMP_HIGH)
    assert (high["feh"] >= -1.5).any()
    assert high.duplicated(["ra", "dec"]).any()
    assert (pd.read_csv(folder / reference_files.VMP_LOW, sep="\t")["[Fe/H]"] < -1).all()


def test_members_of_a_cluster_share_their_metallicity(folder, truth):
    members = pd.read_csv(folder / reference_files.CLUSTERS).merge(
        truth.drop_duplicates("star_id"),
        left_on="SourceId",
        right_on="star_id",
        suffixes=("", "_2000"),
    )
    assert set(members["Cluster"]) > set(references.CLUSTER_FEH)
    assert not members["SourceId"].duplicated().any()
    for name, feh in references.CLUSTER_FEH.items():
        of_cluster = members[members["Cluster"] == name]
        assert len(of_cluster) > 5
        assert np.abs(of_cluster["feh"] - feh).max() <= references.CLUSTER_WIDTH
    moved = (members["dec"] - members["dec_2000"]) * 3.6e6 / 15.5
    assert moved.to_numpy() == pytest.approx(members["pmdec"].to_numpy(), abs=0.5)
