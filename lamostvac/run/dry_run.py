"""The jobs of a Snakemake dry run as data.

Snakemake passes its messages to a logger plugin (`snakemake_plugin/snakemake_logger_plugin_jobs`),
which writes each job as JSON. Only the reason of a job has to be parsed from a text.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lamostvac.core.exceptions import UserError
from lamostvac.run.start import with_plugins

# Snakemake's texts, in the order in which one of several reasons is the cause, and our names.
REASONS = {
    "Forced execution": "forced",
    "Params have changed since last execution": "params changed",
    "Code has changed since last execution": "script changed",
    "Set of input files has changed since last execution": "other input files",
    "Software environment definition has changed since last execution": "environment changed",
    "Updated input files": "input updated",
    "Missing output files": "output missing",
    "Input files updated by another job": "follows another job",
}
# Snakemake's introduction to changed values, and the hash of all settings, which every header has.
_NOISE = re.compile(
    r"Union of exclusive params before and now across all output: |,?\{'config_hash':[^}]*\},?"
)
_REASON = re.compile("(" + "|".join(map(re.escape, REASONS)) + ")")


@dataclass(frozen=True)
class Job:
    """A job of the plan.

    Attributes
    ----------
    reason : the cause by `REASONS`, and `detail`, Snakemake's text on it
    resources : those that are whole numbers: `mem_mb runtime` and the amounts of work; absent if
        not known yet
    inputs, outputs : files
    """

    rule: str
    wildcards: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    detail: str = ""
    resources: Mapping[str, int] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    threads: int = 1

    @property
    def type(self) -> str:
        """Its spectral type, "" without one."""
        return self.wildcards.get("type", "")


def dry_run(
    configfile: Path,
    targets: Sequence[str] = (),
    snakefile: Path | None = None,
    folder: Path | None = None,
) -> list[Job]:
    """The jobs that Snakemake would run.

    Parameters
    ----------
    configfile : the run's configuration
    targets : files or rules; by default all results of the run
    snakefile, folder : by default those of the working directory

    Raises
    ------
    UserError
        The dry run fails; the message contains Snakemake's.
    """
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--nolock", "--cores", "1", *targets]
    command += ["--quiet", "rules", "--logger", "jobs"]
    command += ["--configfile", str(Path(configfile).resolve())]
    command += ["--snakefile", str(Path(snakefile).resolve())] if snakefile else []
    command += ["--directory", str(folder)] if folder else []
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    modules = with_plugins(os.environ.get("PYTHONPATH"))
    with tempfile.TemporaryDirectory() as scratch:
        records = Path(scratch) / "jobs.jsonl"
        done = subprocess.run(
            [*command, "--logger-jobs-file", str(records)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env={**os.environ, "PATH": path, "PYTHONPATH": modules},
        )
        if done.returncode:
            raise UserError(f"the dry run failed: {done.stdout.strip()[-2000:]}")
        with records.open(encoding="utf-8") as lines:
            # A rule of targets, like `all`, has neither a log nor an output.
            return [
                job_of(record)
                for record in map(json.loads, lines)
                if record["output"] or record["log"]
            ]


def job_of(record: Mapping[str, Any]) -> Job:
    """A job as the plugin writes it: `rule wildcards reason resources input output log threads`."""
    reason = record["reason"]
    causes = [name for name in REASONS if name in _REASON.findall(reason)]
    detail = ""
    if causes:
        after = reason.split(causes[0], 1)[1].lstrip(": ")
        detail = " ".join(_NOISE.sub(" ", _REASON.split(after)[0]).split()).rstrip("; ")
        if detail == "before: now:":
            detail = "the settings that the file's header has"
    return Job(
        rule=record["rule"],
        wildcards=record["wildcards"],
        reason=REASONS[causes[0]] if causes else reason.split(":")[0] or "unknown",
        detail=detail,
        resources=record["resources"],
        inputs=tuple(record["input"]),
        outputs=tuple(record["output"]),
        threads=record["threads"],
    )
