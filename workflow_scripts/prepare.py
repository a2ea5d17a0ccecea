"""Read a chunk's spectra, bring them onto the common grid, and say what was rejected and why."""

from collections import Counter

import pyarrow.parquet as pq

from lamostvac.core.hdf5 import atomic_hdf5, read_attributes, write_attributes, write_columns
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.rejection import REASONS
from lamostvac.spectra.chunk import prepare_chunk, rejected_by_all, settings_of


def main(snakemake: Job) -> None:
    """Input `chunk`; output `meta` (tables of `prepare_chunk`), beside it the spectra at the parameter `spectra`."""
    log = rule_log(snakemake)
    params = snakemake.params
    rows = pq.read_table(snakemake.input.chunk).to_pandas()
    with atomic_hdf5(params.spectra) as handle:
        tables = prepare_chunk(rows, handle, *settings_of(params.settings, params.networks), log)
        digests = read_attributes(handle)
    with atomic_hdf5(snakemake.output.meta) as handle:
        for name, table in tables.items():
            write_columns(handle.create_group(name), table)
        write_attributes(handle, digests)
    lost = rejected_by_all(tables)
    for reason, count in sorted(Counter(lost["reason"]).items()):
        log.info("%d rejected: %s", count, REASONS[reason])
    log.info("%d in, %d accepted, %d rejected", len(rows), len(rows) - len(lost), len(lost))


if __name__ == "__main__":
    main(snakemake)
