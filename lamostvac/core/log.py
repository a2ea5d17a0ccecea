"""A job's log, and the message of a job that fails."""

import atexit
import errno
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from threadpoolctl import threadpool_limits

from lamostvac.core.atomic import no_space
from lamostvac.core.exceptions import MADE_ANEW, UserError
from lamostvac.core.job import Job

QUIET_JOBS = "LAMOSTVAC_QUIET_JOBS"
"""Variable of the environment with which jobs show warnings only; all else is in their logs."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def rule_log(snakemake: Job) -> logging.Logger:
    """The logger of a rule's script; call it first in `main(snakemake)`.

    Messages go to `snakemake.log[0]` (replaced, not appended) and to standard error, where
    `QUIET_JOBS` leaves warnings alone. An uncaught exception is reported in the same places: a
    `UserError`, or a problem of the machine that the user can solve (`plain_sentence`), as one
    line; any other with its full traceback in the log file and its last line on standard error. The
    exit code is 1 in both cases. SIGTERM (scancel, a time limit) ends the script like an exception,
    so that unfinished files are removed.

    Linear algebra is limited to `snakemake.threads`. Snakemake sets OPENBLAS_NUM_THREADS and
    similar variables for its jobs, but a script run by hand or under a debugger lacks them, and two
    jobs that each use all cores are slower than one after the other.

    The log's first line has the job's requested resources and its amount of work, the last one what
    it used, however the job was started (`lamostvac.run.job_records` reads both).
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
    if path and os.environ.get(QUIET_JOBS):
        # Errors are shown by `lamostvac.run.stages`, which reads the log.
        screen.addFilter(lambda record: record.levelno == logging.WARNING)
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        file = _LogFile(path, mode="w", encoding="utf-8")
        file.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
        )
        logger.addHandler(file)
    sys.excepthook = _hook(logger, path, snakemake)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    limit_threads(int(getattr(snakemake, "threads", 1) or 1))
    if path and getattr(snakemake, "resources", None) is not None:
        # For `lamostvac.run.job_records`, not for the screen.
        _write(file, logger, "asked", _asked(snakemake))
        atexit.register(lambda: _write(file, logger, "used", _used()))
    return logger


def _write(
    file: logging.Handler, logger: logging.Logger, what: str, values: Mapping[str, Any]
) -> None:
    text = f"{what}: {' '.join(f'{name}={value}' for name, value in values.items())}"
    file.handle(logger.makeRecord(logger.name, logging.INFO, "", 0, text, (), None))


def _asked(snakemake: Job) -> dict[str, Any]:
    """Rule, node, cores and resources of a job; its amounts of work are among the resources."""
    values = {"rule": snakemake.rule, "host": socket.gethostname(), "threads": snakemake.threads}
    # Snakemake adds the memory in two other units, and names that begin with an underscore.
    left_out = {"tmpdir", "mem", "mem_mib", "disk", "disk_mib"}
    return values | {
        name: value
        for name, value in sorted(dict(snakemake.resources.items()).items())
        if isinstance(value, int) and not name.startswith("_") and name not in left_out
    }


def _used() -> dict[str, str]:
    """Resources used by this process since its start; times include its children.

    The numbers are exact, while Snakemake's benchmark takes samples, every half minute after the
    first seconds. MB are 10^6 bytes; data read may have come from the page cache.
    """
    own, children = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    megabytes = _peak_memory_kb() * 1024 / 1e6
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    values = {"seconds": time.time() - _process_start(), "cpu_seconds": cpu, "memory_mb": megabytes}
    values |= {f"{name}_mb": count / 1e6 for name, count in _bytes_moved().items()}
    if was_forked():
        values["forked"] = 1.0
    return {name: f"{value:.3f}" for name, value in values.items()}


