"""Labels and errors of a simulated survey against its truth."""

import pandas as pd

from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.report.comparisons import comparison, pulls
from lamostvac.report.style import save


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    pairs = pd.read_parquet(snakemake.input.pairs)
    pairs = pairs[pairs["dataset"] == "truth"]
    title = "Injected truth, single stars without emission"
    save(comparison(title, pairs), snakemake.output.comparison)
    save(pulls(pairs, pd.read_csv(snakemake.input.pulls)), snakemake.output.pulls)
    log.info("%d pairs", len(pairs))


if __name__ == "__main__":
    main(snakemake)
