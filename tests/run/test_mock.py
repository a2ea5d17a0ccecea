"""A script is given by `mock_snakemake` what it is given in a run, and does the same with it."""

import base64
import json
import os
import shutil
import subprocess

import pytest
from warm_python import warm_python

from lamostvac.core.exceptions import UserError
from lamostvac.run.mock import mock_snakemake, run_script

JOBS = {
    "fit": {"type": "M", "chunk": "0000"},
    "collect": {"type": "G"},
    "train": {"label": "teff_pastel"},
    "survey": {},
}


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """A copy of the shared run, for jobs that write."""
    return shutil.copytree(run.parent, tmp_path_factory.mktemp("mock") / "run")


def recorded(folder, output):
    """What Snakemake wrote down of the job that made a file: its inputs, log, and params as `repr` in their order."""
    root = folder / ".snakemake/metadata"
    names = {}
    for path in (path for path in root.rglob("*") if path.is_file()):
        # Long names are cut into folders that begin with @.
        code = "".join(part.removeprefix("@") for part in path.relative_to(root).parts)
        names[base64.urlsafe_b64decode(code).decode()] = path
    return json.loads(names[output].read_text())


@pytest.mark.parametrize("rule", JOBS)
def test_a_script_is_given_what_the_run_gave_it(folder, rule):
    job = mock_snakemake(rule, folder / "tiny.yaml", folder=folder, **JOBS[rule])
    record = recorded(folder, job.output[0])
    assert job.rule == record["rule"] == rule
    assert dict(job.wildcards.items()) == JOBS[rule]
    assert sorted(job.input) == record["input"]
    assert list(job.log) == record["log"]
    # Snakemake writes no params down that follow from outputs, as where the prepared spectra are.
    given = [repr(value) for value in job.params]
    assert record["params"]
    assert set(record["params"]) <= set(given)
    first = (folder / job.log[0]).read_text().splitlines()[0]
    assert f"rule={rule} " in first
    asked = dict(part.split("=") for part in first.split("asked: ")[1].split())
    for name in asked.keys() - {"rule", "host", "threads"}:
        assert job.resources.get(name) == int(asked[name])
    assert job.threads == int(asked["threads"])


def test_a_script_run_by_it_writes_the_same_bytes(folder, run):
    name = "fit/M/0000.h5"
    made = folder / "results" / name
    shutil.rmtree(made.parent)
    command = [warm_python(), "-m", "lamostvac.run.mock", "fit", "type=M", "chunk=0000"]
    where = ["--configfile", str(folder / "tiny.yaml"), "--directory", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(run.parent)}
    subprocess.run([*command, *where], env=environment, check=True, cwd=folder)
    assert made.read_bytes() == (run / name).read_bytes()


def copy_settings(folder, target):
    """What the configuration of a run names, without its results."""
    shutil.copytree(folder / "config", target / "config")
    shutil.copy(folder / "training_sets.yaml", target)


def test_folders_of_outputs_are_made(folder, tmp_path):
    copy_settings(folder, tmp_path)
    job = mock_snakemake("simulate", folder / "tiny.yaml", folder=tmp_path)
    assert not (tmp_path / job.output.truth).exists()
    assert (tmp_path / job.output.truth).parent.is_dir()


@pytest.mark.parametrize(
    ("rule", "wildcards", "sentence"),
    [
        ("fitt", {}, "there is no rule fitt; there are all, "),
        ("fit", {"type": "M"}, "the wildcards of rule fit are: chunk, type"),
        ("survey", {"type": "M"}, "the wildcards of rule survey are: none"),
        ("all", {}, "rule all has no script"),
    ],
)
def test_a_job_that_there_is_not_is_named(folder, rule, wildcards, sentence):
    with pytest.raises(UserError, match=sentence):
        mock_snakemake(rule, folder / "tiny.yaml", folder=folder, **wildcards)


def test_inputs_that_the_survey_decides_need_the_survey(folder, tmp_path):
    copy_settings(folder, tmp_path)
    with pytest.raises(UserError, match="not known before the survey has run"):
        run_script("collect", folder / "tiny.yaml", folder=tmp_path, type="M")
