"""Files that come with the project, in its folder `config`."""

import os
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent
COLUMNS_PATH = _PROJECT / "config" / "columns.yaml"
PUBLISHED_ERRORS_PATH = _PROJECT / "config" / "published_errors.yaml"
PUBLISHED_INTERNAL_ERRORS_PATH = _PROJECT / "config" / "published_internal_errors.yaml"
PUBLISHED_NETWORKS_PATH = _PROJECT / "config" / "published_networks.yaml"
OVERVIEW_PATH = _PROJECT / "config" / "overview.yaml"


def shipped(path: str | os.PathLike[str]) -> Path:
    """The file at `path`, or the one of that name in the project where a run in another folder has none."""
    own, given = _PROJECT / path, Path(path)
    return own if not given.exists() and own.exists() else given
