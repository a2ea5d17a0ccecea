"""The report's first page: key numbers, lights, slowest rules."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from lamostvac.catalog.published_samples import published_training
from lamostvac.core.hdf5 import open_hdf5
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.report import overview
from lamostvac.report.run_files import catalogue_versions, column, network_numbers
from lamostvac.report.stage_costs import stage_costs


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, params = snakemake.input, snakemake.params
    accounting = json.loads(Path(inputs.accounting).read_text(encoding="utf-8"))
    comparisons = pd.read_csv(inputs.comparisons)
    networks = pd.read_csv(inputs.networks[0]) if inputs.networks else pd.DataFrame()
    flags = column(inputs.catalogue, "flags")
    counts = {name: accounting["flags"][name] for name in params.flags}
    counts = {"any of the star's flags": int(np.count_nonzero(flags))} | counts
    pulls = pd.read_csv(inputs.pulls)
    checks = {
        "crossvalidation": overview.crossvalidation_check(comparisons, params.library),
        "internal_errors": overview.internal_check(pd.read_csv(inputs.summary)),
        "pulls": overview.pull_check(pulls),
        "bias": overview.bias_check(pulls),
        "flagged": overview.flag_check(counts, len(flags)),
        "lost": overview.lost_check(accounting),
    }
    if len(networks):
        curves = dict(zip(params.types, map(pd.read_csv, inputs.curves), strict=True))
        checks["networks"] = overview.network_check(networks, published_training())
        checks["repeats"] = overview.repeats_check(curves, comparisons)
    limits = overview.load_limits()
    lights = overview.with_lights(checks, limits)
    with open_hdf5(inputs.library) as handle:
        n_library = len(handle["ids/id"])
    numbers = overview.RunNumbers(
        accounting=accounting,
        snr_band=params.snr_band,
        snr=column(inputs.catalogue, params.snr_band),
        n_stars=int(column(inputs.catalogue, "best_spectrum").sum(dtype=np.int64)),
        n_unflagged=int(np.count_nonzero(flags == 0)),
        versions=catalogue_versions(inputs.catalogue),
        library=(params.library, n_library),
        networks=network_numbers(networks) if len(networks) else {},
    )
    costs = stage_costs(params.benchmarks, accounting["n_in"])
    overview.write_overview(snakemake.output[0], numbers, lights, limits, costs, comparisons)
    shown = ", ".join(f"{n} {light}" for light, n in lights["light"].value_counts().items())
    log.info("%d checks: %s", len(lights), shown.replace("none", "without a light"))


if __name__ == "__main__":
    main(snakemake)
