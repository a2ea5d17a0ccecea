"""Requests to archives over HTTP: few at a time, repeated where that can help, files resumed and whole or absent.

A file is written to `NAME.part`, with `NAME.part.json` beside it (address, validator and size that the server
gave), and is renamed when its size, content and checksum are right. A later run goes on where the last one ended
(RFC 9110, sections 13.1.5 and 14: `Range` with `If-Range`), and from the beginning where the server cannot do that
or has another file by now.
"""

import contextlib
import email.utils
import gzip
import hashlib
import json
import logging
import os
import re
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3

from lamostvac.core.errors import UserError

TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which the same request may succeed."""

MEANING = {
    400: "the service does not understand the request",
    401: "the archive wants a login",
    403: "the archive does not allow it",
    404: "there is no such file",
    410: "the file is gone",
}
LONGEST_RETRY_AFTER = 3600.0
"""A server that asks for a longer wait than this, in s, ends the request."""
PROGRESS_BYTES = 1 << 20
"""A transfer that brought this much before it broke does not count as a failed try."""
FREE_BYTES = 1 << 30
"""What a download leaves free on the disk."""
_BLOCK = 1 << 16
_WRONG_ADDRESS = (
    requests.exceptions.TooManyRedirects,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
)

T = TypeVar("T")


class Adds(Protocol):
    """What counts bytes, such as `lamostvac.core.log.Progress`."""

    def add(self, n: int = 1) -> None: ...


class DownloadError(UserError):
    """A request that will not succeed by being repeated."""


class Temporary(Exception):
    """A request that failed and may succeed later.

    `wait` is how long the server asks to wait, in s; `progressed` says that it brought something first.
    """

    def __init__(self, reason: str, wait: float | None = None, progressed: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.progressed = progressed


@dataclass(frozen=True)
class Manners:
    """How an archive is treated.

    connections : requests to one host at a time
    pause : least time between the beginnings of two of them, in s
    stall : a connection that gives nothing for this long is given up, in s
    tries : how often a request is made before it fails
    first_wait, longest_wait : before the second try, doubled for each further one up to the longest, in s
    user_agent : what the archive reads about who asks
    """

    connections: int = 2
    pause: float = 1.0
    stall: float = 120.0
    tries: int = 8
    first_wait: float = 2.0
    longest_wait: float = 300.0
    user_agent: str = "lamost-vac"

    def wait(self, failures: int) -> float:
        """Time before the next try after so many failures, in s; the same in every run."""
        return float(min(self.longest_wait, self.first_wait * 2.0 ** (failures - 1)))


class _Host:
    def __init__(self, connections: int) -> None:
        self.slots = threading.BoundedSemaphore(connections)
        self.lock = threading.Lock()
        self.next_time = 0.0


class Client:
    """Makes requests with `Manners`; may be used by several threads."""

    def __init__(self, manners: Manners, log: logging.Logger) -> None:
        self.manners = manners
        self.log = log
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()
        self._threads = threading.local()

    def _session(self) -> requests.Session:
        if not hasattr(self._threads, "session"):
            self._threads.session = requests.Session()
            self._threads.session.headers["User-Agent"] = self.manners.user_agent
            # As the file is: what is compressed on the way has no size to compare with and cannot be resumed.
            self._threads.session.headers["Accept-Encoding"] = "identity"
        session: requests.Session = self._threads.session
        return session

    @contextlib.contextmanager
    def _turn(self, url: str) -> Iterator[None]:
        """Wait until the host of `url` may be asked; one of its connections is taken meanwhile."""
        name = urlsplit(url).netloc.lower()
        with self._lock:
            host = self._hosts.setdefault(name, _Host(self.manners.connections))
        with host.slots:
            with host.lock:
                delay = host.next_time - time.monotonic()
                if delay > 0:
                    time.sleep(delay)
                host.next_time = time.monotonic() + self.manners.pause
            yield

    @contextlib.contextmanager
    def request(self, method: str, url: str, **arguments: Any) -> Iterator[requests.Response]:
        """One request; the body is still to be read, from `response.raw`.

        Raises
        ------
        Temporary
            No answer, an answer of `TEMPORARY`, or a connection that breaks or stalls while the body is read.
        DownloadError
            Any other answer but 200, 206 and 416.
        """
        with self._turn(url):
            try:
                with self._session().request(
                    method, url, stream=True, timeout=self.manners.stall, **arguments
                ) as response:
                    _check_status(response, url)
                    yield response
            except requests.exceptions.SSLError as error:
                raise DownloadError(f"{url}: the certificate is not accepted: {_last(error)}") from None
            except _WRONG_ADDRESS as error:
                raise DownloadError(f"{url}: {_last(error)}") from None
            except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
                raise Temporary(f"nothing came for {self.manners.stall:g} s") from None
            except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
                raise Temporary(f"the connection failed ({_last(error)})") from None

    def persist(self, what: str, attempt: Callable[[], T]) -> T:
        """The result of `attempt`, called again after `Temporary` failures.

        Raises `DownloadError` after `tries` failures in a row, or when the server asks for too long a wait.
        """
        failures = 0
        while True:
            try:
                return attempt()
            except Temporary as error:
                failures = 1 if error.progressed else failures + 1
                if failures >= self.manners.tries:
                    raise DownloadError(f"{what}: given up after {failures} tries: {error}") from None
                wait = self.manners.wait(failures)
                if error.wait is not None:
                    if error.wait > LONGEST_RETRY_AFTER:
                        raise DownloadError(
                            f"{what}: the server wants to be asked again in {error.wait / 3600:.1f} h; start again then"
                        ) from None
                    wait = max(wait, error.wait)
                self.log.info("%s: %s; again in %g s", what, error, wait)
                time.sleep(wait)

    def answer(self, what: str, url: str, **arguments: Any) -> bytes:
        """The body of the answer to a POST request to a service."""

        def attempt() -> bytes:
            with self.request("POST", url, **arguments) as response:
                return b"".join(response.raw.stream(_BLOCK, decode_content=True))

        return self.persist(what, attempt)


def _last(error: BaseException) -> str:
    """The innermost reason of a failed connection on one line."""
    reason: Any = error
    while getattr(reason, "reason", None) or (reason.args and isinstance(reason.args[0], BaseException)):
        reason = getattr(reason, "reason", None) or reason.args[0]
        if isinstance(reason, str):
            break
    text = " ".join(str(reason).split())
    return re.sub(r"^<[^>]*>: ", "", text) or type(error).__name__


def _check_status(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status in (200, 206, 416):
        return
    said = ""
    if status not in (401, 403, 404, 410):
        said = said_in(response.raw.read(20_000, decode_content=True).decode("utf-8", "replace"))
    if status in TEMPORARY:
        raise Temporary(
            f"the server answered {status} {response.reason}{said}", retry_after(response.headers)
        )
    meaning = MEANING.get(status, response.reason)
    raise DownloadError(f"{url}: {meaning} (answer {status}{said})")


def said_in(body: str) -> str:
    """What an error page or an error of a service says, as `: text`; "" for nothing."""
    error = re.search(r"<INFO[^>]*QUERY_STATUS[^>]*>(.*?)</INFO>", body, re.S | re.I)
    title = re.search(r"<title[^>]*>(.*?)</title>", body, re.S | re.I)
    text = error[1] if error else title[1] if title else "" if is_html(body.encode()) else body
    text = re.sub(r"<!\[CDATA\[|\]\]>|<[^>]*>", " ", text)
    text = " ".join(text.split())[:300]
    return f": {text}" if text else ""


def is_html(start: bytes) -> bool:
    """Whether a file that begins so is a web page."""
    text = start[:2000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype html", b"<html")) or b"<html" in text


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait (RFC 9110, section 10.2.3: seconds or a date); None where it does not."""
    text = headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        then = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())


