"""The grouped search inside the workflow: both methods on a few stars, whatever the chunks and jobs."""

import io
import json
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.table import Table
from warm_python import warm_python
from workflow_run import copy_project, snakemake

from lamostvac.core.hdf5 import read_columns

pytestmark = pytest.mark.slow

TYPES = ("F", "K")
CONFIGURATION = {
    "simulation": {
        "n_stars": {"F": 26, "K": 18},
        "n_other": 0,
        "n_low_snr": 0,
        "n_broken": 24,
        "stars_per_plate": 40,
        "n_library": 150,
        "n_training": {},
    },
    "survey": {"types": list(TYPES), "chunk_size": 20000},
    "emulator": {"folds": 2},
    "prepare": {"keep": True},
    "fit": {"method": "grouped"},
    "grouped": {
        "group_size": 5,
        "scope": "type",
        "groups_per_job": 2,
        "matches": 20,
        "form": "scaled",
        "search": "gradient",
        "variance": 1.0,
        "max_iterations": 10,
    },
    "networks": {"training_sets": None},
    "validation": {"enabled": False},
}
# Its forms for publishing and its figures are none of the search's.
CATALOGUE = ("--cores", "2", "results/catalog/recommended.parquet")


def prepare_run(project: Path, folder: Path, like: Path | None = None, **changes: dict) -> Path:
    """A copy of the project with this file's configuration, and what another run has made of the library."""
    copy_project(project, folder)
    settings = {
        name: {**CONFIGURATION.get(name, {}), **changes.get(name, {})}
        for name in {*CONFIGURATION, *changes}
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    if like is not None:
        for name in ("simulated", "library", "emulator"):
            shutil.copytree(like / name, folder / "results" / name)
    return folder


@pytest.fixture(scope="module")
def grouped(project, tmp_path_factory) -> Path:
    """Results of a run with `fit.method: grouped`; tests only read them."""
    folder = prepare_run(project, tmp_path_factory.mktemp("grouped") / "run")
    snakemake(folder, *CATALOGUE)
    return folder / "results"


@pytest.fixture(scope="module")
def refined(project, grouped, tmp_path_factory) -> Path:
    """The same with `grouped_refine`, in other chunks and jobs."""
    folder = prepare_run(
        project,
        tmp_path_factory.mktemp("refined") / "run",
        grouped,
        survey={"chunk_size": 10},
        grouped={"groups_per_job": 1},
        fit={"method": "grouped_refine"},
    )
    snakemake(folder, *CATALOGUE)
    return folder / "results"


def searched(run: Path, spectral_type: str) -> pd.DataFrame:
    """What the search found of a type, by spectrum."""
    parts = []
    for path in sorted((run / "grouped" / spectral_type).glob("[0-9]*.h5")):
        with h5py.File(path) as handle:
            columns = {
                name: handle[name][()] for name in ("fit_group", "fit_status", "chi2", "chi2_first")
            }
            columns["spectrum_id"] = handle["spectrum_id"][()].astype(str)
            labels = dict(
                zip(("teff", "logg", "feh", "alpha_fe"), handle["labels"][()].T, strict=True)
            )
            parts.append(pd.DataFrame({**columns, **labels}))
    return pd.concat(parts).set_index("spectrum_id")


@pytest.mark.parametrize("run", ["grouped", "refined"])
def test_every_spectrum_is_in_the_catalogue_or_rejected_and_every_accepted_one_in_a_group(
    run, request
):
    run = request.getfixturevalue(run)
    accounting = json.loads((run / "catalog/accounting.json").read_text())
    catalogue = pd.read_parquet(run / "catalog/recommended.parquet")
    assert accounting["n_in"] == accounting["n_accepted"] + accounting["n_rejected"]
    assert len(catalogue) == accounting["n_accepted"] > 30
    assert catalogue["logg_imig"].isna().all()  # no second emulator is asked for
    for spectral_type in TYPES:
        rows = catalogue[catalogue["spectral_type"] == spectral_type]
        sizes = rows["fit_group"].value_counts().sort_index()
        assert sizes.index.tolist() == list(range(-(-len(rows) // 5)))
        assert (sizes.iloc[:-1] == 5).all()
        assert 1 <= sizes.iloc[-1] <= 5


def test_jobs_without_groups_leave_empty_files(refined):
    """Preparing rejects spectra, so fewer groups are searched than the survey counted."""
    counted = pd.read_csv(refined / "survey/groups.csv").set_index("type")
    empty = 0
    for spectral_type in TYPES:
        files = sorted((refined / "grouped" / spectral_type).glob("[0-9]*.h5"))
        assert len(files) == counted.loc[spectral_type, "n_groups"]
        for path in files:
            with h5py.File(path) as handle:
                n_groups = len(read_columns(handle["groups"]))
                empty += n_groups == 0
                assert (n_groups == 0) == (len(handle["spectrum_id"]) == 0)
    assert empty >= 1


def test_groups_are_similar_stars_of_all_chunks_in_order(refined):
    for spectral_type in TYPES:
        with h5py.File(refined / f"grouped/{spectral_type}/order.h5") as handle:
            assert len(handle["chunks"]) > 1
            assert len(set(handle["chunk"][:5])) > 1
        teff = []
        for path in sorted((refined / "grouped" / spectral_type).glob("[0-9]*.h5")):
            with h5py.File(path) as handle:
                teff += handle["first"][:, 0].tolist()
        assert teff == sorted(teff)


def test_chunks_and_jobs_change_neither_groups_nor_labels(grouped, refined):
    for spectral_type in TYPES:
        one, other = searched(grouped, spectral_type), searched(refined, spectral_type)
        assert one.index.tolist() == other.index.tolist()
        assert one["fit_group"].tolist() == other["fit_group"].tolist()
        # Components of a star differ in the last digit of float32 with the batch they were made in.
        pd.testing.assert_frame_equal(one, other, rtol=1e-4, atol=1e-4)


def test_grouped_labels_are_the_catalogues_with_an_error(grouped):
    catalogue = pd.read_parquet(grouped / "catalog/recommended.parquet").set_index("spectrum_id")
    for spectral_type in TYPES:
        found = searched(grouped, spectral_type)
        rows = catalogue.loc[found.index]
        for label in ("teff", "logg", "feh", "alpha_fe"):
            np.testing.assert_allclose(rows[label], found[label], rtol=1e-6)
            assert (rows[f"{label}_err"] > 0).all()
        assert rows["fit_status"].tolist() == found["fit_status"].tolist()
        assert (
            found["chi2"].groupby(found["fit_group"]).mean()
            <= found["chi2_first"].groupby(found["fit_group"]).mean() * (1 + 1e-9)
        ).all()
        # The search counts masked pixels as if they agreed with the components; the catalogue leaves them out.
        assert (rows["chi2"] <= found["chi2"] * 1.001).all()
        np.testing.assert_allclose(rows["chi2"].median(), found["chi2"].median(), rtol=0.05)


def test_the_fit_per_star_begins_at_the_grouped_labels_and_fits_better(grouped, refined):
    one = pd.read_parquet(grouped / "catalog/recommended.parquet").set_index("spectrum_id")
    other = (
        pd.read_parquet(refined / "catalog/recommended.parquet")
        .set_index("spectrum_id")
        .loc[one.index]
    )
    # The same labels and pixels, less those that the fit per star leaves out.
    same = other["n_outliers"] == 0
    np.testing.assert_allclose(other["chi2_first"][same], one["chi2"][same], rtol=1e-3)
    assert (other["chi2_first"] <= one["chi2"] * 1.001).all()
    assert (other["teff"] != one["teff"]).all()
    truth = Table.read(grouped / "simulated/truth.fits", character_as_bytes=False).to_pandas()
    truth = truth.drop_duplicates("spectrum_id").set_index("spectrum_id").loc[one.index]
    errors = {
        name: np.median(np.abs(run["teff"] - truth["teff"]))
        for name, run in (("grouped", one), ("refined", other))
    }
    assert errors["refined"] < errors["grouped"] < 500


def test_refine_has_no_job_of_the_grouped_search(project, grouped, tmp_path):
    folder = prepare_run(
        project, tmp_path / "run", grouped, fit={"method": "refine"}, grouped={"run": False}
    )
    shutil.copytree(grouped / "survey", folder / "results/survey")
    plan = snakemake(folder, "--cores", "1", "--dry-run", "results/fit/F/0000.h5")
    assert "rule fit" in plan
    for name in ("candidates", "sort_groups", "search", "grouped_labels"):
        assert f"rule {name}:" not in plan


@pytest.fixture(scope="module")
def published(project, grouped, tmp_path_factory) -> Path:
    """The published Bayesian search in groups of 1000 of each chunk, beside the fit of each star."""
    folder = prepare_run(
        project, tmp_path_factory.mktemp("published") / "run", grouped, fit={"method": "refine"}
    )
    settings = yaml.safe_load((folder / "tiny.yaml").read_text())
    settings["grouped"] = {"form": "published"}
    settings["survey"]["chunk_size"] = 10
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    snakemake(folder, *CATALOGUE)
    return folder / "results"


def test_by_default_each_chunk_is_searched_beside_the_fit_of_each_star(published):
    catalogue = pd.read_parquet(published / "catalog/recommended.parquet")
    assert len(catalogue) > 30
    for label in ("teff", "logg", "feh", "alpha_fe"):
        assert np.isfinite(catalogue[f"{label}_grouped"]).all()
        assert (catalogue[f"{label}_grouped"] != catalogue[label]).all()
    assert (catalogue["chi2_grouped"] > 0).all()
    # A group has stars of one chunk, and all of a chunk that has fewer than 1000.
    manifest = pd.read_csv(published / "survey/manifest.csv", dtype={"type": str, "chunk": str})
    for spectral_type in TYPES:
        rows = catalogue[catalogue["spectral_type"] == spectral_type]
        chunks = manifest.loc[manifest["type"] == spectral_type, "chunk"].astype(int)
        assert len(chunks) > 1
        assert set(rows["fit_group"]) <= {10_000 * number for number in chunks}
        assert rows["fit_group"].nunique() > 1


def test_the_labels_of_each_star_do_not_depend_on_the_groups(project, published, tmp_path):
    folder = prepare_run(
        project, tmp_path / "run", published, fit={"method": "refine"}, grouped={"run": False}
    )
    snakemake(folder, *CATALOGUE)
    one = pd.read_parquet(published / "catalog/recommended.parquet").set_index("spectrum_id")
    other = pd.read_parquet(folder / "results/catalog/recommended.parquet").set_index("spectrum_id")
    other = other.loc[one.index]
    for label in ("teff", "logg", "feh", "alpha_fe", "chi2"):
        np.testing.assert_allclose(one[label], other[label], rtol=1e-4, atol=1e-4)
    assert other["teff_grouped"].isna().all()
    assert (other["fit_group"] == -1).all()
    assert not (folder / "results/chunk_groups").exists()


def test_the_forms_of_the_search_are_compared_with_the_truth(published):
    tool = Path(__file__).parents[2] / "tools/grouped_forms.py"
    done = subprocess.run(
        [warm_python(), tool, published], capture_output=True, text=True, check=True
    )
    table = pd.read_csv(io.StringIO(done.stdout))
    assert set(table["type"]) == set(TYPES)
    chi2 = table.pivot(index="type", columns="method", values="chi2")
    # Where the first match is a point of a search for the least chi2, it does not end above that of the first match.
    assert (chi2["gradient"] <= chi2["first match"]).all()
    assert (chi2["published"] != chi2["steps"]).all()
    assert (chi2["steps"] != chi2["first match"]).all()
    assert (table["teff sigma"] > 0).all()
    itself = table["method"] == "first match"
    assert (table.loc[itself, "logg ratio"] == 1).all()
    assert (table.loc[itself, "logg ratio error"] == 0).all()
    assert (table.loc[~itself, "logg ratio error"] >= 0).all()
