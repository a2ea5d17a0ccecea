"""A job's log, the end of a job that fails, and progress with a rate."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from threadpoolctl import threadpool_limits

from lamostvac.errors import UserError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def rule_log(snakemake: Any) -> logging.Logger:
    """The logger of a rule's script; call it first in `main(snakemake)`.

    Messages go to `snakemake.log[0]` (replaced, not appended) and to standard error. An exception
    that nobody catches ends in the same places: a `UserError` as one line, any other with its full
    traceback in the log file and its last line on standard error; the exit code is 1 either way.

    Linear algebra is held to `snakemake.threads`: Snakemake sets OPENBLAS_NUM_THREADS and its kin
    for the jobs it starts, which a script run by hand or under a debugger would miss, and two jobs
    that each take all cores are slower than one after the other.
    """
    logger = logging.getLogger(f"lamostvac.{getattr(snakemake, 'rule', None) or 'script'}")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(screen)
    path = str(snakemake.log[0]) if snakemake.log else None
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path, mode="w", encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(file)
    sys.excepthook = _hook(logger, path)
    limit_threads(int(getattr(snakemake, "threads", 1) or 1))
    return logger


def limit_threads(threads: int) -> None:
    """Hold BLAS and OpenMP to `threads`, in libraries loaded now, later, and in child processes."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)
    threadpool_limits(limits=threads)


def _hook(logger: logging.Logger, path: str | None) -> Any:
    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        if isinstance(error, UserError):
            logger.error("%s", error)
            return
        summary = f"{kind.__name__}: {error}"
        for handler in logger.handlers:
            to_file = isinstance(handler, logging.FileHandler)
            if to_file or path is None:
                record = logger.makeRecord(
                    logger.name, logging.ERROR, "", 0, summary, (), (kind, error, trace)
                )
            else:
                text = f"{summary} (traceback in {path})"
                record = logger.makeRecord(logger.name, logging.ERROR, "", 0, text, (), None)
            handler.handle(record)

    return report


@contextmanager
def user_errors() -> Iterator[None]:
    """For the Snakefile: a `UserError` inside ends Snakemake with its sentence and exit code 1.

    Exiting is what leaves the sentence alone on the screen: a `WorkflowError` raised while the
    Snakefile is read comes with four lines about where it was raised (seen with Snakemake 9.27).
    """
    try:
        yield
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None


class Progress:
    """Count, rate and remaining time of a loop, written to a log at most every few seconds.

    Use as `progress = Progress(log, total=n, unit="spectra")`, `progress.add(k)` per step and
    `progress.done()` at the end. The rate is over the whole loop so far.
    """

    def __init__(self, log: logging.Logger, total: int, unit: str, every_seconds: float = 10.0) -> None:
        self.log = log
        self.total = total
        self.unit = unit
        self.every_seconds = every_seconds
        self.count = 0
        self._start = self._last = time.monotonic()

    def add(self, n: int = 1) -> None:
        """Count `n` more units as done."""
        self.count += n
        now = time.monotonic()
        if now - self._last >= self.every_seconds and self.count < self.total:
            self._last = now
            rate = self.count / (now - self._start)
            remaining = _duration((self.total - self.count) / rate) if rate > 0 else "unknown time"
            share = 100 * self.count / self.total
            self.log.info(
                "%d of %d %s (%.0f %%), %s/s, %s left",
                self.count,
                self.total,
                self.unit,
                share,
                f"{rate:,.3g}",
                remaining,
            )

    def done(self) -> None:
        """Write the total and the mean rate."""
        elapsed = max(time.monotonic() - self._start, 1e-9)
        self.log.info(
            "%d %s in %s (%s/s)", self.count, self.unit, _duration(elapsed), f"{self.count / elapsed:,.3g}"
        )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
