"""The whole workflow on a tiny simulated survey: complete, repeatable, and no spectrum lost.

One run is shared by most tests, also between the processes of pytest-xdist.
"""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.io import ascii, fits
from astropy.table import Table
from promise import assert_same_catalogue
from workflow_run import FEW_LABELS, TYPES, copy_project, snakemake

from lamostvac.catalog.registry import load_registry, network_labels
from lamostvac.core.hdf5 import read_columns
from lamostvac.core.rejection import REASONS
from lamostvac.core.vocabulary import LABELS
from lamostvac.simulate import broken
from lamostvac.validation.comparisons import COMPARISON_COLUMNS
from lamostvac.validation.statistics import PULL_COLUMNS
from lamostvac.validation.subsets import RECOMMENDED
from lamostvac.validation.truth import DERIVED

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rejected(run) -> pd.DataFrame:
    return pd.read_csv(
        run / "catalog/rejected.csv", dtype={"spectrum_id": str}, keep_default_na=False
    )


@pytest.fixture(scope="module")
def accepted(run) -> pd.DataFrame:
    return pd.read_parquet(run / "catalog/recommended.parquet")


@pytest.fixture(scope="module")
def truth(run) -> pd.DataFrame:
    return Table.read(run / "simulated/truth.fits", character_as_bytes=False).to_pandas()


# ---------------------------------------------------------------- nothing is lost


def test_every_row_of_the_release_is_accepted_or_rejected_once(run, accepted, rejected):
    release = pd.read_csv(
        run / "simulated/lamost/catalogue.csv", sep="|", dtype=str, keep_default_na=False
    )
    rows = (
        release["lmjd"] + "-" + release["planid"] + "-" + release["spid"] + "-" + release["fiberid"]
    )
    assert Counter(rows) == Counter(accepted["spectrum_id"]) + Counter(rejected["spectrum_id"])


def test_the_accounting_is_what_the_files_say(run, accepted, rejected):
    accounting = json.loads((run / "catalog/accounting.json").read_text())
    assert accounting["n_in"] == len(accepted) + len(rejected)
    assert accounting["n_accepted"] == len(accepted)
    assert accounting["n_rejected"] == len(rejected)
    assert accounting["rejected"]["by_reason"] == dict(Counter(rejected["reason"]))
    assert accounting["rejected"]["by_stage"] == dict(Counter(rejected["stage"]))
    by_type = {name: counts["n_accepted"] for name, counts in accounting["types"].items()}
    assert by_type == dict(Counter(accepted["spectral_type"]))
    assert set(by_type) == set(TYPES)


def test_rejected_csv_has_the_columns_of_the_contract(run, rejected):
    with open(run / "catalog/rejected.csv") as handle:
        assert handle.readline() == "spectrum_id,obsid,stage,reason,network_reason\n"
    assert set(rejected["reason"]) <= set(REASONS)
    assert set(rejected["stage"]) <= {"survey", "prepare", "fit"}


def test_every_kind_of_broken_spectrum_occurs(truth):
    kinds = (*broken.KINDS, broken.DUPLICATE_OBSID)
    expected = Counter(kind.reason for kind in kinds)
    assert len(kinds) >= 15
    assert len(expected) >= 15
    found = Counter(
        reason for reason in truth["expected_reason"] if reason not in ("", "not_a_star")
    )
    assert found == expected


def test_each_broken_spectrum_is_rejected_for_its_reason_and_no_other_spectrum_is(
    truth, accepted, rejected
):
    # A row without a fibre has another spectrum_id than the truth, one with a stolen obsid another obsid;
    # what stands twice is accepted the first time.
    by_id = rejected.groupby("spectrum_id")["reason"].apply(list).to_dict()
    by_obsid = rejected.groupby("obsid")["reason"].apply(list).to_dict()
    for row in truth.itertuples():
        reasons = by_id.get(row.spectrum_id) or (
            by_obsid.get(row.obsid, [])
            if row.spectrum_id not in set(accepted["spectrum_id"])
            else []
        )
        assert reasons == ([row.expected_reason] if row.expected_reason else []), row
    assert len(rejected) == sum(truth["expected_reason"] != "")


