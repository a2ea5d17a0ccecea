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
from lamostvac.fetch.connection import Answer, Guard, RedirectRefused, new_session, one_request
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
SAID_BYTES = 20_000
"""How much of an error page is looked at."""
_WRONG_ADDRESS = (
    RedirectRefused,
    requests.exceptions.InvalidHeader,
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
            self._threads.session = new_session(self.settings.user_agent)
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
    def request(self, method: str, url: str, **arguments: Any) -> Iterator[Answer]:
        """One request; the caller reads the body from the answer's `blocks`.

        Raises
        ------
        TemporaryError
            No answer, an answer of `TEMPORARY_STATUS`, or a connection that breaks, stalls or
            brings too little while the body is read.
        DownloadError
            Any other answer but 200, 206 and 416, or a redirect that is refused.
        """
        guard = Guard(self.settings.stall, self.settings.least_rate)
        with self._turn(url), guard:
            try:
                with one_request(
                    self._session(), guard, method, url, timeout=self.settings.stall, **arguments
                ) as answer:
                    _check_status(answer, url)
                    yield answer
            except requests.exceptions.SSLError as error:
                raise DownloadError(
                    f"{url}: the certificate is not accepted: {_last(error)}"
                ) from None
            except _WRONG_ADDRESS as error:
                raise DownloadError(f"{url}: {_last(error)}") from None
            except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
                raise TemporaryError(f"nothing came for {self.settings.stall:g} s") from None
            except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
                if guard.reason is not None:
                    raise TemporaryError(guard.reason) from None
                if isinstance(_innermost(error), NameResolutionError):
                    raise DownloadError(
                        f"{urlsplit(url).hostname} is not found: there is no network, or no such host"
                    ) from None
                raise TemporaryError(f"the connection failed ({_last(error)})") from None
            if guard.reason is not None:
                # Without a length, the end of a connection looks like the end of the answer.
                raise TemporaryError(guard.reason)

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
        """The body of the answer to a POST request to a service.

        Raises `DownloadError` when it is larger, once unpacked, than `largest_answer`.
        """
        most = int(self.settings.largest_answer * 1e6)

        def attempt() -> bytes:
            body = bytearray()
            with self.request("POST", url, **arguments) as answer:
                for block in answer.blocks(decode=True):
                    body += block
                    if len(body) > most:
                        raise DownloadError(
                            f"{url} answers with more than fetch.largest_answer = "
                            f"{self.settings.largest_answer:g} MB; ask for fewer stars at a time "
                            "with a smaller fetch.piece_rows, or set fetch.largest_answer higher"
                        )
            return bytes(body)

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
    text = one_line(str(reason))
    return re.sub(r"^<[^>]*>: ", "", text) or type(error).__name__


def _check_status(answer: Answer, url: str) -> None:
    status = answer.status
    if status in (200, 206, 416):
        return
    said = ""
    if status not in (401, 403, 404, 410):
        page = bytearray()
        for block in answer.blocks(decode=True):
            page += block
            if len(page) > SAID_BYTES:
                break
        said = said_in(bytes(page))
    reason = one_line(answer.reason)
    if status in TEMPORARY_STATUS:
        raise TemporaryError(f"the server answered {status} {reason}{said}", _retry_after(answer))
    raise DownloadError(f"{url}: {MEANING.get(status, reason)} (answer {status}{said})")


def one_line(text: str) -> str:
    """A server's text on one line of at most 300 characters, without control characters."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())[:300]


def said_in(body: bytes) -> str:
    """The text of an error page or a service's error as `: text`; "" for none.

    Only the beginning of `body` is looked at.
    """
    page = body[:SAID_BYTES].decode("utf-8", "replace")
    # No pattern may go over a `<`: each would be tried from every `<` to the end.
    error = re.search(r"<INFO[^<>]*QUERY_STATUS[^<>]*>(.*?)</INFO>", page, re.S | re.I)
    title = re.search(r"<title[^<>]*>(.*?)</title>", page, re.S | re.I)
    text = error[1] if error else title[1] if title else "" if is_html(body) else page
    text = one_line(re.sub(r"<!\[CDATA\[|\]\]>|<[^<>]*>", " ", text))
    return f": {text}" if text else ""


def is_html(start: bytes) -> bool:
    """Whether a file with this beginning is a web page."""
    text = start[:2000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype html", b"<html")) or b"<html" in text


def _retry_after(answer: Answer) -> float | None:
    """Seconds that a server asks to wait; None without a valid value (RFC 9110)."""
    try:
        return ClientSettings().retries().get_retry_after(answer.raw)
    except (InvalidHeader, ValueError, TypeError, OverflowError):
        # A date may have a year or a zone that no clock has, a number too many digits.
        return None
