"""Files that users write or read: YAML, CSV, and checksums."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.yaml_text import MOST_BYTES, read_yaml_text

if TYPE_CHECKING:
    import pandas as pd


def read_yaml(path: str | os.PathLike[str], what: str, form: str = "") -> Any:
    """The content of a YAML file that a user may have written, within the limits of `yaml_text`.

    Raises `UserError` when it cannot be read or is not YAML; the message begins with `what`, the
    key that names the file, and contains `form`, the file's required form.
    """
    where = f"{what} {os.fspath(path)}"
    try:
        if Path(path).exists() and not Path(path).is_file():  # a pipe would be waited for
            raise UserError(f"{where} is no file")
        with open(path, "rb") as handle:
            text = handle.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{where} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{what} {path!a} cannot be read: {error}") from None
    if len(text) > MOST_BYTES:
        raise UserError(f"{where} has more than {MOST_BYTES} bytes{form}; is it the right file?")
    return read_yaml_text(text, where, form)


def read_sections(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a configuration file; empty for an empty one.

    Raises `UserError` when it cannot be read, does not consist of sections, or would have Snakemake
    run code.
    """
    where = f"the configuration file {os.fspath(path)}"
    content = read_yaml(path, "the configuration file")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{where} must consist of `section:` blocks")
    if "__use_yte__" in content:
        raise UserError(
            f"{where} has the key __use_yte__, by which Snakemake runs the code inside it; "
            "write its values out and leave the key away"
        )
    return content


def with_shipped(entries: list[Any], key: str, shipped: str | os.PathLike[str]) -> list[Any]:
    """The entries of a user's list, those of the `shipped` file's list `key` in the place of the word
    `default`.
    """
    found: list[Any] = []
    for entry in entries:
        found += read_yaml(shipped, key)[key] if entry == "default" else [entry]
    return found


def left_out_by(
    own: str | os.PathLike[str], key: str, shipped: str | os.PathLike[str], option: str
) -> list[str]:
    """One sentence on the named entries of a `shipped` list that a user's list `own` leaves out; none
    where it has all of them, or the word `default`.

    `key` is the list's name in both files, `option` the setting that names `own`.
    """
    if Path(own).resolve() == Path(shipped).resolve():
        return []
    entries = read_yaml(own, option)[key]
    if "default" in entries:
        return []
    names = [entry["name"] for entry in read_yaml(shipped, key)[key]]
    given = {entry["name"] for entry in entries}
    if not (without := [name for name in names if name not in given]):
        return []
    return [
        f"{option}: {own} stands in the place of the shipped file, whose entries {', '.join(without)} are left "
        "out; the word `default` in its list adds these"
    ]


def sha256(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_csv(path: str | os.PathLike[str], table: "pd.DataFrame", digits: int) -> None:
    """A table for readers as CSV, with `digits` significant digits; written atomically."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format=f"%.{digits}g", lineterminator="\n")
