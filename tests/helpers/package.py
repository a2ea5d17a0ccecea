"""The project as a wheel."""

import subprocess
import sys
import tempfile
from pathlib import Path


def build_wheel(project: Path, folder: Path) -> Path:
    """Build a wheel of a copy of the project below `folder`, with the hatchling that is here and without a network."""
    target = tempfile.mkdtemp(dir=folder)
    command = [sys.executable, "-m", "pip", "wheel", str(project), "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--quiet", "--wheel-dir", target]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return next(Path(target).glob("*.whl"))
