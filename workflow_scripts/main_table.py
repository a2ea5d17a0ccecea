"""The main columns of the catalogue as tables of their own."""

from lamostvac.catalog.files import count_rows, read_blocks, read_cards
from lamostvac.catalog.registry import run_registry
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.publish.main_table import write_main


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    catalogue, outputs = snakemake.input.catalogue, snakemake.output
    registry = run_registry(snakemake.params)
    cards = {keyword: (value, "") for keyword, value in read_cards(catalogue).items()}
    n, blocks = count_rows(catalogue), read_blocks(catalogue, registry)
    write_main(outputs.fits, outputs.parquet, blocks, n, registry.main, cards)
    log.info("%d rows, %d of %d columns", n, len(registry.main.names), len(registry.names))


if __name__ == "__main__":
    main(snakemake)
