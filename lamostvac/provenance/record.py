"""What a run was made of: settings, versions, inputs, and whose data and methods it used.

`catalog/provenance.json` has no times, no machine and no folders of inputs, so that the same run
elsewhere gives the same file.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lamostvac.core.code_version import LIBRARY, package_version
from lamostvac.core.exceptions import UserError

SOFTWARE = ("astropy", "numpy", "scipy", "pandas", "pyarrow", "scikit-learn", "tensorflow-cpu")
"""Packages whose versions are recorded, by their names in the Python Package Index."""
SIMULATED = "simulated survey"
"""What `Record.used` has for a run on a simulated survey."""


@dataclass(frozen=True)
class Record:
    """What a run was made of.

    Attributes
    ----------
    program : `version` and `commit` of lamost-vac
    settings : those that rows of the catalogue depend on, as nested dictionaries
    packages : package of the library to the version of its code
    software : package of others to its version
    inputs : `role`, `file` (its name) and `sha256` of each file from outside
    used : what the run used, in the words of `config/references.yaml`
    """

    program: dict[str, str]
    settings: dict[str, Any]
    packages: dict[str, int]
    software: dict[str, str]
    inputs: list[dict[str, str]] = field(default_factory=list)
    used: list[str] = field(default_factory=list)

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


def code_versions() -> dict[str, int]:
    """Version of each package of the library, by name."""
    names = sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py"))
    return {name: package_version(name) for name in names}


def software_versions(names: Iterable[str] = SOFTWARE) -> dict[str, str]:
    """Version of each installed package of others, by name."""
    return {name: version(name) for name in names}


def as_inputs(files: Iterable[tuple[str, str, str]]) -> list[dict[str, str]]:
    """Inputs from (role, path, SHA-256); only the file's name of a path is kept."""
    return [
        {"role": role, "file": Path(path).name, "sha256": digest} for role, path, digest in files
    ]


def read_record(path: str | Path) -> Record:
    """The record of a run. Raises `UserError` when there is none, or it is damaged."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        record = Record(**content)
        flat(record.settings)
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist: the run has not ended, is of an earlier version of lamost-vac, or this is no "
            "folder of results; run it again (only what is missing is made), or name another folder"
        ) from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); delete it and run the workflow again"
        ) from None
    return record


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `section.key` to value; of a list of named entries `section.NAME.key`."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, list) and value and all(_is_named(entry) for entry in value):
            value = {entry["name"]: entry for entry in value}
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{name}.")
        else:
            found[name] = value
    return found


def _is_named(entry: Any) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("name"), str)
