"""The jobs of a run, their reasons and their time: `lamostvac plan --config mine.yaml`.

Snakemake's own dry run says which jobs there are and why; the measured model
(`lamostvac.run.resources`) gives the cost of each from the amounts of work among its resources in
the dry run. Nothing is run and nothing is locked.

The chunks are not known before the survey has read the catalogue. Then `--spectra` gives the number
of the catalogue's spectra, and types are assumed to have the same shares as in DR10.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from lamostvac.configuration.root import Configuration, read_configuration
from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.files import read_yaml
from lamostvac.core.paths import shipped
from lamostvac.core.vocabulary import SPECTRAL_TYPES
from lamostvac.run.dry_run import REASONS, Job, dry_run
from lamostvac.run.layout import Layout
from lamostvac.run.resources import RESOURCES, Model, load_model
from lamostvac.training.load import load_training_sets

SHARES = {"OB": 0.01, "A": 0.07, "F": 0.32, "G": 0.40, "K": 0.15, "M": 0.05}  # about those of DR10


def add_chunks(
    jobs: Sequence[Job],
    configuration: Configuration,
    n_spectra: int,
    networks: int,
    folder: Path | None = None,
) -> list[Job]:
    """The plan of a run before its survey, with the chunks that `n_spectra` would give.

    Parameters
    ----------
    jobs : of a dry run, which has the jobs of types and of the run but not those of chunks
    n_spectra : of the catalogue
    networks : members of all networks; 0 without
    folder : the run's, by default the working directory
    """
    total: dict[str, int] = {
        name: round(n_spectra * SHARES[name]) for name in configuration.survey.types
    }
    rules = configuration.chunk_rules(networks > 0)
    most = {
        "hats": configuration.publication.hats_max_rows,
        "explorer": configuration.explorer.max_rows,
    }
    planned: list[Job] = []
    for job in jobs:
        amounts = dict(job.resources)
        if "spectra" in amounts and job.rule != "simulate":
            amounts["spectra"] = total.get(job.type, 0) if job.type else sum(total.values())
        if "rows" in amounts:
            amounts["rows"] = min(most[job.rule], amounts["spectra"])
        inputs = job.inputs
        if job.rule == "collect":
            inputs += tuple(f"chunks/{job.type}/{rule}" for rule in rules if rule != "prepare")
        planned.append(replace(job, resources=amounts, inputs=inputs))
    types = [job.type for job in jobs if job.rule == "collect"]
    number = next(n for n, job in enumerate(planned) if job.rule == "survey")
    chunks = _emulators(configuration, jobs, folder or Path()) if types else []
    ready = [
        path
        for job in (*jobs, *chunks)
        if job.rule in ("emulator", "train")
        for path in job.outputs
    ]
    for name in types:
        chunks += _chunks(
            name, total[name], configuration.survey.chunk_size, rules, networks, ready, jobs
        )
    return planned[: number + 1] + chunks + planned[number + 1 :]


def _emulators(configuration: Configuration, jobs: Sequence[Job], run: Path) -> list[Job]:
    """The jobs for missing emulators that only the fits of chunks need."""
    layout, found = Layout(configuration.run.results), []
    made = {path for job in jobs for path in job.outputs}
    libraries = [configuration.library.name]
    libraries += [configuration.second_library.name] if configuration.second_library else []
    libraries += [entry.name for entry in configuration.emulators]
    for name in libraries:
        path = layout.emulator_distilled.format(library=name)
        if path not in made and not (run / path).exists():
            library = (layout.library.format(library=name),)
            found.append(
                Job(
                    "emulator", {"library": name}, "output missing", inputs=library, outputs=(path,)
                )
            )
    return found


def _chunks(
    name: str,
    n_spectra: int,
    size: int,
    rules: Sequence[str],
    networks: int,
    ready: Sequence[str],
    jobs: Sequence[Job],
) -> list[Job]:
    """The jobs of a type's chunks; those after `prepare` wait for the files `ready`."""
    survey = next(job.outputs for job in jobs if job.rule == "survey")
    found = []
    for number in range(-(-n_spectra // size)):
        prepared, wildcards = f"chunks/{name}/{number}", {"type": name, "chunk": f"{number:04d}"}
        spectra = min(size, n_spectra - number * size)
        for rule in rules:
            first = rule == "prepare"
            amounts = {"spectra": spectra} | ({"networks": networks} if rule == "predict" else {})
            found.append(
                Job(
                    rule,
                    wildcards,
                    "output missing",
                    resources=amounts,
                    inputs=survey if first else (prepared, *ready),
                    outputs=(prepared,) if first else (f"chunks/{name}/{rule}",),
                )
            )
    return found


def n_networks(configuration: Configuration) -> int:
    """Number of members of all networks in the training sets of a configuration."""
    path = configuration.networks.training_sets
    sets = load_training_sets(shipped(path)) if path else []
    return configuration.networks.members * sum(len(entry.labels) for entry in sets)


@dataclass(frozen=True)
class Prediction:
    """Cost of a job: CPU seconds (NaN if its amounts are unknown), MB requested, MB written."""

    seconds: float
    memory_mb: float
    written_mb: float
    assumed: bool = False


def predict(job: Job, model: Model, typical: Mapping[str, Mapping[str, float]]) -> Prediction:
    """The cost of a job by the model.

    `typical` has, by rule, amounts to assume where the files that determine them do not exist yet.
    """
    amounts: dict[str, float] = {**typical.get(job.rule, {}), **job.resources}
    assumed = any(name not in job.resources for name in typical.get(job.rule, {}))
    try:
        seconds = model.expected(job.rule, "seconds", amounts)
        given = {
            name: value for name, value in amounts.items() if name not in ("mem_mb", "runtime")
        }
        # Before the survey has counted, the dry run's amounts are those of a full chunk.
        memory = float(model.memory_mb(job.rule, 1, None, **given))
        return Prediction(seconds, memory, model.expected(job.rule, "written_mb", amounts), assumed)
    except UserError:
        return Prediction(math.nan, math.nan, math.nan)


def wall_seconds(jobs: Sequence[Job], seconds: Sequence[float], slots: int) -> float:
    """Time until all jobs have ended if at most `slots` run at once, each when its inputs exist.

    Jobs start in the order in which they become ready. Time in queues is not included.
    """
    makers: dict[str, list[int]] = defaultdict(list)
    for number, job in enumerate(jobs):
        for path in job.outputs:
            makers[path].append(number)
    waits: list[set[int]] = [set() for _ in jobs]
    followers: list[list[int]] = [[] for _ in jobs]
    for number, job in enumerate(jobs):
        waits[number] = {
            maker for path in job.inputs for maker in makers.get(path, ()) if maker != number
        }
        for maker in waits[number]:
            followers[maker].append(number)
    ready = [(0.0, number) for number in range(len(jobs)) if not waits[number]]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            _, number = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds[number], number))
        now, number = heapq.heappop(running)
        for follower in followers[number]:
            waits[follower].discard(number)
            if not waits[follower]:
                heapq.heappush(ready, (now, follower))
    return now


