"""What a shared file system sees of a command: files opened, looked at and listed, bytes read and written.

    python tools/file_system.py [--place NAME=FOLDER ...] [--per N] -- COMMAND...
    python tools/file_system.py --plan [N]      a dry run for N spectra, all of DR10 by default

Runs the command under strace and prints a row for each kind of process (the command, and each program or script of
Snakemake that it started) and each place: the folders that are named, the project, its Python packages, the system.
With `--per` the sums are also given per spectrum. `missed` are files that were asked for and are not there; `looked at`
counts stat, access and readlink. Pipes, sockets, /proc, /sys and /dev are no part of a file system and left out. What
is read through a mapping (shared libraries, the check of an HDF5 file) counts as opened only.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

CALLS = (
    "execve,clone,clone3,fork,vfork,open,openat,creat,stat,lstat,newfstatat,statx,access,faccessat,faccessat2,"
    "readlink,readlinkat,getdents64,read,pread64,readv,preadv,write,pwrite64,writev,pwritev,mkdir,mkdirat,"
    "rename,renameat,renameat2,unlink,unlinkat,rmdir,copy_file_range,sendfile"
)
STRACE = [
    "strace",
    "-f",
    "-ff",
    "-qq",
    "-y",
    "-s",
    "200",
    "-e",
    "signal=none",
    "-e",
    f"trace={CALLS}",
]
COLUMNS = ("opened", "missed", "looked at", "listed", "changed names", "MB read", "MB written")
_OPEN = {"open", "openat", "creat"}
_LOOK = {"stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2"}
_LOOK |= {"readlink", "readlinkat"}
_READ, _WRITE = {"read", "pread64", "readv", "preadv"}, {"write", "pwrite64", "writev", "pwritev"}
_COPY = {"copy_file_range", "sendfile"}
_FORK = {"clone", "clone3", "fork", "vfork"}
_CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)(.*)$")
_DESCRIPTOR = re.compile(r"^(?:AT_FDCWD|\d+)<([^>]*)>")
_NAME = re.compile(r'"([^"]*)"')
_NO_FILES = ("/proc", "/sys", "/dev", "pipe:", "socket:", "anon_inode:", "memfd:")


def role(line: str) -> str:
    """What kind of process the line of an `execve` begins."""
    script = re.search(r"/scripts/tmp\w*\.(\w+)\.py", line)
    if script:
        return f"script {script.group(1)}"
    if "--mode" in line:
        return "Snakemake of a job"
    program = _NAME.search(line)
    return Path(program.group(1)).name if program else "?"


def calls(trace: Path) -> Iterator[tuple[str, str, int, str]]:
    """Name, arguments, result and what follows it of each system call of a thread."""
    with open(trace, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if match := _CALL.match(line.rstrip("\n")):
                name, arguments, result, rest = match.groups()
                yield name, arguments, int(result), rest


def path_of(arguments: str, start: str) -> str:
    """The path that a call names; relative ones begin at its folder, or at `start`."""
    folder = _DESCRIPTOR.match(arguments)
    name = _NAME.search(arguments)
    if name is None or not name.group(1):
        return folder.group(1) if folder else start
    return os.path.normpath(os.path.join(folder.group(1) if folder else start, name.group(1)))


def roles_of(traces: dict[int, Path]) -> dict[int, str]:
    """The role of each thread: of the last program that it or, before it, a process above it began.

    Shells only begin others, so that they have the role of what began them.
    """
    parents: dict[int, int] = {}
    roles: dict[int, str] = {}
    for thread, path in traces.items():
        for name, arguments, result, _ in calls(path):
            if name in _FORK and result > 0:
                parents[result] = thread
            elif name == "execve" and result == 0:
                roles[thread] = role(arguments)
    shells = {thread for thread, name in roles.items() if name in ("sh", "bash", "dash")}
    found = {}
    for thread in traces:
        owner = thread
        while owner in parents and (owner not in roles or owner in shells):
            owner = parents[owner]
        found[thread] = roles.get(owner, "?")
    return found


def sums_of(
    name: str, arguments: str, result: int, rest: str, start: str
) -> Iterator[tuple[str, str, float]]:
    """Path, column and amount of what a call adds to the table."""
    opened = re.match(r"<([^>]*)>", rest)
    where = opened.group(1) if opened else path_of(arguments, start)
    if name in _OPEN:
        yield where, "opened" if result >= 0 else "missed", 1.0
    elif name in _LOOK:
        yield where, "looked at" if result >= 0 else "missed", 1.0
    elif name == "getdents64":
        yield where, "listed", 1.0
    elif name in _READ | _WRITE:
        yield where, "MB read" if name in _READ else "MB written", max(result, 0) / 1e6
    elif name in _COPY:
        descriptors = re.findall(r"\d+<([^>]*)>", arguments)
        columns = ("MB written", "MB read") if name == "sendfile" else ("MB read", "MB written")
        for path, column in zip(descriptors, columns, strict=False):
            yield path, column, max(result, 0) / 1e6
    elif name not in _FORK and name != "execve":
        yield where, "changed names", 1.0


def count(
    folder: Path, start: str, place_of: Callable[[str], str | None]
) -> dict[tuple[str, str], dict[str, float]]:
    """Sums for each role and place from strace's files, one of each thread."""
    traces = {int(path.suffix[1:]): path for path in folder.glob("trace.*")}
    roles = roles_of(traces)
    found: dict[tuple[str, str], dict[str, float]] = {}
    for thread, path in traces.items():
        for call in calls(path):
            for where, column, amount in sums_of(*call, start):
                if place := place_of(where):
                    sums = found.setdefault((roles[thread], place), dict.fromkeys(COLUMNS, 0.0))
                    sums[column] += amount
    return found


