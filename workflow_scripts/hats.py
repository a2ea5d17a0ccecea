"""The catalogue as Parquet files by position on the sky."""

from lamostvac.catalog.files import read_cards
from lamostvac.catalog.registry import run_registry
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.publish.hats import write_hats


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    catalogue, params = snakemake.input.catalogue, snakemake.params
    registry = run_registry(params)
    files = write_hats(
        snakemake.output.folder,
        catalogue,
        registry,
        read_cards(catalogue),
        params.max_rows,
        params.title,
    )
    log.info("%d files, the largest of %d rows", len(files), max(n for _, _, n in files))


if __name__ == "__main__":
    main(snakemake)
