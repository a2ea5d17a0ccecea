"""The plan of a run: Snakemake's jobs and reasons, and what the model says of them."""

import math
import re
import subprocess

import pytest
import yaml
from warm_python import warm_python
from workflow_run import snakemake

from benchmarks.plan import make_survey, plan
from lamostvac.configuration.root import Configuration, read_configuration
from lamostvac.core.exceptions import UserError
from lamostvac.run.dry_run import Job, dry_run, job_of
from lamostvac.run.plan import (
    add_chunks,
    predict,
    reasons,
    summary,
    text,
    wall_seconds,
)
from lamostvac.run.resources import Asked, Cost, Model

pytestmark = pytest.mark.slow

MODEL = Model(
    {
        "survey": Cost({"base": 1}, {"base": 60}, written_mb={"base": 1}, jobs=1),
        "prepare": Cost({"base": 500}, {"spectra": 0.01}, written_mb={"spectra": 0.05}, jobs=1),
        "predict": Cost({"base": 500}, {"spectra*networks": 0.001}, jobs=1),
        "fit": Cost({"base": 500}, {"spectra": 0.02}, jobs=1),
        "emulator": Cost({"base": 500}, {"input_kb": 0.001}, jobs=1),
        "collect": Cost({"base": 500}, {"spectra": 0.001}, jobs=1),
    },
    Asked(1.5, 1000),
    Asked(3, 10),
    300,
)
CHANGED = (
    "Params have changed since last execution: Union of exclusive params before and now across all output: "
    "before: {'config_hash': '1a', 'library': 'mastar'},0.02 now: 0.123,{'config_hash': '2b', 'library': 'mastar'} "
)
RECORD = {
    "rule": "recommend",
    "wildcards": {"type": "G"},
    "reason": f"Input files updated by another job: results/collected/G.fits; {CHANGED}",
    "resources": {"runtime": 10, "spectra": 500, "mem_mb": 1000},
    "threads": 2,
    "input": ["results/collected/G.fits"],
    "output": ["results/recommended/G.fits", "results/recommended/G.h5"],
    "log": ["results/logs/recommended/G.log"],
}


def chain(*rules: str, spectra: int = 100) -> list[Job]:
    """Jobs of which each needs the one before."""
    names = ["start", *rules]
    return [
        Job(rule, {"type": "G"}, resources={"spectra": spectra}, inputs=(before,), outputs=(rule,))
        for before, rule in zip(names, rules, strict=False)
    ]


# ---------------------------------------------------------------- what Snakemake says


def test_the_cause_of_a_job_is_found_in_its_reasons():
    job = job_of(RECORD)
    assert (job.rule, job.type, job.reason, job.threads) == ("recommend", "G", "params changed", 2)
    assert job.detail == "before: 0.02 now: 0.123"
    assert job.resources == {"runtime": 10, "spectra": 500, "mem_mb": 1000}
    assert job.outputs == ("results/recommended/G.fits", "results/recommended/G.h5")
    assert job_of(RECORD | {"reason": "Something new: a"}).reason == "Something new"


WORKFLOW = """
rule all:
    input: "second, with a comma.txt"

checkpoint first:
    output: "{name}.txt", "{name}.csv"
    log: "{name}.log"
    wildcard_constraints: name="first"
    resources: spectra=500, mem_mb=1000, text="no number"
    threads: 2
    shell: "exit 1"

def lines(wildcards, input):
    return len(open(input[0]).readlines())

rule second:
    input: "first.txt"
    output: "second, with a comma.txt"
    resources: spectra=lines
    shell: "exit 1"
"""


def test_a_dry_run_gives_jobs_as_snakemake_knows_them(tmp_path):
    """Nothing of them is read from text: a comma in a name separates nothing."""
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    (tmp_path / "config.yaml").write_text("{}")
    where = (tmp_path / "config.yaml", (), tmp_path / "Snakefile", tmp_path)
    jobs = {job.rule: job for job in dry_run(*where)}
    assert set(jobs) == {"first", "second"}
    first, second = jobs["first"], jobs["second"]
    assert (first.wildcards, first.threads, first.reason) == (
        {"name": "first"},
        1,
        "output missing",
    )
    assert {name: first.resources[name] for name in ("spectra", "mem_mb")} == {
        "spectra": 500,
        "mem_mb": 1000,
    }
    assert "text" not in first.resources
    assert first.outputs == ("first.txt", "first.csv")
    assert (second.inputs, second.outputs) == (("first.txt",), ("second, with a comma.txt",))
    # Known only when its input is there.
    assert "spectra" not in second.resources
    (tmp_path / "first.csv").touch()
    (tmp_path / "first.txt").write_text("1\n2\n")
    (second,) = dry_run(*where)
    assert second.resources["spectra"] == 2


def test_a_dry_run_that_fails_says_what_snakemake_said(tmp_path):
    (tmp_path / "Snakefile").write_text("rule all:\n    input: 'nowhere.txt'\n")
    (tmp_path / "config.yaml").write_text("{}")
    with pytest.raises(UserError, match=r"the dry run failed: (.|\n)*nowhere\.txt"):
        dry_run(tmp_path / "config.yaml", (), tmp_path / "Snakefile", tmp_path)


def test_causes_come_before_what_follows_from_them():
    jobs = [Job("merge", reason="follows another job")] + [Job("fit", reason="params changed")] * 3
    assert [(reason, rule, count) for reason, rule, count, _ in reasons(jobs)] == [
        ("params changed", "fit", 3),
        ("follows another job", "merge", 1),
    ]


# ---------------------------------------------------------------- how long it takes


