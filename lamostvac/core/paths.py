"""Files that come with the project, in its folder `config`."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
COLUMNS_PATH = PROJECT / "config" / "columns.yaml"
PUBLISHED_ERRORS_PATH = PROJECT / "config" / "published_errors.yaml"
PUBLISHED_INTERNAL_ERRORS_PATH = PROJECT / "config" / "published_internal_errors.yaml"
PUBLISHED_NETWORKS_PATH = PROJECT / "config" / "published_networks.yaml"
OVERVIEW_PATH = PROJECT / "config" / "overview.yaml"


def shipped(path: str | os.PathLike[str]) -> Path:
    """The file at `path`, or the one of that name in the project where a run in another folder has none."""
    own, given = PROJECT / path, Path(path)
    return own if not given.exists() and own.exists() else given
