"""Time and memory that the stages of a run took."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Stages whose cost grows with the spectra; the others run once.
PER_SPECTRUM = (
    "survey", "prepare", "predict", "project", "candidates", "sort_groups", "search",
    "grouped_labels", "search_chunk", "fit", "fit_imig", "fit_further", "collected", "errors", "recommended",
    "photometry", "distance", "catalog", "merge", "cds", "votable", "published", "metal_poor", "hats",
)  # fmt: skip


def stage_costs(folder: str | Path, n_spectra: int) -> pd.DataFrame:
    """Time and memory of the stages, from Snakemake's benchmark files; the slowest first.

    Parameters
    ----------
    folder : benchmarks, with a file or a folder of files for each stage
    n_spectra : at the beginning of the run

    Returns
    -------
    `stage jobs seconds longest cpu_seconds memory_mb per_spectrum_ms`: seconds of all jobs and of
    the longest, largest memory of a job, ms per spectrum where the work grows with the spectra
    """
    rows = []
    for path in sorted(Path(folder).rglob("*.tsv")):
        stage = path.relative_to(folder).with_suffix("").parts[0]
        if stage in ("stars", "overview"):
            continue
        found = pd.read_csv(path, sep="\t", na_values=["-", "NA"])
        rows.append((stage, found["s"].sum(), found["cpu_time"].sum(), found["max_rss"].max()))
    costs = pd.DataFrame(rows, columns=["stage", "seconds", "cpu_seconds", "memory_mb"])
    grouped = costs.groupby("stage", sort=True)
    result = pd.DataFrame(
        {
            "jobs": grouped.size(),
            "seconds": grouped["seconds"].sum(),
            "longest": grouped["seconds"].max(),
            "cpu_seconds": grouped["cpu_seconds"].sum(),
            "memory_mb": grouped["memory_mb"].max(),
        }
    ).reset_index()
    counted = result["stage"].isin(PER_SPECTRUM)
    result["per_spectrum_ms"] = np.where(
        counted, 1000.0 * result["seconds"] / max(n_spectra, 1), np.nan
    )
    return result.sort_values(["seconds", "stage"], ascending=[False, True], ignore_index=True)


def costs_in_words(costs: pd.DataFrame, n_spectra: int) -> dict[str, Any]:
    """`rows total each n_spectra` of `stage_costs` as texts, with the width of a bar in percent."""
    largest = float(costs["seconds"].max()) if len(costs) else 1.0
    columns = ("stage", "jobs", "seconds", "longest", "per_spectrum_ms", "memory_mb")
    rows = [
        {
            "stage": stage,
            "jobs": jobs,
            "seconds": f"{seconds:,.1f}",
            "width": f"{100 * seconds / max(largest, 1e-9):.1f}",
            "longest": f"{longest:,.1f}",
            "per_spectrum": format(each, ",.2f") if np.isfinite(each) else each,
            "memory": format(memory, ",.0f") if np.isfinite(memory) else memory,
        }
        for stage, jobs, seconds, longest, each, memory in zip(
            *(costs[key].tolist() for key in columns), strict=True
        )
    ]
    return {
        "rows": rows,
        "total": f"{costs['seconds'].sum():,.0f}",
        "each": f"{costs['per_spectrum_ms'].sum():.1f}",
        "n_spectra": f"{n_spectra:,}",
    }
