"""Everything on one spectrum in a run: `lamostvac trace results/dr10 OBSID` (or a spectrum_id).

It shows the spectrum's chunk and file, whether and why it was rejected, the lines of all jobs' logs
that name it, and its row in the catalogue. The survey's chunks are Parquet files with the smallest
and largest obsid in their footers, and only row groups that can have it are read; spectrum_ids are
compared as text in one column.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lamostvac.catalog.lookup import find_star, is_obsid, why_missing
from lamostvac.core.hdf5 import open_hdf5, read_columns
from lamostvac.core.rejection import REASONS
from lamostvac.run.job_records import find_jobs
from lamostvac.run.layout import Layout

SHOWN = ("teff_rec", "logg_rec", "feh_rec", "alpha_fe_rec", "chi2")


@dataclass(frozen=True)
class Trace:
    """The results of a run for a spectrum.

    Attributes
    ----------
    rows : rows of the survey's chunks with this name, as dictionaries, with `type` and `chunk`
    rejected : `stage, reason` of each file that rejects it
    log_lines : `(path, line)` of every line that names it
    catalogue_row : its number from 0 in recommended.parquet, None if that lacks it or does not
        exist
    values : a few of its labels in the catalogue
    """

    rows: tuple[dict[str, Any], ...]
    rejected: tuple[tuple[str, str], ...]
    log_lines: tuple[tuple[str, str], ...]
    catalogue_row: int | None = None
    values: dict[str, Any] = field(default_factory=dict)


def find_in_chunks(results: str | Path, star: str) -> list[dict[str, Any]]:
    """The rows of the survey's chunks with an obsid or a spectrum_id, with `type` and `chunk`."""
    column = "obsid" if is_obsid(star) else "spectrum_id"
    value: int | str = int(star) if is_obsid(star) else star
    found = []
    for path in sorted(Path(results).glob(Layout.chunk.format(type="*", chunk="*"))):
        with pq.ParquetFile(path) as file:
            groups = [
                number
                for number in range(file.num_row_groups)
                if _may_hold(file, number, column, value)
            ]
            for number in groups:
                values = file.read_row_group(number, columns=[column])[column]
                if not pc.any(pc.equal(values, value)).as_py():
                    continue
                table = file.read_row_group(number)
                for row in table.filter(pc.equal(table[column], pa.scalar(value))).to_pylist():
                    found.append({"type": path.parent.name, "chunk": path.stem, **row})
    return found


def _may_hold(file: pq.ParquetFile, group: int, column: str, value: int | str) -> bool:
    """Whether a column may have a value in a row group, by its statistics."""
    chunk = file.metadata.row_group(group).column(file.schema_arrow.get_field_index(column))
    statistics = chunk.statistics
    if statistics is None or not statistics.has_min_max:
        return True
    return bool(statistics.min <= value <= statistics.max)


def rejections(results: str | Path, names: Sequence[str]) -> list[tuple[str, str]]:
    """`stage, reason` from the run's tables of rejected spectra for any of the names
    (obsid, spectrum_id).

    These are read from the merged table if it exists, else from those of the survey and of
    collected types.
    """
    results = Path(results)
    merged = results / Layout.rejected
    paths = [merged] if merged.exists() else [results / Layout.survey_rejected]
    paths += (
        [] if merged.exists() else sorted(results.glob(Layout.collected_rejected.format(type="*")))
    )
    found = []
    for path in paths:
        if path.exists():
            for line in _lines_with(path, names):
                spectrum_id, obsid, stage, reason = line.split(",")[:4]
                if {spectrum_id, obsid} & set(names):
                    found.append((stage, reason))
    return list(dict.fromkeys(found))