def places(named: dict[str, str]) -> Callable[[str], str | None]:
    """The place that a path lies in: the longest of the folders that it is below; None for no file."""
    folders = {os.path.realpath(folder): name for name, folder in named.items()}
    folders |= {str(PROJECT): "project", str(PROJECT / ".venv"): "packages"}
    folders |= {sys.prefix: "packages", os.path.realpath(sys.prefix): "packages"}
    folders |= {tempfile.gettempdir(): "temporary"}
    ordered = sorted(folders, key=len, reverse=True)

    def place_of(path: str) -> str | None:
        if path.startswith(_NO_FILES):
            return None
        below = (folder for folder in ordered if path == folder or path.startswith(folder + "/"))
        return next((folders[folder] for folder in below), "system")

    return place_of


def table(found: dict[tuple[str, str], dict[str, float]], per: int) -> str:
    """The sums as Markdown; `per` above 0 divides those of bytes into kB, and the others, by it."""
    unit = [name.replace("MB", "kB") if per else name for name in COLUMNS]
    lines = [f"| process | place | {' | '.join(unit)} |", "|---" * (len(unit) + 2) + "|"]
    for (process, place), sums in sorted(found.items()):
        values = [
            sums[name] * (1000 if "MB" in name else 1) / per if per else sums[name]
            for name in COLUMNS
        ]
        lines.append(f"| {process} | {place} | {' | '.join(f'{value:.4g}' for value in values)} |")
    return "\n".join(lines)


def main() -> None:
    """Trace what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--place", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--per", type=int, default=0, help="spectra, for sums per spectrum")
    parser.add_argument("--plan", nargs="?", type=int, const=0, metavar="N")
    parser.add_argument("command", nargs="*")
    given = parser.parse_args()
    if shutil.which("strace") is None:
        sys.exit("Error: there is no strace; tools/install_test_programs.sh installs it")
    if (given.plan is None) == (not given.command):
        sys.exit("Error: give either --plan or a command after --")
    named = dict(place.split("=", 1) for place in given.place)
    with tempfile.TemporaryDirectory() as traces, tempfile.TemporaryDirectory() as survey:
        before = [*STRACE, "-o", f"{traces}/trace"]
        if given.plan is None:
            start = os.getcwd()
            if code := subprocess.run([*before, *given.command], check=False).returncode:
                sys.exit(f"Error: the command ended with {code}")
        else:
            from benchmarks.plan import N_SPECTRA, plan

            start, named = survey, {**named, "run's folder": survey}
            _, _, jobs, chunks = plan(PROJECT, Path(survey), given.plan or N_SPECTRA, before)
            print(f"A dry run of {jobs} jobs, {chunks} chunks\n")
        found = count(Path(traces), start, places(named))
    print(table(found, 0))
    if given.per:
        print(f"\nPer spectrum, of {given.per}:\n\n{table(found, given.per)}")


if __name__ == "__main__":
    main()
