"""Paths of the project's own files: its workflow, its tables and its ready configurations."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def project_folder(package: Path = PACKAGE) -> Path:
    """Folder of Snakefile, rules and config: the checkout's root, or `workflow` if installed."""
    checkout = package.parent
    return checkout if (checkout / "Snakefile").is_file() else package / "workflow"


PROJECT = project_folder()
SNAKEFILE = PROJECT / "Snakefile"
COLUMNS_PATH = PROJECT / "config" / "columns.yaml"
PUBLISHED_ERRORS_PATH = PROJECT / "config" / "published_errors.yaml"
PUBLISHED_INTERNAL_ERRORS_PATH = PROJECT / "config" / "published_internal_errors.yaml"
PUBLISHED_NETWORKS_PATH = PROJECT / "config" / "published_networks.yaml"
PUBLISHED_TABLES_PATH = PROJECT / "config" / "published_tables.yaml"
PUBLISHED_SAMPLES_PATH = PROJECT / "config" / "published_samples.yaml"
TRAINING_SETS_PATH = PROJECT / "config" / "training_sets.yaml"
COMPARISONS_PATH = PROJECT / "config" / "comparisons.yaml"
REFERENCES_PATH = PROJECT / "config" / "references.yaml"
OVERVIEW_PATH = PROJECT / "config" / "overview.yaml"


def shipped(path: str | os.PathLike[str]) -> Path:
    """The file at `path` or, where that does not exist, the project's file of that name."""
    own, given = PROJECT / path, Path(path)
    return own if not given.exists() and own.exists() else given
