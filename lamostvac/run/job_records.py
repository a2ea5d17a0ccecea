"""Records of a run's jobs: their logs and benchmark files.

A log's first line has a job's requested resources and amounts of work, its last one what it used
(`lamostvac.core.log`); both are written under any executor. Snakemake's benchmark file appears when
a job has succeeded. Nothing here affects the run: no lock is taken and Slurm is not asked.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.manifest import read_manifest
from lamostvac.run.layout import LOG_FOLDERS, Layout, job_stem

_RULES = {folder: rule_name for rule_name, folder in LOG_FOLDERS.items()}
_END = 65536  # bytes of a log's end that are read


@dataclass(frozen=True)
class Job:
    """One job by its files.

    Attributes
    ----------
    rule, name : the rule, and the path of the log below the rule's folder without `.log`: `M/0003`,
        `mastar`, or ""
    log : the log file, which may not exist
    began, ended : time of the log's last change, and of the benchmark file, s since 1970; None
        without one
    """

    rule: str
    name: str
    log: Path
    began: float | None
    ended: float | None

    @property
    def type(self) -> str:
        """The first part of the name: the spectral type of jobs that have one."""
        return self.name.split("/")[0]

    @property
    def done(self) -> bool:
        """Whether it has succeeded and has not been started again since."""
        # The benchmark is written after the log's last line; times in whole seconds may be equal.
        return self.ended is not None and (self.began is None or self.began <= self.ended + 1.0)


@dataclass(frozen=True)
class Account:
    """Numbers of the first and last line of a job's log; `used` is empty while it runs."""

    rule: str = ""
    host: str = ""
    asked: Mapping[str, float] = field(default_factory=dict)
    used: Mapping[str, float] = field(default_factory=dict)


def find_jobs(results: str | Path) -> dict[tuple[str, str], Job]:
    """All jobs that have a log or a benchmark file below a results folder, by rule and name.

    Raises `UserError` when the folder has no logs.
    """
    results = Path(results)
    logs = _times(results / Layout.logs, ".log")
    if not logs:
        raise UserError(f"{results} is no results folder of a run: it has no logs")
    benchmarks = _times(results / Layout.benchmarks, ".tsv")
    jobs = {}
    for stem in sorted({*logs, *benchmarks}):
        folder, _, name = stem.partition("/")
        rule = _RULES.get(folder, folder)
        jobs[rule, name] = Job(
            rule, name, results / Layout.logs / f"{stem}.log", logs.get(stem), benchmarks.get(stem)
        )
    return jobs


def _times(folder: Path, suffix: str) -> dict[str, float]:
    """Time of each file with a suffix, by its path below the folder without it."""
    found = {}
    for path, _, names in os.walk(folder):
        below = os.path.relpath(path, folder)
        for name in names:
            if name.endswith(suffix) and not name.startswith("."):
                stem = name.removesuffix(suffix)
                try:
                    found[stem if below == "." else f"{below}/{stem}"] = os.stat(
                        f"{path}/{name}"
                    ).st_mtime
                except FileNotFoundError:  # just replaced by the job
                    continue
    return found


def read_account(log: Path) -> Account:
    """The first and last line of a log; empty for a log without these lines (yet)."""
    try:
        with open(log, encoding="utf-8", errors="replace") as handle:
            first = handle.readline()
        last = end_of(log)[-1:]
    except OSError:
        return Account()
    asked = _values(first, " asked: ")
    rule, host = str(asked.pop("rule", "")), str(asked.pop("host", ""))
    used = _values(last[0], " used: ") if last else {}
    return Account(rule, host, _numbers(asked), _numbers(used))


def _values(line: str, mark: str) -> dict[str, str]:
    _, found, text = line.rstrip("\n").partition(mark)
    return dict(part.split("=", 1) for part in text.split() if "=" in part) if found else {}


