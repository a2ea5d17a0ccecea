"""A mistake in the configuration in one sentence."""

import json
import typing
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError

from lamostvac.core.messages import closest, first_mistake, keys_at
from lamostvac.core.models import (
    allowed,
    descend,
    field_at,
    list_item,
    nearest_value,
    plain,
    type_words,
    unwrapped,
    walk,
)


def sentence(problems: ValidationError, configuration: type[BaseModel]) -> str:
    """The first mistake as one sentence; an unknown key explains most others, so it comes first."""
    error = first_mistake(problems)
    root, place, location = list_item(error["loc"], configuration)
    value = error["input"]
    if error["type"] == "extra_forbidden":
        return _unknown_key([str(part) for part in location], root, place, configuration)
    if error["type"] == "value_error" and not location:
        return f"{place[:-1]}: {error['ctx']['error']}" if place else str(error["ctx"]["error"])
    field, depth = field_at(location, root)
    name = (place + ".".join(str(part) for part in location[:depth])).removesuffix(".")
    if error["type"] == "missing":
        return f"configuration key {name} is missing; it must be {allowed(field) if field else 'given'}"
    if field is None:
        keys = ", ".join(keys_at(root, [str(part) for part in location]))
        if error["type"] == "value_error":
            return str(error["ctx"]["error"])
        return f"configuration key {name} = {_shown(value)} is not allowed; it is a section with the keys {keys}"
    annotation, items = descend(
        Annotated[field.annotation, None, *field.metadata], location[depth:]
    )
    if location[-1] == "[key]":
        choices = list(typing.get_args(unwrapped(annotation)))
        close = closest(str(value), choices) or choices[0]
        return f"configuration key {name}.{value} does not exist; did you mean {name}.{close}?"
    stem = f"configuration key {name}{items} = {_shown(value)} is not allowed"
    if error["type"] == "value_error":
        return f"{stem}: {error['ctx']['error']}"
    text = f"{stem}; it must be {type_words(annotation)}"
    nearest = nearest_value(error, annotation)
    if nearest is not None:
        text += f" (nearest: {_shown(nearest)})"
    elif not items and not field.is_required():
        text += f" (default: {_shown(field.get_default(call_default_factory=True))})"
    return text


def _unknown_key(
    location: Sequence[str], root: type[BaseModel], place: str, configuration: type[BaseModel]
) -> str:
    siblings = keys_at(root, location[:-1])
    prefix = place + "".join(f"{part}." for part in location[:-1])
    name, last = prefix + location[-1], location[-1]
    # A correct key in the wrong section is as common a mistake as a misspelt one.
    by_last = {path.split(".")[-1]: path for path, _ in walk(configuration)}
    close = closest(last, siblings)
    stem = f"configuration key {name} does not exist"
    if close and (place or last not in by_last):
        return f"{stem}; did you mean {prefix}{close}?"
    elsewhere = closest(last, by_last, cutoff=0.75)
    if elsewhere and not place:
        return f"{stem}; did you mean {by_last[elsewhere]}?"
    return f"{stem}; the keys {f'of {prefix[:-1]} ' if prefix else ''}are {', '.join(siblings)}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = json.dumps(plain(value), default=str, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:150]}... ({len(text)} characters)"