def summary(jobs: Sequence[Job], predictions: Sequence[Prediction]) -> pd.DataFrame:
    """One row per rule in the order of the plan, and `total`.

    Columns: `jobs`, one per spectral type and `other` with its jobs, `spectra` (of jobs with a
    type), `core_hours`, `longest_minutes`, `memory_mb` (the largest request), `written_gb`,
    `unknown` (jobs of unknown size).
    """
    rows: dict[str, dict[str, float]] = {}
    for rule in dict.fromkeys(job.rule for job in jobs):
        own = [(job, what) for job, what in zip(jobs, predictions, strict=True) if job.rule == rule]
        known = [what for _, what in own if not math.isnan(what.seconds)]
        types = Counter(job.type or "other" for job, _ in own)
        rows[rule] = {
            "jobs": len(own),
            **{name: types.get(name, 0) for name in (*SPECTRAL_TYPES, "other")},
            "spectra": sum(job.resources.get("spectra", 0) for job, _ in own if job.type),
            "core_hours": sum(what.seconds for what in known) / 3600,
            "longest_minutes": max((what.seconds for what in known), default=math.nan) / 60,
            "memory_mb": max((what.memory_mb for what in known), default=math.nan),
            "written_gb": sum(what.written_mb for what in known) / 1000,
            "unknown": len(own) - len(known),
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    if len(table):
        total = table.sum()
        total[["longest_minutes", "memory_mb"]] = table[["longest_minutes", "memory_mb"]].max()
        total["spectra"] = table["spectra"].max()
        table.loc["total"] = total
    return table


def reasons(jobs: Iterable[Job]) -> list[tuple[str, str, int, str]]:
    """`(reason, rule, jobs, detail of one of them)`, causes before what only follows from them."""
    counts: Counter[tuple[str, str]] = Counter()
    details: dict[tuple[str, str], str] = {}
    for job in jobs:
        counts[job.reason, job.rule] += 1
        details.setdefault((job.reason, job.rule), job.detail)
    order = list(REASONS.values())
    ranked = sorted(
        counts,
        key=lambda key: (order.index(key[0]) if key[0] in order else len(order), -counts[key]),
    )
    return [(*key, counts[key], details[key]) for key in ranked]


def text(
    jobs: Sequence[Job], model: Model, typical: Mapping[str, Mapping[str, float]], slots: int
) -> str:
    """The plan as text with tables."""
    if not jobs:
        return "Nothing to be done."
    predictions = [predict(job, model, typical) for job in jobs]
    table = summary(jobs, predictions)
    lines = ["Why:"]
    for reason, rule, count, detail in reasons(jobs):
        shown = (
            f": {detail[:110]}"
            if detail and reason not in ("output missing", "follows another job")
            else ""
        )
        lines.append(f"  {reason:20s} {rule:18s} {count:6d} jobs{shown}")
    shown_table = table.drop(columns="unknown").astype(
        {name: int for name in ("jobs", *SPECTRAL_TYPES, "other", "spectra")}
    )
    numbers = {
        "core_hours": "{:,.2f}".format,
        "longest_minutes": "{:,.1f}".format,
        "memory_mb": "{:,.0f}".format,
        "written_gb": "{:,.2f}".format,
        "spectra": "{:,}".format,
    }
    lines += ["", "What:", shown_table.to_string(formatters=numbers, na_rep="?")]
    seconds = [0.0 if math.isnan(what.seconds) else what.seconds for what in predictions]
    wall = wall_seconds(jobs, seconds, slots)
    lines += [
        "",
        f"About {sum(seconds) / 3600:,.2f} core-hours; with {slots} jobs at a time {wall / 3600:,.2f} h, ",
    ]
    lines[-1] += "without the time in queues."
    unknown = [rule for rule in table.index if rule != "total" and table.loc[rule, "unknown"]]
    if unknown:
        lines.append(f"Of unknown size, and not in these sums: {', '.join(unknown)}.")
    guessed = [
        rule for rule in table.index if rule in model.rules and model.cost(rule).guessed("seconds")
    ]
    if guessed:
        hours = table.loc[guessed, "core_hours"].sum()
        lines.append(
            f"{hours:,.2f} core-hours of these are guesses that no run has measured: {', '.join(guessed)}."
        )
    assumed = sorted(
        {job.rule for job, what in zip(jobs, predictions, strict=True) if what.assumed}
    )
    if assumed:
        lines.append(
            f"Assumed to be of full size, as their input is not there yet: {', '.join(assumed)}."
        )
    return "\n".join(lines)


def show(
    configfile: Path,
    targets: Sequence[str] = (),
    *,
    snakefile: Path | None = None,
    folder: Path | None = None,
    n_spectra: int | None = None,
    slots: int = 100,
    csv: Path | None = None,
) -> None:
    """Print the plan of a run, and write its table of rules to `csv`.

    Parameters
    ----------
    configfile, targets, snakefile, folder : as in `dry_run`
    n_spectra : rows of the catalogue, for a run whose survey has not read it
    slots : jobs at a time for the wall time
    """
    jobs = dry_run(configfile, targets, snakefile, folder)
    configuration = read_configuration(configfile)
    waiting = any(job.rule == "survey" for job in jobs)
    if waiting and n_spectra:
        jobs = add_chunks(jobs, configuration, n_spectra, n_networks(configuration), folder)
    model = load_model()
    typical = read_yaml(shipped(RESOURCES), "the table of resources").get("typical") or {}
    print(text(jobs, model, typical, slots))
    if waiting and not n_spectra:
        print(
            "The survey has not read the catalogue yet: jobs of chunks are missing above, and the numbers of types and "
            "of the run are those of one chunk. Give the number of its rows with --spectra."
        )
    if csv:
        predictions = [predict(job, model, typical) for job in jobs]
        with atomic(csv) as path:
            summary(jobs, predictions).to_csv(path, index_label="rule")
