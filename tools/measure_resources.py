"""Measure what the rules cost, from finished runs, and write config/resources.yaml.

    python tools/measure_resources.py results/one results/two ... --write
    python tools/measure_resources.py --run config/mine.yaml --cores 2 --write    (runs Snakemake first)
    python tools/measure_resources.py results/one --rules train predict --write   (other rules keep theirs)

Each finished job has left what it asked for, how much it had to do and what it took in its log
(`lamostvac.run.job_records`). For each rule the coefficients of its terms are fitted to these: seconds (of CPU, so that
a busy machine does little harm) by least squares of the relative deviations, memory the same and then raised until no
job is above it. Coefficients are never negative. Jobs that were forked (`run.fork_scripts`) do not count. Rules that no
run has keep what the table says of them, and `also` in the table are jobs measured elsewhere, mostly far larger, which
hold the lines where no run on one machine can.

Without --write the table stays as it is, and the errors are printed all the same: measured against predicted by
all runs, and by the other runs only.
"""

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.files import read_yaml
from lamostvac.run.job_records import accounts
from lamostvac.run.resources import QUANTITIES, RESOURCES, evaluate

# Terms of rules for which `base` and each amount by itself will not do: for seconds, and for memory.
ROWS = (("spectra",), ("spectra*row_bytes",))
TERMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "candidates": (("spectra", "spectra*library_kb"), ("library_kb", "spectra")),
    "train": (("input_kb*passes",), ("input_kb", "input_kb*members")),
    "predict": (("networks", "spectra*networks"), ("networks", "spectra")),
    "emulator": (("input_kb",), ("input_kb",)),
    "crossvalidation": (("input_kb", "input_kb*folds"), ("input_kb",)),
    "collect": ROWS,
    "recommend": ROWS,
    "catalog": ROWS,
    "hats": (("spectra",), ("rows*row_bytes",)),
    "explorer": (("spectra",), ("rows",)),
}
NOT_AMOUNTS = {"mem_mb", "runtime", "threads"}
HEAD = """\
# What each rule takes in memory, time and disk: written by tools/measure_resources.py,
# read by lamostvac/run/resources.py.
#
# A job is expected to take base + coefficient * amount of each term. Amounts are what rules/*.smk say in `asks`:
# spectra of the job's chunk, of its type or of the run; size of its input in kB; members of all networks; and so on.
#   memory_mb    peak resident memory, MB (10^6 bytes): no measured job was above it
#   seconds      CPU seconds, with about one to start and import
#   read_mb, written_mb   what the job reads and writes, from and to disk or page cache
#   jobs         measured jobs; 0: all is a guess
#   guess        what is a guess all the same, since the measured jobs do not say how it grows
# A guess is asked for as it stands, without margin.
# Asked for: memory margin * memory_mb + overhead_mb, minutes margin * seconds / 60, at least the floors, times the
# attempt.
#
# `also` are jobs measured elsewhere, which the fit takes too; `typical` are the amounts that a plan assumes where the
# files that would say them do not exist yet: MaStar's 19,365 spectra prepared, 8,753 training stars.
"""


def measured(folders: Sequence[Path]) -> pd.DataFrame:
    """One row per finished job: `run rule amounts` (a dictionary) and the quantities; `UserError` without any."""
    rows = []
    for folder in folders:
        for job, account, benchmark in accounts(folder):
            # A forked script's account has no start in it, and memory of the process that it was forked from.
            if not account.used or account.used.get("forked"):
                continue
            amounts = {
                name: value for name, value in account.asked.items() if name not in NOT_AMOUNTS
            }
            used = dict(account.used)
            used["seconds"] = used.pop("cpu_seconds")
            # The benchmark's samples see children as well, whose memory the job's own account leaves out.
            used["memory_mb"] = max(used["memory_mb"], benchmark.get("max_rss", 0.0) * 1.048576)
            rows.append(
                {"run": str(folder), "rule": account.rule or job.rule, "amounts": amounts, **used}
            )
    if not rows:
        raise UserError(
            f"no job in {', '.join(map(str, folders))} can be measured: there are none, or all were "
            "forked; make the run with run.fork_scripts: false"
        )
    return pd.DataFrame(rows)


