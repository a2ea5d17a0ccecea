"""One figure for each reference that labels are compared with."""

from typing import Any

import pandas as pd

from lamostvac.figures import comparison, save
from lamostvac.log import rule_log


def main(snakemake: Any) -> None:
    log = rule_log(snakemake)
    pairs = pd.read_parquet(snakemake.input.pairs)
    params = snakemake.params
    for dataset, title, path in zip(params.datasets, params.titles, snakemake.output, strict=True):
        table = pairs[pairs["dataset"] == dataset]
        save(comparison(title, table, list(dict.fromkeys(table["label"]))), path)
        log.info("%s", dataset)


if __name__ == "__main__":
    main(snakemake)
