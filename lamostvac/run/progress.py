"""Progress of a run: `lamostvac progress results/dr10`, from any shell, as often as wanted.

Reads names and times of logs and benchmark files (`lamostvac.run.job_records`) and the survey's
manifest, so it works under any executor, and neither takes Snakemake's lock nor asks the cluster. A
job is done when its benchmark file is newer than its log and, if the run planned to do it (again),
newer than the run's start. Only the types of the run are counted.

The remaining time is the model's (`lamostvac.run.resources`) for the remaining jobs, times the
ratio of actual to predicted time of jobs so far, divided by the work done per second recently.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from lamostvac.core.exceptions import UserError
from lamostvac.run.job_records import (
    Account,
    Job,
    Run,
    accepted_and_rejected,
    chunks_of_run,
    find_jobs,
    last_error,
    last_message,
    read_account,
    read_run,
)
from lamostvac.run.layout import Layout
from lamostvac.run.resources import Model

RECENT = 50  # number of jobs for the recent rate
QUIET = 1800.0  # s without a new line in its log after which a job counts as stopped


@dataclass(frozen=True)
class Line:
    """Progress of a rule for one spectral type, or for all (`type` "").

    Rates are spectra per second, since the end of the rule's first job and over the last `RECENT`
    ones; None before two jobs have ended. `rejected` counts spectra of finished prepare and fit
    jobs.
    """

    rule: str
    type: str
    jobs: int
    done: int
    spectra: int
    spectra_done: int
    rate: float | None = None
    recent_rate: float | None = None
    remaining_seconds: float | None = None


@dataclass(frozen=True)
class Progress:
    """Progress of the whole run: lines per rule and type, other jobs, running and failed ones.

    Attributes
    ----------
    lines : of chunk rules; the lines of a rule's types come before its own
    others : `(done, known)` jobs that are not of chunks
    running, failed, stopped : jobs of each kind; a stopped one has neither ended nor logged
        anything for half an hour
    rejected : spectra rejected by the survey and by finished jobs
    speed : recent seconds of work done per second
    factor : time of finished jobs divided by the model's; None before any has ended
    remaining_seconds : of all jobs except `unknown`, the number of jobs of unknown size
    """

    lines: tuple[Line, ...]
    others: tuple[int, int]
    unknown: int
    running: tuple[Job, ...]
    failed: tuple[Job, ...]
    stopped: tuple[Job, ...]
    rejected: int
    speed: float
    factor: float | None
    remaining_seconds: float


def is_done(job: Job | None, run: Run, key: tuple[str, str]) -> bool:
    """Whether a job has succeeded, in this run if the run planned to do it."""
    if job is None or not job.done or job.ended is None:
        return False
    return key not in run.planned or job.ended >= run.started


def wanted_types(
    manifest: pd.DataFrame, jobs: Mapping[tuple[str, str], Job], run: Run
) -> list[str]:
    """The spectral types of the run, in the manifest's order.

    For a run with targets, these are the types whose jobs it planned or has begun; for others, or
    when there are none, all types.
    """
    types = list(dict.fromkeys(manifest["type"]))
    if not run.targets or "all" in run.targets:
        return types
    begun = {
        job.type for job in jobs.values() if job.began is not None and job.began >= run.started
    }
    begun |= {name.split("/")[0] for _, name in run.planned}
    return [name for name in types if name in begun] or types


def throughput(
    jobs: Sequence[Job], seconds: Mapping[tuple[str, str], float], running: int
) -> float:
    """Seconds of work per second: recently ended jobs over the time from first start to last end.

    This is less than the number of parallel jobs if they wait. While fewer have ended than are
    running, it is the number of running jobs.
    """
    ended = [(job.ended, seconds[job.rule, job.name]) for job in jobs if job.ended is not None]
    if len(ended) < max(running, 1):
        return float(max(running, 1))
    span = max(end for end, _ in ended) - min(end - took for end, took in ended)
    return sum(took for _, took in ended) / span if span > 0 else float(max(running, 1))


def progress(results: str | Path, model: Model, now: float | None = None) -> Progress:
    """The progress of a run at the time `now` (s since 1970).

    Raises `UserError` when the folder has no logs or no manifest.
    """
    now = time.time() if now is None else now
    jobs, manifest, run = find_jobs(results), chunks_of_run(results), read_run(results)
    chunks = manifest[manifest["type"].isin(wanted_types(manifest, jobs, run))]
    sizes = {
        f"{name}/{chunk}": int(n)
        for name, chunk, n in zip(chunks["type"], chunks["chunk"], chunks["n_spectra"], strict=True)
    }
    rules = list(run.chunk_rules) or ["prepare", "predict", "fit"]
    done = {
        (rule, name): jobs[rule, name]
        for rule in rules
        for name in sizes
        if is_done(jobs.get((rule, name)), run, (rule, name))
    }
    # Times and rejections are in the logs; those of the last jobs are enough for the rate.
    recent = sorted(done.values(), key=lambda job: job.ended or 0.0)[-RECENT:]
    per_rule = {rule: [job for job in done.values() if job.rule == rule] for rule in rules}
    sample = {
        (job.rule, job.name): job
        for rule in rules
        for job in sorted(per_rule[rule], key=lambda job: job.ended or 0.0)[-RECENT:]
    }
    accounts = {key: read_account(job.log) for key, job in sample.items()}

    def expected(rule: str, name: str) -> float | None:
        amounts = {"spectra": float(sizes[name]), "networks": float(run.networks)}
        known = accounts.get((rule, name))
        amounts |= dict(known.asked) if known else {}
        try:
            return model.expected(rule, "seconds", amounts)
        except UserError:
            return None

    factors = {rule: _factor(rule, accounts, expected) for rule in rules}
    overall = _factor(None, accounts, expected)
    took = {key: account.used["seconds"] for key, account in accounts.items() if account.used}
    running, failed, stopped = _unfinished(jobs, run, now)
    lately = [
        job for job in recent if (job.rule, job.name) in took and (job.ended or 0.0) >= run.started
    ]
    speed = throughput(lately, took, len(running))

    lines: list[Line] = []
    total_left = 0.0
    for rule in rules:
        left_of_rule: float | None = 0.0
        for name in dict.fromkeys(chunks["type"]):
            own = [chunk for chunk in sizes if chunk.split("/")[0] == name]
            left = [expected(rule, chunk) for chunk in own if (rule, chunk) not in done]
            factor = factors[rule] or overall or 1.0
            known = [value for value in left if value is not None]
            seconds = factor * sum(known) / speed if len(known) == len(left) else None
            lines.append(_line(rule, name, own, sizes, done, seconds))
            left_of_rule = (
                None if seconds is None or left_of_rule is None else left_of_rule + seconds
            )
        lines.append(_line(rule, "", list(sizes), sizes, done, left_of_rule))
        total_left += left_of_rule or 0.0
    others = {
        key
        for key in {*jobs, *run.planned}
        if key[0] not in rules and key[0] not in ("all", "star")
    }
    others = {key for key in others if not key[0].startswith("type_")}
    open_others = [key for key in others if not is_done(jobs.get(key), run, key)]
    spectra_of_type = chunks.groupby("type")["n_spectra"].sum().to_dict()
    unknown = 0
    for rule, name in open_others:
        spectra = spectra_of_type.get(name, int(chunks["n_spectra"].sum()))
        try:
            seconds = model.expected(rule, "seconds", {"spectra": float(spectra)})
        except UserError:
            unknown += 1
        else:
            total_left += (overall or 1.0) * seconds / speed
    return Progress(
        lines=tuple(lines),
        others=(len(others) - len(open_others), len(others)),
        unknown=unknown,
        running=running,
        failed=failed,
        stopped=stopped,
        rejected=_rejected(results, list(done.values())),
        speed=speed,
        factor=overall,
        remaining_seconds=total_left,
    )


def _factor(
    rule: str | None,
    accounts: Mapping[tuple[str, str], Account],
    expected: Callable[[str, str], float | None],
) -> float | None:
    """Seconds of finished jobs divided by the model's, for one rule or all."""
    measured = predicted = 0.0
    for key, account in accounts.items():
        if rule in (None, key[0]) and account.used:
            value = expected(*key)
            if value:
                measured += account.used["seconds"]
                predicted += value
    return measured / predicted if predicted else None


