"""The catalogue as a text table, and the ReadMe that describes it byte by byte."""

from lamostvac.catalog.files import read_blocks, read_cards
from lamostvac.catalog.registry import run_registry
from lamostvac.core.atomic import atomic
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.publish.cds_readme import readme
from lamostvac.publish.fixed_width import layout, write_text


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    catalogue, params = snakemake.input.catalogue, snakemake.params
    registry = run_registry(params)
    fields, n = layout(read_blocks(catalogue, registry), registry)
    log.info("%d rows of %d bytes", n, fields[-1].end)
    write_text(snakemake.output.table, read_blocks(catalogue, registry), fields)
    text = readme(fields, n, registry, read_cards(catalogue), params.title, params.authors)
    with atomic(snakemake.output.readme) as temporary:
        temporary.write_text(text, encoding="ascii")


if __name__ == "__main__":
    main(snakemake)
