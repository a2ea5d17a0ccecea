"""Results folders as jobs leave them, without running any."""

import os
from pathlib import Path

from lamostvac.run.layout import Layout, job_stem


def write_manifest(results: Path, chunks: dict[str, list[int]]) -> None:
    """The survey's manifest: by type the spectra of each chunk."""
    lines = ["type,chunk,n_spectra,n_plates,first_plate,last_plate"]
    for name, sizes in chunks.items():
        lines += [f"{name},{number:04d},{size},1,P,P" for number, size in enumerate(sizes)]
    path = results / Layout.manifest
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_job(
    results: Path, rule: str, name: str, began: float, ended: float | None = None, **values
) -> Path:
    """A job's log, last written at `began` or `ended`, and with `ended` its benchmark; returns the log.

    `asked` and `used` are the numbers of the log's first and last line, `lines` those between.
    """
    stem = job_stem(rule, *([name] if name else []))
    log = results / Layout.logs / f"{stem}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    asked = {"rule": rule, "host": "n1", "threads": 1, **values.get("asked", {})}
    lines = [f"asked: {pairs(asked)}", *values.get("lines", [])]
    if "used" in values:
        lines.append(f"used: {pairs(values['used'])}")
    stamped = (line if " ERROR " in line else f"2026-11-24 15:00:00 INFO {line}" for line in lines)
    log.write_text("\n".join(stamped) + "\n")
    os.utime(log, (began, ended or began))
    if ended is not None:
        benchmark = results / Layout.benchmarks / f"{stem}.tsv"
        benchmark.parent.mkdir(parents=True, exist_ok=True)
        benchmark.write_text(
            "s\th:m:s\tmax_rss\tcpu_time\n" + values.get("benchmark", "2.0\t0:00:02\tNA\tNA") + "\n"
        )
        os.utime(benchmark, (ended, ended))
    return log


def pairs(values: dict) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())
