"""Sizes of training sets and library beside the papers'."""

import pandas as pd

from lamostvac.catalog.published_samples import published_samples
from lamostvac.core.files import write_csv
from lamostvac.core.hdf5 import open_hdf5
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.validation.samples import sample_sizes, sentences


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, params = snakemake.input, snakemake.params
    steps = dict(zip(params.training_sets, map(pd.read_csv, inputs.cuts), strict=True))
    with open_hdf5(inputs.library) as handle:
        n_library = len(handle["ids/id"])
    name, kind = params.library
    table = sample_sizes(steps, (name, kind, n_library), published_samples())
    write_csv(snakemake.output.table, table, digits=4)
    if params.simulated:
        log.info("a simulated survey, whose samples are as large as its configuration says")
    beside = sentences(table)
    for sentence in beside:
        log.info("%s", sentence)
    log.info("%d samples counted, %d of them beside a paper's number", len(table), len(beside))


if __name__ == "__main__":
    main(snakemake)