def points(entries: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Jobs measured elsewhere (`also` in the table) as rows of `measured`; what was not measured is NaN."""
    rows = []
    for entry in entries:
        given = {name: entry.get(name, np.nan) for name in QUANTITIES}
        rows.append({"run": "also", "rule": entry["rule"], "amounts": entry["amounts"], **given})
    return pd.DataFrame(rows, columns=["run", "rule", "amounts", *QUANTITIES])


def terms_of(rule: str, quantity: str, amounts: Sequence[str]) -> tuple[str, ...]:
    """The terms of a rule's quantity beside `base`; bytes go like seconds without the passes over them."""
    if rule in TERMS:
        terms = TERMS[rule][quantity == "memory_mb"]
        return tuple(amounts) if quantity in ("read_mb", "written_mb") else terms
    return tuple(amounts)


def fit(jobs: pd.DataFrame, quantity: str) -> dict[str, float]:
    """Coefficients of one rule's quantity; none of them negative, those that are 0 left out."""
    jobs = jobs[jobs[quantity].notna()]
    names = list(jobs["amounts"].iloc[0])
    terms = ("base", *terms_of(str(jobs["rule"].iloc[0]), quantity, names))
    values = jobs[quantity].to_numpy(float)
    matrix = np.array(
        [[evaluate({term: 1.0}, amounts) for term in terms] for amounts in jobs["amounts"]]
    )
    # Relative deviations, so that a job of two seconds counts like one of two hours; and a large job that was measured
    # elsewhere like all of the others together.
    weights = 1.0 / np.maximum(values, 1e-3 * max(values.max(), 1e-9))
    elsewhere = (jobs["run"] == "also").to_numpy()
    weights[elsewhere] *= np.sqrt(max(np.count_nonzero(~elsewhere), 1))
    scale = np.abs(matrix).max(axis=0)
    scale[scale == 0] = 1.0
    if quantity == "memory_mb":
        # What does not grow with the work, like figures and samples of a fixed size, fills up in jobs of some
        # size; a line through far smaller ones would go on rising. They ask for the floor anyway.
        large = (matrix[:, 1:] >= 0.05 * scale[1:]).any(axis=1)
        weights[~large] = 0.0 if np.count_nonzero(large) > 1 else weights[~large]
    coefficients = nnls(matrix / scale * weights[:, None], values * weights)[0] / scale
    if quantity == "memory_mb":
        coefficients[0] += max(float((values - matrix @ coefficients).max()), 0.0)
    return {
        term: float(f"{value:.4g}")
        for term, value in zip(terms, coefficients, strict=True)
        if value > 0
    }


def table(
    jobs: pd.DataFrame, before: dict[str, dict[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """Costs of the rules that have jobs of more than one size, as the table has them.

    Where the largest job took hardly more memory or time than the smallest, how that grows is not known, and what the
    table `before` says of it stays. So does a rule all of whose jobs were equally large.
    """
    rules = {}
    for rule, rows in jobs.groupby("rule", sort=True):
        own = rows[rows["run"] != "also"]
        sizes = {tuple(sorted(amounts.items())) for amounts in rows["amounts"]}
        if not len(own) or (len(sizes) == 1 and rows["amounts"].iloc[0]):
            continue
        costs: dict[str, Any] = {quantity: fit(rows, quantity) for quantity in QUANTITIES}
        guess = []
        for quantity in ("memory_mb", "seconds"):
            # Jobs measured elsewhere are large enough to say that something does not grow.
            known = (rows["run"] == "also") & rows[quantity].notna()
            if before and not known.any() and not grows(costs[quantity], rows["amounts"]):
                print(f"{rule}: {quantity} hardly grows in these runs, so the table's own stays")
                costs[quantity] = before[str(rule)][quantity]
                if not before[str(rule)].get("jobs") or quantity in before[str(rule)].get(
                    "guess", ()
                ):
                    guess.append(quantity)
        rules[str(rule)] = costs | {"jobs": len(own)} | ({"guess": guess} if guess else {})
    return rules


def grows(terms: dict[str, float], amounts: pd.Series) -> bool:
    """Whether the terms beside `base` make a tenth of it in the largest of the jobs; true of rules without amounts."""
    base = terms.get("base", 0.0)
    return not amounts.iloc[0] or max(evaluate(terms, own) for own in amounts) > 1.1 * base


def predicted(rules: dict[str, dict[str, Any]], jobs: pd.DataFrame, quantity: str) -> pd.Series:
    """The quantity of each job by a table; NaN for rules that it lacks."""
    return pd.Series(
        [
            evaluate(rules[rule][quantity], amounts) if rule in rules else np.nan
            for rule, amounts in zip(jobs["rule"], jobs["amounts"], strict=True)
        ],
        index=jobs.index,
    )


def errors(jobs: pd.DataFrame, also: pd.DataFrame) -> pd.DataFrame:
    """Measured and predicted per rule, with `total` last.

    Columns: `jobs seconds all_runs other_runs memory_mb memory_other_runs`; the ratios are predicted over measured,
    of sums for seconds and the smallest of a job for memory (below 1 that job was above the prediction).
    """
    jobs = jobs.copy()
    jobs["all"] = predicted(table(pd.concat([jobs, also])), jobs, "seconds")
    jobs["other"], jobs["memory_other"] = np.nan, np.nan
    if jobs["run"].nunique() > 1:
        for _, own in jobs.groupby("run"):
            rules = table(pd.concat([jobs.drop(own.index), also]))
            jobs.loc[own.index, "other"] = predicted(rules, own, "seconds")
            jobs.loc[own.index, "memory_other"] = predicted(rules, own, "memory_mb")
    jobs["memory_ratio"] = jobs["memory_other"] / jobs["memory_mb"]

    def line(rows: pd.DataFrame) -> dict[str, float]:
        known, fitted = rows[rows["other"].notna()], rows[rows["all"].notna()]
        return {
            "jobs": len(rows),
            "seconds": rows["seconds"].sum(),
            "all_runs": rows["all"].sum() / fitted["seconds"].sum() if len(fitted) else np.nan,
            "other_runs": known["other"].sum() / known["seconds"].sum() if len(known) else np.nan,
            "memory_mb": rows["memory_mb"].max(),
            "memory_other_runs": rows["memory_ratio"].min(),
        }

    lines = {str(rule): line(rows) for rule, rows in jobs.groupby("rule")}
    lines |= {f"run {run}": line(rows) for run, rows in jobs.groupby("run")}
    return pd.DataFrame.from_dict(lines | {"total": line(jobs)}, orient="index")


def _processor() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="*", type=Path, help="results folders of finished runs")
    parser.add_argument(
        "--run", nargs="+", default=[], metavar="CONFIG", help="configurations to run first"
    )
    parser.add_argument("--cores", default="1", help="for --run; 1 measures best")
    parser.add_argument("--table", type=Path, default=Path(RESOURCES))
    parser.add_argument("--rules", nargs="+", metavar="RULE", help="fit these alone (all)")
    parser.add_argument("--write", action="store_true", help="write the table")
    arguments = parser.parse_args()
    if not arguments.results and not arguments.run:
        parser.error("give folders of finished runs, or --run")
    folders = list(arguments.results)
    for path in arguments.run:
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--cores",
            arguments.cores,
            "--configfile",
            path,
            "--config",
            "run={fork_scripts: false}",
        ]
        subprocess.run(command, check=True)
        section = (read_yaml(path, "the configuration") or {}).get("run") or {}
        folders.append(Path(section.get("results", "results")))
    try:
        content = read_yaml(arguments.table, "the table of resources")
        jobs, also = measured(folders), points(content.get("also") or [])
    except UserError as error:
        sys.exit(f"Error: {error}")
    absent = set(arguments.rules or ()) - set(jobs["rule"])
    if absent:
        sys.exit(f"Error: --rules {' '.join(sorted(absent))}: these runs have no such jobs")
    with pd.option_context("display.width", 140, "display.max_rows", None):
        print(errors(jobs, also).round(3).to_string())
    if arguments.write:
        fitted = table(pd.concat([jobs, also]), content["rules"])
        content["rules"] |= {
            rule: costs for rule, costs in fitted.items() if rule in (arguments.rules or fitted)
        }
        hardware, today = f"{_processor()}, {os.cpu_count()} cores", f"{date.today():%Y-%m-%d}"
        command = " ".join(("python tools/measure_resources.py", *sys.argv[1:]))
        if arguments.rules:
            content["measured"]["date"] += f"; {', '.join(arguments.rules)}: {today}, {hardware}"
            content["measured"]["command"] += f"; {command}"
        else:
            content["measured"] = {
                "hardware": hardware,
                "date": today,
                "command": command,
                "jobs": len(jobs),
            }
        order = ["measured", "memory", "runtime", "rules", "also", "typical"]
        ordered = {name: content[name] for name in order if name in content}
        text = yaml.safe_dump(ordered, sort_keys=False, default_flow_style=None, width=140)
        with atomic(arguments.table) as path:
            path.write_text(HEAD + text, encoding="utf-8")
        print(f"{arguments.table}: {len(content['rules'])} rules")


if __name__ == "__main__":
    main()
