"""`snakemake --lint`, less what this project does on purpose.

    python tools/lint_rules.py

An input function stands beside the rule that it serves, so that a file of rules reads from top to bottom; Snakemake's
lint wants it in a common module. PYTHONPATH is set for the jobs, and nothing has to be set by the user.
"""

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
MEANT = (
    "Mixed rules and functions in same snakefile.",
    "Environment variable PYTHONPATH used but not asserted with envvars directive",
)


def lints(text: str) -> list[str]:
    """What Snakemake's lint says, a line for each: file and title."""
    found, file = [], ""
    for line in text.splitlines():
        if match := re.match(r"Lints for (?:snakefile|rule) (.+):$", line):
            file = Path(match[1].split(" (")[0]).name
        elif match := re.match(r" {4}\* (.+):$", line):
            found.append(f"{file}: {match[1]}")
    return found


def unmeant(found: list[str]) -> list[str]:
    """Lints that are no choice of this project."""
    return [line for line in found if not any(title in line for title in MEANT)]


def main() -> int:
    """Run the lint on the demo's configuration."""
    command = [sys.executable, "-m", "snakemake", "--configfile", "config/demo.yaml", "--lint"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    found = lints(done.stdout + done.stderr)
    # Without a single lint its exit code is 0; with another than its own 1 it did not run.
    if done.returncode not in (0, 1) or (done.returncode == 1) != bool(found):
        print(done.stdout + done.stderr)
        return 1
    print("\n".join(unmeant(found)) or f"no lint but {len(found)} that are meant")
    return int(bool(unmeant(found)))


if __name__ == "__main__":
    raise SystemExit(main())
