"""What a build adds to the files: the commit, for the headers of catalogues, and in wheels the compiled C code."""

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildHook(BuildHookInterface):
    """Adds the file COMMIT, which `lamostvac.catalog.files.git_commit` reads, and native.lib where it can."""

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
        if self.target_name == "wheel":
            self._compile(build_data)

    def _compile(self, build_data: dict[str, Any]) -> None:
        """Compile for this kind of machine; the wheel is for any machine where that fails."""
        sys.path.insert(0, str(Path(self.root, "tools")))
        from compile_native import compile_native

        library = Path(tempfile.mkdtemp(), "native.lib")
        problem = compile_native(str(Path(self.root, "lamostvac/spectra/native.c")), str(library))
        if problem:
            self.app.display_warning(f"without compiled code, NumPy does the same: {problem}")
            return
        build_data["force_include"][str(library)] = "lamostvac/spectra/native.lib"
        build_data["pure_python"] = False
        # Loaded by its path and not by Python's import, it suits every Python.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"

    def _commit(self) -> str:
        command = ["git", "-C", self.root, "describe", "--always", "--dirty", "--abbrev=40"]
        try:
            done = subprocess.run(
                [*command, "--exclude=*"], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return "unknown"
        return done.stdout.strip()
