"""What `lamostvac run` shows: a line when a stage is done, what runs now, what failed and why."""

import io
import logging
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from lamostvac.core.exceptions import UserError
from lamostvac.core.log import QUIET_JOBS, rule_log
from lamostvac.run import stages
from lamostvac.run.job_records import last_error
from lamostvac.run.stages import Screen, Stages, job_name, jobs_left
from lamostvac.run.start import snakemake_command, snakemake_environment


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shown():
    return io.StringIO()


def run_of(shown, left):
    clock = Clock()
    return Stages(Screen(shown), lambda: left, clock), clock


def log_of(tmp_path, name, *messages, level="INFO"):
    path = tmp_path / f"{name}.log"
    lines = [f"2026-01-01 00:00:00 {level} {message}\n" for message in messages]
    path.write_text("".join(lines) + "2026-01-01 00:00:00 INFO used: seconds=1.0\n")
    return (str(path),)


def test_the_last_job_of_a_rule_gives_its_line_with_the_spectra_of_all(shown, tmp_path):
    left = {("prepare", "G/0000"), ("prepare", "G/0001"), ("fit", "G/0000")}
    run, clock = run_of(shown, left)
    run.share(0, 6)
    for name, counts in (("G/0000", (100, 97, 3)), ("G/0001", (1900, 1900, 0))):
        run.started("prepare", name)
        clock.now += 5
        left.discard(("prepare", name))
        message = "{} in, {} accepted, {} rejected".format(*counts)
        run.finished("prepare", name, log_of(tmp_path, name.replace("/", "_"), message))
    (line,) = shown.getvalue().splitlines()
    expected = "33 % prepare 10 s 2 jobs 2,000 spectra, 3 rejected, 200/s"
    assert " ".join(line.split()) == expected


def test_the_first_stage_is_the_share_of_all_that_is_planned(shown, tmp_path):
    run, _ = run_of(shown, {("library", ""), ("fit", "G/0000"), ("fit", "K/0000"), ("merge", "")})
    run.started("library", "")
    run.finished("library", "", log_of(tmp_path, "library", "650 spectra"))
    assert shown.getvalue().split()[0] == "25"


def test_a_rule_with_jobs_to_come_has_no_line_yet(shown):
    run, _ = run_of(shown, {("train", "teff"), ("train", "logg")})
    run.started("train", "teff")
    run.finished("train", "teff")
    assert shown.getvalue() == ""


def test_a_rule_with_one_job_is_told_by_the_last_message_of_its_log(shown, tmp_path):
    run, _ = run_of(shown, {("merge", "")})
    run.started("merge", "")
    run.finished("merge", "", log_of(tmp_path, "merge", "440 in = 409 + 31"))
    assert shown.getvalue().rstrip().endswith("440 in = 409 + 31")


def test_a_rule_of_targets_has_no_line(shown):
    run, _ = run_of(shown, set())
    run.finished("all", "")
    assert shown.getvalue() == ""


def test_a_failed_job_is_told_with_the_error_of_its_log(shown, tmp_path):
    run, _ = run_of(shown, set())
    logs = log_of(tmp_path, "fit", "no space on the disk", level="ERROR")
    run.failed("fit failed", [*logs, str(tmp_path / "lost.log")], last_error)
    (line,) = shown.getvalue().splitlines()
    assert line.startswith(f"fit failed: no space on the disk ({logs[0]})")
    assert line.endswith(f"no error in its log ({tmp_path}/lost.log)")
    run.share(3, 5)
    run.end()
    assert shown.getvalue().splitlines()[-1] == "3 of 5 jobs done in 0 s, 1 failed"


def test_what_runs_is_written_over_on_a_terminal():
    shown = Terminal()
    screen = Screen(shown)
    screen.below("now fit G/0000")
    screen.line("done")
    assert shown.getvalue() == "now fit G/0000\r\033[Kdone\n"


def test_without_a_terminal_what_runs_is_shown_after_silence_only(shown, monkeypatch):
    screen = Screen(shown)
    screen.below("early")
    monkeypatch.setattr(stages, "_SILENCE", -1.0)
    screen.below("late")
    assert shown.getvalue() == "late\n"


def test_the_plan_is_asked_again_when_it_changed_meanwhile(monkeypatch):
    answers = iter([RuntimeError("changed size during iteration"), None])

    class Plan:
        def needrun_jobs(self):
            if error := next(answers):
                raise error
            rule = SimpleNamespace(name="fit")
            return [SimpleNamespace(rule=rule, wildcards_dict={"type": "G", "chunk": "0001"})]

    monkeypatch.setattr(stages, "_plan", None)
    assert jobs_left() is None
    stages.watch(Plan(), "results")
    assert jobs_left() == {("fit", "G/0001")}
    assert job_name({}) == ""


