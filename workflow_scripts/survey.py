"""Reads the release's catalogue and writes the manifest, the chunks and the rejected rows."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from lamostvac.core.atomic import atomic
from lamostvac.core.files import sha256
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.core.rejection import REASONS
from lamostvac.survey import catalogue, chunks
from lamostvac.survey import paths as survey_paths
from lamostvac.survey import selection as survey_selection
from lamostvac.survey.settings import Survey

SETTINGS = set(Survey.model_fields) - {"catalogues"}  # those are the rule's input


def parquet(table: pa.Table) -> pa.Buffer:
    """A table as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def write_if_changed(content: pa.Buffer, path: Path) -> bool:
    """Write a file unless one with the same bytes stands there; return whether it was written."""
    if (
        path.is_file()
        and path.stat().st_size == content.size
        and path.read_bytes() == content.to_pybytes()
    ):
        return False
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return True


def remove_stale(folder: Path, types: Sequence[str], current: set[Path]) -> int:
    """Remove chunks of the given types that an earlier selection left behind; return their number.

    Chunks of types that are not part of this run stay as they are, for the run that wants them.
    """
    stale = [
        path for name in types for path in (folder / name).glob("*.parquet") if path not in current
    ]
    for path in stale:
        path.unlink()
    return len(stale)


def write_csv(path: str, header: str, rows: Sequence[Sequence[object]]) -> None:
    """A small CSV file without quotes."""
    lines = [header, *(",".join(str(value) for value in row) for row in rows)]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def write_rejected(table: pa.Table, path: Path) -> None:
    """The rejected rows as CSV, quoted only when a damaged identifier contains a separator."""
    for quoting in ("none", "needed"):
        try:
            options = pacsv.WriteOptions(quoting_style=quoting, quoting_header="none")
            pacsv.write_csv(table, os.fspath(path), options)
            return
        except pa.ArrowInvalid:
            if quoting == "needed":
                raise


def main(snakemake: Job) -> None:
    """Inputs `catalogues`; outputs `manifest groups rejected summary`, and the chunks beside them."""
    log = rule_log(snakemake)
    params = snakemake.params
    paths = list(snakemake.input.catalogues)
    settings = Survey(**{name: getattr(params, name) for name in SETTINGS})
    notes: list[str] = []
    table = catalogue.read_catalogues(paths, settings.column_aliases, notes)
    for note in notes:
        log.warning(note)
    log.info("%d rows in %d catalogue file(s)", len(table), len(paths))
    survey_paths.check_paths(table, settings.file_pattern)
    survey_selection.require_snr(table, settings.snr_band)
    selection = survey_selection.select(table, settings)
    totals = survey_selection.counts(selection)
    for reason, n in totals["rejected"].items():
        log.info("%d rejected: %s", n, REASONS[reason])
    survey_selection.require_some(selection, paths)

    found = chunks.chunks(table, selection, settings.chunk_size)
    folder = Path(snakemake.output.manifest).parent / "chunks"
    progress = Progress(log, total=totals["n_selected"], unit="spectra into chunks")
    manifest = []
    changed = 0
    current = {folder / chunk.type / f"{chunk.name}.parquet" for chunk in found}
    for chunk in found:
        rows = chunks.chunk_table(table, chunk.rows, params.root, settings.file_pattern)
        changed += write_if_changed(parquet(rows), folder / chunk.type / f"{chunk.name}.parquet")
        plates = [f"{rows['lmjd'][i]}-{rows['planid'][i]}" for i in (0, -1)]
        # What the rows say, wherever the release lies: a release that was moved has the same chunks.
        inside = chunks.chunk_table(table, chunk.rows, ".", settings.file_pattern)
        digest = hashlib.sha256(parquet(inside)).hexdigest()[:16]
        manifest.append((chunk.type, chunk.name, len(rows), chunk.n_plates, *plates, digest))
        progress.add(len(rows))
    progress.done()
    removed = remove_stale(folder, settings.types, current)
    log.info(
        "%d chunks, %d of them new or changed, %d old ones removed", len(found), changed, removed
    )

    rejected = survey_selection.rejections(table, selection)
    with atomic(snakemake.output.rejected) as temporary:
        write_rejected(rejected, temporary)
    groups = chunks.groups(found, params.group_size)
    write_csv(snakemake.output.groups, "type,n_spectra,n_groups", groups)
    totals["inputs"] = [{"file": path, "sha256": sha256(path)} for path in paths]
    with atomic(snakemake.output.summary) as temporary:
        temporary.write_text(json.dumps(totals, indent=1) + "\n")
    # The manifest is what the later stages wait for, so it appears last.
    write_csv(
        snakemake.output.manifest,
        "type,chunk,n_spectra,n_plates,first_plate,last_plate,digest",
        manifest,
    )


if __name__ == "__main__":
    main(snakemake)
