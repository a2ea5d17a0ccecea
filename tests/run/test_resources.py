"""What jobs ask for: one measured table, its arithmetic, and its measurement."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from run_files import write_job

from lamostvac.core.exceptions import UserError
from lamostvac.run.job_records import read_account
from lamostvac.run.resources import (
    Asked,
    Cost,
    Model,
    evaluate,
    load_model,
    memory_mb,
    runtime_minutes,
)
from tools import measure_resources as measure

COSTS = {
    "fit": Cost({"base": 400, "spectra": 0.05}, {"base": 20, "spectra": 0.5}, jobs=5),
    "predict": Cost({"base": 1000}, {"base": 10, "spectra*networks": 0.01}, jobs=5),
    "guess": Cost({"base": 5000}, {"base": 7200}),
}
REST = (Asked(1.5, 1000), Asked(3.0, 10), 300)
MODEL = Model(COSTS, *REST)
MASTAR_KB = 761_057  # the library of config/full_scale.yaml, 19,365 spectra


def rule_amounts(project: Path) -> dict[str, set[str]]:
    """The rules of the workflow and the names of the amounts that they give to `asks`."""
    found = {}
    for path in (project / "rules").glob("*.smk"):
        for block in re.findall(
            r"\*\*asks\((.*?)\),\n\s+(?:params|script|conda)", path.read_text(), re.DOTALL
        ):
            found[re.match(r'\s*"(\w+)"', block)[1]] = set(re.findall(r"(\w+)=", block))
    return found


# ---------------------------------------------------------------- what is asked for


def test_terms_are_products_of_amounts():
    terms = {"base": 2.0, "spectra": 0.5, "spectra*networks": 0.1, "kb*kb": 3.0}
    assert evaluate(terms, {"spectra": 10, "networks": 4, "kb": 2}) == pytest.approx(2 + 5 + 4 + 12)


def test_an_amount_that_is_missing_is_named():
    with pytest.raises(UserError, match=r"spectra\*networks needs networks"):
        evaluate({"spectra*networks": 1.0}, {"spectra": 3})


def test_a_job_asks_for_more_than_it_is_expected_to_take():
    assert MODEL.memory_mb("fit", spectra=20_000) == 300 + 1.5 * 1400
    assert MODEL.runtime_minutes("fit", spectra=20_000) == np.ceil(3 * 10_020 / 60)


def test_a_small_job_asks_for_the_floor():
    assert MODEL.memory_mb("fit", spectra=1) == 1000
    assert MODEL.runtime_minutes("fit", spectra=1) == 10


def test_a_repeated_job_asks_for_more_up_to_the_limit():
    asked = [MODEL.memory_mb("fit", attempt, spectra=20_000) for attempt in (1, 2, 3)]
    assert asked == [2400, 4800, 7200]
    assert MODEL.memory_mb("fit", 3, limit=6000, spectra=20_000) == 6000
    assert MODEL.runtime_minutes("fit", 2, limit=240, spectra=20_000) == 240


def test_a_guess_is_asked_for_as_it_stands():
    assert MODEL.memory_mb("guess") == 5000
    assert MODEL.runtime_minutes("guess") == 120
    half = Model(
        {"fit": Cost({"base": 4000}, {"base": 6000}, jobs=3, guess=frozenset({"memory_mb"}))}, *REST
    )
    assert (half.memory_mb("fit"), half.runtime_minutes("fit")) == (4000, 300)


def test_a_rule_without_costs_is_named():
    with pytest.raises(UserError, match="no rule fitt"):
        MODEL.memory_mb("fitt")


def test_a_table_that_is_none_is_refused(tmp_path):
    path = tmp_path / "resources.yaml"
    path.write_text("rules: {fit: {memory: {base: 1}}}\n")
    with pytest.raises(UserError, match="fit has memory"):
        load_model(path)
    path.write_text("rules: 5\n")
    load_model.cache_clear()
    with pytest.raises(UserError, match="not complete"):
        load_model(path)


# ---------------------------------------------------------------- the table and the rules


def test_every_rule_asks_by_the_table_and_gives_what_its_terms_need(project):
    rules, model = rule_amounts(project), load_model()
    named = {
        name
        for path in (project / "rules").glob("*.smk")
        for name in re.findall(r"^\s*(?:rule|checkpoint) (\w+):$", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 40
    assert named - {"experiments"} <= set(rules)
    for rule, amounts in rules.items():
        cost = model.cost(rule)
        for terms in (cost.memory_mb, cost.seconds, cost.read_mb, cost.written_mb):
            needed = {amount for term in terms if term != "base" for amount in term.split("*")}
            assert needed <= amounts, (rule, needed - amounts)


def test_no_rule_has_memory_or_time_of_its_own(project):
    paths = [path for path in (project / "rules").glob("*.smk") if path.name != "common.smk"]
    assert len(paths) > 10
    for path in paths:
        assert not re.search(r"^\s+(mem_mb|runtime)\s*=", path.read_text(), re.MULTILINE), path


def test_jobs_of_full_size_fit_into_four_hours_on_one_core(project):
    full = {"input_kb": MASTAR_KB, "folds": 10}
    for rule in ("emulator", "crossvalidation"):
        assert load_model().cost(rule).jobs > 0
        assert 10 <= runtime_minutes(rule, **full) <= 240
        # The measured peaks at this size were 2,580 and 2,270 MB.
        assert 2600 < memory_mb(rule, **full) < 12_000
    assert not re.search(
        r"^\s+threads:", (project / "rules/emulator.smk").read_text(), re.MULTILINE
    )
    for rule in ("prepare", "fit", "predict"):
        assert runtime_minutes(rule, spectra=20_000, networks=120) <= 240
        assert memory_mb(rule, spectra=20_000, networks=120) < 8000


# ---------------------------------------------------------------- measuring


def invented_runs(root: Path, noise: float = 0.0) -> list[Path]:
    """Runs of fit jobs that took 3 + 0.02 n seconds and 350 + 0.04 n MB, n the spectra."""
    rng, folders = np.random.default_rng(5), []
    for run, sizes in enumerate(([50, 60, 40], [200, 180], [1000, 2000])):
        folders.append(root / f"run{run}")
        for number, n in enumerate(sizes):
            factor = 1 + noise * rng.uniform(-1, 1)
            used = {
                "seconds": 99,
                "cpu_seconds": (3 + 0.02 * n) * factor,
                "memory_mb": (350 + 0.04 * n) * factor,
            }
            used |= {"read_mb": 20 + 0.05 * n, "written_mb": 0.001 * n}
            write_job(
                folders[-1],
                "fit",
                f"G/{number:04d}",
                1000.0,
                1010.0,
                asked={"spectra": n, "mem_mb": 1},
                used=used,
            )
    return folders


def test_the_model_that_jobs_follow_is_found(tmp_path):
    jobs = measure.measured(invented_runs(tmp_path))
    table = measure.table(jobs)["fit"]
    assert table["jobs"] == 7
    assert table["seconds"] == pytest.approx({"base": 3, "spectra": 0.02}, rel=1e-3)
    assert table["memory_mb"] == pytest.approx({"base": 350, "spectra": 0.04}, rel=1e-3)
    assert table["read_mb"] == pytest.approx({"base": 20, "spectra": 0.05}, rel=1e-3)
    errors = measure.errors(jobs, measure.points([]))
    assert errors.loc["total", "other_runs"] == pytest.approx(1, abs=0.01)


def test_with_scatter_the_slope_stays_and_no_job_is_above_the_memory(tmp_path):
    jobs = measure.measured(invented_runs(tmp_path, noise=0.1))
    table = measure.table(jobs)["fit"]
    assert table["seconds"]["spectra"] == pytest.approx(0.02, rel=0.15)
    for amounts, value in zip(jobs["amounts"], jobs["memory_mb"], strict=True):
        assert evaluate(table["memory_mb"], amounts) >= value * (
            1 - 1e-3
        )  # four digits are written


def test_forked_jobs_are_not_measured(tmp_path):
    folders = invented_runs(tmp_path)
    jobs = measure.measured(folders)
    log = next((folders[0] / "logs").rglob("*.log"))
    log.write_text(log.read_text().rstrip("\n") + " forked=1.000\n")
    assert len(measure.measured(folders)) == len(jobs) - 1


def test_a_large_job_measured_elsewhere_holds_the_line(tmp_path):
    also = measure.points(
        [
            {
                "rule": "fit",
                "amounts": {"spectra": 1_000_000},
                "seconds": 24_000.0,
                "memory_mb": 90_000.0,
            }
        ]
    )
    jobs = measure.measured(invented_runs(tmp_path))
    table = measure.table(pd.concat([jobs, also]))["fit"]
    assert evaluate(table["seconds"], {"spectra": 1_000_000}) == pytest.approx(24_000, rel=0.1)
    assert evaluate(table["memory_mb"], {"spectra": 1_000_000}) >= 90_000 * (1 - 1e-3)
    assert table["jobs"] == 7


def test_the_command_writes_a_table_that_is_read_again(project, tmp_path):
    folders = invented_runs(tmp_path)
    path = tmp_path / "table.yaml"
    path.write_text((project / "config/resources.yaml").read_text())
    before = yaml.safe_load(path.read_text())
    command = [
        sys.executable,
        "-m",
        "tools.measure_resources",
        *map(str, folders),
        "--table",
        str(path),
    ]
    shown = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout
    assert "total" in shown
    assert yaml.safe_load(path.read_text()) == before
    subprocess.run([*command, "--write"], cwd=project, capture_output=True, text=True, check=True)
    model = load_model(path)
    assert model.expected("fit", "seconds", {"spectra": 100}) == pytest.approx(5, rel=1e-3)
    assert yaml.safe_load(path.read_text())["rules"]["merge"] == before["rules"]["merge"]


def test_the_command_fits_the_rules_that_are_named_alone(project, tmp_path):
    folders = invented_runs(tmp_path)
    for number, n in enumerate((100, 1000)):
        used = {"seconds": 9, "cpu_seconds": n, "memory_mb": n, "read_mb": 1, "written_mb": 1}
        write_job(folders[0], "survey", f"{number}", 1.0, 2.0, asked={"text_kb": n}, used=used)
    path = tmp_path / "table.yaml"
    path.write_text((project / "config/resources.yaml").read_text())
    before = yaml.safe_load(path.read_text())
    command = [sys.executable, "-m", "tools.measure_resources", *map(str, folders)]
    command += ["--table", str(path), "--write", "--rules"]
    subprocess.run([*command, "fit"], cwd=project, capture_output=True, check=True)
    after = yaml.safe_load(path.read_text())
    assert after["rules"]["fit"]["jobs"] == 7
    assert after["rules"]["survey"] == before["rules"]["survey"]
    assert after["measured"]["hardware"] == before["measured"]["hardware"]
    assert after["measured"]["date"].startswith(f"{before['measured']['date']}; fit: ")

    done = subprocess.run([*command, "fitt"], cwd=project, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: --rules fitt: these runs have no such jobs\n"
    assert yaml.safe_load(path.read_text()) == after


def test_what_hardly_grows_in_the_runs_stays_as_it_was(tmp_path):
    for number, n in enumerate((100, 110, 120)):
        used = {
            "seconds": 9,
            "cpu_seconds": 3 + 0.5 * n,
            "memory_mb": 300 + 0.01 * n,
            "read_mb": 1,
            "written_mb": 1,
        }
        write_job(tmp_path, "fit", f"G/{number:04d}", 1.0, 2.0, asked={"spectra": n}, used=used)
        write_job(tmp_path, "merge", "", 1.0, 2.0, asked={"spectra": 330}, used=used)
    before = {"fit": {"memory_mb": {"base": 4000}, "seconds": {"base": 60}, "jobs": 0}}
    table = measure.table(measure.measured([tmp_path]), before)
    assert table["fit"]["memory_mb"] == {"base": 4000}
    assert table["fit"]["seconds"] == pytest.approx({"base": 3, "spectra": 0.5}, rel=1e-3)
    assert table["fit"]["guess"] == ["memory_mb"]
    assert "merge" not in table  # one size says nothing


# ---------------------------------------------------------------- what jobs write


def test_a_job_logs_what_it_asked_for_and_what_it_used(project, tmp_path):
    log = tmp_path / "fit.log"
    code = f"""