def _numbers(values: Mapping[str, str]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def end_of(log: Path, most: int = _END) -> list[str]:
    """The last lines of a log, up to `most` bytes of them."""
    with open(log, "rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(size - most, 0))
        return handle.read().decode("utf-8", "replace").splitlines()


def last_error(log: Path) -> str | None:
    """The last error in a log, with its traceback's last line; None where there is none."""
    lines = end_of(log)
    for number in range(len(lines) - 1, -1, -1):
        if " ERROR " in lines[number]:
            return lines[number].split(" ERROR ", 1)[1]
    return None


def last_message(log: Path) -> str:
    """The last line of a log that is about its work."""
    for line in reversed(end_of(log)):
        if line.strip() and " asked: " not in line and " used: " not in line:
            return line.split(" INFO ", 1)[-1]
    return ""


def accepted_and_rejected(log: Path) -> tuple[int, int]:
    """Spectra that a finished job took and rejected, by its log; 0 of a log that does not say."""
    # The last lines of such a log are `N in, N accepted, N rejected` and `used: ...`.
    for line in reversed(end_of(log, 2048)):
        if line.endswith(" rejected") and " accepted, " in line:
            accepted, _, rejected = line.rpartition(" in, ")[2].partition(" accepted, ")
            return int(accepted), int(rejected.split()[0])
    return 0, 0


def read_benchmark(path: Path) -> dict[str, float]:
    """The numbers in the last record of Snakemake's benchmark file, without missing ones."""
    table = pd.read_csv(path, sep="\t", na_values=["NA", "-"])
    row = table.select_dtypes("number").iloc[-1].dropna()
    return {str(name): float(value) for name, value in row.items()}


def chunks_of_run(results: str | Path) -> pd.DataFrame:
    """The survey's chunks: `type chunk n_spectra` and more; `UserError` before the survey has
    run.
    """
    path = Path(results) / Layout.manifest
    try:
        return read_manifest(path)
    except FileNotFoundError:
        raise UserError(f"the survey of {results} has not run yet: there is no {path}") from None


@dataclass(frozen=True)
class Run:
    """The jobs of a run when Snakemake was last started.

    Attributes
    ----------
    started : s since 1970
    planned : rule and name of the known jobs; for a run that begins with the survey, those before
        it
    targets : those on the command line; empty for all
    chunk_rules : rules with a job for each chunk, in the order of the data's flow
    types : spectral types of the configuration
    networks : members of all networks
    folder : where it was started; None where an older version wrote the record
    """

    started: float = 0.0
    planned: frozenset[tuple[str, str]] = frozenset()
    targets: tuple[str, ...] = ()
    chunk_rules: tuple[str, ...] = ("prepare", "predict", "fit")
    types: tuple[str, ...] = ()
    networks: int = 0
    folder: Path | None = None


def job_name(wildcards: Mapping[str, str]) -> str:
    """The name of a job by its wildcards in the order of its files: type before chunk or batch."""
    ordered = sorted(wildcards, key=lambda name: (name != "type", name))
    return "/".join(str(wildcards[name]) for name in ordered)


def write_run(
    results: str | Path,
    started: float,
    jobs: Iterable[tuple[str, Mapping[str, str]]],
    targets: Iterable[str],
    chunk_rules: Sequence[str],
    types: Sequence[str],
    networks: int,
    configuration: Mapping[str, Any],
) -> None:
    """Write down a run's planned jobs for `read_run`, and its configuration as it was given."""
    content: dict[str, Any] = {
        "started": started,
        "planned": sorted([rule, job_name(wildcards)] for rule, wildcards in jobs),
        "targets": sorted(str(target) for target in targets),
        "chunk_rules": list(chunk_rules),
        "types": list(types),
        "networks": networks,
        "folder": str(Path.cwd()),
    }
    with atomic(Path(results) / Layout.run_configuration) as path:
        # Through JSON, because Snakemake's dictionaries are of a kind of their own.
        plain = json.loads(json.dumps(configuration, default=str))
        path.write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
    with atomic(Path(results) / Layout.run) as path:
        path.write_text(json.dumps(content), encoding="utf-8")


def read_run(results: str | Path) -> Run:
    """The run's planned jobs; a `Run` of defaults where no file has them."""
    try:
        content = json.loads((Path(results) / Layout.run).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Run()
    return Run(
        started=float(content["started"]),
        planned=frozenset((rule, name) for rule, name in content["planned"]),
        targets=tuple(content["targets"]),
        chunk_rules=tuple(content["chunk_rules"]),
        types=tuple(content["types"]),
        networks=int(content["networks"]),
        folder=Path(content["folder"]) if "folder" in content else None,
    )


def accounts(results: str | Path) -> Iterator[tuple[Job, Account, dict[str, float]]]:
    """Every job that has succeeded, with its log's account and its benchmark's numbers."""
    for job in find_jobs(results).values():
        if job.done:
            stem = job_stem(job.rule, *([job.name] if job.name else []))
            yield (
                job,
                read_account(job.log),
                read_benchmark(Path(results) / Layout.benchmarks / f"{stem}.tsv"),
            )
