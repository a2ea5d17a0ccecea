"""A release that grows, settings that change, files that are touched or moved: what runs again, and what is kept.

One run on a release from outside (not simulated by the workflow), which the tests copy and change.
"""

import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import h5py
import pandas as pd
import pytest
import yaml
from claims import some
from command import lamostvac
from disturbed_run import Recovery, Started, temporaries
from workflow_run import copy_project, same_files, snakemake

from lamostvac.core.atomic import remove_temporaries

pytestmark = pytest.mark.slow

TYPES = ("K", "M")
NEW = 58_000  # plates from this lmjd on are new in the grown release
CATALOGUE = ("recommended.fits", "recommended.parquet", "rejected.csv", "accounting.json")
LIBRARY = "release/mastar/mastar-goodspec-v3_1_1-v1_7_7.fits.gz"
CONFIGURATION = {
    "simulation": {"enabled": False},
    "survey": {
        "root": "release/lamost",
        "catalogues": ["catalogue.csv"],
        "types": list(TYPES),
        "chunk_size": 40,
    },
    "library": {
        "spectra": LIBRARY,
        "labels_file": "release/mastar/mastar-goodvisits-v3_1_1-v1_7_7-params-v2.fits",
    },
    "emulator": {"folds": 2},
    "networks": {
        "training_sets": "training_sets.yaml",
        "root": "release/catalogs",
        "pretrained": "pretrained",
        "members": 2,
        "epochs": 6,
        "input_components": 20,
    },
    # Few points: what hangs on the search is said of its code in tests/grouped.
    "grouped": {"random_points": 4, "patience": 2, "max_iterations": 4},
    "validation": {"enabled": False},
    "explorer": {"enabled": False},
    "publication": {"cds": False, "votable": False, "hats": False},
}


def counts(output: str) -> Counter[str]:
    """Jobs by rule in what Snakemake wrote, in a run or a dry run."""
    found = Counter(re.findall(r"^ *(?:local)?(?:rule|checkpoint) (\w+):", output, re.MULTILINE))
    del found["all"]
    return found


def manifest(folder: Path) -> dict[tuple[str, str], str]:
    table = pd.read_csv(folder / "results/survey/manifest.csv", dtype=str, keep_default_na=False)
    return {(row.type, row.chunk): row.digest for row in table.itertuples()}


def sizes(folder: Path) -> list[int]:
    """Numbers of spectra of the chunks."""
    return pd.read_csv(folder / "results/survey/manifest.csv")["n_spectra"].tolist()


def state(folder: Path, pattern: str) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of files of the results."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (folder / "results").glob(pattern)
    }


def set_up(project: Path, run: Path, folder: Path, rows) -> Path:
    """A folder with a release of some rows of the simulated one, and networks of that run."""
    copy_project(project, folder)
    shutil.copytree(run / "simulated", folder / "release")
    (folder / "pretrained").mkdir()
    for path in (run / "networks").glob("*.h5"):
        shutil.copy(path, folder / "pretrained")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIGURATION))
    select(folder, run, rows)
    return folder


def select(folder: Path, run: Path, rows) -> None:
    """Let the release list the rows of the simulated catalogue for which `rows(lmjd)` holds."""
    text = (run / "simulated/lamost/catalogue.csv").read_text().splitlines()
    column = text[0].split("|").index("lmjd")
    kept = [line for line in text[1:] if rows(int(line.split("|")[column]))]
    (folder / "release/lamost/catalogue.csv").write_text("\n".join([text[0], *kept]) + "\n")


def configure(folder: Path, changes: dict) -> None:
    settings = yaml.safe_load((folder / "tiny.yaml").read_text())
    for section, values in changes.items():
        settings[section] = {**settings.get(section, {}), **values}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings))


@pytest.fixture(scope="module")
def old(project, run, tmp_path_factory) -> Path:
    """A complete run on the release before it grew; tests work on copies."""
    folder = set_up(
        project, run, tmp_path_factory.mktemp("growing") / "old", lambda lmjd: lmjd < NEW
    )
    snakemake(folder, "--cores", "2")
    return folder


@pytest.fixture(scope="module")
def whole(project, run, tmp_path_factory) -> Path:
    """A run on the grown release from nothing."""
    folder = set_up(project, run, tmp_path_factory.mktemp("growing") / "whole", lambda lmjd: True)
    snakemake(folder, "--cores", "2")
    return folder


