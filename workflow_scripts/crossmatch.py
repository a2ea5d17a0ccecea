"""Match a training set's catalogue to the survey's spectra and join the further tables."""

import numpy as np

from lamostvac.core.atomic import atomic
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.external.joins import read_source
from lamostvac.training.accounting import Accounting
from lamostvac.training.candidates import candidates, join_tables, match_survey
from lamostvac.training.measurements import combine_measurements
from lamostvac.training.schema import TrainingSet
from lamostvac.training.survey_rows import read_keys, read_rows


def main(snakemake: Job) -> None:
    """Inputs `chunks`, `files`; outputs `candidates`, `steps`."""
    log = rule_log(snakemake)
    params = snakemake.params
    entry = TrainingSet.model_validate(params.entry)
    assert entry.catalogue is not None
    assert entry.match is not None
    chunks = list(snakemake.input.chunks)
    accounting = Accounting(entry.name)

    survey, starts = read_keys(chunks)
    log.info("%d spectra in %d chunks", starts[-1], len(chunks))
    stars = read_source(entry.catalogue, params.root, accounting)
    if entry.combine is not None:
        stars = combine_measurements(stars, entry.combine, params.root)
        accounting.add("measurements combined", f"by {entry.combine.by}", None, len(stars))
    log.info("%d stars in %s", len(stars), entry.catalogue.file)

    progress = Progress(log, len(survey["ra"]), "spectra matched")
    star, separation = match_survey(survey, stars, entry)
    progress.add(len(survey["ra"]))
    progress.done()
    rows = np.flatnonzero(star >= 0)
    used, number = np.unique(star[rows], return_inverse=True)
    stars = stars.iloc[used].reset_index(drop=True)
    accounting.add("in common with LAMOST", f"by {entry.match.by}", len(rows), len(stars))
    stars, kept = join_tables(stars, number, entry, params.root, accounting, log)
    chosen = kept[number]
    spectra = read_rows(chunks, starts, rows[chosen])
    table = candidates(spectra, stars, number[chosen], separation[rows[chosen]], entry)
    accounting.count("candidates", "", table)
    with atomic(snakemake.output.candidates) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")
    accounting.write(snakemake.output.steps)
    log.info("%d spectra of %d stars", len(table), table["star"].nunique())


if __name__ == "__main__":
    main(snakemake)
