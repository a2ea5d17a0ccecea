"""Names that columns of the catalogue had in earlier releases, and what they are called now.

Where a user names a column (conditions, formulas, lists of columns) the former name still serves;
readers of older catalogues find columns by it. A name that a table does have is never taken for a
former one, so columns of other surveys, such as `z` and `class` of the archive, are not touched.
"""

from collections.abc import Collection, Mapping
from typing import Any

LAST_RELEASE = "0.2"
"""The last release that takes former names from users."""

_RENAMED = {
    "class": "lamost_class",
    "z": "redshift",
    "z_err": "redshift_err",
    **{f"{axis}_gal{end}": f"{axis}_galcen{end}" for axis in "xyz" for end in ("", "_err")},
    "network_masked": "n_masked_network",
}
# Of every label: random errors are named as errors.
_ENDING, _NEW_ENDING = "_random", "_err_random"

_met: dict[str, str] = {}


def present_name(name: str, known: Collection[str]) -> str:
    """What a column is called among `known` names: `name`, else its present name if that is there.

    A name that is neither is returned as it is.
    """
    if name in known:
        return name
    new = new_name(name)
    if new == name or new not in known:
        return name
    _met[name] = new
    return new


def present_names(stored: Collection[str]) -> dict[str, str]:
    """The present name of each column of a file, to its name there.

    A column keeps its name where the file has another column of its present name.
    """
    present = {name: new_name(name) for name in stored}
    return {(name if new in stored else new): name for name, new in present.items()}


def present_keys(mapping: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """A mapping whose keys are columns, with their present names (`present_name`)."""
    return {present_name(name, known): value for name, value in mapping.items()}


def new_name(name: str) -> str:
    """The present name of a column that `name` was the former one of; else `name`."""
    if name in _RENAMED:
        return _RENAMED[name]
    if name.endswith(_ENDING) and not name.endswith(_NEW_ENDING):
        return name.removesuffix(_ENDING) + _NEW_ENDING
    return name


def former_name(name: str) -> str:
    """The name that a column had before; `name` where it is as it was."""
    if name.endswith(_NEW_ENDING):
        return name.removesuffix(_NEW_ENDING) + _ENDING
    return next((old for old, new in _RENAMED.items() if new == name), name)


def take_notes() -> list[str]:
    """A sentence on the former names that were met since this was asked last; none, no sentence."""
    if not _met:
        return []
    renamed = ", ".join(f"{old} is {new}" for old, new in sorted(_met.items()))
    _met.clear()
    return [
        f"columns have new names: {renamed}; the former ones are understood until release {LAST_RELEASE}"
    ]