def _rejections_of_chunks(
    results: Path, rows: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """`stage, reason` from the files of the rows' chunks, which exist before those of the type.

    Where one system alone rejects a spectrum, the stage is followed by a word on it.
    """
    found = []
    for row in rows:
        emulator: list[tuple[str, str]] = []
        networks: list[tuple[str, str]] | None = None
        for pattern in (Layout.prepared_meta, Layout.fit):
            path = results / pattern.format(type=row["type"], chunk=row["chunk"])
            if path.exists():
                with open_hdf5(path) as handle:
                    emulator += _of_spectrum(handle["rejected"], row["spectrum_id"])
                    if "network_rejected" in handle:
                        networks = _of_spectrum(handle["network_rejected"], row["spectrum_id"])
        if networks is None or emulator == networks:
            found += emulator
            continue
        found += [(f"{stage}, for the emulator", reason) for stage, reason in emulator]
        found += [(f"{stage}, for the networks", reason) for stage, reason in networks]
    return found


def _of_spectrum(group: h5py.Group, spectrum_id: str) -> list[tuple[str, str]]:
    """`stage, reason` of a spectrum in a table of rejected ones."""
    table = read_columns(group, ["spectrum_id", "stage", "reason"])
    own = table[table["spectrum_id"] == spectrum_id]
    return [(str(entry.stage), str(entry.reason)) for entry in own.itertuples()]


def lines_in_logs(results: str | Path, names: Sequence[str]) -> list[tuple[str, str]]:
    """`(path, line)` of every line of every job's log that has one of the names as a whole."""
    return [
        (str(job.log), line)
        for job in find_jobs(results).values()
        if job.log.exists()
        for line in _lines_with(job.log, names)
        if any(_whole(name, line) for name in names)
    ]


def _lines_with(path: Path, names: Sequence[str]) -> Iterator[str]:
    """Lines that contain one of the names; files are first searched as bytes, in blocks."""
    patterns = [name.encode() for name in names]
    rest = b""
    with open(path, "rb") as handle:
        while block := handle.read(1 << 22):
            block, cut = rest + block, len(rest) + block.rfind(b"\n") + 1
            block, rest = block[:cut], block[cut:]
            if any(pattern in block for pattern in patterns):
                yield from (
                    line.decode("utf-8", "replace")
                    for line in block.splitlines()
                    if any(pattern in line for pattern in patterns)
                )
    if any(pattern in rest for pattern in patterns):
        yield rest.decode("utf-8", "replace")


def _whole(name: str, line: str) -> bool:
    """Whether a name is in a line without a letter, digit or dash before and after it."""
    start = line.find(name)
    while start >= 0:
        around = line[start - 1 : start] + line[start + len(name) : start + len(name) + 1]
        if not any(character.isalnum() or character == "-" for character in around):
            return True
        start = line.find(name, start + 1)
    return False


def trace(results: str | Path, star: str) -> Trace:
    """Everything that a run has of a spectrum.

    Parameters
    ----------
    results : the run's folder
    star : obsid or spectrum_id

    Raises
    ------
    UserError
        The folder is not a run's.
    """
    results = Path(results)
    rows = find_in_chunks(results, star)
    names = [star, *(str(row["spectrum_id"]) for row in rows)]
    names += [str(row["obsid"]) for row in rows if row["obsid"] > 0]
    names = list(dict.fromkeys(names))
    rejected = [*rejections(results, names), *_rejections_of_chunks(results, rows)]
    catalogue = results / Layout.catalogue
    place, values = None, {}
    if catalogue.exists():
        found = find_star(catalogue, star)
        if found is not None:
            place = found[0]
            values = {name: found[1][name] for name in SHOWN if name in found[1]}
    return Trace(
        rows=tuple(rows),
        rejected=tuple(dict.fromkeys(rejected)),
        log_lines=tuple(lines_in_logs(results, names)),
        catalogue_row=place,
        values=values,
    )


def text(results: str | Path, star: str, found: Trace) -> str:
    """A trace as text."""
    results = Path(results)
    lines = []
    for row in found.rows:
        lines.append(
            f"{row['spectrum_id']}, obsid {row['obsid']}: type {row['type']}, chunk {row['chunk']}, "
            f"plate {row['lmjd']}-{row['planid']}, S/N in r {row['snrr']:.1f}, subclass {row['subclass']}"
        )
        lines.append(f"file: {row['path']}")
    if not found.rows:
        lines.append(f"{star} is in no chunk of the survey")
    for stage, reason in found.rejected:
        lines.append(f"rejected by {stage}: {reason} ({REASONS.get(reason, 'no known reason')})")
    catalogue = results / Layout.catalogue
    if found.catalogue_row is not None:
        values = " ".join(f"{name}={value:.4g}" for name, value in found.values.items())
        lines.append(
            f"catalogue: row {found.catalogue_row} of {catalogue} (the first is 0): {values}"
        )
    elif not catalogue.exists():
        lines.append(f"catalogue: {catalogue} has not been made yet")
    elif found.rejected:
        lines.append("catalogue: not in it, as it was rejected")
    else:
        lines.append(f"catalogue: {why_missing(results / Layout.rejected, star)}")
    lines.append(f"{len(found.log_lines)} lines of logs name it")
    lines += [f"  {path}: {line}" for path, line in found.log_lines]
    return "\n".join(lines)
