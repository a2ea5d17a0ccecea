"""The catalogue's files: tables of one type or of all, in blocks, and their headers."""

import json
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from numpy.typing import NDArray

from lamostvac.catalog.registry import Registry
from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError

# Rows of a Parquet row group, and of a block while merging (30 MB, with two dozen labels of
# networks 80 MB).
ROW_GROUP = 131072
FITS_BLOCK = 2880


def provenance(
    project: Path, version: str, config_hash: str, library: str
) -> dict[str, tuple[str, str]]:
    """Header cards on the catalogue's origin, without times and host names.

    `config_hash` is the SHA-256 of the configuration's parts that results depend on.
    """
    return {
        "CREATOR": (f"lamost-vac {version}", "program"),
        "GITHASH": (git_commit(project), "commit of the program"),
        "CONFHASH": (config_hash, "SHA-256 of the configuration"),
        "LIBRARY": (library, "spectral library"),
        "PYVER": (platform.python_version(), "Python"),
        "NPVER": (np.__version__, "NumPy"),
    }


def input_cards(inputs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Header cards with name and SHA-256 of each input (name, hash): INPUT1, INHASH1, INPUT2, ...

    Only the file's name of a path is used, so that the header does not depend on folders.
    """
    cards = {}
    for number, (name, digest) in enumerate(inputs, start=1):
        cards[f"INPUT{number}"] = (Path(name).name, "input")
        cards[f"INHASH{number}"] = (digest, "SHA-256")
    return cards


def read_cards(path: str | Path) -> dict[str, str]:
    """The cards of provenance in a table that `write_fits` wrote: keyword to value."""
    structure = {"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "COMMENT", "HISTORY", ""}
    return {
        keyword: str(value)
        for keyword, value in fits.getheader(path, 0).items()
        if keyword not in structure
    }


def git_commit(project: Path) -> str:
    """The commit of a project's folder, with -dirty if changed since; `unknown` without git.

    For an installed package, the build has stored the commit (`tools/build_hook.py`).
    """
    recorded = project / "COMMIT"
    if recorded.is_file():
        return recorded.read_text(encoding="utf-8").strip()
    command = [
        "git",
        "-C",
        str(project),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def write_fits(
    path: str | Path,
    blocks: Iterable[NDArray[np.void]],
    n: int,
    registry: Registry,
    cards: Mapping[str, tuple[Any, str]],
) -> None:
    """Write `n` rows that arrive in blocks; the file has its full size from the start.

    Raises ValueError when the blocks do not add up to `n` rows.
    """
    header = registry.header(n, cards)
    size = len(header) + n * registry.record.itemsize
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        handle.truncate(size + -size % FITS_BLOCK)
        handle.write(header)
        written = 0
        for block in blocks:
            handle.write(np.ascontiguousarray(block).data)
            written += len(block)
        if written != n:
            raise ValueError(f"{written} rows were written, {n} announced")


def blocks_of(rows: NDArray[np.void], size: int = ROW_GROUP) -> Iterator[NDArray[np.void]]:
    """`rows` in pieces of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def count_rows(path: str | Path) -> int:
    """Rows of a table that `write_fits` wrote, from its header."""
    return int(fits.getheader(path, 1)["NAXIS2"])


def _place_of_rows(path: str | Path, registry: Registry) -> tuple[int, int]:
    """Number of rows and byte where they begin, in a table by `write_fits` with this registry."""
    with fits.open(path, memmap=True, lazy_load_hdus=True) as hdus:
        header = hdus[1].header
        names = [header[f"TTYPE{number}"] for number in range(1, header["TFIELDS"] + 1)]
        forms = [header[f"TFORM{number}"] for number in range(1, header["TFIELDS"] + 1)]
        if names != registry.names or forms != [column.tform for column in registry]:
            raise UserError(
                f"{path} was written with other columns than config/columns.yaml has; delete it and run again"
            )
        return int(header["NAXIS2"]), int(hdus[1].fileinfo()["datLoc"])


def read_blocks(
    path: str | Path, registry: Registry, size: int = ROW_GROUP
) -> Iterator[NDArray[np.void]]:
    """The rows of a table that `write_fits` wrote, `size` at a time.

    Raises `UserError` when the table was written with another registry.
    """
    n, offset = _place_of_rows(path, registry)
    with open(path, "rb") as handle:
        handle.seek(offset)
        for start in range(0, n, size):
            yield np.fromfile(handle, registry.record, min(size, n - start))


def read_rows(path: str | Path, registry: Registry) -> NDArray[np.void]:
    """All rows (n,) of a table that `write_rows` wrote."""
    for rows in read_blocks(path, registry, max(count_rows(path), 1)):
        return rows
    return registry.empty(0)


def read_fields(
    path: str | Path, registry: Registry, names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Some columns (n,) of a table by `write_rows`, in native byte order, read block by block."""
    record, n = registry.record, count_rows(path)
    fields: dict[str, NDArray[Any]] = {
        name: np.empty(n, record[name].newbyteorder("=")) for name in names
    }
    start = 0
    for rows in read_blocks(path, registry):
        for name, values in fields.items():
            values[start : start + len(rows)] = rows[name]
        start += len(rows)
    return fields


def read_some(
    path: str | Path, registry: Registry, at: NDArray[np.integer], column: str
) -> NDArray[Any]:
    """One column of the rows `at` (m,) of a table by `write_fits`; other rows are not read."""
    if not len(at):
        return np.empty(0, registry.record[column])
    n, offset = _place_of_rows(path, registry)
    return np.asarray(np.memmap(path, registry.record, "r", offset, (n,))[column][at])


def write_rows(
    path: str | Path,
    rows: NDArray[np.void],
    registry: Registry,
    cards: Mapping[str, tuple[Any, str]],
) -> None:
    """Write rows (n,) in memory to a table."""
    write_fits(path, blocks_of(rows), len(rows), registry, cards)


def write_type(
    path: str | Path,
    rejected_path: str | Path,
    rows: NDArray[np.void],
    rejected: pd.DataFrame,
    registry: Registry,
    cards: Mapping[str, tuple[Any, str]],
) -> None:
    """Write one type's table and its rejections."""
    write_rows(path, rows, registry, cards)
    with atomic(rejected_path) as temporary:
        rejected.to_csv(temporary, index=False, lineterminator="\n")


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The merged catalogue (Parquet) as a data frame, all columns or some."""
    table: pa.Table = pq.read_table(path, columns=list(columns) if columns is not None else None)
    return table.to_pandas()


def write_json(path: str | Path, content: Any) -> None:
    """JSON with two spaces of indent, in the order given."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
