"""The public files that a configuration reads: which exist, and fetching of missing ones.

An existing file is never overwritten or removed, wherever it came from. It is checked
(beginning, size, checksum) and compared with the published checksum, or with the one recorded when
it was first seen, in `checksums.sha256` in its folder.
"""

import csv
import json
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy.typing as npt

from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.files import sha256
from lamostvac.core.progress import Progress
from lamostvac.fetch.client import Client, DownloadError, TemporaryError
from lamostvac.fetch.content import check_content
from lamostvac.fetch.pieces import fetch_pieces, join_pieces, pieces_of
from lamostvac.fetch.sources import FileSource, MatchSource, TapSource, source_from
from lamostvac.fetch.transfer import Checksum, download

CHECKSUMS = "checksums.sha256"
STATES = {
    "there": "lies there and is as published or as when it was first seen",
    "fetched": "was brought by this run",
    "missing": "is not there",
    "failed": "could not be brought",
    "wrong": "lies there but is not what it should be",
    "yours": "is not there and has no public source here",
}


@dataclass(frozen=True)
class Need:
    """A file that the run reads.

    Attributes
    ----------
    path : where the run reads it
    source : `model_dump` of the source that has it; None where there is none
    read_by : the parts of the configuration that name it
    optional : the run goes on without it
    """

    path: str
    source: dict[str, Any] | None
    read_by: list[str]
    optional: bool


@dataclass(frozen=True)
class State:
    """The state of a need: key of `STATES`, file's bytes and SHA-256 (0 and "" without), a
    sentence.
    """

    need: Need
    state: str
    size: int = 0
    digest: str = ""
    detail: str = ""


def inspect(need: Need) -> State:
    """The state of a needed file; records the checksum of one that is seen for the first time."""
    path = Path(need.path)
    if not path.is_file():
        if need.source is None:
            return State(
                need, "yours", detail="bring it yourself; the configuration names no public source"
            )
        return State(need, "missing")
    source = source_from(need.source) if need.source else None
    size = path.stat().st_size
    try:
        check_content(path, source.content if isinstance(source, FileSource) else "any")
        if isinstance(source, FileSource) and source.published is not None:
            source.published.check(path)
    except (DownloadError, TemporaryError) as error:
        return State(need, "wrong", size, detail=f"{error}; remove it to have it fetched again")
    digest = sha256(path)
    noted = read_checksums(path.parent).get(path.name)
    if noted is None:
        note_checksum(path, digest)
    elif noted != digest:
        return State(
            need,
            "wrong",
            size,
            digest,
            f"its sha256 is {digest}, not {noted}; remove the file to have it fetched again, or its line in "
            f"{path.parent / CHECKSUMS} if you changed it",
        )
    return State(need, "there", size, digest)


_NOTING = threading.Lock()


def read_checksums(folder: Path) -> dict[str, str]:
    """`{file name: SHA-256}` of a folder's `checksums.sha256` (format of sha256sum)."""
    path = folder / CHECKSUMS
    if not path.exists():
        return {}
    known = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        digest, _, name = line.decode("utf-8", "replace").strip().partition(" ")
        if digest and not name:
            raise UserError(
                f"{path}, line {number}: it is a SHA-256, two blanks and a file's name, as sha256sum writes; "
                "write it so or remove the line"
            )
        if digest:
            known[name.strip().removeprefix("*")] = digest
    return known


def note_checksum(path: Path, digest: str) -> None:
    """Write a file's checksum into the `checksums.sha256` of its folder, sorted by name."""
    with _NOTING:
        known = read_checksums(path.parent) | {path.name: digest}
        with atomic(path.parent / CHECKSUMS) as temporary:
            temporary.write_text(
                "".join(f"{known[name]}  {name}\n" for name in sorted(known)), encoding="utf-8"
            )


def fetch_all(
    states: Sequence[State], client: Client, stars: npt.NDArray[Any] | None, piece_rows: int
) -> list[State]:
    """Fetch the missing files; the failure of one does not stop the others.

    Parameters
    ----------
    stars : (n, 2) positions from `lamostvac.fetch.services.star_list`; None if no source needs them

    Returns
    -------
    The states in their order, those of missing files `fetched` or `failed`.

    Raises
    ------
    KeyboardInterrupt, SystemExit
        Immediately. Threads that wait for an answer may go on; they end with the process or when
        the answer arrives.
    """
    result = list(states)
    by_host: dict[str, list[int]] = {}
    for index, state in enumerate(states):
        if state.state == "missing" and state.need.source is not None:
            by_host.setdefault(_host(state.need.source), []).append(index)

    def one_host(indices: list[int]) -> None:
        for index in indices:
            result[index] = fetch_one(states[index], client, stars, piece_rows)

    # A thread for each host; the client limits the requests to each.
    pool = ThreadPoolExecutor(max(1, len(by_host)))
    try:
        for future in [pool.submit(one_host, indices) for indices in by_host.values()]:
            future.result()
    except BaseException:  # Ctrl-C, or SIGTERM as SystemExit
        # Do not wait for threads that wait for an archive.
        client.stop()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return result


def _host(settings: Mapping[str, Any]) -> str:
    return urlsplit(settings["urls"][0] if "urls" in settings else settings["url"]).netloc


