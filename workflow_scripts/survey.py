"""Reads the release's catalogue and writes the manifest, the chunks and the rejected rows."""

import json
from pathlib import Path

import pyarrow as pa

from lamostvac.core.atomic import atomic
from lamostvac.core.files import sha256
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.core.rejection import REASONS
from lamostvac.survey import files, selection
from lamostvac.survey.catalogue import read_catalogues
from lamostvac.survey.chunks import chunks, groups
from lamostvac.survey.paths import check_paths
from lamostvac.survey.settings import survey_section
from lamostvac.survey.stellar import add_velocities, read_velocities


def with_velocities(snakemake: Job, table: pa.Table, aliases: dict[str, str]) -> pa.Table:
    """The release's table with the radial velocities of its stellar catalogues."""
    log = rule_log(snakemake)
    for path in snakemake.input.stellar:
        notes: list[str] = []
        table, n = add_velocities(table, read_velocities(path, aliases, notes))
        for note in notes:
            log.warning(note)
        log.info("%d radial velocities from %s", n, path)
    return table


def main(snakemake: Job) -> None:
    """Inputs `catalogues stellar`; outputs `manifest groups rejected summary`, and the chunks beside them."""
    log = rule_log(snakemake)
    params, outputs = snakemake.params, snakemake.output
    paths = list(snakemake.input.catalogues)
    settings = survey_section(params)
    notes: list[str] = []
    table = read_catalogues(paths, settings.column_aliases, notes)
    for note in notes:
        log.warning(note)
    log.info("%d rows in %d catalogue file(s)", len(table), len(paths))
    table = with_velocities(snakemake, table, settings.column_aliases)
    check_paths(table, settings.file_pattern)
    selection.require_snr(table, settings.snr_band)
    selected = selection.select(table, settings)
    totals = selection.counts(selected)
    for reason, n in totals["rejected"].items():
        log.info("%d rejected: %s", n, REASONS[reason])
    selection.require_some(selected, paths)

    made = chunks(table, selected, settings.chunk_size)
    folder = Path(outputs.manifest).parent / "chunks"
    progress = Progress(log, total=totals["n_selected"], unit="spectra into chunks")
    manifest, changed = files.write_chunks(
        folder, table, made, params.root, settings.file_pattern, progress.add
    )
    progress.done()
    removed = files.remove_stale(folder, settings.types, made)
    log.info(
        "%d chunks, %d of them new or changed, %d old ones removed", len(made), changed, removed
    )
    files.write_rejected(outputs.rejected, selection.rejections(table, selected))
    files.write_groups(outputs.groups, groups(made, params.group_size))
    totals["inputs"] = [
        {"file": path, "sha256": sha256(path)} for path in [*paths, *snakemake.input.stellar]
    ]
    with atomic(outputs.summary) as temporary:
        temporary.write_text(json.dumps(totals, indent=1) + "\n")
    # The manifest is what the later stages wait for, so it appears last.
    files.write_manifest(outputs.manifest, manifest)


if __name__ == "__main__":
    main(snakemake)