def _line(
    rule: str,
    spectral_type: str,
    names: Sequence[str],
    sizes: Mapping[str, int],
    done: Mapping[tuple[str, str], Job],
    remaining: float | None,
) -> Line:
    ended = sorted(
        (done[rule, name].ended or 0.0, sizes[name]) for name in names if (rule, name) in done
    )
    return Line(
        rule=rule,
        type=spectral_type,
        jobs=len(names),
        done=len(ended),
        spectra=sum(sizes[name] for name in names),
        spectra_done=sum(size for _, size in ended),
        rate=_rate(ended),
        recent_rate=_rate(ended[-RECENT:]),
        remaining_seconds=remaining,
    )


def _rate(ended: Sequence[tuple[float, int]]) -> float | None:
    """Spectra per second between the first and the last of these ends, without the first job's."""
    if len(ended) < 2 or ended[-1][0] <= ended[0][0]:
        return None
    return sum(size for _, size in ended[1:]) / (ended[-1][0] - ended[0][0])


def _unfinished(
    jobs: Mapping[tuple[str, str], Job], run: Run, now: float
) -> tuple[tuple[Job, ...], tuple[Job, ...], tuple[Job, ...]]:
    """Jobs with a log that have not succeeded since: running, failed, stopped."""
    running, failed, stopped = [], [], []
    for job in sorted(jobs.values(), key=lambda job: job.began or 0.0):
        # Logs of an earlier run do not belong to running jobs.
        if job.done or job.began is None or job.began < run.started:
            continue
        if last_error(job.log) is not None:
            failed.append(job)
        elif read_account(job.log).used:
            continue  # its benchmark is being written
        elif now - job.began > QUIET:
            stopped.append(job)
        else:
            running.append(job)
    return tuple(running), tuple(failed), tuple(stopped)


