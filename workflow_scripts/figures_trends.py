"""Residuals of each reference against what they may depend on."""

import pandas as pd

from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.report.comparison_pages import trends
from lamostvac.report.style import save


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params = snakemake.params
    table = pd.read_csv(snakemake.input.trends)
    for name, title, path in zip(
        params.datasets, params.titles, snakemake.output.trends, strict=True
    ):
        save(trends(title, table[table["dataset"] == name]), path)
    log.info("%d references", len(params.datasets))


if __name__ == "__main__":
    main(snakemake)
