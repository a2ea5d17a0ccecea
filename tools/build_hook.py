"""Records in wheels and source archives which commit they were built from, for the headers of catalogues."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface):
    """Adds the file COMMIT; `lamostvac.catalog.files.git_commit` reads it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # the checkout itself says it, and has all other files
            build_data["force_include_editable"] = {"lamostvac/py.typed": "lamostvac/py.typed"}
            return
        recorded = Path(self.root, "COMMIT")
        if not recorded.exists():
            recorded = Path(tempfile.mkdtemp(), "COMMIT")
            recorded.write_text(self._commit() + "\n", encoding="utf-8")
        place = "COMMIT" if self.target_name == "sdist" else "lamostvac/workflow/COMMIT"
        build_data["force_include"][str(recorded)] = place

    def _commit(self) -> str:
        command = ["git", "-C", self.root, "describe", "--always", "--dirty", "--abbrev=40"]
        try:
            done = subprocess.run(
                [*command, "--exclude=*"], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return "unknown"
        return done.stdout.strip()