def _rejected(results: str | Path, done: Sequence[Job]) -> int:
    """Spectra that the survey and finished jobs have rejected."""
    path = Path(results) / Layout.survey_rejected
    count = 0
    if path.exists():
        with open(path, "rb") as handle:
            count = max(
                sum(block.count(b"\n") for block in iter(lambda: handle.read(1 << 20), b"")) - 1, 0
            )
    for job in done:
        if job.rule in ("prepare", "fit"):
            count += accepted_and_rejected(job.log)[1]
    return count


def duration(seconds: float | None) -> str:
    """Seconds as `3 d 04 h`, `2 h 05 min`, `7 min`, `12 s`; `?` for None."""
    if seconds is None:
        return "?"
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours:02d} h"


def text(state: Progress, now: float) -> str:
    """The progress as a table and lists."""
    lines = [
        f"{datetime.fromtimestamp(now):%Y-%m-%d %H:%M:%S}",
        f"{'':12s}{'type':>5s}{'jobs':>14s}{'spectra':>26s}{'':>7s}{'spectra/s':>11s}{'lately':>9s}  left",
    ]
    for line in state.lines:
        share = 100 * line.spectra_done / line.spectra if line.spectra else 100.0
        rates = [
            ("-" if rate is None else f"{rate:,.0f}") for rate in (line.rate, line.recent_rate)
        ]
        left = "done" if line.done == line.jobs else duration(line.remaining_seconds)
        lines.append(
            f"{line.rule:12s}{line.type or 'all':>5s}{line.done:>7,d}/{line.jobs:<6,d}"
            f"{line.spectra_done:>13,d}/{line.spectra:<12,d}{share:>6.1f}%{rates[0]:>11s} {rates[1]:>8s}  {left}"
        )
    lines.append(f"other jobs: {state.others[0]} of {state.others[1]} that are known")
    lines.append(f"rejected so far: {state.rejected:,} spectra")
    beside = f", and {state.unknown} jobs of unknown size" if state.unknown else ""
    factor = (
        "no job has ended"
        if state.factor is None
        else f"jobs take {state.factor:.2f} of the predicted time"
    )
    lines.append(
        f"left: {duration(state.remaining_seconds)}{beside} ({factor}, {state.speed:.2g} s of work each second)"
    )
    for title, jobs in (("running", state.running), ("stopped or lost", state.stopped)):
        if jobs:
            lines.append(f"{title}: {len(jobs)}")
            lines += [f"  {_name(job)}: {last_message(job.log)[:110]}" for job in jobs[-20:]]
    if state.failed:
        lines.append(f"failed: {len(state.failed)}")
        lines += [
            f"  {_name(job)}: {last_error(job.log)} ({job.log})" for job in state.failed[-20:]
        ]
    return "\n".join(lines)


def _name(job: Job) -> str:
    return f"{job.rule} {job.name}".strip()
