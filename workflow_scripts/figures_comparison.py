"""The figures of each reference that labels are compared with: one-to-one, residual trends, open clusters."""

import pandas as pd

from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.report.comparison_pages import clusters, trends
from lamostvac.report.comparisons import comparison
from lamostvac.report.style import save


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    pairs = pd.read_parquet(inputs.pairs)
    of_bins, members = pd.read_csv(inputs.trends), pd.read_csv(inputs.clusters)
    titles = dict(zip(params.datasets, params.titles, strict=True))
    labels = {
        name: list(dict.fromkeys(pairs.loc[pairs["dataset"] == name, "label"]))
        for name in params.datasets
    }
    for name, path in zip(params.datasets, outputs.comparisons, strict=True):
        save(comparison(titles[name], pairs[pairs["dataset"] == name], labels[name]), path)
    # The cross-validation, the last of the datasets, has no trends.
    for name, path in zip(params.datasets[:-1], outputs.trends, strict=True):
        save(trends(titles[name], of_bins[of_bins["dataset"] == name]), path)
    for name, path in zip(params.grouped, outputs.clusters, strict=True):
        table = members[members["dataset"] == name]
        save(clusters(titles[name], pairs[pairs["dataset"] == name], table, labels[name]), path)
    log.info("%d references", len(titles))


if __name__ == "__main__":
    main(snakemake)