# ---------------------------------------------------------------- the files


def test_the_catalogue_has_the_columns_of_the_registry(run):
    labels = [
        {
            "label": label["name"],
            "set": entry["name"],
            **{key: label.get(key, "") for key in ("unit", "ucd", "description")},
        }
        for entry in yaml.safe_load((run.parent / "training_sets.yaml").read_text())[
            "training_sets"
        ]
        for label in entry["labels"]
    ]
    registry = load_registry(network_labels(labels))
    assert {"teff_pastel_err", "flag_cloud_abs_mag_g_gaia", "feh_vmp_spread"} <= set(registry.names)
    for name in ("recommended", *TYPES):
        with fits.open(run / f"catalog/{name}.fits") as hdus:
            columns = hdus[1].columns
            assert columns.names == registry.names
            assert [column.unit or "" for column in columns] == [column.unit for column in registry]
            assert hdus[1].data.dtype.fields.keys() == registry.record.fields.keys()
            assert [hdus[1].data.dtype[i].newbyteorder("=") for i in range(len(columns))] == [
                registry.record[i].newbyteorder("=") for i in range(len(columns))
            ]
    assert list(pd.read_parquet(run / "catalog/recommended.parquet").columns) == registry.names
    datamodel = (run / "catalog/datamodel.md").read_text()
    assert all(f"`{name}`" in datamodel for name in registry.names)


def test_fits_and_parquet_hold_the_same_rows(run, accepted):
    table = Table.read(run / "catalog/recommended.fits", character_as_bytes=False)
    assert len(table) == len(accepted)
    for name in table.colnames:
        in_fits, in_parquet = np.ma.getdata(table[name]), accepted[name].to_numpy()
        if in_fits.dtype.kind == "f":
            np.testing.assert_array_equal(in_fits, in_parquet, err_msg=name)
        else:
            assert in_fits.tolist() == in_parquet.tolist(), name


def test_the_types_one_after_the_other_are_the_catalogue(run):
    """But for what is counted over all types."""
    parts = [fits.getdata(run / f"catalog/{name}.fits", 1) for name in TYPES]
    merged = fits.getdata(run / "catalog/recommended.fits", 1)
    counted = {"best_spectrum", "n_spectra"}
    judged = {"flag_repeats", "flags"}  # by the star's spectra of all types
    for name in set(merged.names) - counted - judged:
        together = b"".join(part[name].tobytes() for part in parts)
        assert together == merged[name].tobytes(), name
    bit = 1 << load_registry().flag_bits["flag_repeats"]
    together = np.concatenate([part["flags"] for part in parts])
    assert ((together & ~bit) == (merged["flags"] & ~bit)).all()
    assert (((merged["flags"] & bit) != 0) == (merged["flag_repeats"] != 0)).all()
    for name in counted:
        together = np.concatenate([part[name] for part in parts])
        assert (
            (together >= merged[name]) if name == "best_spectrum" else (together <= merged[name])
        ).all()
    for name, part in zip(TYPES, parts, strict=True):
        assert len(part)
        assert set(part["spectral_type"]) == {name}


def test_every_form_of_the_catalogue_holds_it(run, accepted):
    readme = run / "catalog/ReadMe"
    text = ascii.read(str(run / "catalog/recommended.dat.gz"), format="cds", readme=str(readme))
    assert text["spectrum_id"].tolist() == accepted["spectrum_id"].tolist()
    np.testing.assert_allclose(np.ma.filled(text["teff"], np.nan), accepted["teff"], rtol=1e-4)
    best = accepted[(accepted["best_spectrum"] == 1) & (accepted["recommended"] == 1)]
    part = Table.read(run / "catalog/recommended.vot")
    assert [str(name) for name in part["spectrum_id"]] == best["spectrum_id"].tolist()
    errors = pd.read_csv(run / "catalog/summary.csv")
    recommended = accepted[accepted["recommended"] == 1]
    assert errors.loc[errors["quantity"] == "chi2", "n"].sum() == len(recommended)
    release = json.loads((run / "survey/summary.json").read_text())["inputs"][0]
    header = fits.getheader(run / "catalog/recommended.fits")
    assert (header["INPUT1"], header["INHASH1"]) == (Path(release["file"]).name, release["sha256"])
    assert (header["INPUT2"], header["INPUT3"]) == ("lrs_afgk.csv", "library mastar")


