"""Restores the times of a run's results to the order in which they were made.

    lamostvac restore-times [FOLDER]      FOLDER: where Snakemake was started, by default this one

After `cp -r`, from an archive or by `touch`, results have times in any order, and Snakemake would
take those that look older than their inputs for out of date. Snakemake remembers when it finished
each file; here every file gets a new time in that order, microseconds before now, so that all are
also newer than the scripts. Results that were never finished, or whose settings or inputs changed,
are still made again, because that does not depend on times.
"""

import json
import os
from base64 import urlsafe_b64decode
from pathlib import Path

from lamostvac.run.layout import Layout

STEP = 1000  # ns between files made at different times


def finished(folder: Path) -> dict[Path, float]:
    """Snakemake's record of when each result was finished (s), for those that exist."""
    root = folder / ".snakemake/metadata"
    found = {}
    for record in root.rglob("*"):
        if not record.is_file():
            continue
        # Long names are split into folders that begin with @.
        code = "".join(part.removeprefix("@") for part in record.relative_to(root).parts)
        path = folder / urlsafe_b64decode(code).decode()
        entry = json.loads(record.read_text(encoding="utf-8"))
        if path.exists() and not entry.get("incomplete") and entry.get("endtime") is not None:
            found[path] = float(entry["endtime"])
    return found


def restore(folder: Path, now: int) -> int:
    """Set the times of all results below `folder` to before `now` (ns), in their order; return
    their number.
    """
    ends = finished(folder)
    rank = {end: number for number, end in enumerate(sorted(set(ends.values())))}
    for path, end in ends.items():
        new = now - (len(rank) - rank[end]) * STEP
        os.utime(path, ns=(new, new))
    # A benchmark file counts as an output for Snakemake, but it keeps no record of it.
    folders = {
        parent / Layout.benchmarks
        for path in ends
        for parent in path.parents
        if folder in (parent, *parent.parents)
    }
    for table in (table for place in folders for table in place.rglob("*.tsv")):
        os.utime(table, ns=(now, now))
    return len(ends)
