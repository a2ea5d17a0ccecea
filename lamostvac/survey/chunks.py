"""The selected spectra cut into chunks of work.

Every row of the catalogue ends in exactly one place: a chunk or the table of rejections. Tables
stay in Arrow with repeated texts (plate, class, subclass, date) as dictionaries, so that the 11
million rows of DR10 fit into the memory of a small machine.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamostvac.core.exceptions import UserError
from lamostvac.core.rejection import REASONS
from lamostvac.core.vocabulary import SPECTRAL_TYPES
from lamostvac.survey.catalogue import COLUMNS, TEXT
from lamostvac.survey.paths import spectrum_ids, spectrum_paths
from lamostvac.survey.selection import STEPS, Selection

CHUNK_COLUMNS = ("spectrum_id", *COLUMNS)


assert set(STEPS) <= set(REASONS)


def plate_marks(table: pa.Table, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """A pseudo-random number for the plate (lmjd, planid) of each of some rows (n,).

    It depends on the plate's name only, so it does not change with the other plates.
    """
    part = table.select(["lmjd", "planid"]).take(pa.array(rows))
    names = zip(part["lmjd"].to_pylist(), part["planid"].to_pylist(), strict=True)
    digests = [hashlib.sha256(f"{lmjd}-{planid}".encode()).digest()[:8] for lmjd, planid in names]
    return np.array([int.from_bytes(digest) for digest in digests], np.uint64)


def pack(
    sizes: npt.ArrayLike, chunk_size: int, marks: npt.NDArray[np.uint64] | None = None
) -> npt.NDArray[np.int64]:
    """Chunk number (n,) of each plate, for plates of `sizes` (n,) packed in their order.

    A chunk has at most `chunk_size` spectra, unless a single plate has more, and at least half as
    many, except for the last chunk. Between these limits it ends before the plate with the smallest
    of the `marks` (n,). So packing that begins at different plates soon arrives at the same chunk
    ends: plates that are new to a release change the chunks around them but not those before and
    after. Without marks the chunks are as full as possible.
    """
    sizes = np.atleast_1d(sizes)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    numbers = np.zeros(len(sizes), np.int64)
    first = chunk = 0
    while ends[-1] - ends[first] > chunk_size and first < len(sizes) - 1:
        # The chunk may end before any of the plates low..high.
        high = max(int(np.searchsorted(ends, ends[first] + chunk_size, "right")) - 1, first + 1)
        low = max(int(np.searchsorted(ends, ends[first] + (chunk_size + 1) // 2)), first + 1)
        low, high = min(low, high), min(high, len(sizes) - 1)
        first = high if marks is None else low + int(np.argmin(marks[low : high + 1]))
        chunk += 1
        numbers[first:] = chunk
    return numbers


@dataclass(frozen=True)
class Chunk:
    """One job's spectra: catalogue row numbers in the order lmjd, planid, spid, fiberid."""

    type: str
    name: str
    rows: npt.NDArray[np.int64]
    n_plates: int


MAX_CHUNKS = 10_000
"""Chunks of one type: each is some five jobs, and Snakemake plans about a thousand jobs a second."""


def chunk_names(lmjd: Iterable[int], marks: Iterable[int]) -> list[str]:
    """Names of chunks from the `lmjd` and mark of their first plates.

    The first is `0000`; the others have nine digits: the night's lmjd and four digits of the mark,
    or the next free number where two have the same. A chunk that keeps its first plate keeps its
    name, however many chunks there are before it.
    """
    names: list[str] = []
    taken: set[str] = set()
    for night, mark in zip(lmjd, marks, strict=True):
        if not names:
            names.append("0000")
            continue
        number = int(mark) % 10_000
        while f"{night:05d}{number:04d}" in taken:
            number = (number + 1) % 10_000
        names.append(f"{night:05d}{number:04d}")
        taken.add(names[-1])
    return names


def chunks(table: pa.Table, selection: Selection, chunk_size: int) -> list[Chunk]:
    """The selected rows of a table as chunks of whole plates, type by type, in the plates' order.

    Raises `UserError` when a type needs more than `MAX_CHUNKS`.
    """
    found = []
    for number, name in enumerate(SPECTRAL_TYPES):
        ordered = selection.order
        rows = ordered[(selection.types[ordered] == number) & (selection.steps[ordered] < 0)]
        if not len(rows):
            continue
        plates, starts, sizes = np.unique(
            selection.plates[rows], return_index=True, return_counts=True
        )
        marks = plate_marks(table, rows[starts])
        numbers = pack(sizes, chunk_size, marks)
        if numbers[-1] >= MAX_CHUNKS:
            raise UserError(
                f"survey.chunk_size = {chunk_size} makes {numbers[-1] + 1} chunks of {name} stars; "
                f"at most {MAX_CHUNKS} are made, so set it to {-(-len(rows) // (MAX_CHUNKS // 4))} or more"
            )
        first_plates = np.flatnonzero(np.diff(numbers, prepend=-1))
        bounds = np.append(starts[first_plates], len(rows))
        n_plates = np.diff(np.append(first_plates, len(plates)))
        nights = table["lmjd"].take(pa.array(rows[bounds[:-1]])).to_pylist()
        for chunk, title in enumerate(chunk_names(nights, marks[first_plates])):
            found.append(
                Chunk(name, title, rows[bounds[chunk] : bounds[chunk + 1]], int(n_plates[chunk]))
            )
    return found


def chunk_table(
    table: pa.Table, rows: npt.NDArray[np.int64], root: str, file_pattern: str
) -> pa.Table:
    """Rows of a chunk with the columns `CHUNK_COLUMNS`; missing: obsid -1, numbers NaN, texts
    "".
    """
    part = table.take(pa.array(rows))
    columns: list[Any] = [spectrum_ids(part)]
    for name, kind in COLUMNS.items():
        column = part[name].combine_chunks()
        if name == "path":
            column = spectrum_paths(part, root, file_pattern)
        elif kind in (TEXT, pa.large_string()):
            column = column.cast(pa.string()).fill_null("")
        elif pa.types.is_integer(kind):
            column = column.fill_null(-1)
        else:
            column = column.fill_null(float("nan"))
        columns.append(column)
    return pa.table(columns, names=list(CHUNK_COLUMNS))


def groups(found: Iterable[Chunk], group_size: int) -> list[tuple[str, int, int]]:
    """`(type, n_spectra, n_groups)` for each type that has spectra, groups of at most
    `group_size`.
    """
    totals: dict[str, int] = {}
    for chunk in found:
        totals[chunk.type] = totals.get(chunk.type, 0) + len(chunk.rows)
    return [(name, n, -(-n // group_size)) for name, n in totals.items()]
