"""Downloads of files by HTTP: resumed after an interruption, checked, complete or absent.

A file is written to `NAME.part`, with `NAME.part.json` beside it (address, validator and size that
the server gave), and is renamed when its size, content and checksum are right. A later run
continues where the last one ended (RFC 9110, sections 13.1.5 and 14: `Range` with `If-Range`), or
begins again if the server does not support that or the file has changed.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamostvac.fetch.client import (
    Client,
    Counter,
    DownloadError,
    TemporaryError,
    is_html,
    said_in,
)
from lamostvac.fetch.connection import Answer
from lamostvac.fetch.content import check_content

PROGRESS_BYTES = 1 << 20
"""A transfer that brought this much before it broke does not count as a failed try."""
FREE_BYTES = 1 << 30
"""What a download leaves free on the disk."""
_LOOK_BYTES = 1 << 24
"""How often a transfer looks whether there is still room."""


@dataclass(frozen=True)
class Checksum:
    """A file's checksum: the name of the hash (sha1, sha256) and its hexadecimal value."""

    algorithm: str
    value: str

    def check(self, path: Path) -> None:
        """Raise `DownloadError` when the file has another checksum."""
        with path.open("rb") as handle:
            found = hashlib.file_digest(handle, self.algorithm).hexdigest()
        if found != self.value.lower():
            raise DownloadError(f"its {self.algorithm} is {found}, not {self.value.lower()}")


