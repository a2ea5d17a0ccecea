"""The very metal-poor stars of the catalogue, and how many there are beside the published numbers."""

from lamostvac.catalog.files import read_blocks, read_cards, write_rows
from lamostvac.catalog.published_samples import beside, published_samples
from lamostvac.catalog.registry import run_registry
from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.publish.metal_poor import metal_poor


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    catalogue, outputs = snakemake.input.catalogue, snakemake.output
    registry = run_registry(snakemake.params)
    definition = published_samples().metal_poor
    rows, columns, counts = metal_poor(read_blocks(catalogue, registry), definition, registry)
    cards = {keyword: (value, "") for keyword, value in read_cards(catalogue).items()}
    cards["ROWS"] = (definition.rows, definition.source)
    write_rows(outputs.table, rows, columns, cards)
    write_csv(outputs.counts, counts, digits=5)
    for row in counts.to_dict("records"):
        sentence = beside(row["meaning"], row["n"], row["published"], row["source"])
        log.info("%s; %d without a flag", sentence, row["n_unflagged"])


if __name__ == "__main__":
    main(snakemake)