from types import SimpleNamespace
from lamostvac.core.log import rule_log
resources = {{"mem_mb": 1500, "runtime": 20, "spectra": 7, "tmpdir": "/tmp", "mem": "2 GB", "_cores": 1}}
log = rule_log(SimpleNamespace(log=[{str(log)!r}], threads=2, rule="fit", resources=resources))
work = bytearray(300_000_000)
log.info("7 in, 7 accepted, 0 rejected")
"""
    subprocess.run([sys.executable, "-c", code], cwd=project, check=True, capture_output=True)
    account = read_account(log)
    assert account.rule == "fit"
    assert account.host
    assert account.asked == {"threads": 2, "mem_mb": 1500, "runtime": 20, "spectra": 7}
    assert 300 < account.used["memory_mb"] < 700
    assert 0 < account.used["cpu_seconds"] < 60
    assert account.used["seconds"] > 0
    assert account.used["read_mb"] > 0


def test_the_peak_is_not_that_of_the_process_that_started_the_job(project, tmp_path):
    """`ru_maxrss` would say 600 MB here."""
    log = tmp_path / "fit.log"
    child = f"""
from types import SimpleNamespace
from lamostvac.core.log import rule_log
rule_log(SimpleNamespace(log=[{str(log)!r}], threads=1, rule="fit", resources={{"mem_mb": 1}}))
"""
    parent = f"""
import os, sys
work = bytearray(b"x") * 600_000_000
if os.fork() == 0:
    os.execv(sys.executable, [sys.executable, "-c", {child!r}])
os.wait()
"""
    subprocess.run([sys.executable, "-c", parent], cwd=project, check=True, capture_output=True)
    assert read_account(log).used["memory_mb"] < 300
