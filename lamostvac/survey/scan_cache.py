"""What a scan of spectra's headers found earlier, by path, size and time of change of the files."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lamostvac.core.atomic import atomic
from lamostvac.core.code_version import package_version

FileState = tuple[str, int, int]
"""A file as the cache knows it: absolute path, size, time of change in ns."""
_VERSION = b"lamostvac"
_STATE = pa.schema([("file", pa.string()), ("size", pa.int64()), ("mtime", pa.int64())])


class ScanCache:
    """Rows of earlier scans in a folder of Parquet files; with folder None there are none.

    A scan adds a file of rows now and then, so that an interrupted one loses little; `tidy` makes
    one file of all. Files of another version of the code, or damaged ones, do not count. Two scans
    may use one folder at a time: at worst one reads again what the other had read.
    """

    def __init__(self, folder: Path | None, schema: pa.Schema) -> None:
        """`schema` of the rows."""
        version = "-".join(str(package_version(name)) for name in ("spectra", "survey"))
        columns = pa.schema([*_STATE, *schema])
        self._folder, self._schema = folder, columns.with_metadata({_VERSION: version.encode()})
        self._files = sorted(folder.glob("scan-*.parquet")) if folder else []
        found = [self._read(path) for path in self._files]
        self._parts = [part for part in found if part is not None]
        self._untidy = len(self._files) > 1 or len(self._parts) < len(self._files)
        self._table = self._latest()

    def _read(self, path: Path) -> pa.Table | None:
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException):
            return None  # damaged, or tidied away by another scan
        return table if table.schema.equals(self._schema, check_metadata=True) else None

    def _latest(self) -> pa.Table:
        """All rows, of those for one file the one with its latest time of change."""
        table = pa.concat_tables([self._schema.empty_table(), *self._parts]).sort_by("mtime")
        files = table["file"].to_pandas()
        return table.filter(pa.array(~files.duplicated(keep="last"))).combine_chunks()

    def look_up(self, files: Sequence[FileState]) -> npt.NDArray[np.int64]:
        """The row (n,) of each file in the cache, -1 where the file is new or has changed."""
        index = pd.Index(self._table["file"].to_pylist(), dtype=object)
        row = index.get_indexer(pd.Index([path for path, _, _ in files], dtype=object))
        seen = np.flatnonzero(row >= 0)
        for column, name in ((1, "size"), (2, "mtime")):
            now = np.array([files[number][column] for number in seen.tolist()], np.int64)
            changed = self._table[name].to_numpy()[row[seen]] != now
            row[seen[changed]] = -1
            seen = seen[~changed]
        return row.astype(np.int64)

    def rows(self, numbers: npt.NDArray[np.int64]) -> pa.Table:
        """Some rows, by the numbers that `look_up` gives."""
        rows = self._table.take(pa.array(numbers)).drop_columns(_STATE.names)
        return rows.replace_schema_metadata(None)

    def add(self, files: Sequence[FileState], rows: pa.Table) -> None:
        """Keep the rows (n) of files (n) that were read."""
        if self._folder is None or not files:
            return
        state = [
            pa.array(values, kind)
            for values, kind in zip(zip(*files, strict=True), _STATE.types, strict=True)
        ]
        self._parts.append(pa.table([*state, *rows.columns], schema=self._schema))
        self._untidy = bool(self._files)
        self._files.append(self._write(self._parts[-1]))

    def _write(self, table: pa.Table) -> Path:
        assert self._folder is not None
        path = self._folder / f"scan-{secrets.token_hex(8)}.parquet"
        with atomic(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
        return path

    def tidy(self) -> None:
        """One file instead of several."""
        if self._folder is None or not self._untidy:
            return
        self._write(self._latest())
        for path in self._files:
            path.unlink(missing_ok=True)
