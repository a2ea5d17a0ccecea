"""Versions of the modules that a rule's results depend on."""

import ast
import functools
import re
from pathlib import Path
from typing import Any

_LINE = re.compile(r"^CODE_VERSION = (.+)$", re.MULTILINE)


def code_version(*modules: str) -> dict[str, Any]:
    """`CODE_VERSION` of modules of this package by name, for a rule's params.

    Read from their text: every job on a cluster and every dry run reads the rules, and importing all modules for
    some numbers would take most of that time.

    Raises
    ------
    ValueError
        When a module has none.
    """
    return {name: _version(name) for name in modules}


@functools.cache
def _version(name: str) -> Any:
    path = Path(__file__).parent.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = _LINE.findall(path.read_text(encoding="utf-8"))
    if len(found) != 1:
        raise ValueError(f"{path} needs one line CODE_VERSION = ..., not {len(found)}")
    return ast.literal_eval(found[0])
