"""The figures of each reference that labels are compared with: one-to-one, trends, colours, open clusters."""

import pandas as pd

from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.report.colours import colour_teff_beside, read_isochrone
from lamostvac.report.comparison_pages import clusters, trends
from lamostvac.report.comparisons import comparison
from lamostvac.report.members import cluster_kiel
from lamostvac.report.style import save
from lamostvac.validation.isochrones import read_isochrones


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    pairs = pd.read_parquet(inputs.pairs)
    of_bins, members = pd.read_csv(inputs.trends), pd.read_csv(inputs.clusters)
    titles = dict(zip(params.datasets, params.titles, strict=True))
    of = {name: pairs[pairs["dataset"] == name] for name in params.datasets}
    labels = {name: list(dict.fromkeys(of[name]["label"])) for name in of}
    for name, ours, path in zip(of, params.ours, outputs.comparisons, strict=True):
        save(comparison(titles[name], of[name], labels[name], ours), path)
    # The cross-validation, the last of the datasets, has no trends.
    for name, path in zip(params.datasets[:-1], outputs.trends, strict=True):
        save(trends(titles[name], of_bins[of_bins["dataset"] == name]), path)
    isochrone = read_isochrone(inputs.isochrone[0]) if inputs.isochrone else None
    for (name, types), path in zip(params.coloured, outputs.colours, strict=True):
        figure = colour_teff_beside(titles[name], of[name], types, params.reddening, isochrone)
        save(figure, path)
    isochrones = read_isochrones(inputs.isochrones[0]) if inputs.isochrones else None
    for name, page, kiel in zip(params.grouped, outputs.clusters, outputs.kiel, strict=True):
        table = members[members["dataset"] == name]
        save(clusters(titles[name], of[name], table, labels[name]), page)
        save(cluster_kiel(titles[name], of[name], isochrones), kiel)
    log.info("%d references", len(titles))


if __name__ == "__main__":
    main(snakemake)
