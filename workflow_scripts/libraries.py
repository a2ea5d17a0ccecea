"""Table and figure of how well the emulator of each library recovers the library's own labels."""

import pandas as pd

from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.report.catalogue import libraries
from lamostvac.report.style import save
from lamostvac.validation.libraries import compare_libraries


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    names = snakemake.params.libraries
    tables = {
        name: pd.read_csv(path)
        for name, path in zip(names, snakemake.input.crossvalidations, strict=True)
    }
    table = compare_libraries(tables)
    write_csv(snakemake.output.table, table, digits=6)
    save(libraries(table), snakemake.output.figure)
    fgk = table[table["subset"] == "FGK"].drop(columns=["subset", "offset"])
    log.info("errors of the FGK stars:\n%s", fgk.to_string(index=False, float_format="%.3g"))
    count = f"{len(tables)} libraries" if len(tables) > 1 else "one library"
    log.info("labels of the stars of %s, each star's from the others", count)


if __name__ == "__main__":
    main(snakemake)