def test_the_papers_tables_have_their_rows_and_the_releases_velocities(run, accepted, truth):
    wang = Table.read(run / "catalog/wang2022_table3.fits").to_pandas()
    chosen = accepted[accepted["snrg"] > 10]
    assert wang["obsid"].tolist() == chosen["obsid"].tolist()
    assert wang["uqflag"].tolist() == chosen["best_spectrum"].tolist()
    np.testing.assert_array_equal(wang["Teff_PASTEL"], chosen["teff_pastel"])
    assert np.isnan(wang["log_g_APOGEE"]).all()  # a label that this run has no network of
    assert (wang["flag_log_g_APOGEE"] == 1).all()
    liang = Table.read(run / "catalog/liang2024_table1.fits")
    assert 0 < len(liang) == (accepted["recommended"] == 1).sum() < len(accepted)
    assert (liang["FLAG_S_N"] == 0).all()
    assert (liang["FLAG_chi2"] == 0).all()
    assert {str(uid)[:1] for uid in liang["uid"]} == {"G"}
    both = accepted.merge(truth[["spectrum_id", "rv"]], on="spectrum_id", suffixes=("", "_true"))
    pull = ((both["rv"] - both["rv_true"]) / both["rv_err"])[both["rv"].notna()]
    assert len(pull) > 0.5 * len(both)
    assert pull.abs().median() < 1.0
    text = (run / "catalog/datamodel.md").read_text()
    assert "| `log_g_APOGEE` | `logg_apogee` (not in this run) | dex |" in text
    assert "(W22 dist_phot)" in " ".join((run / "catalog/ReadMe").read_text().split())


def test_metal_poor_stars_and_sizes_of_samples_are_those_of_the_run(run, accepted):
    chosen = accepted.query("feh_vmp <= -2 and snrg > 20 and best_spectrum == 1")
    listed = Table.read(run / "catalog/metal_poor.fits")
    assert [str(name) for name in listed["spectrum_id"]] == chosen["spectrum_id"].tolist()
    assert "logg_pastel" not in listed.colnames  # no network of this run
    counts = pd.read_csv(run / "catalog/metal_poor.csv").set_index("name")
    assert counts.loc["very_metal_poor", ["n", "published"]].tolist() == [len(chosen), 26868]
    sizes = pd.read_csv(run / "validation/samples.csv").set_index(["sample", "part"])
    trained = Table.read(run / "training/pastel.fits").to_pandas()
    stars = trained[trained["split"] != b"test"]["star"].nunique()
    assert sizes.loc[("training set pastel", "train"), ["n", "published"]].tolist() == [stars, 1281]
    log = (run / "logs/samples.log").read_text()
    assert "a simulated survey" in log
    assert "W22 section 3.1 has 1,281, so this run is off by" in log


def test_labels_of_accepted_spectra_are_finite_and_near_the_truth(accepted, truth):
    """A coarse check that the columns are what they say; accuracy is measured by larger runs."""
    for label in ("teff", "logg", "feh"):
        assert np.isfinite(accepted[label]).all()
        assert (accepted[f"{label}_err"] > 0).all()
    both = accepted.merge(
        truth[["spectrum_id", "teff", "logg", "feh"]], on="spectrum_id", suffixes=("", "_true")
    )
    both = both[both["snrr"] > 20]
    assert np.median(np.abs(both["teff"] / both["teff_true"] - 1)) < 0.05
    assert np.median(np.abs(both["logg"] - both["logg_true"])) < 0.4
    assert np.median(np.abs(both["feh"] - both["feh_true"])) < 0.4


