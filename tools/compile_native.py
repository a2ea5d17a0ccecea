"""Compiles lamostvac/spectra/native.c beside it, where there is a C compiler; `make setup` and wheels call it.

    python tools/compile_native.py

Without a compiler nothing is lost but time: the same is then done with NumPy (lamostvac/spectra/native.py).
Kept to syntax that any Python reads, as bootstrap.py is, and without packages.
"""

import hashlib
import os
import shlex
import subprocess
import sys
import tempfile

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCE = os.path.join(PROJECT, "lamostvac", "spectra", "native.c")
COMPILED = os.path.join(os.path.dirname(SOURCE), "native.lib")
# No option for this machine's own processor: the library may be on a disk that others share. And no fused products
# and sums, which round once where NumPy rounds twice.
OPTIONS = [
    "-O3",
    "-std=c11",
    "-fPIC",
    "-shared",
    "-ffp-contract=off",
    "-fno-trapping-math",
    "-fno-math-errno",
]


def is_compiled(source, target):
    """Whether `target` was made from `source` as it is now."""
    try:
        with open(source, "rb") as handle:
            digest = hashlib.sha256(handle.read()).hexdigest()
        with open(target, "rb") as handle:
            return digest.encode() in handle.read()
    except (IOError, OSError):  # two classes before Python 3.3
        return False


def compile_native(source, target):
    """Compile `source` into the shared library `target`; return why not, or None when it was done.

    The compiler is $CC, else cc. The library appears whole or not at all, as jobs may be about to load it.
    """
    with open(source, "rb") as handle:
        digest = hashlib.sha256(handle.read()).hexdigest()
    handle, partial = tempfile.mkstemp(dir=os.path.dirname(target), suffix=".so")
    os.close(handle)
    command = shlex.split(os.environ.get("CC") or "cc") + OPTIONS
    command += ['-DSOURCE="{}"'.format(digest), "-o", partial, source, "-lm"]
    try:
        done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = done.communicate()[0].decode("utf-8", "replace").strip()
        if done.returncode != 0:
            return said or "{} failed".format(command[0])
        os.chmod(partial, 0o755)
        os.replace(partial, target)
    except OSError as error:
        return "{}: {}".format(command[0], error.strerror)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)
    return None


def main():
    """Compile where that is not done; one line unless it went well."""
    problem = None if is_compiled(SOURCE, COMPILED) else compile_native(SOURCE, COMPILED)
    if problem:
        sys.stdout.write(
            "lamostvac/spectra/native.c is not compiled, NumPy does the same at half the speed: {}\n".format(
                problem.splitlines()[0]
            )
        )


if __name__ == "__main__":
    main()
