"""A workflow in the background that something happens to, and what it costs to go on."""

import contextlib
import csv
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
from workflow_run import command


def whole_files(results: Path) -> dict[Path, int]:
    """When each result file was written."""
    return {
        path: path.stat().st_mtime_ns
        for path in results.rglob("*")
        if path.is_file()
        and not path.name.startswith(".")
        and path.relative_to(results).parts[0] not in ("logs", "benchmarks", "prepared")
    }


class Recovery:
    """Counts and times what a fault costs; `fault` names it for the table."""

    def __init__(self, fault: str, how: str, results: Path) -> None:
        self.fault, self.how, self.results = fault, how, results
        self.before = whole_files(results)

    def __enter__(self) -> "Recovery":
        self.start = time.monotonic()
        return self

    def __exit__(self, kind, error, trace) -> None:
        seconds = time.monotonic() - self.start
        after = whole_files(self.results)
        self.again = [path for path, modified in self.before.items() if after.get(path) != modified]
        target = os.environ.get("LAMOSTVAC_FAULTS")
        if kind is None and target:
            with open(target, "a", newline="") as handle:
                csv.writer(handle).writerow(
                    [self.fault, self.how, len(self.again), f"{seconds:.0f}"]
                )


class Started:
    """A workflow in the background; it and its jobs are killed when the test leaves it running."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        # To a file: a pipe that nobody reads would fill up.
        self.screen = folder / "screen.txt"
        self.handle = open(self.screen, "w")  # noqa: SIM115
        self.process = subprocess.Popen(
            **command(folder, *arguments) | {"stdout": self.handle},
            start_new_session=True,
            # Tests that were started in the background ignore Ctrl-C, and so would their children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, *error) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.handle.close()

    def until(self, happened, seconds: float = 300):
        """Wait for `happened()`, a true value, and return it."""
        deadline = time.monotonic() + seconds
        while not (found := happened()):
            assert self.process.poll() is None, self.screen.read_text()[-4000:]
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return found

    def job(self, rule: str) -> psutil.Process | None:
        """The process that runs a rule's script."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                words = process.cmdline() or [""]
                started = words[-1].endswith(f".{rule}.py") and "python" in words[0]
                # A forked script's process has the rule's name.
                if process.name() == rule or started:
                    return process
        return None

    def end(self, code: int | None = None) -> str:
        """Wait for the end and return what was on the screen."""
        self.process.wait(300)
        text = self.screen.read_text()
        assert code is None or self.process.returncode == code, text[-4000:]
        return text


def temporaries(results: Path) -> list[Path]:
    return [
        path
        for path in results.rglob(".lamostvac-*")
        if path.relative_to(results).parts[0] != "simulated"
    ]
