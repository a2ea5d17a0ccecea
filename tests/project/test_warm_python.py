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


LATE = """
import atexit, logging, sys, tempfile, threading, time
atexit.register(lambda: print("at exit"))
def work():
    time.sleep(0.2)
    print("thread", end="")
threading.Thread(target=work).start()
threading.Thread(target=lambda: time.sleep(600), daemon=True).start()
folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
logging.basicConfig(filename="log", force=True)
logging.warning("told")
print("no end of line", end=" ")
"""


def test_what_is_to_be_done_at_the_end_is_done():
    """Threads, `atexit`, text that waits in buffers."""
    warm = started(LATE)
    told = Path("log").read_text()
    Path("log").unlink()
    plain = started(LATE, python=sys.executable)
    assert warm.stdout == plain.stdout == "no end of line threadat exit\n"
    assert (warm.returncode, warm.stderr) == (plain.returncode, plain.stderr)
    assert told == Path("log").read_text() != ""


def test_output_that_cannot_be_written_is_told_in_the_exit_code():
    for python in (warm_python(), sys.executable):
        Path("program.py").write_text("print('x')")
        with open("/dev/full", "w") as full:
            done = subprocess.run([python, "program.py"], stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 120


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("pass", 0),
        ("raise SystemExit", 0),
        ("import sys; sys.stdout.close(); sys.stderr = None", 0),
        ("raise SystemExit(259)", 3),
        ("import atexit; atexit.register(lambda: 1 / 0)", 0),
        (
            # Where the tests were started in the background, all ignore it.
            "import os, signal; signal.signal(2, signal.default_int_handler); os.kill(os.getpid(), 2)",
            -signal.SIGINT,
        ),
        (
            "import signal, sys; signal.signal(15, lambda *_: sys.exit(143)); signal.raise_signal(15)",
            143,
        ),
        ("raise SystemExit(3)", 3),
        ("raise SystemExit('a sentence')", 1),
        ("1 / 0", 1),
        ("import os; os.kill(os.getpid(), 15)", -signal.SIGTERM),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
    ],
)
def test_a_program_ends_as_it_would(program, code):
    warm, plain = started(program), started(program, python=sys.executable)
    assert (warm.returncode, warm.stdout) == (plain.returncode, plain.stdout) == (code, "")
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
