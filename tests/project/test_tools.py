"""Every file of tools/ runs: what no other test runs does here, on the shared run."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from isolation import missing
from warm_python import warm_python

from lamostvac.configuration.root import read_configuration
from lamostvac.core.hdf5 import atomic_hdf5
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.emulator.model import build_emulator, write_emulator
from lamostvac.library.library import read_library
from lamostvac.spectra.chunk import prepare_chunk, settings_of
from lamostvac.spectra.reader import read_spectrum
from lamostvac.survey.catalogue import read_catalogue
from tools import copies

pytestmark = pytest.mark.slow

# Which test runs a tool.
RUN_BY = {
    "ablation.py": "project/test_tools.py::test_ablation_compares_each_system_and_their_means",
    "architecture.py": "project/test_architecture.py::test_no_package_imports_from_one_above_it",
    "at_scale.py": "project/test_tools.py::test_at_scale_multiplies_a_run_and_does_its_rules",
    "bootstrap.py": "project/test_setup.py::test_setup_is_done_when_the_stamp_says_so",
    "build_hook.py": "project/test_wheel.py::test_a_wheel_says_which_commit_it_is",
    "network_errors.py": "project/test_tools.py::test_network_errors_prints_widths_in_one_band_and_mixed",
    "copies.py": "project/test_tools.py::test_copies_are_a_release_of_other_stars_in_the_same_files",
    "compile_native.py": "spectra/test_native.py::test_what_cannot_be_compiled_is_said_and_leaves_what_was_there",
    "draw_costs.py": "project/test_tools.py::test_draw_costs_has_a_bar_for_each_rule",
    "error_models.py": "project/test_tools.py::test_error_models_prints_widths_for_each_type_and_label",
    "error_pairs.py": "project/test_tools.py::test_error_pairs_finds_the_factor_better_from_more_pairs",
    "file_system.py": "project/test_tools.py::test_file_system_counts_what_a_command_and_its_children_open",
    "full_scale.py": "project/test_tools.py::test_full_scale_prints_all_its_tables",
    "fuzz.py": "project/test_fuzz.py::test_every_damaged_file_is_a_sentence_or_a_finite_result",
    "fuzz_inputs.py": "project/test_fuzz.py::test_every_damaged_file_is_a_sentence_or_a_finite_result",
    "fuzz_mutations.py": "project/test_fuzz.py::test_every_damaged_file_is_a_sentence_or_a_finite_result",
    "fuzz_readers.py": "project/test_fuzz.py::test_every_damaged_file_is_a_sentence_or_a_finite_result",
    "line_widths.py": "project/test_tools.py::test_line_widths_moves_labels_less_with_own_widths",
    "lint_rules.py": "project/test_lint_rules.py::test_the_rules_have_no_lint_that_is_not_meant",
    "grouped_forms.py": "workflow/test_grouped_workflow.py::test_the_forms_of_the_search_are_compared_with_the_truth",
    "install_test_programs.sh": "project/test_isolation.py::test_what_is_missing_is_installed_after_an_update",
    "lock.py": "project/test_setup.py::test_a_new_lock_keeps_every_pin_but_those_to_upgrade",
    "measure_resources.py": "run/test_resources.py::test_the_command_writes_a_table_that_is_read_again",
    "network_variants.py": "project/test_tools.py::test_network_variants_crossvalidates_a_training_set",
    "versions.json": "core/test_code_version.py::test_the_versions_are_those_of_the_code",
    "other_kernel.py": "project/test_isolation.py::test_the_second_kernel_is_not_the_first",
    "pin_environments.sh": "project/test_environments.py::test_pins_are_written_for_both_environments",
    "pull_shares.py": "project/test_tools.py::test_pull_shares_counts_cells_with_enough_stars",
    "recommended_truth.py": "project/test_tools.py::test_recommended_truth_compares_each_system_with_the_truth",
    "redshifts.py": "project/test_tools.py::test_redshifts_are_found_again_in_the_simulated_spectra",
    "scaling.py": "project/test_tools.py::test_scaling_prepares_fits_and_predicts_anew",
    "slurm_lab.py": "workflow/test_slurm.py::test_the_tables_are_those_of_an_undisturbed_local_run",
    "survey_choice.py": "project/test_tools.py::test_survey_choice_judges_on_stars_that_had_no_part_in_the_choice",
    "time_training.py": "project/test_tools.py::test_time_training_trains_one_label_of_each_set",
    "versions.py": "core/test_code_version.py::test_the_versions_are_those_of_the_code",
    "variants.py": "project/test_tools.py::test_variants_runs_a_configuration_and_prints_its_comparisons",
}


def run_tool(project, name, *arguments, cwd=None, python=None):
    """What a tool prints, started as its users do."""
    command = [python or warm_python(), project / "tools" / name, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd or project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def numbers(line):
    return [float(word) for word in re.findall(r"[-+]?\d+\.\d+(?:e[-+]\d+)?", line)]


@pytest.fixture
def beside(run, tmp_path):
    """A folder to run Snakemake in as if it were that of the shared run, which stays as it is."""
    for name in ("tiny.yaml", "training_sets.yaml"):
        shutil.copy(run.parent / name, tmp_path / name)
    (tmp_path / "config").symlink_to(run.parent / "config")
    (tmp_path / "results").symlink_to(run)
    return tmp_path


def test_file_system_counts_what_a_command_and_its_children_open(project, tmp_path):
    if shutil.which("strace") is None:
        missing("no strace on this machine; install it (apt-get install strace)")
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "one").write_bytes(bytes(4000))
    command = "head -c 4000 results/one > results/two; sh -c 'cp results/two results/three'; cat results/none; true"
    arguments = ("--place", f"results={folder}", "--per", "2", "--", "sh", "-c", command)
    said = run_tool(project, "file_system.py", *arguments, cwd=tmp_path, python=sys.executable)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in said.splitlines()
        if "| results |" in line
    ]
    found = {row[0]: [float(cell) for cell in row[2:]] for row in rows[len(rows) // 2 :]}
    # opened, missed, looked at, listed, changed names, kB read and written, of each of two
    assert [found["head"][column] for column in (0, 1, -2, -1)] == [0.5, 0.0, 2.0, 2.0]
    assert [found["cp"][column] for column in (0, -2, -1)] == [1.0, 2.0, 2.0]
    assert found["cat"] == [0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert found["sh"][0] == 0.5  # opens what head writes to


def test_every_tool_is_run_by_a_test_that_is_there(project):
    """A new tool needs a line in RUN_BY, and the test that the line names."""
    tools = {path.name for path in (project / "tools").iterdir() if path.is_file()}
    assert tools == set(RUN_BY)
    for tool, test in RUN_BY.items():
        file, _, function = test.partition("::")
        text = (project / "tests" / file).read_text()
        assert re.search(rf"^def {function}\(", text, re.MULTILINE), test
        assert re.search(rf"\b{re.escape(tool.partition('.')[0])}\b", text), tool


# ---------------------------------------------------------------- that read a finished run


def test_error_models_prints_widths_for_each_type_and_label(project, run):
    lines = run_tool(project, "error_models.py", run, "G", "K").splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [
        [name, label] for name in ("G", "K") for label in ("teff", "logg", "feh", "alpha_fe")
    ]
    widths = [number for line in lines for number in numbers(line)]
    assert widths
    assert min(widths) > 0


def test_network_errors_prints_widths_in_one_band_and_mixed(project, run):
    lines = run_tool(project, "network_errors.py", run, "G").splitlines()[1:]
    assert {line.split()[0] for line in lines} == {"G"}
    assert all(len(line.split("|")) == 5 for line in lines)
    widths = [number for line in lines for number in numbers(line)]
    assert widths
    assert min(widths) > 0


def test_recommended_truth_compares_each_system_with_the_truth(project, run):
    shown = run_tool(project, "recommended_truth.py", run)
    rows = [line.split() for line in shown.splitlines()]
    compared = [row for row in rows if row[1:4] == ["teff", "all", "teff_rec"]]
    assert [row[0] for row in compared] == list(TYPE_ORDER)
    assert sum(int(row[4]) for row in compared) > 20
    assert sum(row[1:4] == ["teff", "teff_pastel", "teff"] for row in rows) == len(TYPE_ORDER)


def test_pull_shares_counts_cells_with_enough_stars(project, tmp_path):
    (tmp_path / "validation").mkdir()
    rows = [
        ("teff", "G S/N>=80", 30, 1.0),
        ("teff", "G S/N 40-80", 29, 9.0),  # too few stars
        ("logg", "K S/N>=80", 300, 0.84),
        ("feh", "K S/N>=80", 300, 1.16),
        ("feh", "S/N>=80", 300, 9.0),  # all types together are no cell
        ("feh", "K", 600, 1.07),
        ("teff_rec", "G S/N>=80", 40, 1.15),
        ("teff_pastel", "unflagged K", 40, 0.5),
        ("teff_pastel", "unflagged S/N>=80", 40, 1.1),
        ("abs_mag_j", "unflagged K", 40, 1.3),
        ("ebv", "A S/N>=80", 40, 0.9),
    ]
    table = pd.DataFrame(rows, columns=["label", "subset", "n", "width"])
    table.to_csv(tmp_path / "validation/pulls.csv", index=False)
    shown = run_tool(project, "pull_shares.py", tmp_path).splitlines()
    # Where a name stands in more than one table, the first counts.
    found = {line.split("  ")[0].strip(): numbers(line) for line in reversed(shown) if "  " in line}
    assert found["emulator"][:3] == [0.33, 0.33, 0.33]
    assert found["networks, by type"] == [0.0, 1.0, 0.0, 0.5]
    assert found["networks, by S/N"] == [1.0, 0.0, 0.0, 1.1]
    assert found["absolute magnitudes, by type"][2] == 1.0
    assert found["recommended"][0] == found["ebv"][0] == 1.0
    assert found["feh"][-1] == 1.07  # over all S/N
    assert "emulator" in run_tool(project, "pull_shares.py", tmp_path, "--stars", 600)
    with pytest.raises(AssertionError, match="no cell has 1000 stars; the largest 600"):
        run_tool(project, "pull_shares.py", tmp_path, "--stars", 1000)
    table.iloc[:0].to_csv(tmp_path / "validation/pulls.csv", index=False)
    with pytest.raises(AssertionError, match="has no rows; the run has no truth"):
        run_tool(project, "pull_shares.py", tmp_path)


def test_ablation_compares_each_system_and_their_means(project, run):
    shown = run_tool(project, "ablation.py", run, "--snr-band", "snrr").splitlines()
    teff = [line for line in shown if line.split()[0] == "teff"]
    for name in ("teff_pastel", "emulator + networks, stated", "emulator + networks, learned"):
        found = [line for line in teff if f" {name} " in line]
        assert found, name
        assert sum(int(line.split(name)[1].split()[0]) for line in found) > 5
    # Some may be extrapolations; those of all systems have a table by that, the last.
    (end,) = [i for i, line in enumerate(shown) if line.split()[0] == "label"][1:]
    widths = {
        name: [numbers(line.split(name)[1])[1] for line in shown[:end] if name in line]
        for name in ("stated", "learned")
    }
    assert min(widths["learned"]) > 0
    assert widths["learned"] != widths["stated"]
    assert sum(" others, > 10 " in line for line in shown[end:]) > 0


def test_survey_choice_judges_on_stars_that_had_no_part_in_the_choice(project, run):
    options = ["--set", "pastel", "--folds", 0, "--pairs", "0:0.9"]
    shown = run_tool(project, "survey_choice.py", run, *options, cwd=run.parent).splitlines()
    assert re.match(r"fold 0: chosen \((0|30)\.0, 0\.9", shown[0])
    row = re.compile(r" *FGK, S/N > 20 +(\d+) +(chosen|shipped) +(.*)")
    found = [match.groups() for match in map(row.match, shown) if match]
    assert [way for _, way, _ in found] == ["chosen", "shipped"]
    assert found[0][0] == found[1][0]
    assert int(found[0][0]) > 5
    for _, _, values in found:
        assert len(values.split()) == 4  # Teff and [Fe/H], robust sigma and mean absolute
        assert all(0 < float(value) < 3000 for value in values.split())


def test_line_widths_moves_labels_less_with_own_widths(project, run):
    shown = run_tool(project, "line_widths.py", run, "--emulator", "mastar", cwd=run.parent)
    kinds = [line.split()[0] for line in shown.splitlines()]
    assert {"widths", "shift", "widened"} <= set(kinds)
    moved: dict[str, list[float]] = {"library": [], "own": []}
    for line in shown.splitlines():
        words = line.split()
        if words[:2] == ["widened", "blue"] and words[2] in ("F", "G", "K"):
            moved[words[4]].append(abs(numbers(line)[0]))  # K
    assert len(moved["own"]) >= 2
    assert np.mean(moved["own"]) < np.mean(moved["library"])


def test_redshifts_are_found_again_in_the_simulated_spectra(project, run):
    emulator = run / "emulator/mastar_distilled.h5"
    shown = run_tool(project, "redshifts.py", run / "simulated" / "lamost", emulator)
    rows = {line[:16].strip(): line[16:].split() for line in shown.splitlines()}
    n, used, _, sigma, _, within_50 = map(float, rows["all"][:6])
    assert n > 100
    assert used > 0.9 * n
    assert sigma < 15  # km/s
    assert within_50 > 0.9


def test_error_pairs_finds_the_factor_better_from_more_pairs(project):
    rows = [
        line.split() for line in run_tool(project, "error_pairs.py", 200, 3000).splitlines()[1:]
    ]
    assert [int(row[0]) for row in rows] == [200, 3000]
    few, many = (float(row[2]) for row in rows)
    assert 0 < many < few


@pytest.fixture(scope="module")
def full_scale_run(run, tmp_path_factory):
    """The shared run as config/full_scale.yaml leaves one: prepared spectra, exact emulator."""
    folder = tmp_path_factory.mktemp("full_scale")
    for name in ("simulated", "library"):
        (folder / name).symlink_to(run / name)
    shutil.copytree(run / "emulator", folder / "emulator", copy_function=os.symlink)
    configuration = read_configuration(run.parent / "tiny.yaml")
    prepare = configuration.prepare.model_dump(mode="json", exclude={"keep"})
    settings = settings_of(prepare, None)
    trained = configuration.emulator.changed(process="exact")
    library = read_library(run / "library/mastar.h5")
    exact = build_emulator(library, settings[0].masked_regions, trained)
    write_emulator(exact, folder / "emulator/exact.h5", {})
    for name in TYPE_ORDER:
        rows = pq.read_table(run / f"survey/chunks/{name}/0000.parquet").to_pandas()
        rows["path"] = [str(run.parent / path) for path in rows["path"]]
        path = folder / f"prepared/{name}/0000.h5"
        path.parent.mkdir(parents=True)
        with atomic_hdf5(path) as handle:
            prepare_chunk(rows, handle, *settings, logging.getLogger("test"))
    return folder


def test_full_scale_prints_all_its_tables(project, full_scale_run):
    shown = run_tool(
        project,
        "full_scale.py",
        full_scale_run,
        "times",
        "accuracy",
        "pulls",
        "outliers",
        "--least",
        3,
    )
    tables = dict(re.findall(r"^## (\w+) .*\n((?:(?!## ).*\n?)*)", shown, re.MULTILINE))
    rows = {
        name: [line for line in text.splitlines() if line.startswith("| ")][1:]
        for name, text in tables.items()
    }
    assert set(rows) == {"times", "accuracy", "pulls", "outliers"}
    assert len(rows["times"]) == 9
    assert all(float(row.split("|")[2]) > 0 for row in rows["times"])
    for name in ("accuracy", "pulls"):
        assert {row.split()[1] for row in rows[name]} >= {"G", "K"}
        assert all(numbers(row) for row in rows[name])
    assert len(rows["outliers"]) == 4 * 4 * 2


# ---------------------------------------------------------------- that train networks


def test_network_variants_crossvalidates_a_training_set(project, run, tmp_path):
    """On the shared run's set of PASTEL; that of LASP needs the real files."""
    table = tmp_path / "variants.csv"
    options = ["--training", run / "training", "--set", "pastel", "--labels", "teff_pastel"]
    options += ["--folds", 2, "--epochs", 2, "--processes", 1, "--output", table]
    run_tool(project, "network_variants.py", "one_member", "as_published", *options, cwd=run.parent)
    found = pd.read_csv(table)
    assert set(found["variant"]) == {"one_member", "as_published"}
    assert set(found["label"]) == {"teff_pastel"}
    assert (found["robust_sigma"] >= 0).all()
    assert found["n"].sum() > 20
    # Other methods, other networks.
    a, b = (
        found[found["variant"] == name]["offset"].to_numpy()
        for name in ("one_member", "as_published")
    )
    assert np.all(a != b)


