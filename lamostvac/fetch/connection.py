"""Connections to archives: one request, its answer in blocks, and an end to those that bring too little.

A time limit of a socket begins anew with every byte, so a server that sends one now and then would
never be given up. A `Guard` in a thread of its own counts what arrives and shuts the socket down.
"""

import contextlib
import http.client
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import InvalidHeader

MOST_REDIRECTS = 10
_BLOCK = 1 << 16
_OF_THREAD = threading.local()


class RedirectRefused(Exception):
    """A redirect that is not followed; the message says why."""


class Guard:
    """Ends a request whose answer does not begin, or brings too few bytes.

    Parameters
    ----------
    window : after twice this time, in s, the head of the answer must have come; from then on each
        window must bring its share of bytes
    least_rate : in bytes per s
    """

    def __init__(self, window: float, least_rate: float) -> None:
        self.window, self.least_rate = window, least_rate
        self.reason: str | None = None
        self._bytes = 0
        self._socket: Any = None
        self._answered, self._ended = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Guard":
        _OF_THREAD.guard = self
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        _OF_THREAD.guard = None
        self._ended.set()
        self._answered.set()
        self._thread.join()

    def follow(self, sock: Any) -> None:
        """Watch this socket from now on."""
        with self._lock:
            self._socket = sock
            if self.reason is not None:
                _shut_down(sock)

    def answered(self) -> None:
        """The head of the answer has come."""
        self._answered.set()

    def count(self, n: int) -> None:
        """Count `n` bytes of the answer's body."""
        self._bytes += n

    def _watch(self) -> None:
        if not self._answered.wait(2 * self.window):
            self._end(f"no answer began within {2 * self.window:g} s")
            return
        before = self._bytes
        while not self._ended.wait(self.window):
            brought, before = self._bytes - before, self._bytes
            if brought < self.least_rate * self.window:
                self._end(
                    f"only {brought} bytes came in {self.window:g} s, "
                    f"fewer than fetch.least_rate = {self.least_rate:g} a second"
                )
                return

    def _end(self, reason: str) -> None:
        with self._lock:
            self.reason = reason
            _shut_down(self._socket)


def _shut_down(sock: Any) -> None:
    """Wake whoever reads from a socket: for the reader, the connection ends."""
    # The method of SSLSocket would take the encryption away under the reader.
    with contextlib.suppress(OSError, TypeError):
        socket.socket.shutdown(getattr(sock, "socket", sock), socket.SHUT_RDWR)


def announced_size(lengths: Sequence[str]) -> int | None:
    """The size of a body by its `Content-Length` headers; None without one (RFC 9112, section 6.3).

    Raises `InvalidHeader` where they give none or several.
    """
    if not lengths:
        return None
    length, *others = {text.strip() for header in lengths for text in header.split(",")}
    if others or not re.fullmatch(r"[0-9]{1,18}", length):
        raise InvalidHeader(f"the server gives the size {', '.join(lengths)!a}")
    return int(length)


class _Response(http.client.HTTPResponse):
    """An answer whose size is a number: the standard library passes over others."""

    def begin(self) -> None:
        super().begin()
        if not self.chunked:
            size = announced_size(self.headers.get_all("Content-Length", []))
            self.length = size if self.length is None else self.length


class _Watched(HTTPConnection):
    response_class = _Response

    def getresponse(self) -> Any:
        if (guard := getattr(_OF_THREAD, "guard", None)) is not None:
            guard.follow(self.sock)
        return super().getresponse()


class _WatchedTls(_Watched, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **named)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: requests would read the whole body of a redirect, however long, into memory."""


def new_session(user_agent: str) -> requests.Session:
    """A session for one thread."""
    session = _Session()
    session.headers["User-Agent"] = user_agent
    # Without transfer compression, with which sizes cannot be compared and transfers not resumed.
    session.headers["Accept-Encoding"] = "identity"
    adapter = _Adapter()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class Answer:
    """The answer to a request: `status`, `reason`, `headers`, its body in blocks and its `size`."""

    def __init__(self, response: requests.Response, guard: Guard) -> None:
        self._response, self._guard = response, guard
        self.status = response.status_code
        self.reason = " ".join(str(response.reason).split())
        self.headers = response.headers
        self.raw = response.raw
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        lengths = [] if chunked else self.raw.headers.getlist("Content-Length")
        self.size = announced_size(lengths)

    def blocks(self, decode: bool = False) -> Iterator[bytes]:
        """The body as it arrives, in blocks of at most 64 kB, also when it is decompressed.

        `decode` undoes a transfer compression that the server has used unasked.
        """
        # `stream` would wait for whole blocks; `read1` returns what there is.
        while block := self.raw.read1(_BLOCK, decode_content=decode):
            self._guard.count(len(block))
            yield block


@contextlib.contextmanager
def one_request(
    session: requests.Session, guard: Guard, method: str, url: str, **arguments: Any
) -> Iterator[Answer]:
    """The answer to one request, after redirects.

    Raises
    ------
    RedirectRefused
        From https to another scheme, more than `MOST_REDIRECTS`, or of a request whose body would
        be lost.
    requests.exceptions.RequestException, urllib3.exceptions.HTTPError
        See there.
    """
    for _ in range(MOST_REDIRECTS + 1):
        with session.request(
            method, url, stream=True, allow_redirects=False, **arguments
        ) as response:
            if not (response.is_redirect or response.is_permanent_redirect):
                guard.answered()
                yield Answer(response, guard)
                return
            target = _target(url, response.headers["Location"])
            if method != "GET" and response.status_code in (302, 303):
                # The result of the request is elsewhere (RFC 9110, section 15.4.4).
                method, arguments = "GET", {"timeout": arguments.get("timeout")}
            elif method != "GET" and response.status_code == 301:
                raise RedirectRefused(f"the service has moved to {target}")
            url = target
    raise RedirectRefused(f"more than {MOST_REDIRECTS} redirects")


def _target(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        old, new = urlsplit(url).scheme.lower(), urlsplit(target).scheme.lower()
    except ValueError as error:
        raise RedirectRefused(f"it redirects to no address: {error}") from None
    shown = ascii(target)[1:-1][:300]
    if new not in ("http", "https"):
        raise RedirectRefused(f"it redirects to {shown}, which is neither http nor https")
    if old == "https" and new == "http":
        raise RedirectRefused(f"it redirects from https to {shown}, where anybody could change it")
    return target
