"""The files of the survey stage: the chunks, their manifest, the rejected rows."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from lamostvac.core.atomic import atomic
from lamostvac.survey.catalogue import CARRIED
from lamostvac.survey.chunks import Chunk, chunk_table

ManifestRow = tuple[str, str, int, int, str, str, str, str]
_MANIFEST = "type,chunk,n_spectra,n_plates,first_plate,last_plate,digest,carried"


def write_chunks(
    folder: Path,
    table: pa.Table,
    chunks: Sequence[Chunk],
    root: str,
    file_pattern: str,
    progress: Callable[[int], None] = lambda count: None,
) -> tuple[list[ManifestRow], int]:
    """Write each chunk as `{type}/{chunk}.parquet`; a file with the same bytes keeps its time.

    Parameters
    ----------
    table : the release's catalogue
    root, file_pattern : where the spectra are
    progress : called with the number of spectra of each chunk that is written

    Returns
    -------
    The rows of the manifest, and how many chunks are new or changed.
    """
    manifest: list[ManifestRow] = []
    changed = 0
    for chunk in chunks:
        rows = chunk_table(table, chunk.rows, root, file_pattern)
        changed += write_if_changed(_parquet(rows), folder / chunk.type / f"{chunk.name}.parquet")
        first, last = (f"{rows['lmjd'][i]}-{rows['planid'][i]}" for i in (0, -1))
        # The content of the rows without the release's folder: a release that was moved has the
        # same chunks.
        inside = chunk_table(table, chunk.rows, ".", file_pattern)
        digests = _digest(inside.drop_columns(CARRIED)), _digest(inside.select(CARRIED))
        manifest.append((chunk.type, chunk.name, len(rows), chunk.n_plates, first, last, *digests))
        progress(len(rows))
    return manifest, changed


def _digest(table: pa.Table) -> str:
    return hashlib.sha256(_parquet(table)).hexdigest()[:16]


def _parquet(table: pa.Table) -> pa.Buffer:
    """A table as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def write_if_changed(content: pa.Buffer, path: Path) -> bool:
    """Write a file unless one with the same bytes exists; return whether it was written."""
    if (
        path.is_file()
        and path.stat().st_size == content.size
        and path.read_bytes() == content.to_pybytes()
    ):
        return False
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return True


def remove_stale(folder: Path, types: Sequence[str], current: Sequence[Chunk]) -> int:
    """Remove chunks of the given types that an earlier selection left behind; return their number.

    Chunks of types that are not part of this run are kept for other runs.
    """
    kept = {folder / chunk.type / f"{chunk.name}.parquet" for chunk in current}
    stale = [
        path for name in types for path in (folder / name).glob("*.parquet") if path not in kept
    ]
    for path in stale:
        path.unlink()
    return len(stale)


def write_manifest(path: str | os.PathLike[str], rows: Sequence[ManifestRow]) -> None:
    """The table of chunks, which `core.manifest.read_manifest` reads."""
    _write_csv(path, _MANIFEST, rows)


def write_groups(path: str | os.PathLike[str], rows: Sequence[tuple[str, int, int]]) -> None:
    """`type,n_spectra,n_groups`, a row for each type (`chunks.groups`)."""
    _write_csv(path, "type,n_spectra,n_groups", rows)


def _write_csv(path: str | os.PathLike[str], header: str, rows: Sequence[Sequence[object]]) -> None:
    """A small CSV file without quotes."""
    lines = [header, *(",".join(str(value) for value in row) for row in rows)]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def write_rejected(path: str | os.PathLike[str], table: pa.Table) -> None:
    """The rejected rows as CSV."""
    write_plain(path, table, ",")


def write_plain(path: str | os.PathLike[str], table: pa.Table, separator: str) -> None:
    """A table as text, with quotes only if a value contains the separator, as damaged ones may."""
    with atomic(path) as temporary:
        for quoting in ("none", "needed"):
            try:
                options = pacsv.WriteOptions(
                    delimiter=separator, quoting_style=quoting, quoting_header="none"
                )
                pacsv.write_csv(table, os.fspath(temporary), options)
                return
            except pa.ArrowInvalid:
                if quoting == "needed":
                    raise
