"""Some columns and rows of the catalogue as a VOTable."""

from lamostvac.catalog.files import read_blocks, read_cards
from lamostvac.catalog.registry import run_registry
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.publish.choice import chosen_columns, chosen_rows, selected
from lamostvac.publish.votable import write_votable


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    catalogue, params = snakemake.input.catalogue, snakemake.params
    registry = run_registry(params)
    rows = selected(
        read_blocks(catalogue, registry), chosen_rows(params.rows, registry), params.max_rows
    )
    columns = chosen_columns(params.names, registry)
    n = write_votable(
        snakemake.output.table, rows, columns, registry, read_cards(catalogue), params.title
    )
    log.info("%d rows of %d columns", n, len(columns))


if __name__ == "__main__":
    main(snakemake)
