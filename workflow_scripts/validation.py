"""Compare the catalogue with other catalogues, cross-validation and injected truth."""

from typing import Any

import numpy as np
import pandas as pd

from lamostvac.files import atomic
from lamostvac.log import rule_log
from lamostvac.validation import (
    COMPARISON_COLUMNS,
    LABELS,
    PULL_COLUMNS,
    Comparison,
    compare,
    compare_crossvalidation,
    comparison_rows,
    match,
    match_truth,
    pairs,
    pull_rows,
    read_truth,
    truth_subsets,
)


def write_csv(table: pd.DataFrame, path: str) -> None:
    """CSV with five significant digits, enough for statistics and readable."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.5g", lineterminator="\n")


def main(snakemake: Any) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    rows: list[dict[str, Any]] = []
    pulls: list[dict[str, Any]] = []
    drawn = []
    for entry in params.comparisons:
        comparison = Comparison.model_validate(entry)
        if not comparison.path(params.root).exists():
            log.info("%s: skipped, there is no %s", comparison.name, comparison.path(params.root))
            continue
        table = match(inputs.catalogue, comparison, params.root)
        log.info("%s: %d spectra in common", comparison.name, len(table))
        rows += compare(table, comparison)
        drawn.append(pairs(comparison.name, table, comparison.labels))

    table = pd.read_csv(inputs.crossvalidation)
    rows += compare_crossvalidation(table, params.library)
    labels = [label for label in LABELS if f"{label}_true" in table]
    table = table.rename(columns={f"{label}_true": f"ref_{label}" for label in labels}).assign(snrg=np.nan)
    drawn.append(pairs(f"crossvalidation_{params.library}", table, labels))

    if inputs.truth:
        truth = read_truth(inputs.truth[0] if isinstance(inputs.truth, list) else inputs.truth)
        table = match_truth(inputs.catalogue, truth)
        log.info("truth: %d spectra in common", len(table))
        subsets = truth_subsets(table, params.snr_band)
        rows += comparison_rows("truth", subsets)
        pulls = pull_rows(subsets)
        ordinary = table[~table["binary"] & ~table["emission"]]
        drawn.append(pairs("truth", ordinary, LABELS))

    write_csv(pd.DataFrame(rows, columns=COMPARISON_COLUMNS), outputs.comparisons)
    write_csv(pd.DataFrame(pulls, columns=PULL_COLUMNS), outputs.pulls)
    with atomic(outputs.pairs) as temporary:
        pd.concat(drawn, ignore_index=True).to_parquet(temporary, index=False)


if __name__ == "__main__":
    main(snakemake)
