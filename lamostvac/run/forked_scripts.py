"""Scripts of a local run, forked from a process that has imported their libraries.

Snakemake starts a Python for each script, which imports pandas, Astropy and SciPy (a second) or
TensorFlow (three) once more; in a small run that is most of the time. A forked script has its own
process, environment and exit code all the same, and Snakemake measures it as any other. Jobs on a
cluster, in a Conda environment or in a container are not forked.
"""

import atexit
import functools
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamostvac.core.code_version import LIBRARY, reached
from lamostvac.core.log import was_forked
from lamostvac.run.stopping import stopped

SERVER = Path(__file__).with_name("fork_server.py")
# The longest path of a socket on Linux has 107 characters.
_LONGEST = 90
# Modules that reach a large library only when they first need it, and a function that imports it: scripts that reach
# them are forked from a process of their own, so that the others are not as large as with it.
_BRANCHES = {
    LIBRARY / "networks" / "optimise.py": "lamostvac.networks.optimise:tensorflow",
    LIBRARY / "grouped" / "batch.py": "lamostvac.grouped.search:bayes_opt",
}


class ServerGone(Exception):
    """The server has ended, and with it the answer to how a program did."""


@dataclass
class Program:
    """A forked program: its `pid`, and the connection that will say how it ended."""

    pid: int
    connection: socket.socket

    def wait(self) -> int:
        """The exit code, minus the signal's number where one ended it.

        Raises `ServerGone`, but not before the program has ended.
        """
        with self.connection:
            answer = _line(self.connection)
        if answer:
            return int(answer)
        while alive(self.pid):
            time.sleep(0.05)
        raise ServerGone


def _line(connection: socket.socket) -> bytes:
    """A line of an answer, without its end; empty where there is none any more."""
    answer = b""
    while not answer.endswith(b"\n"):
        try:
            part = connection.recv(1)
        except ConnectionResetError:
            part = b""
        if not part:
            return b""
        answer += part
    return answer[:-1]


def alive(pid: int) -> bool:
    """Whether a process of this number runs; one that has ended may wait for its parent's question."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    # The state follows the command's name, which may have blanks and parentheses.
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


class ForkServer:
    """A process of `fork_server.py`; it ends with this one, or with `end`.

    Parameters
    ----------
    modules : imported at its start
    environment : by default this process'
    own_session : whether signals to this process' group leave it and its programs alone
    """

    def __init__(
        self,
        modules: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        *,
        own_session: bool = False,
    ) -> None:
        folder = tempfile.mkdtemp(prefix="lamostvac-")
        if len(folder) > _LONGEST:
            os.rmdir(folder)
            folder = tempfile.mkdtemp(prefix="lamostvac-", dir="/tmp")
        self.folder = Path(folder)
        self.address = str(self.folder / "socket")
        self._owner = os.getpid()
        self._branches: dict[str, str] = {}
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(SERVER), folder, *modules],
            cwd=folder,
            env=None if environment is None else dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=own_session,
        )
        self._ready = False
        atexit.register(self.end)

    def wait_until_ready(self) -> None:
        """Raise `ServerGone` where it could not start."""
        with self._lock:
            if not self._ready:
                assert self._process.stdout is not None
                if not self._process.stdout.readline():
                    raise ServerGone
                self._ready = True

    def end(self) -> None:
        """End the process; programs that still run go on."""
        if os.getpid() != self._owner:
            return  # forked from the owner
        atexit.unregister(self.end)
        with self._process:  # closes its input, for which it ends
            pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        imports: str | None = None,
        call: str | None = None,
    ) -> Program:
        """Fork a program in this process' folder, with its open files.

        Parameters
        ----------
        arguments : a script's path and its arguments, or `-m`, a module and its arguments
        imports : a file whose imports the server does before
        call : `module:function` that the program is forked behind

        Raises
        ------
        ServerGone
        """
        request = {
            "arguments": list(arguments),
            "folder": os.getcwd(),
            "environment": dict(environment),
            "executable": sys.executable,
            "imports": imports,
            "asked": time.monotonic(),
        }
        try:
            self.wait_until_ready()
            connection = _ask(self._address(call), request)
            pid = _line(connection)
        except OSError as problem:
            raise ServerGone from problem
        if not pid:
            raise ServerGone
        return Program(int(pid), connection)

    def _address(self, call: str | None) -> str:
        """Where programs behind a call are forked."""
        if call is None:
            return self.address
        with self._lock:
            if call not in self._branches:
                address = f"{self.address}{len(self._branches)}"
                with _ask(self.address, {"branch": address, "call": [call]}) as connection:
                    if not _line(connection):
                        raise ServerGone
                self._branches[call] = address
            return self._branches[call]


def _ask(address: str, request: Mapping[str, Any]) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(address)
    content = json.dumps(request).encode()
    socket.send_fds(connection, [len(content).to_bytes(4, "big")], [0, 1, 2])
    connection.sendall(content)
    return connection


@functools.cache
def branch_of(script: Path) -> str | None:
    """The call behind which a script of the workflow is forked, or None."""
    found = reached(script)
    return next((call for path, call in _BRANCHES.items() if path in found), None)


def job_environment(threads: int, folder: str | None) -> dict[str, str]:
    """The environment that Snakemake gives a script's process: its cores and temporary folder."""
    libraries = ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")
    environment = dict(os.environ) | {f"{name}_NUM_THREADS": str(threads) for name in libraries}
    environment["VECLIB_MAXIMUM_THREADS"] = str(threads)
    if folder:
        environment |= dict.fromkeys(("TMPDIR", "TMP", "TEMPDIR", "TEMP"), folder)
    return environment


