"""A client for archives with retries, limits and one-sentence errors.

urllib3's `Retry` counts the tries, spaces them and reads `Retry-After`. It is not given to the
adapter of requests, which stops retrying when the answer's header has arrived: a body that breaks
off must be requested again from that byte (`lamostvac.fetch.transfer`), and while a try waits, its
connection is free for others.
"""

import contextlib
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from urllib3.exceptions import InvalidHeader, MaxRetryError, NameResolutionError

from lamostvac.core.exceptions import UserError
from lamostvac.fetch.settings import Requests

TEMPORARY_STATUS = (408, 425, 429, 500, 502, 503, 504)
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


class Counter(Protocol):
    """A counter of bytes, such as `lamostvac.core.progress.Progress`."""

    def add(self, n: int = 1) -> None: ...


class DownloadError(UserError):
    """A request that would fail again if repeated."""


class TemporaryError(Exception):
    """A request that failed and may succeed later.

    `retry_after` is the wait that the server asks for, in s; `progressed` says that some bytes had
    arrived.
    """

    def __init__(
        self, reason: str, retry_after: float | None = None, progressed: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.progressed = progressed


class ClientSettings(Requests):
    """Settings of requests to an archive, and values that follow from them.

    longest_wait : longest time between two tries, in s
    """

    longest_wait: float = 300.0

    @classmethod
    def of(cls, section: Requests) -> Self:
        """The settings from a section on requests to archives."""
        return cls(**{name: getattr(section, name) for name in Requests.model_fields})

    @property
    def user_agent(self) -> str:
        """The client's name in requests to the archive."""
        return "lamost-vac" + (f" ({self.contact})" if self.contact else "")

    def retries(self) -> urllib3.Retry:
        """The remaining tries of one request."""
        return _Retries(
            total=self.tries - 1,
            backoff_factor=self.first_wait,
            backoff_max=self.longest_wait,
            retry_after_max=math.inf,  # type: ignore[arg-type]
        )


class _Retries(urllib3.Retry):
    """Waits `first_wait` before the second try, which urllib3 would make at once."""

    def get_backoff_time(self) -> float:
        return float(min(self.backoff_max, self.backoff_factor * 2.0 ** (len(self.history) - 1)))


class _Host:
    def __init__(self, connections: int) -> None:
        self.slots = threading.BoundedSemaphore(connections)
        self.lock = threading.Lock()
        self.next_time = 0.0


class Client:
    """Makes requests with `ClientSettings`; may be used by several threads."""

    def __init__(self, settings: ClientSettings, log: logging.Logger) -> None:
        self.settings = settings
        self.log = log
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()
        self._threads = threading.local()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End all waits; from now on every request, by any thread, raises `DownloadError`."""
        self._stopped.set()

    def _wait(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise DownloadError("stopped")

    def _session(self) -> requests.Session:
        if not hasattr(self._threads, "session"):
            self._threads.session = requests.Session()
            self._threads.session.headers["User-Agent"] = self.settings.user_agent
            # Without transfer compression, with which sizes cannot be compared and transfers not
            # resumed.
            self._threads.session.headers["Accept-Encoding"] = "identity"
        session: requests.Session = self._threads.session
        return session

    @contextlib.contextmanager
    def _turn(self, url: str) -> Iterator[None]:
        """Wait for one of the connections to the host of `url`, and hold it meanwhile."""
        name = urlsplit(url).netloc.lower()
        with self._lock:
            host = self._hosts.setdefault(name, _Host(self.settings.connections))
        with host.slots:
            with host.lock:
                delay = host.next_time - time.monotonic()
                self._wait(max(0.0, delay))
                host.next_time = time.monotonic() + self.settings.pause
            yield

    @contextlib.contextmanager
    def request(self, method: str, url: str, **arguments: Any) -> Iterator[requests.Response]:
        """One request; the caller reads the body from `response.raw`.

        Raises
        ------
        TemporaryError
            No answer, an answer of `TEMPORARY_STATUS`, or a connection that breaks or stalls while
            the body is read.
        DownloadError
            Any other answer but 200, 206 and 416.
        """
        with self._turn(url):
            try:
                with self._session().request(
                    method, url, stream=True, timeout=self.settings.stall, **arguments
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
                raise TemporaryError(f"nothing came for {self.settings.stall:g} s") from None
            except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
                if isinstance(_innermost(error), NameResolutionError):
                    raise DownloadError(
                        f"{urlsplit(url).hostname} is not found: there is no network, or no such host"
                    ) from None
                raise TemporaryError(f"the connection failed ({_last(error)})") from None

    def retry(self, what: str, attempt: Callable[[], T]) -> T:
        """The result of `attempt`, called again after a `TemporaryError`.

        Raises `DownloadError` after `tries` failures in a row, or when the server asks for too long
        a wait.
        """
        retries = self.settings.retries()
        while True:
            try:
                return attempt()
            except TemporaryError as error:
                if error.progressed:
                    retries = self.settings.retries()
                try:
                    retries = retries.increment(error=error)
                except MaxRetryError:
                    raise DownloadError(
                        f"{what}: given up after {self.settings.tries} tries: {error}"
                    ) from None
                wait = retries.get_backoff_time()
                if error.retry_after is not None:
                    if error.retry_after > LONGEST_RETRY_AFTER:
                        raise DownloadError(
                            f"{what}: the server wants to be asked again in {error.retry_after / 3600:.1f} h; "
                            "start again then"
                        ) from None
                    wait = max(wait, error.retry_after)
                self.log.info("%s: %s; again in %g s", what, error, wait)
                self._wait(wait)

    def post(self, what: str, url: str, **arguments: Any) -> bytes:
        """The body of the answer to a POST request to a service."""

        def attempt() -> bytes:
            with self.request("POST", url, **arguments) as response:
                return b"".join(response.raw.stream(_BLOCK, decode_content=True))

        return self.retry(what, attempt)


def _innermost(error: BaseException) -> BaseException | str:
    """The original reason of a failed connection, inside the errors of upper layers."""
    reason: Any = error
    while getattr(reason, "reason", None) or (
        reason.args and isinstance(reason.args[0], BaseException)
    ):
        reason = getattr(reason, "reason", None) or reason.args[0]
        if isinstance(reason, str):
            break
    return reason if isinstance(reason, BaseException) else str(reason)


def _last(error: BaseException) -> str:
    """The innermost reason of a failed connection on one line."""
    reason = _innermost(error)
    text = " ".join(str(reason).split())
    return re.sub(r"^<[^>]*>: ", "", text) or type(error).__name__


def _check_status(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status in (200, 206, 416):
        return
    said = ""
    if status not in (401, 403, 404, 410):
        said = said_in(response.raw.read(20_000, decode_content=True).decode("utf-8", "replace"))
    if status in TEMPORARY_STATUS:
        raise TemporaryError(
            f"the server answered {status} {response.reason}{said}", _retry_after(response)
        )
    meaning = MEANING.get(status, response.reason)
    raise DownloadError(f"{url}: {meaning} (answer {status}{said})")


def said_in(body: str) -> str:
    """The text of an error page or a service's error as `: text`; "" for none."""
    error = re.search(r"<INFO[^>]*QUERY_STATUS[^>]*>(.*?)</INFO>", body, re.S | re.I)
    title = re.search(r"<title[^>]*>(.*?)</title>", body, re.S | re.I)
    text = error[1] if error else title[1] if title else "" if is_html(body.encode()) else body
    text = re.sub(r"<!\[CDATA\[|\]\]>|<[^>]*>", " ", text)
    text = " ".join(text.split())[:300]
    return f": {text}" if text else ""


def is_html(start: bytes) -> bool:
    """Whether a file with this beginning is a web page."""
    text = start[:2000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype html", b"<html")) or b"<html" in text


def _retry_after(response: requests.Response) -> float | None:
    """Seconds that a server asks to wait; None without a valid value (RFC 9110)."""
    try:
        return ClientSettings().retries().get_retry_after(response.raw)
    except InvalidHeader:
        return None
