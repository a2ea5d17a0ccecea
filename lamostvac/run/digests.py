"""Digests of input files, which Snakemake compares instead of times.

A release, a library or a catalogue that was touched, copied or moved has a new time but the same
content. Reading gigabytes at every start would take minutes, so a digest is stored with the file's
size and time.
"""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.files import sha256

_AHEAD = 2.0  # seconds; file systems round times


def require_past(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Raise `UserError` for a file with a time ahead of this machine's clock.

    Snakemake refuses every output that is older than an input, even if the input's time is wrong,
    and only after the job has run; started again it would say that there is nothing to do.
    """
    for path in paths:
        try:
            ahead = os.stat(path).st_mtime - time.time()
        except OSError:
            continue
        if ahead > _AHEAD:
            raise UserError(
                f"{path} has a time {ahead:.0f} s ahead of this machine's clock, so no result could be newer than it; "
                f"give it today's (`touch {path}`) or set the clock. Its content counts, not its time"
            )


class Digests:
    """Digests of files, remembered in the JSON file `store`.

    A file is read again when its size or its time differs; a change that keeps both is not noticed.
    """

    def __init__(self, store: str | os.PathLike[str]) -> None:
        self._store = Path(store)
        self._known: dict[str, list[int | str]] | None = None

    def of(self, path: str | os.PathLike[str]) -> str:
        """SHA-256 of a file, or of the names and sums of all files directly in a folder; "" if it
        does not exist.
        """
        path = str(path)
        if os.path.isdir(path):
            names = sorted(entry.name for entry in os.scandir(path) if entry.is_file())
            return " ".join(
                f"{name} {digest}"
                for name, digest in zip(names, self._all(path, names), strict=True)
            )
        if not os.path.isfile(path):
            return ""
        return self._all("", [path])[0]

    def every(self, paths: Iterable[str | os.PathLike[str]]) -> list[str]:
        """Digests of several files or folders, in their order."""
        return [self.of(path) for path in paths]

    def _all(self, folder: str, names: list[str]) -> list[str]:
        known = self._read()
        found, new = [], False
        for name in names:
            path = os.path.join(folder, name)
            stat = os.stat(path)
            state = [stat.st_size, stat.st_mtime_ns]
            if path not in known or known[path][:2] != state:
                known[path] = [*state, sha256(path)]
                new = True
            found.append(str(known[path][2]))
        if new:
            with atomic(self._store) as temporary:
                temporary.write_text(json.dumps(known, indent=0, sort_keys=True), encoding="utf-8")
        return found

    def _read(self) -> dict[str, list[int | str]]:
        if self._known is None:
            try:
                self._known = dict(json.loads(self._store.read_text(encoding="utf-8")))
            except (OSError, ValueError):
                self._known = {}  # the store only saves time
        return self._known