def download(
    client: Client,
    url: str,
    target: Path,
    content: str = "any",
    checksum: Checksum | None = None,
    size: int | None = None,
    counter: Callable[[int | None], Counter] | None = None,
) -> None:
    """Download the file at `url` to `target`, which appears when it is complete and correct.

    Parameters
    ----------
    target : a file that exists when the transfer ends is not changed
    content : the expected content, see `check_content`
    checksum, size : where the archive publishes them; size in bytes
    counter : called with the size in bytes (None if unknown) when the transfer begins; the object
        that it returns counts the bytes, including those of an earlier run

    Raises
    ------
    DownloadError
        The message has the address. Bytes that have arrived are kept for the next run, unless they
        are wrong.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, notes = (
        target.with_name(target.name + ".part"),
        target.with_name(target.name + ".part.json"),
    )
    transfer = _Transfer(client, url, part, notes, content, size, counter)
    client.retry(url, transfer.attempt)
    if checksum is not None:
        try:
            checksum.check(part)
        except DownloadError as error:
            _discard(part, notes)
            raise DownloadError(f"{url} is not the file that it should be: {error}") from None
    with part.open("rb") as handle:
        os.fsync(handle.fileno())
    if not target.exists():
        os.replace(part, target)
    _discard(part, notes)


def _discard(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


class _Transfer:
    """The tries to download one file; `reached` is the largest number of bytes of any try."""

    def __init__(
        self,
        client: Client,
        url: str,
        part: Path,
        notes: Path,
        content: str,
        size: int | None,
        counter: Callable[[int | None], Counter] | None,
    ) -> None:
        self.client, self.url, self.part, self.notes = client, url, part, notes
        self.content, self.size, self.counter = content, size, counter
        self.reached = 0

    def attempt(self) -> None:
        """The rest of the file, or all of it."""
        known = _read_notes(self.notes, self.url)
        have = self.part.stat().st_size if known and self.part.exists() else 0
        self.reached = max(self.reached, have)
        total = known.get("size")
        if not have or have != total:
            headers = {"Range": f"bytes={have}-", "If-Range": known["validator"]} if have else {}
            try:
                with self.client.request("GET", self.url, headers=headers) as answer:
                    have, total = self._begin(answer, have, total, known)
                    have = self._read(answer, have, total)
            except TemporaryError as error:
                have = self.part.stat().st_size if self.part.exists() else 0
                # A server that breaks off at the same byte each time, and cannot continue there,
                # must not be tried for ever.
                error.progressed = have >= self.reached + PROGRESS_BYTES
                raise
            except DownloadError:
                if not self.part.exists() or not self.part.stat().st_size:
                    _discard(self.part, self.notes)
                raise
            if total is not None and have != total:
                raise TemporaryError(f"{have} of {total} bytes came")
        try:
            if self.size is not None and have != self.size:
                raise DownloadError(f"it has {have} bytes where {self.size} are expected")
            check_content(self.part, self.content, whole=total is None)
        except DownloadError as error:
            _discard(self.part, self.notes)
            raise DownloadError(f"{self.url}: {error}") from None
        except TemporaryError:
            _discard(self.part, self.notes)
            raise

    def _begin(
        self, answer: Answer, have: int, total: int | None, known: Mapping[str, Any]
    ) -> tuple[int, int | None]:
        """The byte at which the answer begins, and the size of the file."""
        if have and _goes_on(answer, have, total, known):
            return have, total
        if answer.status == 416 and not have:
            raise DownloadError(
                f"{self.url}: the server answers 416 to a request for the whole file"
            )
        _discard(self.part, self.notes)
        if answer.status != 200:
            raise TemporaryError(
                "the server has another file than before, or cannot go on; from the beginning"
            )
        total = answer.size
        if self.size is not None and total is not None and total != self.size:
            raise DownloadError(f"{self.url} has {total} bytes where {self.size} are expected")
        _write_notes(self.notes, self.url, answer.headers, total)
        return 0, total

    def _read(self, answer: Answer, have: int, total: int | None) -> int:
        """Write the body after the first `have` bytes; returns the new number of bytes."""
        folder, limit = self.part.parent, self._limit(total)
        _check_space(folder, self.url, have, total)
        progress = self.counter(total) if self.counter else None
        if progress:
            progress.add(have)
        looked = have
        with self.part.open("ab" if have else "wb") as handle:
            for block in answer.blocks():
                if not have and is_html(block):
                    raise DownloadError(
                        f"{self.url}: a web page came instead of the file{said_in(block)}"
                    )
                try:
                    if have + len(block) > limit:
                        raise DownloadError(f"{self.url} brings more than {limit} bytes")
                    if have >= looked + _LOOK_BYTES:
                        looked = have
                        _check_space(folder, self.url, have, total)
                except DownloadError:
                    if total is None:  # it may never end, so the beginning is of no use
                        _discard(self.part, self.notes)
                    raise
                handle.write(block)
                have += len(block)
                if progress:
                    progress.add(len(block))
        return have

    def _limit(self, total: int | None) -> int:
        """The most bytes that the file may have."""
        most = self.client.settings.largest_file
        if total is not None and total > most * 1e9:
            raise DownloadError(
                f"{self.url} has {total / 1e9:.1f} GB, more than fetch.largest_file = {most:g}; "
                "set that higher if the file is so large"
            )
        return total or self.size or int(most * 1e9)


def _goes_on(answer: Answer, have: int, total: int | None, known: Mapping[str, Any]) -> bool:
    """Whether an answer has the requested bytes from `have` on, of the same file of `total` bytes.

    A server that does not know `If-Range` sends the rest of whatever the file is now.
    """
    if answer.status != 206:
        return False
    found = re.fullmatch(
        r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)",
        answer.headers.get("Content-Range", "").strip(),
    )
    if found is None or int(found[1]) != have or found[2] not in ("*", str(total)):
        return False
    tag, date = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
    # A partial answer must repeat the tag (RFC 9110, section 15.3.7), and may leave out the date.
    same_tag = tag == known.get("etag")
    return same_tag and (date is None or date == known.get("last_modified", date))


def _read_notes(notes: Path, url: str) -> dict[str, Any]:
    """The notes on a partial file of the same address that can be resumed; empty otherwise."""
    try:
        known = json.loads(notes.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(known, dict) or known.get("url") != url:
        return {}
    wanted = {"validator": str, "size": int | None, "etag": str | None, "last_modified": str | None}
    right = all(isinstance(known.get(name), kind) for name, kind in wanted.items())
    return known if right and known["validator"] else {}


def _write_notes(notes: Path, url: str, headers: Mapping[str, str], total: int | None) -> None:
    tag, date = headers.get("ETag"), headers.get("Last-Modified")
    # A weak tag does not guarantee equal bytes and must not be used in If-Range.
    validator = tag if tag and not tag.startswith("W/") else date
    known = {"url": url, "validator": validator, "size": total, "etag": tag, "last_modified": date}
    notes.write_text(json.dumps(known) + "\n", encoding="utf-8")


def _check_space(folder: Path, url: str, have: int, total: int | None) -> None:
    """Raise `DownloadError` where a file of which `have` bytes are there would fill the disk."""
    free = shutil.disk_usage(folder).free
    if (total or have) - have > free - FREE_BYTES:
        more = (
            f"needs {(total - have) / 1e9:.1f} GB more and"
            if total
            else f"does not say how large it is, {have / 1e9:.1f} GB have come and"
        )
        raise DownloadError(
            f"{url} {more} {folder} has {free / 1e9:.1f} GB free, of which "
            f"{FREE_BYTES / 1e9:.1f} GB stay free; make room or link that folder to another disk"
        )