def test_time_training_trains_one_label_of_each_set(project, run):
    options = ["--stars", 30, "--epochs", 2, "--members", 1, "--label", "lgmwas=abs_mag_g_gaia"]
    lines = run_tool(project, "time_training.py", run, *options).splitlines()
    assert [line.split(":")[0] for line in lines] == ["pastel", "apogee", "lgmwas", "all 23"]
    assert all("30 stars, 1 members, 2 epochs" in line for line in lines[:3])


def test_identifiers_of_as_many_copies_as_may_be_are_whole_numbers_of_a_table(project, tmp_path):
    """With 2,063 copies most were beyond 64 bits: a survey took them for rounded, a join for no numbers."""
    largest = 6_917_528_997_577_384_320  # of Gaia's
    (text,) = copies.raised(pd.Series([str(largest)]), copies.MOST * copies.SOURCE_STEP)
    assert np.int64(int(text)) - largest == copies.MOST * copies.SOURCE_STEP
    command = [warm_python(), project / "tools/copies.py", "simulated", tmp_path / "x"]
    done = subprocess.run(
        [*command, str(copies.MOST + 1)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "copies has to be from 1 to 2300" in done.stderr
    assert not (tmp_path / "x").exists()


def test_copies_are_a_release_of_other_stars_in_the_same_files(project, run, tmp_path):
    target = tmp_path / "copies"
    run_tool(project, "copies.py", run / "simulated", target, 3)
    configuration = read_configuration(target / "copies.yaml")
    assert not configuration.simulation.enabled
    root = Path(configuration.survey.root)
    before, after = (
        pd.read_csv(folder / "catalogue.csv", sep="|", dtype=str, keep_default_na=False)
        for folder in (run / "simulated/lamost", root)
    )
    n = len(before)
    assert len(after) == 3 * n
    identified = before["obsid"].str.fullmatch(r"[1-9]\d*")
    assert after.loc[np.tile(identified, 3), "obsid"].nunique() == 3 * before["obsid"].nunique()
    # Gaia's identifiers are larger than a float can tell apart, and each copy's star has its row there.
    stars = read_catalogue(root / "catalogue.csv").column("gaia_source_id").to_numpy()
    gaia = pd.read_csv(target / "catalogs/gaia/gaia_edr3.csv", usecols=["source_id"])["source_id"]
    known = np.isin(stars[:n], gaia)
    assert known.any()
    assert np.isin(stars.reshape(3, n)[:, known], gaia).all()
    assert len(np.unique(stars[stars > 0])) == 3 * len(np.unique(stars[:n][stars[:n] > 0]))
    file = next(path for path in after["path"][2 * n :] if (root / path).is_file())
    copy = read_spectrum(root / file)
    original = read_spectrum(run / "simulated/lamost" / file.partition("/")[2])
    np.testing.assert_array_equal(copy.flux, original.flux)
    assert original.header.get("OBSID")
    assert copy.header.get("OBSID") is None


# ---------------------------------------------------------------- that run Snakemake


def test_at_scale_multiplies_a_run_and_does_its_rules(project, run, beside):
    target = beside / "target"
    options = ["--do", "photometry", "recommend", "--config", beside / "tiny.yaml"]
    options += ["--directory", beside]
    # It shows the memory of jobs, so that they have to be processes of their own.
    plain = {"python": sys.executable}
    shown = run_tool(project, "at_scale.py", run, target, "K=3", *options, **plain)
    once, thrice = (pd.read_parquet(folder / "photometry/K.parquet") for folder in (run, target))
    assert len(thrice) == 3 * len(once)
    # Each copy finds its own stars in the tables, at places of their own.
    assert (once["gaia_source_id"] >= 0).sum() > 100
    found = thrice["gaia_source_id"].to_numpy().reshape(3, -1)
    assert (np.diff(found, axis=0)[:, found[0] >= 0] == 10**12).all()
    for name in ("gaia_source_id", "mag_ks", "mag_w1"):
        known = thrice[name].notna().to_numpy().reshape(3, -1)
        assert (known == once[name].notna().to_numpy()).all()
    for wrong, said in (
        ("K=4", "is not of these types"),
        ("X=2", "is no type"),
        ("K=0", "is no type"),
    ):
        with pytest.raises(AssertionError, match=said):
            run_tool(project, "at_scale.py", run, target, wrong, *options, **plain)
    rows = [line.split() for line in shown.splitlines()]
    for rule in ("photometry", "recommend"):
        (row,) = (row for row in rows if row[:2] == [rule, "K"])
        assert float(row[3]) > 0
    with h5py.File(target / "recommended/K.h5") as handle:
        assert handle.keys() or handle.attrs.keys()


def test_at_scale_multiplies_finished_rows_for_what_reads_the_catalogue(project, run, beside):
    target = beside / "release"
    options = ["--stage", "catalog", "--do", "merge", "--config", beside / "tiny.yaml"]
    plain = {"python": sys.executable}
    shown = run_tool(
        project, "at_scale.py", run, target, "K=4", *options, "--directory", beside, **plain
    )
    before, after = (
        json.loads((folder / "catalog/accounting.json").read_text()) for folder in (run, target)
    )
    n = pq.read_metadata(target / "catalog/recommended.parquet").num_rows
    assert n == after["n_accepted"] > before["n_accepted"]
    assert after["n_in"] - before["n_in"] > 0
    (row,) = (line.split() for line in shown.splitlines() if line.startswith("merge "))
    assert row[1] == f"{n:,}"


def test_draw_costs_has_a_bar_for_each_rule(project, run, tmp_path):
    picture = tmp_path / "costs.png"
    shown = run_tool(project, "draw_costs.py", picture, run)
    cost = {line.split()[0]: float(line.split()[1]) for line in shown.splitlines()}
    assert {"prepare", "fit", "recommend", "merge"} <= set(cost)
    assert min(cost.values()) > 0
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_scaling_prepares_fits_and_predicts_anew(project, run, beside):
    options = ["--types", "K", "--cores", 1, "--sizes", 1000, "--directory", beside]
    shown = run_tool(project, "scaling.py", beside / "tiny.yaml", *options)
    n = len(pd.read_parquet(run / "survey/chunks/K/0000.parquet"))
    assert re.match(
        rf"chunks of +1000: +1 chunks, 1 cores: {n} spectra in +[\d.]+ s, +[\d.]+ spectra/s", shown
    )
    parts = re.findall(r"^ +(\w.*?) +([\d.]+) kB and +([\d.]+) files", shown, re.MULTILINE)
    assert [name for name, *_ in parts] == [
        "spectra of the release",
        "prepared",
        "fit",
        "predicted",
    ]
    assert all(float(size) > 0 and float(files) > 0 for _, size, files in parts)
    assert not list(beside.glob("scaling-*"))


def test_variants_runs_a_configuration_and_prints_its_comparisons(project, run, beside):
    """The shared run stands for the variant's, and only its comparisons are made anew."""
    results = beside / "results/variants/final"
    assert not results.exists()
    (beside / "results").unlink()
    shutil.copytree(
        run,
        results,
        copy_function=os.link,
        ignore=shutil.ignore_patterns("logs", "benchmarks", "validation", "simulated"),
    )
    for folder in (beside / "results", results):
        (folder / "simulated").symlink_to(run / "simulated")
    options = ["--config", beside / "tiny.yaml", "--directory", beside, "--cores", 1]
    options += ["--compare", "apogee:all", "--", "--rerun-triggers", "mtime"]
    lines = run_tool(project, "variants.py", "final", *options).splitlines()
    expected = pd.read_csv(run / "validation/comparisons.csv")
    expected = expected[(expected["dataset"] == "apogee") & (expected["subset"] == "all")]
    assert len(expected) > 0
    assert [line.split()[:4] for line in lines] == [
        ["final", "all", label, str(n)]
        for label, n in zip(expected["label"], expected["n"], strict=True)
    ]
