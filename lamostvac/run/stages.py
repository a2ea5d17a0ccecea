"""What `lamostvac run` shows of a run: a line when a stage is done, what runs now, what is wrong.

A stage is a rule with all its jobs. How many of them are left is asked of Snakemake's plan, which
grows when the survey has been cut into chunks. On a terminal the last line says what runs and is
written over; elsewhere such a line comes every minute. Everything that Snakemake and the jobs say is
in files: `.snakemake/log` and the `logs` of the results.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from lamostvac.run.job_records import accepted_and_rejected, last_message
from lamostvac.run.progress import duration
from lamostvac.run.stopping import stopped, watch_signals

_SILENCE = 60.0  # s without a line after which one is shown where there is no terminal
_WIDEST = 90  # characters of a job's message
_plan: Any = None
_results = ""


def watch(plan: Any, results: str) -> None:
    """Tell the plugin, which Snakemake makes before it plans, of the plan (`snakemake.dag.DAG`).

    From then on Ctrl-C and SIGTERM are known to be wishes of the user, not faults of jobs.
    """
    global _plan, _results
    _plan, _results = plan, results
    watch_signals()


def jobs_left() -> set[tuple[str, str]] | None:
    """Rule and `job_name` of the jobs that have not ended, by Snakemake's plan; None without one."""
    if _plan is None:
        return None
    while True:
        try:
            return {(job.rule.name, job_name(job.wildcards_dict)) for job in _plan.needrun_jobs()}
        except RuntimeError:  # Snakemake's own thread has just changed it
            time.sleep(0.01)


def job_name(wildcards: Mapping[str, object]) -> str:
    """A job's name by its wildcards: `M/0003`."""
    return "/".join(map(str, wildcards.values()))


class Screen:
    """Lines on a stream, and on a terminal one below them that is written over."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.terminal = stream.isatty()
        self._below = ""
        self._last = time.monotonic()

    def line(self, text: str) -> None:
        self._clear()
        self.stream.write(f"{text}\n")
        self.stream.flush()
        self._last = time.monotonic()

    def below(self, text: str) -> None:
        """Show what runs now: at once on a terminal, elsewhere after a minute of silence."""
        if self.terminal:
            self._clear()
            self._below = text[: shutil.get_terminal_size().columns - 1]
            self.stream.write(self._below)
            self.stream.flush()
        elif time.monotonic() - self._last > _SILENCE:
            self.line(text)

    def _clear(self) -> None:
        if self._below:
            self.stream.write("\r\033[K")
            self._below = ""


@dataclass
class _Stage:
    """A rule's jobs so far: times in s, `accepted` and `rejected` spectra of the logs that say so."""

    began: float
    done: int = 0
    accepted: int = 0
    rejected: int = 0
    log: Path | None = None


@dataclass
class Stages:
    """The stages of a run.

    Parameters
    ----------
    screen : what is shown
    left : rule and name of the jobs that have not ended, None where that is not known
    clock : the time in s
    """

    screen: Screen
    left: Callable[[], set[tuple[str, str]] | None]
    clock: Callable[[], float] = time.monotonic
    _stages: dict[str, _Stage] = field(default_factory=dict)
    _running: dict[tuple[str, str], float] = field(default_factory=dict)
    _done: int = 0
    _total: int = 0
    _failed: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._began = self.clock()
        threading.Thread(target=self._show_what_runs, daemon=True).start()

    def started(self, rule: str, name: str, logs: Sequence[str] = ()) -> None:
        """A job begins."""
        with self._lock:
            self._running[rule, name] = self.clock()
            self._stages.setdefault(rule, _Stage(self.clock()))
            if not self._total:
                self._total = len(self.left() or ())

    def finished(self, rule: str, name: str, logs: Sequence[str] = ()) -> None:
        """A job has ended well; the last one of a rule gives the stage's line."""
        with self._lock:
            began = self._running.pop((rule, name), self.clock())
            stage = self._stages.setdefault(rule, _Stage(began))
            stage.done += 1
            self._done += 1
            stage.log = Path(logs[0]) if logs else None
            if stage.log is not None and stage.log.exists():
                accepted, rejected = accepted_and_rejected(stage.log)
                stage.accepted += accepted
                stage.rejected += rejected
            left = self.left()
            if left is None:
                return
            left = left - {(rule, name)}  # the plan may still have this job itself
            self._total = max(self._total, self._done + len(left))
            if any(other == rule for other, _ in left):
                return
            del self._stages[rule]
            if logs:  # a rule of targets, such as `all`, does nothing
                self.screen.line(self._line(rule, stage))

    def share(self, done: int, total: int) -> None:
        """How many jobs of the run have ended, of all that are known."""
        with self._lock:
            self._done, self._total = done, total

    def failed(self, what: str, logs: Iterable[str], error: Callable[[Path], str | None]) -> None:
        """A job has failed: say why, by its log."""
        if stopped():
            return
        for log in logs:
            try:
                why = error(Path(log))
            except OSError:
                why = None
            what += f": {why or 'no error in its log'} ({log})"
        with self._lock:
            self._failed += 1
        self.say(what)

    def say(self, text: str) -> None:
        """Show a message."""
        with self._lock:
            if text.strip() and not stopped():
                self.screen.line(text.strip())

    def end(self) -> None:
        """The run is over."""
        if self._over.is_set():
            return
        self._over.set()
        with self._lock:
            counts = f"{self._done} of {max(self._total, self._done)} jobs done"
            if stopped():
                self.screen.line(f"stopped: {counts}; the same command goes on")
            elif self._done or self._failed:
                failed = f", {self._failed} failed" if self._failed else f"; results in {_results}"
                self.screen.line(f"{counts} in {duration(self.clock() - self._began)}{failed}")

    def _line(self, rule: str, stage: _Stage) -> str:
        jobs = f"{stage.done} jobs" if stage.done > 1 else ""
        if stage.accepted + stage.rejected:
            seconds = max(self.clock() - stage.began, 1e-3)
            spectra = stage.accepted + stage.rejected
            what = f"{spectra:,} spectra, {stage.rejected:,} rejected, {spectra / seconds:,.0f}/s"
        else:
            alone = stage.done == 1 and stage.log is not None and stage.log.exists()
            what = last_message(stage.log) if alone and stage.log is not None else ""
        what = what if len(what) <= _WIDEST else f"{what[:_WIDEST]} ..."
        took = duration(self.clock() - stage.began)
        return f"{self._percent()}  {rule:20s}{took:>9s}{jobs:>10s}  {what}".rstrip()

    def _percent(self) -> str:
        return f"{100 * self._done / max(self._total, self._done, 1):3.0f} %"

    def _show_what_runs(self) -> None:
        while not self._over.wait(1.0):
            with self._lock:
                if not self._running:
                    continue
                jobs = ", ".join(
                    f"{rule} {name}".strip() + f" ({duration(self.clock() - began)})"
                    for (rule, name), began in list(self._running.items())[:6]
                )
                more = f" and {len(self._running) - 6} more" if len(self._running) > 6 else ""
                counts = f"{self._done} of {max(self._total, self._done)} jobs"
                self.screen.below(f"{self._percent()}  {counts}; now {jobs}{more}")
