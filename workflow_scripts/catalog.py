"""One spectral type's table of the catalogue."""

import pandas as pd

import lamostvac
from lamostvac.catalog.best_spectrum import set_unique, stars
from lamostvac.catalog.files import provenance, read_rows, write_rows
from lamostvac.catalog.registry import run_registry
from lamostvac.catalog.repeat_differences import RANDOM, VALUES, differing, set_repeats
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.paths import PROJECT
from lamostvac.spectra.names import in_order_of


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params, inputs = snakemake.params, snakemake.input
    registry = run_registry(params)
    rows = read_rows(inputs.recommended, registry)
    found = in_order_of(rows["spectrum_id"], pd.read_parquet(inputs.distance), inputs.distance)
    registry.fill(rows, found)
    star = stars(rows["ra"], rows["dec"])
    set_unique(rows, star)
    differ = differing(star, [rows[name] for name in VALUES], [rows[name] for name in RANDOM])
    set_repeats(rows, registry, differ)
    cards = provenance(PROJECT, lamostvac.__version__, **params.provenance)
    write_rows(snakemake.output.table, rows, registry, cards)
    log.info("%s: %d rows", snakemake.wildcards.type, len(rows))


if __name__ == "__main__":
    main(snakemake)
