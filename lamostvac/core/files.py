"""Files that users write or read: YAML, CSV, and checksums."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError

if TYPE_CHECKING:
    import pandas as pd


def read_yaml(path: str | os.PathLike[str], what: str, form: str = "") -> Any:
    """The content of a YAML file that a user may have written.

    Raises `UserError` when it cannot be read or is not YAML; the message begins with `what`, the
    key that names the file, and contains `form`, the file's required form.
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


def write_csv(path: str | os.PathLike[str], table: "pd.DataFrame", digits: int) -> None:
    """A table for readers as CSV, with `digits` significant digits; written atomically."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format=f"%.{digits}g", lineterminator="\n")