def fork_scripts() -> None:
    """Let this process' Snakemake fork the scripts of its jobs from now on, where it can.

    The server begins with the first of them. Where it ends before its time (killed for want of
    memory, say), the scripts after that have a Python of their own again. A Snakemake that was
    forked itself leaves it to `sys.executable`.
    """
    # Elsewhere a fork behind large libraries is not safe.
    if sys.platform != "linux" or was_forked():
        return
    # Where addresses are limited (`ulimit -v`), those of the server would count for every script; and OpenBLAS, when it
    # has none left for its buffers, asks for them for ever.
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return
    from snakemake.benchmark import benchmarked
    from snakemake.script import PythonScript

    plain = PythonScript.execute_script
    # OpenBLAS starts its threads when it is imported, and a script may take as many as it asks for later.
    server = ForkServer(environment=job_environment(1, None))
    gone = threading.Event()

    def refuse_when_stopped(fname: str) -> None:
        # The signal that ended the run does not come again for a job that begins behind it.
        if stopped():
            raise subprocess.CalledProcessError(-signal.SIGTERM, f"python {fname}")

    def execute_script(job: Any, fname: str, edit: bool = False) -> None:
        refuse_when_stopped(fname)
        elsewhere = (job.conda_env, job.container_img, job.env_modules, job.shadow_dir)
        if gone.is_set() or any(place is not None for place in elsewhere) or not job.is_local:
            plain(job, fname, edit)
            return
        environment = job_environment(job.threads, job.resources.get("tmpdir"))
        call = branch_of(Path(job.local_path))
        try:
            program = server.start([fname], environment, imports=fname, call=call)
        except ServerGone:
            gone.set()
            refuse_when_stopped(fname)  # a signal to the group ends a server that begins
            plain(job, fname, edit)
            return
        try:
            if job.bench_record is None:
                code = program.wait()
            else:
                with benchmarked(program.pid, job.bench_record):
                    code = program.wait()
        except ServerGone:
            gone.set()
            code = 1
        if code:
            raise subprocess.CalledProcessError(code, f"python {fname}")

    PythonScript.execute_script = execute_script