def test_log_g_of_the_second_emulator_is_as_good_as_that_of_the_first(run, accepted, truth):
    both = accepted.merge(truth[["spectrum_id", "logg"]], on="spectrum_id", suffixes=("", "_true"))
    found = np.isfinite(both["logg_imig"])
    rejected = []  # a spectrum can have a log g from one emulator and none from the other
    for path in (run / "fit_imig").rglob("*.h5"):
        with h5py.File(path) as handle:
            rejected += read_columns(handle["rejected"])["spectrum_id"].tolist()
    assert set(both["spectrum_id"][~found]) <= set(rejected)
    assert found.mean() > 0.98
    assert (both["logg_imig_err"][found] > 0).all()
    assert not np.allclose(both["logg"][found], both["logg_imig"][found], atol=0.01)
    difference = both.loc[found, ["logg", "logg_imig"]].sub(both.loc[found, "logg_true"], axis=0)
    robust_sigma = 1.4826 * (difference - difference.median()).abs().median()
    assert robust_sigma["logg_imig"] < 1.2 * robust_sigma["logg"]
    pull = (difference["logg_imig"] - difference["logg_imig"].median()) / both.loc[
        found, "logg_imig_err"
    ]
    assert 0.5 < 1.4826 * pull.abs().median() < 1.5


def test_validation_tables_have_the_columns_of_the_contract(run):
    comparisons = pd.read_csv(run / "validation/comparisons.csv")
    assert list(comparisons.columns) == COMPARISON_COLUMNS
    assert COMPARISON_COLUMNS[:7] == [
        "dataset",
        "subset",
        "label",
        "n",
        "offset",
        "sigma",
        "robust_sigma",
    ]
    assert {"truth", "crossvalidation_mastar"} <= set(comparisons["dataset"])
    pulls = pd.read_csv(run / "validation/pulls.csv")
    assert list(pulls.columns) == PULL_COLUMNS == ["label", "subset", "n", "mean", "width"]
    networks = {label for labels in FEW_LABELS.values() for label in labels}
    assert {*LABELS, *RECOMMENDED, *DERIVED} | networks == set(pulls["label"])
    assert {"all", *TYPES} <= set(pulls["subset"])


def test_every_job_left_a_log_without_a_traceback(run):
    logs = list((run / "logs").rglob("*.log"))
    assert len(logs) > 20
    for path in logs:
        text = path.read_text()
        assert text, path
        assert "Traceback" not in text, path


def test_prepared_spectra_are_removed_when_nothing_needs_them(run):
    assert {path.name[4:] for path in (run / "prepared").rglob("*.h5")} == {"_meta.h5"}


# ---------------------------------------------------------------- running it


def test_running_again_does_nothing(run):
    assert "Nothing to be done" in snakemake(run.parent, "--cores", "1", "--rerun-incomplete")


def test_the_report_shows_the_figures(run, tmp_path):
    report = tmp_path / "report.html"
    snakemake(run.parent, "--report", str(report))
    text = report.read_text()
    assert "b Other surveys and catalogues" in text
    # JSON, in which a no-break space and plus-minus are escapes.
    assert re.search(r"[+-][0-9.]+\\u00a0\\u00b1\\u00a0[0-9.]+ (green|yellow|red)", text)
    for title in (
        "Kiel diagram and abundances",
        "Observed and model spectra",
        "Misfit by spectral type",
        "Pulls in numbers",
    ):
        assert title in text


