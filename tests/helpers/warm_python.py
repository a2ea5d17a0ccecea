"""A Python whose start costs nothing: programs are forked from a process that has imported the libraries already.

A run of the workflow is a hundred short programs, and most of their time goes into importing pandas, Astropy, SciPy
and TensorFlow once more. `warm_python()` gives a command that takes a script or `-m module` with arguments as `python`
does (with other options it is plain Python), and is `sys.executable` in the programs that it starts. Only libraries
are imported before: modules of this project come from the folder that the program is started for.

What a test says of processes themselves (their names, memory, ends by signals) needs plain Python, as the shared
run, the disturbed runs, and those on Slurm have it; bytes of whole runs are compared between the two.

Run as a script, this file is the process that forks: it listens at a socket until its standard input is closed.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

# What the scripts of the workflow, and Snakemake, spend their start on.
LIBRARIES = (
    *("snakemake.cli", "snakemake.script", "snakemake_executor_plugin_slurm"),
    *("numpy", "pandas", "pyarrow.parquet", "pyarrow.compute", "h5py", "pydantic", "requests"),
    *("astropy.io.fits", "astropy.table", "astropy.units", "astropy.coordinates", "astropy.time"),
    *("scipy.linalg", "scipy.optimize", "scipy.sparse.csgraph", "scipy.spatial"),
    *("scipy.interpolate", "scipy.ndimage", "scipy.special", "bottleneck", "threadpoolctl"),
    *("matplotlib.pyplot", "tensorflow", "keras"),
)

# The command: hands arguments, folder, environment and open files over, and ends as the program does.
CLIENT = """#!{python} -IS
import array, json, os, signal, socket, sys
if not sys.argv[1:] or (sys.argv[1].startswith("-") and sys.argv[1] != "-m"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.connect({address!r})
request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
files = array.array("i", [0, 1, 2]).tobytes()
server.sendmsg([len(request).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
server.sendall(request)
code = int(server.recv(16) or b"1")
if code < 0:
    if -code not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@functools.cache
def warm_python() -> str:
    """The path of the command; its first use in a process starts what it needs."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    owner = os.getpid()
    command = [sys.executable, "-P", __file__, str(folder)]
    errors = folder / "stderr"  # what libraries say when they are imported
    with open(errors, "w") as handle:
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": handle}
        # A signal to all of the tests' processes must not end it before what it has started.
        server = subprocess.Popen(command, **streams, cwd=folder, start_new_session=True)

    def end() -> None:
        if os.getpid() == owner:
            server.stdin.close()
            server.wait()
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    assert server.stdout.readline(), errors.read_text()
    return str(folder / "python")


def serve(folder: Path) -> list[str]:
    """Fork for each request; return in the child that is to run the program, with the program's arguments."""
    address = str(folder / "socket")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(address)
    listening.listen(64)
    client = folder / "python"
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no dead children to wait for
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listening, sys.stdin], [], [])
        if sys.stdin in ready:
            os._exit(0)
        connection, _ = listening.accept()
        if not os.fork():
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return keep(connection, str(client))
        connection.close()


def keep(connection: socket.socket, client: str) -> list[str]:
    """Fork the program, which alone returns; tell the client how it ended, and end it with the client."""
    length, files, _, _ = socket.recv_fds(connection, 4, 3)
    request = b""
    while len(request) < int.from_bytes(length, "big"):
        request += connection.recv(1 << 20)
    if program := os.fork():
        done = os.pidfd_open(program)
        if done not in select.select([connection, done], [], [])[0]:
            os.killpg(program, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
        with contextlib.suppress(OSError):
            connection.sendall(str(code).encode())
        os._exit(0)
    os.setsid()
    connection.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    arguments, place, environment = json.loads(request)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = open(0)  # noqa: SIM115
    sys.executable = client  # so that what the program starts begins warm, too
    return arguments


def main() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    path = sys.path[:]
    arguments = serve(Path(sys.argv[1]))
    others = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.orig_argv = [sys.executable, *arguments]
    if arguments[0] == "-m":
        sys.path[:] = [os.getcwd(), *others, *path]
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[:] = [os.path.dirname(os.path.abspath(arguments[0])), *others, *path]
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
