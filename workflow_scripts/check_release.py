"""Compare the release's tree of spectra with its catalogue."""

import json
from pathlib import Path

from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.survey import catalogue, selection, tree_check
from lamostvac.survey import paths as survey_paths
from lamostvac.survey.settings import survey_section


def main(snakemake: Job) -> None:
    """Params as of the rule survey, `folder sizes catalogues`; writes plates.csv, findings.csv, summary.json there."""
    log = rule_log(snakemake)
    params = snakemake.params
    settings = survey_section(params)
    paths = list(params.catalogues)
    if not paths:
        raise UserError(
            "survey.catalogues is headers, so there is no catalogue that the spectra could be compared with"
        )
    table = catalogue.read_catalogues(paths, settings.column_aliases)
    survey_paths.check_paths(table, settings.file_pattern)
    wanted = selection.select(table, settings).steps < 0
    log.info(
        "%d rows in %d catalogue file(s), %d of them taken",
        len(table),
        len(paths),
        int(wanted.sum()),
    )
    expected = tree_check.expected_folders(table, wanted, params.root, settings.file_pattern)
    del table
    folder = Path(params.folder)
    progress = Progress(log, total=len(wanted), unit="spectra")
    with tree_check.Writer(folder / "plates.csv", folder / "findings.csv") as writer:
        for plate in tree_check.compare(expected, paths, params.sizes, snakemake.threads):
            writer.add(plate)
            progress.add(plate.n_catalogue)
    progress.done()
    tree_check.report(writer.totals, settings.file_pattern, params.sizes, log)
    with atomic(folder / "summary.json") as temporary:
        temporary.write_text(json.dumps(writer.totals, indent=1) + "\n")
    log.info("%s and %s say which", folder / "plates.csv", folder / "findings.csv")


if __name__ == "__main__":
    main(snakemake)