def was_forked() -> bool:
    """Whether this process was forked from one with the libraries imported
    (`lamostvac.run.fork_server`): then its account has no start in it, and memory of that process.
    """
    try:
        # A forked process keeps the command line; what it executes has its own.
        return b"/fork_server.py\0" in Path("/proc/self/cmdline").read_bytes()
    except OSError:
        return False


def _peak_memory_kb() -> float:
    """Peak resident memory, KiB.

    `ru_maxrss` would include the size of the process that this one was forked from: Snakemake with
    its DAG.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _process_start() -> float:
    """When this process began, seconds since 1970; the current time where that is unknown."""
    try:
        # Field 22, counted after the command's name, which may have blanks.
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return time.time()
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


def _bytes_moved() -> dict[str, int]:
    """Bytes that this process has read and written; empty where the system does not count them."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return {}
    counts = dict(line.split(": ") for line in lines)
    return {"read": int(counts["rchar"]), "written": int(counts["wchar"])}


def limit_threads(threads: int) -> None:
    """Limit BLAS and OpenMP to `threads`, for libraries loaded now or later and child processes."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)
    threadpool_limits(limits=threads)


class _LogFile(logging.FileHandler):
    """A log file that ignores a full disk: its job reports that once, on standard error."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not no_space(sys.exc_info()[1]):
            super().handleError(record)


def _terminate(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def plain_sentence(error: BaseException, snakemake: Job) -> str:
    """Advice on an error that is not a mistake of the program, or "" for any other error.

    Known are lack of memory, a full disk, and a damaged or vanished input file of the job. A
    reader's error for a damaged file depends on the format and on the damage, so the inputs are
    checked (`damage`) after any failure.
    """
    rule = getattr(snakemake, "rule", None) or "script"
    if isinstance(error, MemoryError) or "bad_alloc" in str(error):
        given = getattr(getattr(snakemake, "resources", None), "mem_mb", None)
        detail = f" ({error})" if str(error) else ""
        if not isinstance(given, int):
            return f"out of memory{detail}: run fewer jobs at once with --cores"
        return (
            f"out of memory{detail}: rule {rule} asked for {given} MB; run fewer jobs at once, "
            f"or give it more with --set-resources {rule}:mem_mb={2 * given}"
        )
    if no_space(error):
        return (
            f"no space left for what rule {rule} writes; make room and give the same command again"
        )
    from lamostvac.core.damage import (
        damaged,  # imported here: its readers take half a second, and jobs rarely fail
    )

    try:
        found = damaged(str(path) for path in getattr(snakemake, "input", None) or [])
    except MemoryError:
        return ""
    if found:
        path, what = found
        remedy = (
            MADE_ANEW
            if _is_result(path, snakemake)
            else "copy it anew and give the same command again"
        )
        return f"{path} is damaged ({what}); {remedy}"
    if isinstance(error, OSError) and error.filename and error.errno in _MENDABLE:
        return f"{error.filename}: {error.strerror}; mend that and give the same command again"
    return ""


_MENDABLE = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EIO,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
)


def _is_result(path: Path, snakemake: Job) -> bool:
    """Whether a rule makes the file; the log is in `logs/` below the run's folder of results."""
    log = Path(str(snakemake.log[0])) if getattr(snakemake, "log", None) else Path()
    results = next((parent.parent for parent in log.parents if parent.name == "logs"), None)
    return results is not None and path.absolute().is_relative_to(results.absolute())


def _hook(logger: logging.Logger, path: str | None, snakemake: Job) -> Any:
    def report(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            if not os.environ.get(QUIET_JOBS):
                sys.__excepthook__(kind, error, trace)
            return
        if isinstance(error, UserError):
            logger.error("%s", error)
            return
        sentence = plain_sentence(error, snakemake)
        if sentence:
            logger.error("%s", sentence)
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

    With an exit only the sentence is on the screen: a `WorkflowError` raised while the Snakefile is
    read adds four lines about where it was raised (seen with Snakemake 9.27).
    """
    try:
        yield
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