# ---------------------------------------------------------------- files


@dataclass(frozen=True)
class Checksum:
    """What is known of a file's bytes: the name of the hash (sha1, sha256) and its hexadecimal value."""

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
    counter: Callable[[int | None], Adds] | None = None,
) -> None:
    """Bring the file at `url` to `target`, which appears when it is complete and right.

    Parameters
    ----------
    target : nothing is done to a file that is there already when the transfer ends
    content : what the file must be, see `check_content`
    checksum, size : where the archive publishes them; size in bytes
    counter : called with the size in bytes (None where the server does not say) when bytes begin to come; what it
        returns counts them, those of an earlier run too

    Raises
    ------
    DownloadError
        With the address in the sentence. What had come stays for the next run, unless it was wrong.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, notes = target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json")
    transfer = _Transfer(client, url, part, notes, content, size, counter)
    client.persist(url, transfer.attempt)
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
    """The tries to bring one file; `reached` is how far the best of them came, in bytes."""

    def __init__(
        self,
        client: Client,
        url: str,
        part: Path,
        notes: Path,
        content: str,
        size: int | None,
        counter: Callable[[int | None], Adds] | None,
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
                with self.client.request("GET", self.url, headers=headers) as response:
                    have, total = self._begin(response, have, total)
                    have = self._read(response, have, total)
            except Temporary as error:
                have = self.part.stat().st_size if self.part.exists() else 0
                # A server that breaks off at the same place each time, and cannot go on there, must fail some time.
                error.progressed = have >= self.reached + PROGRESS_BYTES
                raise
            except DownloadError:
                if not self.part.exists() or not self.part.stat().st_size:
                    _discard(self.part, self.notes)
                raise
            if total is not None and have != total:
                raise Temporary(f"{have} of {total} bytes came")
        try:
            if self.size is not None and have != self.size:
                raise DownloadError(f"it has {have} bytes where {self.size} are expected")
            check_content(self.part, self.content, whole=total is None)
        except DownloadError as error:
            _discard(self.part, self.notes)
            raise DownloadError(f"{self.url}: {error}") from None
        except Temporary:
            _discard(self.part, self.notes)
            raise

    def _begin(self, response: requests.Response, have: int, total: int | None) -> tuple[int, int | None]:
        """From which byte the answer goes on, and how many the file has."""
        if have and _goes_on(response, have, total):
            return have, total
        if response.status_code == 416 and not have:
            raise DownloadError(f"{self.url}: the server answers 416 to a request for the whole file")
        _discard(self.part, self.notes)
        if response.status_code != 200:
            raise Temporary("the server has another file than before, or cannot go on; from the beginning")
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        if self.size is not None and total is not None and total != self.size:
            raise DownloadError(f"{self.url} has {total} bytes where {self.size} are expected")
        _write_notes(self.notes, self.url, response.headers, total)
        return 0, total

    def _read(self, response: requests.Response, have: int, total: int | None) -> int:
        """Write the body behind the first `have` bytes; returns how many there are then."""
        _check_space(self.part.parent, self.url, (total or 0) - have)
        progress = self.counter(total) if self.counter else None
        if progress:
            progress.add(have)
        with self.part.open("ab" if have else "wb") as handle:
            for block in response.raw.stream(_BLOCK, decode_content=False):
                if not have and is_html(block):
                    said = said_in(block.decode("utf-8", "replace"))
                    raise DownloadError(f"{self.url}: a web page came instead of the file{said}")
                handle.write(block)
                have += len(block)
                if progress:
                    progress.add(len(block))
        return have


def _goes_on(response: requests.Response, have: int, total: int | None) -> bool:
    """Whether an answer to a request for bytes from `have` on brings those, of a file of `total` bytes."""
    if response.status_code != 206:
        return False
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    return found is not None and int(found[1]) == have and found[2] in ("*", str(total))


def _read_notes(notes: Path, url: str) -> dict[str, Any]:
    """What is noted of a part of the same address that can be resumed; empty otherwise."""
    try:
        known = json.loads(notes.read_text())
    except (OSError, ValueError):
        return {}
    return known if known.get("url") == url and known.get("validator") else {}


def _write_notes(notes: Path, url: str, headers: Mapping[str, str], total: int | None) -> None:
    tag = headers.get("ETag", "")
    # A weak tag does not promise equal bytes and must not stand in If-Range.
    validator = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")
    notes.write_text(json.dumps({"url": url, "validator": validator, "size": total}) + "\n")


def _check_space(folder: Path, url: str, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free - FREE_BYTES:
        raise DownloadError(
            f"{url} needs {needed / 1e9:.1f} GB more and {folder} has {free / 1e9:.1f} GB free, of which "
            f"{FREE_BYTES / 1e9:.1f} GB stay free; make room or link that folder to another disk"
        )


CONTENTS = ("any", "fits", "fits.gz", "vizier")


def check_content(path: Path, content: str, whole: bool = False) -> None:
    """See whether a file is what it should be.

    Parameters
    ----------
    content : `fits`; `fits.gz`; `vizier`, tab-separated text as VizieR sends it, with its end mark; or `any`, which
        only excludes web pages and empty files
    whole : read a compressed file to its end, for the checksum inside; else its beginning

    Raises
    ------
    DownloadError
        It is something else.
    Temporary
        Its end is missing.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(4000)
    if not size:
        raise DownloadError("the file is empty")
    if is_html(start):
        raise DownloadError(f"it is a web page{said_in(start.decode('utf-8', 'replace'))}")
    if content == "fits":
        if not start.startswith(b"SIMPLE  ="):
            raise DownloadError(f"it is no FITS file (it begins {start[:20]!r})")
        if size % 2880:
            raise Temporary("the end of the FITS file is missing")
    elif content == "fits.gz":
        _check_gzip(path, start, whole)
    elif content == "vizier":
        _check_vizier(path, start)


def _check_gzip(path: Path, start: bytes, whole: bool) -> None:
    if not start.startswith(b"\x1f\x8b"):
        raise DownloadError(f"it is not compressed with gzip (it begins {start[:20]!r})")
    try:
        with gzip.open(path) as handle:
            if handle.read(9) != b"SIMPLE  =":
                raise DownloadError("there is no FITS file inside")
            while whole and handle.read(1 << 20):
                pass
    except EOFError:
        raise Temporary("the end of the compressed file is missing") from None
    except (OSError, zlib.error) as error:
        raise DownloadError(f"it cannot be decompressed: {error}") from None


def _check_vizier(path: Path, start: bytes) -> None:
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - 4000))
        end = handle.read()
    said = re.search(rb"^#(?:INFO\s+Error|\*+)\s*=?\s*(.*)$", start, re.M | re.I)
    if said:
        raise DownloadError(f"VizieR says: {said[1].decode('utf-8', 'replace').strip()}")
    if b"\t" not in end and b"\t" not in start:
        raise DownloadError("it is no table of VizieR")
    if b"#END#" not in end:
        raise Temporary("VizieR's end mark is missing")
