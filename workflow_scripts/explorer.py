"""The catalogue explorer: one page that opens without network."""

from lamostvac.catalog.registry import emulator_labels, run_registry
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.publish.choice import chosen_columns, chosen_rows
from lamostvac.publish.explorer import (
    default_columns,
    explorer_columns,
    read_sample,
    write_explorer,
)


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params = snakemake.params
    registry = run_registry(params)
    default = default_columns(emulator_labels(params.emulators))
    chosen = chosen_columns(params.names, registry, "explorer.columns", default)
    columns = explorer_columns(chosen, registry, params.snr_band)
    condition = chosen_rows(params.rows, registry, "explorer.rows")
    sample = read_sample(snakemake.input.catalogue, columns, condition, params.max_rows)
    write_explorer(
        snakemake.output.page,
        sample,
        columns,
        registry,
        params.snr_band,
        params.title,
        params.stars,
        params.main_table,
        params.rows,
    )
    log.info("%d of %d rows, %d columns", len(sample.values["obsid"]), sample.n_rows, len(columns))


if __name__ == "__main__":
    main(snakemake)
