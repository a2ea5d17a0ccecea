"""Labels of the members of open clusters: against Teff, and beside isochrones."""

import pandas as pd

from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.report.comparison_pages import clusters
from lamostvac.report.members import cluster_kiel
from lamostvac.report.style import save
from lamostvac.validation.isochrones import read_isochrones


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    pairs, members = pd.read_parquet(inputs.pairs), pd.read_csv(inputs.clusters)
    isochrones = read_isochrones(inputs.isochrones[0]) if inputs.isochrones else None
    for name, title, page, kiel in zip(
        params.datasets, params.titles, outputs.clusters, outputs.kiel, strict=True
    ):
        of = pairs[pairs["dataset"] == name]
        table = members[members["dataset"] == name]
        save(clusters(title, of, table, list(dict.fromkeys(of["label"]))), page)
        save(cluster_kiel(title, of, isochrones), kiel)
    log.info("%d references", len(params.datasets))


if __name__ == "__main__":
    main(snakemake)