SNAKEFILE = """
from lamostvac.run.stages import watch
onstart:
    watch(workflow.dag, 'there')
rule all:
    input: expand("{n}.txt", n=range(3)), FAILS
rule make:
    output: "{n}.txt"
    log: "logs/{n}.log"
    shell: "echo '2026-01-01 00:00:00 INFO 10 in, 9 accepted, 1 rejected' > {log}; touch {output}"
rule wrong:
    output: "wrong.bad"
    log: "logs/wrong.log"
    shell: "echo '2026-01-01 00:00:00 ERROR the disk is full' > {log}; exit 1"
"""


COMMAND = [sys.executable, "-m", "snakemake", "--cores", "1", "--logger", "stages"]


def environment_of(project, folder):
    """Of a Snakemake in the folder that shows stages, and whose Snakefile finds the library."""
    environment = snakemake_environment(folder, stages=True)
    environment["PYTHONPATH"] += f"{os.pathsep}{project}"
    return environment


@pytest.mark.parametrize("fails", [False, True])
def test_snakemake_shows_stages_and_errors_alone(project, tmp_path, fails):
    (tmp_path / "Snakefile").write_text(
        SNAKEFILE.replace("FAILS", "'wrong.bad'" if fails else "[]")
    )
    environment = environment_of(project, tmp_path)
    done = subprocess.run(
        [*COMMAND, *(["--keep-going"] if fails else [])],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.splitlines()
    stage = next(line for line in lines if " make " in line)
    assert "3 jobs" in stage
    assert "30 spectra, 3 rejected" in stage
    assert ("wrong failed: the disk is full (logs/wrong.log)" in lines) == fails
    assert len(lines) == 2 + fails
    assert done.returncode == int(fails)
    assert "rule make:" not in done.stderr
    assert "Select jobs" not in done.stderr
    end = (
        "3 of 5 jobs done in {}, 1 failed" if fails else "4 of 4 jobs done in {}; results in there"
    )
    assert re.fullmatch(end.format(r"\d+ s"), lines[-1])
    if not fails:
        again = subprocess.run(
            COMMAND, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert again.stderr.startswith("nothing to be done: every file")
        part = [*COMMAND, "--until", "make"]
        again = subprocess.run(
            part, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert again.stderr.startswith("nothing to be done: of the jobs")
        assert len(again.stderr.splitlines()) == 1


def test_a_run_that_the_user_stops_has_not_failed(project, tmp_path):
    slow = "rule all:\n    log: 'x.log'\n    shell: 'touch begun; sleep 60'\n"
    text = SNAKEFILE.split("rule all")[0] + slow
    (tmp_path / "Snakefile").write_text(text)
    environment = environment_of(project, tmp_path)
    running = subprocess.Popen(
        COMMAND,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not (tmp_path / "begun").exists():
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    _, shown = running.communicate()
    assert shown.splitlines() == ["stopped: 0 of 1 jobs done; the same command goes on"]
    assert running.returncode != 0


AT_A_BAD_TIME = """
import os, signal
from lamostvac.run.stages import watch
onstart:
    watch(workflow.dag, 'there')
def found(wildcards):
    checkpoints.survey.get()
    assert workflow.scheduler._lock.locked()
    os.kill(os.getpid(), signal.SIGTERM)
    return 'fit.txt'
rule all:
    input: found
checkpoint survey:
    output: "survey.txt"
    shell: "touch {output}"
rule fit:
    output: "fit.txt"
    shell: "touch {output}"
"""


def test_a_run_ends_by_sigterm_also_while_snakemake_plans_behind_a_checkpoint(project, tmp_path):
    (tmp_path / "Snakefile").write_text(AT_A_BAD_TIME)
    environment = environment_of(project, tmp_path)
    done = subprocess.run(
        COMMAND,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert re.match(r"stopped: [12] of \d jobs done", done.stderr)
    assert done.returncode == 1


@pytest.mark.parametrize("words", [("--cores", "0"), ("-j", "00"), ("-c", "-0")])
def test_no_cores_are_refused(tmp_path, words):
    (tmp_path / "c.yaml").write_text("simulation: {enabled: true}\n")
    with pytest.raises(UserError, match="runs no job; give at least 1, or `all`"):
        snakemake_command(tmp_path / "c.yaml", tmp_path, words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [((), True), (("--keep-going",), True), (("-n",), False), (("--logger", "x"), False)],
)
def test_stages_are_shown_unless_an_option_of_snakemake_says_what(tmp_path, words, expected):
    (tmp_path / "c.yaml").write_text("simulation: {enabled: true}\n")
    command = snakemake_command(tmp_path / "c.yaml", tmp_path, words, stages=True)
    assert ("stages" in command) == expected


def test_quiet_jobs_show_warnings_alone_and_write_all_to_their_log(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(QUIET_JOBS, "1")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    job = SimpleNamespace(log=[str(tmp_path / "job.log")], rule="quiet", threads=1, resources=None)
    log = rule_log(job)
    log.info("as always")
    log.warning("look here")
    log.error("the disk is full")
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    assert capsys.readouterr().err == "look here\n"
    assert logging.getLevelName(log.level) == "INFO"
    assert len((tmp_path / "job.log").read_text().splitlines()) == 3
