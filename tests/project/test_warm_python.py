"""Programs that are forked from a process with the libraries imported behave as if `python` had started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from warm_python import warm_python

pytestmark = pytest.mark.slow


def started(program, *arguments, python=None, **settings):
    Path("program.py").write_text(program)
    command = [python or warm_python(), "program.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **settings)


SEEN = """
import os, sys, threading
import package
print(sys.argv, os.getcwd(), sorted(os.environ.items()), threading.active_count())
print(package.__file__, [name for name in sys.modules if name.partition(".")[0] in ("lamostvac", "pytest")])
print(sys.stdin.read(), __name__, file=sys.stderr)
"""


def test_arguments_environment_folder_and_streams_are_those_given(tmp_path):
    Path("place").mkdir()
    Path("place/package.py").touch()
    environment = {"A": "1", "PYTHONPATH": "place", "LC_ALL": "C.UTF-8"}
    results = [
        started(SEEN, "one", "two words", python=python, env=environment, input="asked")
        for python in (warm_python(), sys.executable)
    ]
    assert results[0].stderr == "asked __main__\n"
    assert "['program.py', 'one', 'two words']" in results[0].stdout
    assert "('A', '1')" in results[0].stdout
    assert "] 1\n" in results[0].stdout  # no thread but its own
    assert results[0].stdout.endswith("place/package.py []\n")
    assert (results[0].stdout, results[0].stderr) == (results[1].stdout, results[1].stderr)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("pass", 0),
        ("raise SystemExit(3)", 3),
        ("raise SystemExit('a sentence')", 1),
        ("1 / 0", 1),
        ("import os; os.kill(os.getpid(), 15)", -signal.SIGTERM),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
    ],
)
def test_a_program_ends_as_it_would(program, code):
    warm, plain = started(program), started(program, python=sys.executable)
    assert warm.returncode == plain.returncode == code
    assert warm.stderr.splitlines()[-1:] == plain.stderr.splitlines()[-1:]


def test_a_module_is_found_in_the_folder_and_other_options_are_pythons():
    Path("mine.py").write_text("import sys; print(sys.argv[1:], __name__)")
    for words in (["-m", "mine", "x"], ["-c", "import mine"]):
        outputs = [
            subprocess.run([python, *words], capture_output=True, text=True, check=True).stdout
            for python in (warm_python(), sys.executable)
        ]
        assert outputs[0] == outputs[1] != ""


def test_a_program_does_not_outlive_who_waits_for_it():
    Path("program.py").write_text(
        "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)"
    )
    command = [warm_python(), "program.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        program = int(waiting.stdout.readline())
        os.kill(program, 0)
        waiting.kill()
    last = time.monotonic() + 120  # by itself it would end later
    while Path(f"/proc/{program}").exists() and time.monotonic() < last:
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(program, 0)
