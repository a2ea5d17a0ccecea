"""A process that has imported the libraries, and forks the programs that need them.

A run of the workflow is a hundred short programs, and most of their time goes into importing
pandas, Astropy, SciPy and TensorFlow once more. Started as a script (`python -P fork_server.py
FOLDER [MODULE]...`), this file imports modules, listens at `FOLDER/socket` and forks a process for
each program asked for; it ends when its standard input does. `lamostvac.run.forked_scripts` is the
other side.

A request is JSON behind its length in four bytes, with which standard input, output and error are
handed over:

- `imports`: the program's file, whose imports the server does before it forks, so that the next
  program has them; only where the server's environment is that of its programs
- `arguments`, `folder`, `environment`: as of `python ARGUMENTS`, a script or `-m module`
- `executable`: what `sys.executable` is in the program
- `asked`: when, on the clock `time.monotonic`; signals to the process group that have come since
  then, while a library was imported, say, are the program's
- `session`: whether the program has a session of its own, which ends with the connection

or, for libraries that few programs need, `branch` (an address) and `call` (`module:function`): a
process that calls the function and is from then on a server at that address.

The answer is the program's pid and, when it has ended, its exit code (minus the signal's number),
both as text with a line end. Only the standard library is imported here: modules of the project
come from where the program's environment says.
"""

import ast
import atexit
import contextlib
import gc
import importlib
import json
import math
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

# These end a program when they come to its process group; the server ends with its input.
_OF_THE_GROUP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_told: list[tuple[int, float]] = []  # those that have come, and when


def main() -> NoReturn:
    """Serve; a forked process ends here with its program."""
    folder, modules = Path(sys.argv[1]), sys.argv[2:]
    before = {number: signal.signal(number, _note) for number in _OF_THE_GROUP}
    listening = _listen(str(folder / "socket"))
    for name in modules:
        importlib.import_module(name)
    try:
        print("ready", flush=True)
    except BrokenPipeError:  # who asked has ended
        os._exit(0)
    request, files = _serve(listening)
    _heed_signals(before, request.get("asked", math.inf))
    _become(request, files)
    _end(_run(request["arguments"]))


def _note(number: int, frame: Any) -> None:
    _told.append((number, time.monotonic()))


def _heed_signals(handlers: Mapping[signal.Signals, Any], asked: float) -> None:
    """Handle signals as the program's own process would, with those since it was asked for."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_GROUP)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for missed in {signal.Signals(number) for number, when in _told if when > asked}:
        if handlers[missed] != signal.SIG_IGN:
            signal.signal(missed, signal.SIG_DFL)
            os.kill(os.getpid(), missed)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_THE_GROUP)


def _listen(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(address)
    listening.listen(64)
    return listening


def _serve(listening: socket.socket) -> tuple[dict[str, Any], Sequence[int]]:
    """Fork for each request; return in the child that is to run the program, with its request."""
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    running: dict[int, tuple[socket.socket, bool]] = {}
    while True:
        connections = {one.fileno(): pid for pid, (one, _) in running.items()}
        asked = listening.fileno()
        ready = set(select.select([asked, wake, 0, *connections], [], [])[0])
        for number in ready & connections.keys():
            _end_of_connection(*running[connections[number]], connections[number], running)
        if wake in ready:
            os.read(wake, 4096)
            _tell_ends(running)
        if 0 in ready and not os.read(0, 4096):
            shutil.rmtree(os.path.dirname(listening.getsockname()), ignore_errors=True)
            os._exit(0)
        if asked in ready:
            connection, _ = listening.accept()
            request, files = _receive(connection)
            if request is None:
                connection.close()
                continue
            branch = request.get("branch")
            if not branch:
                _import_of(request.get("imports"))
            gc.freeze()
            if pid := os.fork():
                for file in files:
                    os.close(file)
                if branch:
                    connection.close()
                else:
                    connection.sendall(b"%d\n" % pid)
                    running[pid] = connection, bool(request.get("session"))
                continue
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in (listening, *(held for held, _ in running.values())):
                one.close()
            os.close(wake)
            os.close(woken)
            if not branch:
                connection.close()
                return request, files
            return _branch(connection, branch, request["call"], files)


def _branch(
    connection: socket.socket, address: str, call: Sequence[str], files: Sequence[int]
) -> tuple[dict[str, Any], Sequence[int]]:
    """A server of its own, in a forked process."""
    for file in files:
        os.close(file)
    listening = _listen(address)
    with contextlib.suppress(Exception):  # the program will say so itself
        for entry in call:
            module, function = entry.split(":")
            getattr(importlib.import_module(module), function)()
    connection.sendall(b"0\n")
    connection.close()
    return _serve(listening)


def _receive(connection: socket.socket) -> tuple[dict[str, Any] | None, Sequence[int]]:
    """A request with its open files; None where who asked has gone."""
    length, files, _, _ = socket.recv_fds(connection, 4, 3)
    content = b""
    while len(content) < int.from_bytes(length, "big"):
        part = connection.recv(1 << 20)
        if not part:
            return None, files
        content += part
    return (json.loads(content), files) if content else (None, files)


def _end_of_connection(
    connection: socket.socket,
    session: bool,
    pid: int,
    running: dict[int, tuple[socket.socket, bool]],
) -> None:
    """Who asked for the program has gone: it goes on, unless its session was to end with them."""
    if session:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    connection.close()
    del running[pid]


def _tell_ends(running: dict[int, tuple[socket.socket, bool]]) -> None:
    """Tell who waits for programs how they have ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        connection, _ = running.pop(pid, (None, False))
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
            connection.close()


