"""Messages on a user's file: the first error that pydantic found as `key: what is wrong`.

Messages on the run's own configuration say more (allowed values, the most similar one):
`lamostvac/configuration/root.py`.
"""

import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lamostvac.core.exceptions import UserError
from lamostvac.core.files import read_yaml

_Model = TypeVar("_Model", bound=BaseModel)


def read_model(path: str | Path, what: str, model: type[_Model]) -> _Model:
    """A YAML file as a model; `what` is for the sentence, as in `read_yaml`.

    Raises
    ------
    UserError
        One sentence with the key that is wrong.
    """
    try:
        return model.model_validate(read_yaml(path, what))
    except ValidationError as error:
        raise UserError(f"{path}: {mistake(error, model)}") from None


def first_mistake(problems: ValidationError) -> Mapping[str, Any]:
    """The first mistake; unknown keys come first, since a misspelt key is also a missing one."""
    return dict(min(problems.errors(), key=lambda error: error["type"] != "extra_forbidden"))


def entry_name(entry: Any, number: int, key: str = "name") -> str:
    """The name of an entry of a list in messages: its value for `key` in one line, else its number."""
    given = entry.get(key) if isinstance(entry, dict) else None
    return f"number {number}" if given is None else listed([given])


def listed(names: Iterable[object], most: int = 40, longest: int = 60) -> str:
    """Names of a file in a message: printable, and no more or longer than a reader wants to see."""
    every = [str(name) for name in names]
    shown = [
        "".join(c if c.isprintable() else "?" for c in name[:longest]) for name in every[:most]
    ]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(shown) + more


def mistake(problems: ValidationError, model: type[BaseModel], depth: int = 0) -> str:
    """The first mistake as `key.within: what is wrong`.

    Parameters
    ----------
    model : what the content should be
    depth : number of leading parts of the place to leave out, because the caller names the entry
        itself
    """
    error = first_mistake(problems)
    place = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        message = f"there is no such key{nearest(place[-1], keys_at(model, place[:-1]))}"
    elif error["type"] == "missing":
        message = "this key is missing"
    else:
        message = error["msg"].removeprefix("Value error, ")
    where = ".".join(place[depth:])
    return f"{where + ': ' if where else ''}{message}"


def keys_at(model: type[BaseModel], place: Sequence[str]) -> list[str]:
    """The keys that a file has at a place; none where it is not a mapping of known keys."""
    found: type[BaseModel] | None = model
    kinds: list[type[BaseModel]] = []
    for part in place:
        if found is None:
            # Of several models, the entry's is identified by the value of the key that
            # distinguishes them.
            found = next((kind for kind in kinds if _is_named(kind, part)), None)
            continue
        fields = found.model_fields.items()
        field = next((field for name, field in fields if part in (name, field.alias)), None)
        if field is not None:
            kinds = _models_in(field.annotation)
            found = kinds[0] if len(kinds) == 1 else None
        # Otherwise a number in a list, or a name in a mapping.
    return [field.alias or name for name, field in found.model_fields.items()] if found else []


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's type may hold."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [found for part in typing.get_args(annotation) for found in _models_in(part)]


def _is_named(model: type[BaseModel], tag: str) -> bool:
    return any(
        typing.get_origin(field.annotation) is typing.Literal
        and tag in typing.get_args(field.annotation)
        for field in model.model_fields.values()
    )


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The most similar of `known`, ignoring case; None below the similarity `cutoff` (0 to 1)."""
    by_lower = {candidate.lower(): candidate for candidate in reversed(list(known))}
    close = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` with the most similar of `known`, or their list if none is similar."""
    known = list(known)
    if close := closest(name, known, cutoff=0.5):
        return f"; did you mean {close}?"
    return f"; there are {', '.join(known)}" if known else ""