@pytest.fixture
def copy(old, tmp_path) -> Path:
    """The first run in another folder, all times kept."""
    shutil.copytree(old, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


# ---------------------------------------------------------------- a release that changes under the run

RESULTS = (
    *("collected/*", "errors/*", "recommended/*.fits", "photometry/*", "distance/*"),
    *("catalog/*", "survey/*.csv", "fit/*/*.h5", "predicted/*/*.h5"),
)


def results_of(folder: Path) -> dict[str, bytes]:
    """Bytes of what every rule below the survey made."""
    found = {}
    for pattern in RESULTS:
        paths = some((folder / "results").glob(pattern))
        found |= {
            str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()
        }
    return found


def listed(folder: Path, run: Path, left_out: set[int]) -> None:
    """Let the release list all rows of the simulated catalogue but some, by number."""
    text = (run / "simulated/lamost/catalogue.csv").read_text().splitlines()
    kept = [line for number, line in enumerate(text[1:]) if number not in left_out]
    (folder / "release/lamost/catalogue.csv").write_text("\n".join([text[0], *kept]) + "\n")


def swapped(run: Path) -> set[int]:
    """Rows to leave out of the whole release for that before it grew, but one K star for one that is new."""
    text = (run / "simulated/lamost/catalogue.csv").read_text().splitlines()
    names, rows = text[0].split("|"), [line.split("|") for line in text[1:]]
    parts = [names.index(name) for name in ("lmjd", "planid", "spid", "fiberid")]
    accepted = pd.read_parquet(run / "catalog/recommended.parquet").set_index("spectral_type")
    k_stars = set(accepted.loc["K", "spectrum_id"])
    of_k = [n for n, row in enumerate(rows) if "-".join(row[part] for part in parts) in k_stars]
    new = {n for n, row in enumerate(rows) if int(row[parts[0]]) >= NEW}
    return new - {next(n for n in of_k if n in new)} | {next(n for n in of_k if n not in new)}


def test_a_release_and_settings_that_change_between_runs_give_what_a_run_from_nothing_gives(
    project, run, whole, copy, tmp_path
):
    """With as many rows as before, and with other many: nothing runs on what the survey has made old."""
    left_out = swapped(run)
    changes = {"photometry": {"repeat_radius": 2.0}, "star_pairs": {"max_ebv": 2.0}}
    before, n_before, configuration = manifest(copy), sizes(copy), (copy / "tiny.yaml").read_text()
    listed(copy, run, left_out)
    configure(copy, changes)
    snakemake(copy, "type_K", "--cores", "2")
    after = manifest(copy)
    assert (after.keys(), sizes(copy)) == (before.keys(), n_before)
    assert after != before
    fresh = set_up(project, run, tmp_path / "fresh", lambda lmjd: True)
    listed(fresh, run, left_out)
    configure(fresh, changes)
    snakemake(fresh, "type_K", "--cores", "2")
    assert_as_from_nothing(copy, fresh)
    # The whole release with the settings of the start: what the run `whole` has made from nothing.
    select(copy, run, lambda lmjd: True)
    (copy / "tiny.yaml").write_text(configuration)
    snakemake(copy, "--cores", "2")
    assert sizes(copy) != n_before
    assert_as_from_nothing(copy, whole)


def assert_as_from_nothing(folder: Path, fresh: Path) -> None:
    found, expected = results_of(folder), results_of(fresh)
    # Chunks that the release has no more leave their files behind, which nothing reads.
    assert set(expected) <= set(found)
    assert [name for name in expected if found[name] != expected[name]] == []


# ---------------------------------------------------------------- a release that grows


def test_new_plates_alone_are_prepared_and_fitted(run, whole, copy):
    before, digests = state(copy, "fit/*/*.h5"), manifest(copy)
    select(copy, run, lambda lmjd: True)
    done = counts(snakemake(copy, "--cores", "2"))
    after = manifest(copy)
    new = {chunk for chunk, digest in after.items() if digests.get(chunk) != digest}
    kept = set(after) - new
    assert kept
    assert new
    assert done["survey"] == 1
    for rule in ("prepare", "fit", "predict"):
        assert done[rule] == len(new), rule
    assert done["emulator"] == done["library"] == done["crossvalidation"] == 0
    now = state(copy, "fit/*/*.h5")
    for kind, chunk in kept:
        name = f"results/fit/{kind}/{chunk}.h5"
        assert now[name] == before[name]
    assert manifest(whole) == after
    same_files(whole / "results", copy / "results", CATALOGUE)


def test_one_type_and_then_the_others_are_the_catalogue_made_in_one_go_also_when_it_was_killed(
    project, run, whole, tmp_path
):
    """SIGKILL for Snakemake and its jobs, as when the machine goes down; then the same command, then all types."""
    folder = set_up(project, run, tmp_path / "run", lambda lmjd: True)
    type_m = ("type_M", "--cores", "2", "--rerun-incomplete")
    with Started(folder, *type_m) as started:
        started.until(lambda: list(folder.glob("results/fit/M/[0-9]*.h5")), 600)
        os.killpg(started.process.pid, signal.SIGKILL)
        plan = started.end()
    assert not (folder / "results/catalog/M.fits").exists()
    # Snakemake cannot know that the other run is dead, and says what to do.
    assert "--unlock" in snakemake(folder, *type_m, code=1)
    snakemake(folder, *type_m, "--unlock")
    remove_temporaries(folder / "results")
    fault = ("kill -9 of workflow and jobs", "at the first fit of a run from nothing")
    with Recovery(*fault, folder / "results"):
        plan += snakemake(folder, *type_m)
    assert temporaries(folder / "results") == []
    inputs = re.findall(r"^ +input: (.*)$", plan, re.MULTILINE)
    assert not any(re.search(r"/K[/._]|/K$", line) for line in inputs)
    made = {
        path.relative_to(folder / "results").parts[0] for path in (folder / "results").rglob("K*")
    }
    assert made <= {"survey"}
    before = {
        name: content
        for folder_name in (
            "prepared",
            "fit",
            "predicted",
            "collected",
            "errors",
            "recommended",
            "catalog",
        )
        for name, content in state(folder, f"{folder_name}/M*/**/*").items()
        if content
    } | state(folder, "catalog/M.fits")
    assert before
    rest = snakemake(folder, "--cores", "2")
    assert not re.search(r"wildcards: .*type=M", rest)
    for name, (content, modified) in before.items():
        assert ((folder / name).read_bytes(), (folder / name).stat().st_mtime_ns) == (
            content,
            modified,
        )
    same_files(whole / "results", folder / "results", CATALOGUE)


# ---------------------------------------------------------------- a network that changes


def test_a_changed_network_runs_alone(copy):
    fits, prepared = state(copy, "fit/*/*.h5"), state(copy, "prepared/*/*_meta.h5")
    parts = {path: h5py.File(path) for path in (copy / "results/predicted").rglob("*_parts.h5")}
    before = {
        path: {
            f"{label}/{name}": data[()].tobytes()
            for label in file
            for name, data in file[label].items()
        }
        for path, file in parts.items()
    }
    for file in parts.values():
        file.close()
    with h5py.File(copy / "pretrained/feh_pastel.h5", "r+") as handle:
        names: list[str] = []
        handle.visit(names.append)
        bias = sorted(name for name in names if re.search("bias", name))[-1]
        handle[bias][...] = handle[bias][()] + 0.1
    done = counts(snakemake(copy, "--cores", "2"))
    assert done["predict"] == len(fits)
    assert not {"prepare", "fit", "train", "survey", "emulator"} & set(done)
    assert state(copy, "fit/*/*.h5") == fits
    assert state(copy, "prepared/*/*_meta.h5") == prepared
    changed = set()
    for path, old_parts in before.items():
        with h5py.File(path) as file:
            changed |= {
                name for name, content in old_parts.items() if file[name][()].tobytes() != content
            }
    assert "feh_pastel/feh_pastel" in changed
    assert {name.split("/")[0] for name in changed} == {"feh_pastel"}
    for path in some((copy / "results/logs/predict").rglob("*.log")):
        assert "1 of them new: feh_pastel" in path.read_text()
    # The same as all networks on all spectra.
    here = state(copy, "predicted/*/*.h5")
    shutil.rmtree(copy / "results/predicted")
    snakemake(copy, "--cores", "2", "--until", "predict", "--forcerun", "predict")
    assert {name: content for name, (content, _) in state(copy, "predicted/*/*.h5").items()} == {
        name: content for name, (content, _) in here.items()
    }


def trained(folder: Path) -> set[str]:
    """Labels whose network was trained in the last run, by their logs."""
    logs = {path.stem: path.read_text() for path in (folder / "results/logs/train").glob("*.log")}
    return {label for label, text in logs.items() if "its network is kept" not in text}


@pytest.mark.parametrize(
    ("change", "jobs"),
    [({"range": [-1.9, 0.4]}, {"feh_pastel"}), ({"cuts": [{"cut": "teff < 7000"}]}, None)],
    ids=["how it is learned", "a cut of the label"],
)
def test_a_label_that_is_trained_anew_leaves_the_others(run, tmp_path, change, jobs):
    folder = tmp_path / "copy"
    shutil.copytree(run.parent, folder, symlinks=True)
    sets = yaml.safe_load((folder / "training_sets.yaml").read_text())
    for entry in sets["training_sets"]:
        for label in entry["labels"]:
            if label["name"] == "feh_pastel":
                label.update(change)
    (folder / "training_sets.yaml").write_text(yaml.safe_dump(sets, sort_keys=False))
    fits, networks = state(folder, "fit*/*/*.h5"), state(folder, "networks/*.h5")
    started = time.time()
    done = counts(snakemake(folder, "--cores", "2", "--until", "predict"))
    assert not {"prepare", "fit", "fit_imig", "survey", "emulator", "library"} & set(done)
    assert state(folder, "fit*/*/*.h5") == fits
    new = {
        path.stem
        for path in (folder / "results/logs/train").glob("*.log")
        if path.stat().st_mtime > started
    }
    assert jobs is None or new == jobs
    assert "feh_pastel" in new
    assert new & trained(folder) == {"feh_pastel"}
    now = state(folder, "networks/*.h5")
    differ = {Path(name).stem for name in now if now[name][0] != networks[name][0]}
    assert differ == {"feh_pastel"}
    assert done["predict"] == len(list((folder / "results").glob("predicted/*/*_parts.h5")))
    for path in some((folder / "results/logs/predict").rglob("*.log")):
        assert "1 of them new: feh_pastel" in path.read_text()
    # From nothing it is the same; the other networks are those that the shared run made from nothing.
    chunks = [f"results/predicted/{kind}/0000.h5" for kind in TYPES]
    here = {name: (folder / name).read_bytes() for name in chunks}
    for path in some((folder / "results/networks").rglob("*feh_pastel*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(folder / "results/predicted")
    done = counts(snakemake(folder, "--cores", "2", *chunks))
    assert (done["train"], done["predict"]) == (1, len(chunks))
    assert "its network is kept" not in (folder / "results/logs/train/feh_pastel.log").read_text()
    assert {name: (folder / name).read_bytes() for name in chunks} == here


def test_a_spectrum_that_changed_since_is_told_when_it_is_prepared_again(copy):
    meta = sorted((copy / "results/prepared/M").glob("*_meta.h5"))[0]
    with h5py.File(meta) as handle:
        name, spectrum = handle["meta/path"][0].decode(), handle["meta/spectrum_id"][0].decode()
    (copy / name).unlink()
    chunk = meta.name.removesuffix("_meta.h5")
    fit = copy / f"results/fit/M/{chunk}.h5"
    fit.unlink()
    snakemake(copy, "--cores", "1", str(fit.relative_to(copy)), code=1)
    log = (copy / f"results/logs/fit/M/{chunk}.log").read_text()
    assert "are not what they were when they were prepared; run again with --forcerun" in log
    assert "Traceback" not in log
    # As the sentence says: the spectrum is then among the rejected, and the run complete.
    done = counts(snakemake(copy, "--cores", "2", "--forcerun", str(meta.relative_to(copy))))
    assert (done["prepare"], done["fit"], done["predict"]) == (1, 1, 1)
    rejected = pd.read_csv(copy / "results/catalog/rejected.csv")
    assert rejected.loc[rejected["spectrum_id"] == spectrum, "stage"].tolist() == ["prepare"]


def test_networks_that_were_trained_on_other_spectra_stop_the_run_before_its_first_job(copy):
    """With another median filter their labels would be wrong by hundreds of K, in a catalogue that looks right."""
    results = state(copy, "**/*.h5")
    configure(copy, {"networks": {"median_window": 41}})
    said = snakemake(copy, "--cores", "1", code=1)
    assert "was trained on spectra with networks.median_window 21, this run has 41" in said
    assert not re.search(r"^Finished jobid", said, re.MULTILINE)
    assert state(copy, "**/*.h5") == results


# ---------------------------------------------------------------- times, places, cores


def test_touched_files_and_another_number_of_cores_run_nothing(copy):
    for path in sorted(copy.glob("release/**/*")):
        os.utime(path)
    for path in (copy / "pretrained").iterdir():
        os.utime(path)
    for path in copy.glob("results/survey/chunks/**/*.parquet"):
        os.utime(path)
    assert "Nothing to be done" in snakemake(copy, "--cores", "1")


@pytest.mark.parametrize(
    "name", ["release/lamost/catalogue.csv", LIBRARY, "pretrained/feh_pastel.h5"]
)
def test_a_changed_input_runs_what_follows_from_it_whatever_its_time(copy, name):
    path = copy / name
    modified = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes() + b"\n")
    os.utime(path, ns=(modified - 10**9, modified - 10**9))
    done = counts(snakemake(copy, "--cores", "1", "--dry-run"))
    first = {"catalogue.csv": "survey", "feh_pastel.h5": "predict"}.get(path.name, "library")
    assert done[first]


def test_a_copy_that_lost_its_times_runs_nothing_once_they_are_restored(copy, tmp_path):
    moved = tmp_path / "elsewhere/run"
    moved.parent.mkdir()
    shutil.move(copy, moved)
    files = [path for path in moved.rglob("*") if path.is_file()]
    random.Random(1).shuffle(files)
    # The fits before what they were made from; the survey after all, since a dry run ends where it would run.
    files.sort(key=lambda path: ("survey" in path.parts) - ("fit" in path.parts))
    now = time.time_ns()
    for number, path in enumerate(files):
        os.utime(path, ns=(now + number * 1000, now + number * 1000))
    # Files beyond the size up to which Snakemake compares contents, as all are in a survey of millions.
    large = ("--max-checksum-file-size", "0")
    assert counts(snakemake(moved, "--cores", "1", "--dry-run", *large))["fit"]
    assert "in the order in which they were made" in lamostvac("restore-times", str(moved))
    assert "Nothing to be done" in snakemake(moved, "--cores", "1", *large)


# ---------------------------------------------------------------- settings

# The headers of the catalogue have a hash of all settings.
HEADER = {
    "catalog",
    "merge",
    "internal_errors",
    "main_table",
    "published",
    "metal_poor",
    "provenance",
}
FLAGS = HEADER | {"recommend", "distance"}
ROWS = FLAGS | {"collect", "errors", "photometry"}
# What reads a chunk after the fit follows it; the networks' part is kept, and short.
FITS = ROWS | {"fit", "search_chunk", "predict"}
KEYS = [
    ({"catalog": {"snr_flag_threshold": {"M": 33}}}, FLAGS),
    ({"recommended": {"disagreement": 4.4}}, FLAGS),
    ({"errors": {"emulator": "published"}}, FLAGS | {"errors"}),
    ({"recommended": {"definitions": "other.yaml"}}, FLAGS),
    ({"distance": {"r0": 8.3}}, HEADER | {"distance"}),
    ({"fit": {"outlier_sigma": 7.5}}, FITS | {"crossvalidation"}),
    ({"emulator": {"variance": 0.98}}, FITS | {"emulator", "crossvalidation"}),
    ({"emulator": {"folds": 3}}, FLAGS | {"errors", "crossvalidation"}),
    ({"publication": {"votable": True}}, {"votable"}),
    ({"explorer": {"enabled": True}}, {"explorer"}),
    ({"run": {"seed": 7}}, ROWS | {"crossvalidation", "search_chunk", "predict"}),
]


@pytest.mark.parametrize(("change", "expected"), KEYS, ids=[str(change) for change, _ in KEYS])
def test_a_changed_setting_runs_the_stages_that_depend_on_it(copy, change, expected):
    text = (copy / "config/recommended.yaml").read_text()
    (copy / "other.yaml").write_text(text.replace("prior: 150", "prior: 140"))
    configure(copy, change)
    done = counts(snakemake(copy, "--cores", "1", "--dry-run"))
    assert set(done) == expected
