"""The file of the column registry, `config/columns.yaml`, as lists of entries."""

from pathlib import Path
from typing import Any

from lamostvac.core.exceptions import UserError
from lamostvac.core.files import read_yaml

PLACE = "network_columns"
"""The list of the columns of networks' labels, and the place among the others where they stand."""
EMULATORS = "emulator_columns"
"""The same of the emulators beside the first: columns of each, behind those of its labels."""
EMULATOR_LABELS = "emulator_label_columns"
"""The list of the columns of these emulators' labels."""
MAIN = "main_columns"
"""The list of the names of the main columns."""
_LISTS = ("columns", PLACE, EMULATORS, EMULATOR_LABELS)


def column_lists(path: str | Path) -> dict[str, list[Any]]:
    """The entries of the file's lists by name, `columns` and those above; values have their types,
    and those of `MAIN` are different texts.

    Raises `UserError` for a file of another form; which keys an entry has is not checked here.
    """
    content = read_yaml(path, "the columns' file", " with a list `columns:`")
    mapping = content if isinstance(content, dict) else {}
    lists = {"columns": mapping.get("columns")}
    lists |= {name: mapping.get(name, []) for name in _LISTS[1:]}
    for name, entries in lists.items():
        if not isinstance(entries, list):
            raise UserError(f"{path}: `{name}:` must be a list of columns")
        for number, entry in enumerate(entries, start=1):
            if name == "columns" and entry in (PLACE, EMULATORS):
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
    names = mapping.get(MAIN, [])
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not texts or len(set(names)) < len(names):
        raise UserError(f"{path}: `{MAIN}:` must be a list of columns' names, each once")
    return {name: entries or [] for name, entries in lists.items()} | {MAIN: names}
