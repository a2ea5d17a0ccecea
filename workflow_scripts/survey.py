"""Reads the release's catalogue and writes the manifest, the chunks and the rejected rows."""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

from lamostvac.core.atomic import atomic
from lamostvac.core.files import sha256
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.core.rejection import REASONS
from lamostvac.survey import files, selection
from lamostvac.survey.chunks import chunks, groups
from lamostvac.survey.copies import damaged_rows
from lamostvac.survey.paths import check_paths
from lamostvac.survey.release import Folder, read_release
from lamostvac.survey.settings import survey_section
from lamostvac.survey.stellar import add_velocities, read_velocities


def with_velocities(
    paths: Sequence[str], table: pa.Table, aliases: dict[str, str], log: logging.Logger
) -> pa.Table:
    """The release's table with the radial velocities of its stellar catalogues."""
    for path in paths:
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
    folder = Folder(params.root, params.results, Path(params.headers)) if params.headers else None
    release = read_release(paths, settings.column_aliases, folder, log, snakemake.threads)
    table = with_velocities(snakemake.input.stellar, release.table, settings.column_aliases, log)
    check_paths(table, settings.file_pattern)
    selection.require_snr(table, settings.snr_band)
    limit = settings.max_abs_redshift
    damaged = partial(damaged_rows, table, params.root, settings.file_pattern, limit)
    selected = selection.select(table, settings, damaged)
    totals = selection.counts(selected)
    for reason, n in totals["rejected"].items():
        log.info("%d rejected: %s", n, REASONS[reason])
    selection.require_some(selected, paths or [f"headers below {params.root}"])

    made = chunks(table, selected, settings.chunk_size)
    place = Path(outputs.manifest).parent / "chunks"
    progress = Progress(log, total=totals["n_selected"], unit="spectra into chunks")
    manifest, changed = files.write_chunks(
        place, table, made, params.root, settings.file_pattern, progress.add
    )
    progress.done()
    removed = files.remove_stale(place, settings.types, made)
    log.info(
        "%d chunks, %d of them new or changed, %d old ones removed", len(made), changed, removed
    )
    rejected = release.rejections(selection.rejections(table, selected))
    files.write_rejected(outputs.rejected, rejected)
    files.write_groups(outputs.groups, groups(made, params.group_size))
    totals = release.counts(totals)
    totals["inputs"] += [{"file": p, "sha256": sha256(p)} for p in snakemake.input.stellar]
    with atomic(outputs.summary) as temporary:
        temporary.write_text(json.dumps(totals, indent=1) + "\n")
    # The manifest is what the later stages wait for, so it appears last.
    files.write_manifest(outputs.manifest, manifest)


if __name__ == "__main__":
    main(snakemake)
