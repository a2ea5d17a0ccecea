"""The file of the column registry, `config/columns.yaml`, as lists of entries."""

from pathlib import Path
from typing import Any

from lamostvac.core.exceptions import UserError
from lamostvac.core.files import read_yaml

PLACE = "network_columns"
"""The list of the labels' columns, and the place among the others where they stand."""


def column_lists(path: str | Path) -> tuple[list[Any], list[Any]]:
    """The entries of the file's lists `columns` and `network_columns`, whose values have their types.

    Raises `UserError` for a file of another form; which keys an entry has is not checked here.
    """
    content = read_yaml(path, "the columns' file", " with a list `columns:`")
    mapping = content if isinstance(content, dict) else {}
    lists = mapping.get("columns"), mapping.get(PLACE, [])
    for name, entries in zip(("columns", PLACE), lists, strict=True):
        if not isinstance(entries, list):
            raise UserError(f"{path}: `{name}:` must be a list of columns")
        for number, entry in enumerate(entries, start=1):
            if name == "columns" and entry == PLACE:
                continue
            values = entry if isinstance(entry, dict) else {"the entry": entry}
            for key, value in values.items():
                right = isinstance(value, int | None if key == "bit" else str)
                if not right or values is not entry or isinstance(value, bool):
                    wanted = {"bit": "a whole number or null", "the entry": "a mapping"}
                    raise UserError(
                        f"{path}: {name}: column {values.get('name', number)!r}: {key} must be "
                        f"{wanted.get(str(key), 'a text')}, not {str(value)[:60]!r}"
                    )
    return lists[0] or [], lists[1] or []
