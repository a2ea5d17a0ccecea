"""Versions of the code that a rule's results depend on, found by reading imports.

Each package of the library has a number, `VERSION` in its `__init__.py`, that is increased when its
results change. A rule depends on the packages that its script reaches by imports, at the top of a
module or inside a function.
"""

import functools
import os
import re
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent.parent

_FROM = re.compile(r"^[ \t]*from (lamostvac[.\w]*) import (\([^)]*\)|[^\n#]+)", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*import (lamostvac[.\w]*)", re.MULTILINE)
_VERSION = re.compile(r"^VERSION = (\d+)$", re.MULTILINE)


def script_version(script: Path) -> dict[str, int]:
    """Versions of the packages that a script reaches, by package; for a rule's params.

    Imports are read, not executed: every job of a cluster and every dry run reads the rules, and
    importing all stages for their version numbers would take most of that time.

    Raises
    ------
    ValueError
        An imported module does not exist, or a package has no version.
    """
    packages = sorted({package_of(path) for path in reached(script)} - {""})
    return {name: package_version(name) for name in packages}


def reached(script: Path) -> frozenset[Path]:
    """Files of the library that a script or module imports, directly or through others."""
    found: set[Path] = set()
    waiting = list(imports(script))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imports(path)
    return frozenset(found)


def package_of(path: Path) -> str:
    """The package of one of the library's files; empty for the library's own `__init__.py`."""
    parts = path.relative_to(LIBRARY).parts
    return parts[0] if len(parts) > 1 else ""


@functools.cache
def package_version(name: str) -> int:
    """`VERSION` of a package of the library, read from its text; ValueError unless there is one."""
    path = LIBRARY / name / "__init__.py"
    found = _VERSION.findall(path.read_text(encoding="utf-8"))
    if len(found) != 1:
        raise ValueError(f"{path} needs one line VERSION = ..., not {len(found)}")
    return int(found[0])


@functools.cache
def imports(path: Path) -> frozenset[Path]:
    text = path.read_text(encoding="utf-8")
    files = set()
    for module, names in _FROM.findall(text):
        for name in re.findall(r"\w+(?:\s+as\s+\w+)?", names.strip("()")):
            files.add(find_file(module, name.split()[0]))
    files.update(find_file(module) for module in _IMPORT.findall(text))
    return frozenset(files)


@functools.cache
def modules_below(library: Path) -> frozenset[Path]:
    """The modules of a library. A listing of each folder, in the place of a look at each name that
    could be a module: 2,400 of these for every job, which a shared file system has to answer.
    """
    found: set[Path] = set()
    for folder, below, names in os.walk(library):
        below[:] = [name for name in below if name != "__pycache__"]
        found.update(Path(folder, name) for name in names if name.endswith(".py"))
    return frozenset(found)


@functools.cache
def find_file(module: str, name: str = "") -> Path:
    """The file of `module`, or of `module.name` where that is a module."""
    folder = LIBRARY.joinpath(*module.split(".")[1:])
    for path in (folder / f"{name}.py", folder / name / "__init__.py"):
        if name and path in modules_below(LIBRARY):
            return path
    for path in (folder.with_suffix(".py"), folder / "__init__.py"):
        if path in modules_below(LIBRARY):
            return path
    raise ValueError(f"there is no module {module} for `from {module} import {name}`")
