"""The catalogue as the table that one of the papers publishes."""

from lamostvac.catalog.files import read_blocks, read_cards
from lamostvac.catalog.published import published_tables
from lamostvac.catalog.registry import run_registry
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.publish.published_fits import write_published


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    catalogue = snakemake.input.catalogue
    registry = run_registry(snakemake.params)
    table = published_tables()[snakemake.wildcards.table]
    cards = {keyword: (value, "") for keyword, value in read_cards(catalogue).items()}
    cards["PAPER"] = (table.paper, "whose columns these are")
    absent = [entry.name for entry in table.columns if entry.column not in registry.names]
    n = write_published(
        snakemake.output.table, read_blocks(catalogue, registry), table, registry, cards
    )
    log.info("%s: %d rows with %s", table.paper, n, table.rows)
    if absent:
        log.info(
            "%d columns that this run does not have are empty: %s", len(absent), ", ".join(absent)
        )


if __name__ == "__main__":
    main(snakemake)
