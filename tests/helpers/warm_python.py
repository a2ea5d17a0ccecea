"""A Python whose start costs nothing: programs are forked from a process that has imported the libraries already.

`warm_python()` gives a command that takes a script or `-m module` with arguments as `python` does (with other options
it is plain Python), and is `sys.executable` in the programs that it starts. Behind it is the server that the scripts of
a run are forked from (`lamostvac/run/fork_server.py`), one for all programs of a test session, which has imported
libraries alone: modules of this project come from the folder that the program is started for.

What a test says of processes themselves (their names, memory, ends by signals) needs plain Python; bytes of whole runs
are compared between the two.
"""

import functools
import sys

from lamostvac.run.forked_scripts import ForkServer

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
request = json.dumps({{
    "arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ),
    "executable": {client!r}, "session": True,
}}).encode()
files = array.array("i", [0, 1, 2]).tobytes()
server.sendmsg([len(request).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
server.sendall(request)
lines = server.makefile().read().split()
code = int(lines[1]) if len(lines) > 1 else 1
if code < 0:
    if -code not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@functools.cache
def warm_python() -> str:
    """The path of the command; its first use in a process starts what it needs."""
    # A signal to all of the tests' processes must not end it before what it has started.
    server = ForkServer(LIBRARIES, own_session=True)
    server.wait_until_ready()
    client = server.folder / "python"
    client.write_text(
        CLIENT.format(python=sys.executable, address=server.address, client=str(client))
    )
    client.chmod(0o755)
    return str(client)