def _import_of(program: str | None) -> None:
    """Do the imports at the top of a program; what fails there will fail in the program."""
    if program is None:
        return
    with contextlib.suppress(OSError, SyntaxError):
        for node in ast.parse(Path(program).read_bytes()).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            for name in names:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)


def _become(request: dict[str, Any], files: Sequence[int]) -> None:
    """Give this process what the program's own would have had."""
    collect_rarely()
    if request.get("session"):
        os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    # What `top` and `ps -o comm` say: `fit` for tmp1234.fit.py.
    program = request["arguments"][1 if request["arguments"][0] == "-m" else 0]
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(program.removesuffix(".py").split(".")[-1])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.stdin = open(0)  # noqa: SIM115
    sys.executable = request["executable"]
    sys.orig_argv = [sys.executable, *request["arguments"]]
    # As Python would for this environment; what the server began with stays behind that.
    first = request["arguments"][0]
    script = first != "-m"
    places = [os.path.dirname(os.path.abspath(first)) if script else os.getcwd()]
    if os.environ.get("PYTHONSAFEPATH"):
        places = []
    places += [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.path[:] = [*places, *(place for place in sys.path if place not in places)]
    importlib.invalidate_caches()


def collect_rarely() -> None:
    """Look for unused circles of objects after 100,000 new ones, not after 700.

    That takes a tenth of the time of drawing figures and of planning a run.
    """
    gc.set_threshold(100_000, 20, 20)


def _run(arguments: Sequence[str]) -> int:
    """Run a script or `-m module` as the main program; its exit code."""
    try:
        if arguments[0] == "-m":
            sys.argv = list(arguments[1:])
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(arguments)
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        raise  # Python ends itself by the signal
    except BaseException as error:
        _tell(error)
        return 1
    return 0


def _tell(error: BaseException) -> None:
    """Say what an uncaught exception of a program says, without the calls of this file in it."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and (
        trace.tb_frame.f_code.co_filename in (__file__, runpy.__file__)
        or "runpy" in trace.tb_frame.f_code.co_filename
    ):
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)


def _end(code: int) -> NoReturn:
    """End as Python does, threads and `atexit` included, but without taking modules apart.

    That would touch, and so copy, all that is shared with the server: for longer than most programs
    take. Processes of `multiprocessing` end in the same way.
    """
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                code = code or 120  # as Python's
            except Exception:  # there is none, it is closed, or it is no stream
                continue
        os._exit(code & 0xFF)


if __name__ == "__main__":
    main()