def test_jobs_in_a_row_take_their_sum_and_others_share_the_places():
    row = chain("prepare", "fit", "collect")
    assert wall_seconds(row, [1, 2, 3], 10) == 6
    apart = [Job("fit", outputs=(str(number),)) for number in range(5)]
    assert wall_seconds(apart, [10.0] * 5, 2) == 30
    assert wall_seconds(apart, [10.0] * 5, 5) == 10
    # What waits for all of them begins when the last has ended.
    last = Job("collect", inputs=tuple(str(number) for number in range(5)))
    assert wall_seconds([*apart, last], [10.0, 10, 10, 10, 50, 1], 5) == 51


def test_sums_are_those_of_the_jobs():
    jobs = [*chain("prepare", "fit"), Job("emulator")]
    predictions = [predict(job, MODEL, {}) for job in jobs]
    table = summary(jobs, predictions)
    assert table.loc["total", "core_hours"] == pytest.approx((1 + 2) / 3600)
    assert table.loc["prepare", "written_gb"] == pytest.approx(0.005)
    assert (table.loc["fit", "G"], table.loc["emulator", "other"]) == (1, 1)
    assert math.isnan(predictions[2].seconds)
    assert "Of unknown size, and not in these sums: emulator" in text(jobs, MODEL, {}, 1)
    assumed = {"emulator": {"input_kb": 3_600_000}}
    assert predict(jobs[2], MODEL, assumed).seconds == pytest.approx(3600)
    assert "Assumed to be of full size, as their input is not there yet: emulator" in text(
        jobs, MODEL, assumed, 1
    )


def test_nothing_to_do():
    assert text([], MODEL, {}, 1) == "Nothing to be done."


def test_before_the_survey_a_number_of_spectra_makes_the_chunks():
    configuration = Configuration.model_validate(
        {"survey": {"types": ["G", "K"], "chunk_size": 1000}, "grouped": {"run": False}}
    )
    survey = Job("survey", outputs=("manifest",))
    collect = [
        Job("collect", {"type": name}, resources={"spectra": 1000}, inputs=("manifest",))
        for name in "GK"
    ]
    jobs = add_chunks([survey, *collect], configuration, 10_000, networks=3)
    table = summary(jobs, [predict(job, MODEL, {"emulator": {"input_kb": 1000}}) for job in jobs])
    # G has 40 % of 10,000 spectra, K 15 %.
    assert list(table.loc["fit", ["jobs", "G", "K"]]) == [6, 4, 2]
    assert table.loc["prepare", "spectra"] == 5500
    assert table.loc["predict", "core_hours"] == pytest.approx(5500 * 3 * 0.001 / 3600)
    assert table.loc["collect", "core_hours"] == pytest.approx(5.5 / 3600)
    assert table.loc["emulator", "jobs"] == 1
    # Survey, then prepare, the longest fit, collect: however many places there are.
    seconds = [predict(job, MODEL, {"emulator": {"input_kb": 1000}}).seconds for job in jobs]
    assert wall_seconds(jobs, seconds, 1000) == pytest.approx(60 + 10 + 20 + 4)


# ---------------------------------------------------------------- of real workflows


def test_every_chunk_adds_five_jobs_and_nothing_else_grows(project, tmp_path):
    """prepare, the search, both fits and predict are per chunk; the rest is per type, set, label or run."""
    small, large = (plan(project, tmp_path / str(n), n) for n in (600_000, 1_200_000))
    assert large[3] > small[3] > 6
    assert large[2] - small[2] == 5 * (large[3] - small[3])


def run_plan(project, folder, configfile, *arguments):
    """What the command of that copy of the project prints."""
    command = [warm_python(), "-m", "lamostvac.cli", "plan", "--config", str(configfile)]
    command += ["--directory", str(folder), *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_plan_of_a_release_knows_its_spectra(project, tmp_path):
    configuration = read_configuration(project / "config/lamost_dr10.yaml")
    n_chunks = make_survey(tmp_path, configuration, 300_000)
    table = tmp_path / "plan.csv"
    shown = run_plan(
        project, tmp_path, "config/lamost_dr10.yaml", "--csv", str(table), "--jobs", "20"
    )
    rows = {line.split(",")[0]: line.split(",") for line in table.read_text().splitlines()}
    assert float(rows["fit"][1]) == n_chunks
    assert float(rows["fit"][9]) == 300_000
    assert (
        float(re.search(r"About ([\d.,]+) core-hours; with 20 jobs", shown)[1].replace(",", "")) > 0
    )
    assert "Of unknown size" not in shown


def test_a_changed_threshold_is_named_and_the_jobs_are_snakemakes(project, run):
    """In the shared run nothing is to be done; with another flag threshold the catalogue is, and no fit."""
    folder = run.parent
    assert "Nothing to be done." in run_plan(folder, folder, "tiny.yaml")
    settings = yaml.safe_load((folder / "tiny.yaml").read_text())
    (folder / "changed.yaml").write_text(
        yaml.safe_dump(settings | {"catalog": {"outlier_flag_fraction": 0.123}}, sort_keys=False)
    )
    shown = run_plan(folder, folder, "changed.yaml")
    assert re.search(r"params changed +recommend +6 jobs: before: 0\.02 now: 0\.123", shown)
    said = snakemake(
        folder, "--dry-run", "--cores", "1", "--config", "catalog={outlier_flag_fraction: 0.123}"
    )
    counts = dict(re.findall(r"^(\w+) +(\d+)$", said.split("Job stats:")[1], re.MULTILINE))
    rows = dict(re.findall(r"^(\w+) +(\d+) ", shown.split("What:")[1], re.MULTILINE))
    # Snakemake also counts `all`, which is no work.
    assert {name: int(n) for name, n in rows.items() if name != "total"} == {
        name: int(n) for name, n in counts.items() if name not in ("all", "total")
    }
    assert "fit" not in rows
    assert "survey" not in rows
