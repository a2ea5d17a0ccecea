"""The errors of recommended stars by luminosity class and spectral type."""

from lamostvac.catalog.files import read_blocks
from lamostvac.catalog.registry import run_registry
from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.publish.error_summary import internal_errors, published_errors


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params = snakemake.params
    registry = run_registry(params)
    table = internal_errors(
        read_blocks(snakemake.input.catalogue, registry), params.snr_band, published_errors()
    )
    write_csv(snakemake.output.table, table, digits=6)
    log.info("%d recommended spectra", table.loc[table["quantity"] == "chi2", "n"].sum())


if __name__ == "__main__":
    main(snakemake)
