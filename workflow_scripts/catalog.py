"""One spectral type's table of the catalogue."""

from pathlib import Path
from typing import Any

import lamostvac
from lamostvac.catalog import provenance, read_rows, write_rows
from lamostvac.log import rule_log
from lamostvac.registry import load_registry, network_labels
from lamostvac.unique import set_unique


def main(snakemake: Any) -> None:
    log = rule_log(snakemake)
    params, inputs = snakemake.params, snakemake.input
    registry = load_registry(network_labels(params.network_labels))
    rows = read_rows(inputs.recommended, registry)
    set_unique(rows)
    project = Path(lamostvac.__file__).resolve().parent.parent
    cards = provenance(project, lamostvac.__version__, **params.provenance)
    write_rows(snakemake.output.table, rows, registry, cards)
    log.info("%s: %d rows", snakemake.wildcards.type, len(rows))


if __name__ == "__main__":
    main(snakemake)
