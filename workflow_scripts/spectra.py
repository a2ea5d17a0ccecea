"""A chunk's prepared spectra once more, for an experiment."""

import shutil

from lamostvac.core.atomic import atomic
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.spectra.chunk import open_prepared


def main(snakemake: Job) -> None:
    """Inputs `meta chunk`; the output is what `prepare` made of the chunk."""
    log = rule_log(snakemake)
    with open_prepared(**snakemake.params.prepared, log=log) as handle:
        with atomic(snakemake.output[0]) as temporary:
            shutil.copyfile(handle.filename, temporary)
        log.info("%d spectra", len(handle["flux"]))


if __name__ == "__main__":
    main(snakemake)
