"""A job's end is in its log: one line for the user's mistake, a traceback for ours."""

import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lamostvac.core.exceptions import UserError
from lamostvac.core.log import user_errors
from lamostvac.core.progress import Progress

SCRIPT = """
from types import SimpleNamespace
from snakemake.iocontainers import ResourceList
from lamostvac.core.exceptions import UserError
from lamostvac.core.log import rule_log
log_input = {folder!r} + "/half.h5"
log = rule_log(
    SimpleNamespace(
        log=[{log!r}], threads=1, rule="survey", resources=ResourceList(fromdict=dict(mem_mb=2000)),
        input=[log_input] if "log_input)" in {statement!r} else [],
    )
)
log.info("started")
{statement}
"""


def run(project, tmp_path, statement):
    path = tmp_path / "logs" / "survey.log"
    code = SCRIPT.format(log=str(path), statement=statement, folder=str(tmp_path))
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False
    )
    return SimpleNamespace(code=result.returncode, screen=result.stderr, log=path.read_text())


def test_a_users_mistake_ends_a_job_with_one_line(project, tmp_path):
    job = run(project, tmp_path, "raise UserError('write 5 instead of five')")
    assert job.code == 1
    assert job.screen == "started\nwrite 5 instead of five\n"
    first, *lines, last = job.log.splitlines()
    assert lines[-1].endswith("ERROR write 5 instead of five")
    assert " INFO asked: rule=survey " in first
    assert first.endswith(" threads=1 mem_mb=2000")
    assert " INFO used: seconds=" in last
    assert "Traceback" not in job.log


def test_any_other_failure_leaves_its_traceback_in_the_log(project, tmp_path):
    job = run(project, tmp_path, "1 / 0")
    assert job.code == 1
    assert "Traceback" in job.log
    assert "ZeroDivisionError" in job.log
    assert "Traceback" not in job.screen
    assert (
        f"ZeroDivisionError: division by zero (traceback in {tmp_path}/logs/survey.log)"
        in job.screen
    )


def test_memory_that_runs_out_is_told_with_what_was_asked_for(project, tmp_path):
    """The limit is a real one: the operating system refuses the memory."""
    statement = (
        "import resource, numpy; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)); "
        "numpy.ones(10 ** 10)"
    )
    job = run(project, tmp_path, statement)
    assert job.code == 1
    last = job.screen.splitlines()[-1]
    assert last.startswith("out of memory (Unable to allocate 74.5 GiB")
    assert last.endswith("or give it more with --set-resources survey:mem_mb=4000")
    assert "Traceback" not in job.log


def test_a_damaged_input_is_named_with_its_remedy(project, tmp_path):
    (tmp_path / "half.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    job = run(project, tmp_path, "import h5py; h5py.File(log_input)")
    assert job.code == 1
    line = job.screen.splitlines()[-1]
    assert line.startswith(f"{tmp_path}/half.h5 is damaged (")
    assert line.endswith("); delete it and give the same command again, which makes it anew")
    assert "Traceback" not in job.log


def test_sigterm_ends_a_job_and_removes_its_unfinished_file(project, tmp_path):
    statement = (
        "import os, signal, time; from lamostvac.core.atomic import atomic\n"
        f"with atomic({str(tmp_path / 'x.txt')!r}) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"
    )
    job = run(project, tmp_path, statement)
    assert job.code == 143
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_a_job_keeps_to_its_threads(project, tmp_path):
    statement = "import numpy, threadpoolctl, os; log.info([p['num_threads'] for p in threadpoolctl.threadpool_info()])"
    job = run(project, tmp_path, statement + "; log.info(os.environ['OPENBLAS_NUM_THREADS'])")
    assert job.log.splitlines()[-3].endswith("[1]")
    assert job.log.splitlines()[-2].endswith(" 1")


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
    monkeypatch.setattr("lamostvac.core.progress.time.monotonic", lambda: clock[0])
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
