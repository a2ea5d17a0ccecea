"""A client that asks archives politely: retries, limits, sentences for what went wrong."""

import contextlib
import email.utils
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3

from lamostvac.core.exceptions import UserError

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
_BLOCK = 1 << 16
_WRONG_ADDRESS = (
    requests.exceptions.TooManyRedirects,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
)
T = TypeVar("T")


class Adds(Protocol):
    """What counts bytes, such as `lamostvac.core.progress.Progress`."""

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
                raise DownloadError(
                    f"{url}: the certificate is not accepted: {_last(error)}"
                ) from None
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
                    raise DownloadError(
                        f"{what}: given up after {failures} tries: {error}"
                    ) from None
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
    while getattr(reason, "reason", None) or (
        reason.args and isinstance(reason.args[0], BaseException)
    ):
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
