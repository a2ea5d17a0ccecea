"""Jobs that a killed Snakemake left in Slurm's queue, and unsafe options of its Slurm plugin.

Slurm's jobs go on when the Snakemake that submitted them is killed (kill -9, a lost login node).
Started again, it submits the same jobs once more, and then each path has two writers.
"""

import getpass
import logging
import subprocess
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError

# Seen with version 2.8.0 of the plugin: with more ready jobs than slots nothing is submitted; with
# sacct a running task counts as finished; with squeue a task that fails deletes the output of the
# first.
_ARRAYS = (
    "slurm-array-jobs is set, and with the plugin's job arrays outputs are lost; leave it out "
    "(a chunk is one job already, see docs/slurm.md)"
)
_SACCT = (
    "slurm-status-command is sacct, with which a job that an administrator cancels is waited for without end; "
    "write `slurm-status-command: squeue`"
)
_REQUEUE = (
    "slurm-requeue is set, with which Slurm starts a job again on its own while Snakemake counts it as failed, "
    "so that two writers share a path; leave it out, `retries` does it"
)


def require_safe_settings(settings: Any) -> None:
    """Refuse options of the Slurm plugin that lose outputs.

    Parameters
    ----------
    settings : the executor's settings as Snakemake holds them; those of other executors, or None,
        pass

    Raises
    ------
    UserError
        One sentence that names the option and what to write instead.
    """
    if getattr(settings, "array_jobs", None):
        raise UserError(_ARRAYS)
    if getattr(settings, "status_command", None) == "sacct":
        raise UserError(_SACCT)
    if getattr(settings, "requeue", False):
        raise UserError(_REQUEUE)


def leftovers(names: Collection[str], folder: str | Path) -> list[str]:
    """Slurm's numbers of this user's jobs with these names that were submitted in `folder`.

    Raises
    ------
    UserError
        The queue cannot be asked, so that it is unknown whether other writers are running.
    """
    if not names:
        return []
    found = set()
    here = Path(folder).resolve()
    for line in _run(
        "squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%A|%j|%Z"
    ).splitlines():
        number, name, place = line.strip().split("|", 2)
        if name in names and Path(place).resolve() == here:
            found.add(number)
    return sorted(found, key=int)


def cancel_leftovers(
    record: Path,
    own: str | None,
    folder: str | Path,
    log: logging.Logger,
    patience: float = 120.0,
    pause: float = 1.0,
) -> list[str]:
    """Cancel jobs of earlier, killed Snakemakes of a run, wait for their end, record the own name.

    To be called while this Snakemake holds the run's lock and has not submitted anything, so that
    no job of a running one is concerned. Other runs in the same directory are not affected: the
    names are those in `record`, a file in this run's results.

    Parameters
    ----------
    record : text file with the names under which this run's jobs were submitted, a line each;
        written anew
    own : name of the jobs that this Snakemake will submit; None under an executor other than
        Slurm's
    folder : working directory of the workflow
    patience : seconds to wait for the jobs' end

    Returns
    -------
    The numbers of the cancelled jobs. Their outputs are removed with them, so earlier knowledge of
    files is out of date.

    Raises
    ------
    UserError
        The queue cannot be asked, or the jobs do not end.
    """
    names = set(record.read_text(encoding="utf-8").split()) if record.exists() else set()
    numbers = living = leftovers(names, folder)
    if numbers:
        log.warning(
            f"{len(numbers)} Slurm jobs of an earlier start of this run are cancelled: {', '.join(numbers)}"
        )
        _run("scancel", *numbers)
    end = time.monotonic() + patience
    while living:
        if time.monotonic() > end:
            raise UserError(
                f"Slurm jobs {', '.join(living)} of an earlier start of this run do not end; "
                "cancel them (scancel) and start again when squeue no longer lists them"
            )
        time.sleep(pause)
        living = leftovers(names, folder)
    if own is not None:
        with atomic(record) as temporary:
            temporary.write_text(f"{own}\n", encoding="utf-8")
    else:
        record.unlink(missing_ok=True)
    return numbers


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError:
        raise UserError(
            f"there is no command {command[0]}; start on a node that can submit to Slurm"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[0]} does not answer; start again when Slurm does") from None
    if done.returncode:
        raise UserError(f"{command[0]} failed: {' '.join(done.stderr.split())}")
    return done.stdout
