"""Versions of the library's packages: a change of what their code means needs a new one.

    python tools/versions.py                           what changed since the versions were written
    python tools/versions.py --write                   give every changed package its next version
    python tools/versions.py --same-results fit core   write down that these packages changed without changing results

A rule runs again when the version of a package that its script imports is new. So a change that leaves all results as
they were, a new name or a faster way to the same bytes, may keep the version; everything else may not. Comments,
docstrings and layout are no change. `tools/versions.json` holds what each version's code was.
"""

import argparse
import ast
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.core.code_version import package_version

PROJECT = Path(__file__).resolve().parent.parent
RECORD = PROJECT / "tools" / "versions.json"
_AS_THEY_ARE = (".j2", ".css", ".js", ".c")  # files that count with every character
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def packages(library: Path = PROJECT / "lamostvac") -> list[str]:
    """Names of the library's packages."""
    return sorted(path.parent.name for path in library.glob("*/__init__.py"))


def meaning(text: str) -> str:
    """A module's syntax without docstrings, comments and layout, the same under every version of Python."""
    return "".join(_words(ast.parse(text)))


def _words(node: object) -> Iterator[str]:
    if isinstance(node, list):
        yield "["
        for item in node:
            yield from _words(item)
        yield "]"
    elif isinstance(node, ast.AST):
        fields = dict(ast.iter_fields(node))
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            fields["body"] = node.body[1:]
        yield f"({type(node).__name__}"
        for name, value in fields.items():
            # Newer Pythons have fields that older ones lack; they are empty in code for both.
            if value is not None and value != []:
                yield f" {name}="
                yield from _words(value)
        yield ")"
    else:
        yield repr(node)


def digest(folder: Path) -> str:
    """What the code, C code and pages' templates of a package mean, in one number; its VERSION does not count."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", *_AS_THEY_ARE)):
        text = path.read_text(encoding="utf-8")
        if path == folder / "__init__.py":
            text = re.sub(r"^VERSION = \d+$", "", text, flags=re.MULTILINE)
        text = meaning(text) if path.suffix == ".py" else text
        total.update(f"{path.relative_to(folder).as_posix()}\n{text}\n".encode())
    return total.hexdigest()[:16]


def state() -> dict[str, list[object]]:
    """Version and digest of every package as they are now."""
    return {
        name: [package_version(name), digest(PROJECT / "lamostvac" / name)] for name in packages()
    }


def changed(now: dict[str, list[object]], recorded: dict[str, list[object]]) -> list[str]:
    """Packages whose code means something else than it did under the same version."""
    return [
        name
        for name, (version, code) in now.items()
        if recorded.get(name, [None])[0] == version and recorded[name][1] != code
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the versions, or write new ones."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--write", action="store_true", help="raise the versions of changed packages"
    )
    parser.add_argument(
        "--same-results", nargs="+", metavar="PACKAGE", default=[], choices=packages()
    )
    options = parser.parse_args(arguments)
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    now = state()
    for name in changed(now, recorded):
        if name in options.same_results:
            print(f"{name}: changed, results the same, version {now[name][0]} stays")
        elif options.write:
            path = PROJECT / "lamostvac" / name / "__init__.py"
            version = package_version(name) + 1
            path.write_text(
                re.sub(
                    r"^VERSION = \d+$", f"VERSION = {version}", path.read_text(), flags=re.MULTILINE
                )
            )
            now[name][0] = version
            print(f"{name}: changed, version {version}")
        else:
            print(
                f"{name}: its code changed and its version, {now[name][0]}, did not. Results may differ: "
                f"python tools/versions.py --write. They cannot: python tools/versions.py --same-results {name}"
            )
    if options.write or options.same_results:
        kept = {
            name: recorded[name]
            for name in changed(now, recorded)
            if name not in options.same_results
        }
        RECORD.write_text(json.dumps(now | ({} if options.write else kept), indent=1) + "\n")
        return 0
    stale = changed(now, recorded)
    if not stale and now != recorded:
        print("tools/versions.json is out of date: python tools/versions.py --write")
    return int(now != recorded)


if __name__ == "__main__":
    raise SystemExit(main())