def fetch_one(
    state: State, client: Client, stars: npt.NDArray[Any] | None, piece_rows: int
) -> State:
    """Fetch one missing file; the state has the result."""
    assert state.need.source is not None
    source, path = source_from(state.need.source), Path(state.need.path)
    try:
        if isinstance(source, FileSource):
            _fetch_file(source, path, client)
        else:
            assert stars is not None
            _fetch_match(source, path, client, stars, piece_rows)
    except DownloadError as error:
        client.log.error("%s: %s", source.name, error)
        return replace(state, state="failed", detail=str(error))
    except OSError as error:
        text = f"{error.filename or path} cannot be written: {error.strerror or error}"
        client.log.error("%s: %s", source.name, text)
        return replace(state, state="failed", detail=text)
    digest = sha256(path)
    note_checksum(path, digest)
    client.log.info("%s: %s", source.name, path)
    return replace(state, state="fetched", size=path.stat().st_size, digest=digest)


def _fetch_file(source: FileSource, path: Path, client: Client) -> None:
    noted = read_checksums(path.parent).get(path.name)
    # A file that was here before must have the same content.
    checksum = source.published or (Checksum("sha256", noted) if noted else None)

    def counter(total: int | None) -> "_Megabytes":
        return _Megabytes(client.log, source.name, total)

    for number, url in enumerate(source.urls):
        try:
            return download(client, url, path, source.content, checksum, source.size, counter)
        except DownloadError as error:
            if number == len(source.urls) - 1:
                raise
            client.log.info("%s: %s; trying the next address", source.name, error)


class _Megabytes:
    """Counts bytes and reports megabytes."""

    def __init__(self, log: logging.Logger, name: str, total: int | None) -> None:
        self.total, self.bytes, self.told = total, 0, 0
        # Without a size, share and remaining time are unknown.
        self.progress = (
            Progress(log, total=total // 1_000_000 + 1, unit=f"MB of {name}") if total else None
        )

    def add(self, n: int = 1) -> None:
        self.bytes += n
        new = self.bytes // 1_000_000 - self.told
        if new and self.progress:
            self.told += new
            self.progress.add(new)


def _fetch_match(
    source: MatchSource, path: Path, client: Client, stars: npt.NDArray[Any], piece_rows: int
) -> None:
    pieces = pieces_of(source, stars, piece_rows, path)
    fetch_pieces(client, source, pieces)
    rows = join_pieces(source, pieces, path)
    client.log.info("%s: %d rows near %d stars", source.name, rows, len(stars))


def write_report(states: Sequence[State], path: Path) -> None:
    """The states as CSV: `source,file,state,bytes,sha256,from,read_by,detail`."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["source", "file", "state", "bytes", "sha256", "from", "read_by", "detail"])
        for state in states:
            source = state.need.source or {}
            writer.writerow(
                [
                    source.get("name", ""),
                    state.need.path,
                    state.state,
                    state.size or "",
                    state.digest,
                    "; ".join(source.get("urls", [source["url"]] if "url" in source else [])),
                    "; ".join(state.need.read_by),
                    state.detail,
                ]
            )


def what_to_bring(states: Sequence[State], stars_file: str) -> str:
    """For machines without network: each missing file with origin, method and destination."""
    lines = []
    there = [state for state in states if state.state in ("there", "fetched")]
    lines.append(f"{len(there)} of {len(states)} files are there.")
    for state in there:
        lines.append(f"  {state.need.path}  ({state.size} bytes, sha256 {state.digest})")
    for state in states:
        if state in there:
            continue
        lines += ["", f"{state.need.path}", f"  {STATES[state.state]}"]
        lines.append(f"  read by {', '.join(state.need.read_by)}")
        if state.detail:
            lines.append(f"  {state.detail}")
        if state.need.optional:
            lines.append("  the run goes on without it")
        if state.need.source is not None:
            lines += _how(source_from(state.need.source), stars_file)
    return "\n".join(lines) + "\n"


def _how(source: FileSource | MatchSource, stars_file: str) -> Iterable[str]:
    yield f"  {source.title}"
    if isinstance(source, FileSource):
        yield from (f"  from {url}" for url in source.urls)
        if source.checksum:
            yield f"  {source.checksum}"
        return
    yield f"  the stars to ask for: {stars_file} (columns ra, dec)"
    if isinstance(source, TapSource):
        yield f"  query to {source.url}, the stars uploaded as TAP_UPLOAD.stars:"
        yield from (f"    {line}" for line in source.query.strip().splitlines())
    else:
        yield f"  X-Match at {source.url}: all counterparts in {source.table} within {source.radius:g} arcsec"
    pairs = (
        f"{names[0]} as {ours}" if names[0] != ours else ours for ours, names in source.names()
    )
    kind = "tabs" if source.separator == "\t" else "commas"
    yield f"  columns, with {kind} between them: {', '.join(pairs)}"


def problems(states: Sequence[State]) -> list[State]:
    """The states that prevent a run, or that are not as they should be."""
    return [
        state
        for state in states
        if state.state in ("failed", "wrong")
        or (state.state in ("missing", "yours") and not state.need.optional)
    ]


def needs_stars(states: Sequence[State]) -> bool:
    """Whether a missing file is found by the stars' positions."""
    return any(
        state.state == "missing" and state.need.source is not None and "url" in state.need.source
        for state in states
    )


def needs_as_params(needs: Sequence[Need]) -> str:
    """Needs as one text, for a rule's params."""
    return json.dumps([asdict(need) for need in needs])


def needs_from_params(text: str) -> list[Need]:
    """The needs from the text of `needs_as_params`."""
    return [Need(**entry) for entry in json.loads(text)]
