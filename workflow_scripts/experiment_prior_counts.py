"""How many library stars lie within the prior intervals about each library star."""

import pandas as pd

from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.emulator.model import read_emulator
from lamostvac.experiments import figures
from lamostvac.experiments.reproduction import prior_counts, prior_counts_table
from lamostvac.library.library import read_library
from lamostvac.report.style import save


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    library = read_library(snakemake.input.library)
    counts = prior_counts(read_emulator(snakemake.input.emulator), library.label_array())
    teff = library.labels["teff"].to_numpy()
    stars = pd.DataFrame({"id": library.ids, "teff": teff, "count": counts})
    table = prior_counts_table(teff, counts)
    log.info("library stars in the prior intervals:\n%s", table.to_string(index=False))
    for frame, path in ((table, snakemake.output.table), (stars, snakemake.output.stars)):
        write_csv(path, frame, digits=6)
    save(figures.prior_counts(teff, counts, table), snakemake.output.figure)


if __name__ == "__main__":
    main(snakemake)
