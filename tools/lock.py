"""Write requirements.lock from pyproject.toml: `python tools/lock.py`, or `--upgrade NAME...` for newer versions.

What is locked stays at its version unless it is named or no longer fits. The file has hashes and names no host.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
LOCK = PROJECT / "requirements.lock"
_PIN = re.compile(r"^([A-Za-z0-9._-]+==[^\s\\]+(?: ; [^\\\n]+)?)", re.MULTILINE)


def pins(lock: str, upgrade: list[str]) -> list[str]:
    """The pins of a lock file with their markers, without those of the packages to upgrade."""
    found = [pin.strip() for pin in _PIN.findall(lock)]
    return [pin for pin in found if pin.partition("==")[0] not in upgrade]


def locked(lock: str, upgrade: list[str]) -> str:
    """The text of a new lock file. uv works in a folder of its own, since its own lock file names hosts."""
    project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    # With a version uv has nothing to build.
    project = project.replace('dynamic = ["version"]', 'version = "0"')
    settings = f"\n[tool.uv]\npackage = false\nconstraint-dependencies = {pins(lock, upgrade)!r}\n"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pyproject.toml").write_text(project + settings, encoding="utf-8")
        export = ["export", "--no-emit-project", "--no-header", "--format", "requirements-txt"]
        for command in ([*uv, "lock"], [*uv, *export, "--all-groups", "--output-file", "lock"]):
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return Path(folder, "lock").read_text(encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", nargs="+", metavar="NAME", default=[])
    given = parser.parse_args()
    LOCK.write_text(locked(LOCK.read_text(encoding="utf-8"), given.upgrade), encoding="utf-8")


if __name__ == "__main__":
    main()
