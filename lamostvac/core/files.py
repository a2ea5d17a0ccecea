"""Files that are either whole or absent, and tables inside HDF5."""

import hashlib
import os
from pathlib import Path
from typing import Any

import yaml

from lamostvac.core.exceptions import UserError


def read_yaml(path: str | os.PathLike[str], what: str, form: str = "") -> Any:
    """The content of a YAML file that a user may have written.

    Raises `UserError` when it cannot be read or is no YAML; the sentence begins with `what`, the key that names it,
    and has `form`, what the file should hold.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{what} {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{what} {path} is no YAML{form}: {' '.join(str(error).split())}") from None


def sha256(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
