"""A web server in a thread that misbehaves as it is told; no test needs the network."""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """`paths[path]` is a function of a `Request` that answers; `seen` has what was asked, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.paths: dict[str, Callable[[Request], None]] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes] = []
        self.times: list[float] = []
        self.counts: dict[str, int] = defaultdict(int)
        self.now = self.most = 0
        self.lock = threading.Lock()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def handle_error(self, request, client_address) -> None:
        """Clients that go away are what is tested."""


class Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *arguments) -> None:
        pass

    def answer(self) -> None:
        server = self.server
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with server.lock:
            server.seen.append((self.command, self.path, dict(self.headers)))
            server.bodies.append(self.body)
            server.times.append(time.monotonic())
            server.counts[self.path] += 1
            self.number = server.counts[
                self.path
            ]  # how often this path was asked for, this time included
            server.now += 1
            server.most = max(server.most, server.now)
        try:
            server.paths.get(self.path, lambda request: request.reply(404, b"<html>no</html>"))(
                self
            )
        finally:
            with server.lock:
                server.now -= 1

    do_GET = do_POST = answer

    def reply(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        """A whole answer; `length` is what the header says where that is a lie."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
        if length is not None:
            self.hang_up()

    def hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        with contextlib.suppress(OSError):
            self.connection.shutdown(2)

    def file(
        self, body: bytes, stop: int | None = None, tag: str | None = '"one"', ranges: bool = True
    ) -> None:
        """A file as a good server gives it, to byte `stop`, where the connection breaks."""
        start = 0
        wanted = self.headers.get("Range")
        if ranges and wanted and self.headers.get("If-Range") in (None, tag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.reply(416, b"", Content_Range=f"bytes */{len(body)}")
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        if tag:
            self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.write(body[start:stop])
        if stop is not None:
            self.hang_up()


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
