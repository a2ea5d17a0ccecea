"""Requested and used resources of jobs: `lamostvac efficiency results/dr10 --csv efficiency.csv`.

They come from the first and last lines of the jobs' logs and from Snakemake's benchmark files, so
the method is the same under any executor. For a job that was repeated with more resources after a
failure, it is the successful attempt.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from lamostvac.core.exceptions import UserError
from lamostvac.run.job_records import accounts


def job_table(results: str | Path) -> pd.DataFrame:
    """One row per finished job.

    Columns: `rule name host threads spectra asked_mb used_mb asked_minutes used_minutes cpu_minutes
    memory_share time_share cpu_share`. Memory is in MB (10^6 bytes); used memory is the larger of
    the job's own number and Snakemake's samples, which include child processes. NaN where no file
    has the number, as for old logs without these lines.

    Raises `UserError` when no job has ended.
    """
    rows = []
    for job, account, benchmark in accounts(results):
        sampled = benchmark.get("max_rss", np.nan) * 1.048576
        seconds = benchmark.get("s", account.used.get("seconds", np.nan))
        cpu = account.used.get("cpu_seconds", benchmark.get("cpu_time", np.nan))
        rows.append(
            {
                "rule": job.rule,
                "name": job.name,
                "host": account.host,
                "threads": account.asked.get("threads", np.nan),
                "spectra": account.asked.get("spectra", np.nan),
                "asked_mb": account.asked.get("mem_mb", np.nan),
                "used_mb": np.fmax(account.used.get("memory_mb", np.nan), sampled),
                "asked_minutes": account.asked.get("runtime", np.nan),
                "used_minutes": seconds / 60,
                "cpu_minutes": cpu / 60,
            }
        )
    if not rows:
        raise UserError(f"no job of {results} has ended yet")
    table = pd.DataFrame(rows)
    table["memory_share"] = table["used_mb"] / table["asked_mb"]
    table["time_share"] = table["used_minutes"] / table["asked_minutes"]
    table["cpu_share"] = table["cpu_minutes"] / (table["used_minutes"] * table["threads"])
    return table


def rule_table(jobs: pd.DataFrame) -> pd.DataFrame:
    """One row per rule, the one with most core-hours first.

    Columns: `jobs core_hours asked_mb used_mb memory_share asked_minutes used_minutes time_share
    cpu_share`. Asked and used amounts are the largest of all jobs, memory and time shares the
    largest ratio of used to asked; cpu_share is the mean share of the cores' time spent computing,
    weighted by time.
    """
    grouped = jobs.groupby("rule")
    most = grouped[
        ["asked_mb", "used_mb", "memory_share", "asked_minutes", "used_minutes", "time_share"]
    ].max()
    table = most.assign(
        jobs=grouped.size(),
        core_hours=(jobs["used_minutes"] * jobs["threads"].fillna(1)).groupby(jobs["rule"]).sum()
        / 60,
    )
    sums = (
        jobs.assign(cores=jobs["used_minutes"] * jobs["threads"])
        .groupby("rule")[["cpu_minutes", "cores"]]
        .sum()
    )
    table["cpu_share"] = sums["cpu_minutes"] / sums["cores"].where(sums["cores"] > 0)
    columns = ["jobs", "core_hours", "asked_mb", "used_mb", "memory_share"]
    columns += ["asked_minutes", "used_minutes", "time_share", "cpu_share"]
    return table[columns].sort_values("core_hours", ascending=False)


def text(table: pd.DataFrame) -> str:
    """A table of `rule_table` in words."""
    numbers = {name: "{:,.0f}".format for name in ("asked_mb", "used_mb", "asked_minutes")} | {
        name: "{:.0%}".format for name in ("memory_share", "time_share", "cpu_share")
    }
    numbers |= {"core_hours": "{:,.3f}".format, "used_minutes": "{:,.1f}".format}
    return table.to_string(formatters=numbers, na_rep="?")
