"""A job's end is in its log: one line for the user's mistake, a traceback for ours."""

import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lamostvac.errors import UserError
from lamostvac.log import Progress, user_errors

SCRIPT = """
from types import SimpleNamespace
from lamostvac.errors import UserError
from lamostvac.log import rule_log
log = rule_log(SimpleNamespace(log=[{log!r}], threads=1, rule="survey"))
log.info("started")
{statement}
"""


def run(project, tmp_path, statement):
    path = tmp_path / "logs" / "survey.log"
    code = SCRIPT.format(log=str(path), statement=statement)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False
    )
    return SimpleNamespace(code=result.returncode, screen=result.stderr, log=path.read_text())


def test_a_users_mistake_ends_a_job_with_one_line(project, tmp_path):
    job = run(project, tmp_path, "raise UserError('write 5 instead of five')")
    assert job.code == 1
    assert job.screen == "started\nwrite 5 instead of five\n"
    assert job.log.splitlines()[-1].endswith("ERROR write 5 instead of five")
    assert "Traceback" not in job.log


def test_any_other_failure_leaves_its_traceback_in_the_log(project, tmp_path):
    job = run(project, tmp_path, "1 / 0")
    assert job.code == 1
    assert "Traceback" in job.log
    assert "ZeroDivisionError" in job.log
    assert "Traceback" not in job.screen
    assert f"ZeroDivisionError: division by zero (traceback in {tmp_path}/logs/survey.log)" in job.screen


def test_a_job_keeps_to_its_threads(project, tmp_path):
    statement = "import numpy, threadpoolctl, os; log.info([p['num_threads'] for p in threadpoolctl.threadpool_info()])"
    job = run(project, tmp_path, statement + "; log.info(os.environ['OPENBLAS_NUM_THREADS'])")
    assert job.log.splitlines()[-2].endswith("[1]")
    assert job.log.splitlines()[-1].endswith(" 1")


def test_a_log_is_replaced_not_appended(project, tmp_path):
    run(project, tmp_path, "log.info('first')")
    assert "first" not in run(project, tmp_path, "log.info('second')").log


def test_the_snakefile_ends_with_the_sentence_alone(capsys):
    with pytest.raises(SystemExit) as caught, user_errors():
        raise UserError("survey.catalogs does not exist")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "Error: survey.catalogs does not exist\n"


def test_progress_tells_count_rate_and_remaining_time(caplog, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("lamostvac.log.time.monotonic", lambda: clock[0])
    log = logging.getLogger("progress")
    with caplog.at_level(logging.INFO, "progress"):
        progress = Progress(log, total=1000, unit="spectra", every_seconds=10)
        clock[0] = 105.0
        progress.add(100)
        assert caplog.messages == []
        clock[0] = 110.0
        progress.add(100)
        assert caplog.messages == ["200 of 1000 spectra (20 %), 20/s, 40.0 s left"]
        clock[0] = 180.0
        progress.add(800)
        progress.done()
    assert caplog.messages[1:] == ["1000 spectra in 1 min 20 s (12.5/s)"]