def test_chunks_and_cores_do_not_change_the_tables(run, project, tmp_path):
    """Those of two types, which are what the catalogue is made of."""
    types = ("G", "K")
    folder = copy_project(project, tmp_path / "run")
    for name in ("simulated", "library"):  # from before there are chunks
        shutil.copytree(run / name, folder / "results" / name)
    targets = (f"type_{name}" for name in types)
    snakemake(folder, *targets, "--cores", "1", "--config", "survey={chunk_size: 80}")
    n_chunks = [
        pd.read_csv(path / "survey/manifest.csv")["type"].value_counts()
        for path in (run, folder / "results")
    ]
    for name in types:
        assert n_chunks[1][name] > n_chunks[0][name] == 1
        rejected = f"collected/{name}_rejected.csv"
        assert (folder / "results" / rejected).read_bytes() == (run / rejected).read_bytes()
        expected, found = (
            Table.read(path / f"catalog/{name}.fits", character_as_bytes=False).to_pandas()
            for path in (run, folder / "results")
        )
        # Groups are made inside chunks, so only they and what the search in them gives hang on the chunks.
        of_groups = [column for column in expected if column.endswith("_grouped")] + ["fit_group"]
        assert {"teff_grouped", "chi2_grouped"} <= set(of_groups)
        assert_same_catalogue(found.drop(columns=of_groups), expected.drop(columns=of_groups))


def test_a_run_of_one_type_makes_no_files_of_another(run, project, tmp_path):
    folder = copy_project(project, tmp_path / "run")
    results = folder / "results"
    for name in ("simulated", "library", "emulator"):
        shutil.copytree(run / name, results / name)
    snakemake(folder, "type_M", "--cores", "2")
    assert (results / "catalog/M.fits").read_bytes() == (run / "catalog/M.fits").read_bytes()
    # The survey sorts the whole release into chunks; every stage after it keeps to its type.
    others = [
        path.relative_to(results)
        for path in results.rglob("*")
        if path.is_file()
        and path.relative_to(results).parts[0] not in ("simulated", "survey")
        and re.search(r"/(OB|A|F|G|K)([/._]|$)", f"/{path.relative_to(results)}")
    ]
    assert others == []
    assert not (results / "catalog/recommended.fits").exists()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            "survey={chunksize: 12}",
            "configuration key survey.chunksize does not exist; did you mean survey.chunk_size?",
        ),
        (
            "surveys={chunk_size: 12}",
            "configuration key surveys does not exist; did you mean survey?",
        ),
    ],
)
def test_a_wrong_key_is_told_in_one_sentence(project, tmp_path, setting, sentence):
    folder = copy_project(project, tmp_path / "run")
    out = snakemake(folder, "--cores", "1", "--config", setting, code=1)
    assert f"Error: {sentence}" in out.splitlines()
    assert "Traceback" not in out
    assert not (folder / "results").exists()


def test_a_grouped_search_leaves_the_jobs_of_a_cluster_in_order(run):
    """A chunk is one job, but not where the groups of all chunks stand between its preparation and its fit."""
    out = snakemake(
        run.parent, "--dry-run", "--config", "fit={method: grouped_refine}", "grouped={scope: type}"
    )
    rules: dict[str, set[str]] = {"chunk": set(), "fit": set(), "type": set()}
    group = ""
    for line in out.splitlines():
        if found := re.search(r"\] Group job (\w+)", line):
            group = found[1]
        elif found := re.match(r" +rule (\w+):", line):
            rules[group].add(found[1])
    # What reads the spectra after the fit follows it; the networks' part is kept, and short.
    assert rules["fit"] == {"fit", "fit_imig", "predict"}
    assert {"project", "candidates"} <= rules["chunk"]
    assert not rules["chunk"] & rules["fit"]


def test_every_rule_has_a_script_of_its_name_and_every_script_a_rule(project):
    rules = {}
    for path in sorted((project / "rules").glob("*.smk")):
        for name, block in re.findall(
            r"^ *(?:rule|checkpoint) (\w+):\n(.*?)(?=^\S|^ {0,4}(?:rule|checkpoint) |\Z)",
            path.read_text(),
            re.MULTILINE | re.DOTALL,
        ):
            script = re.search(r'"\.\./workflow_scripts/(\w+)\.py"', block)
            # Without a script a rule only names what to make.
            assert script or "output:" not in block
            if script:
                rules[name] = script.group(1)
    assert {"survey", "prepare", "fit", "merge", "figures_truth"} <= set(rules)
    assert rules == {name: name for name in rules}
    assert {path.stem for path in (project / "workflow_scripts").glob("*.py")} == set(rules)
