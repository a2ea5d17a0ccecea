"""A mistake in the configuration in one sentence."""

import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ValidationError,
)
from pydantic.fields import FieldInfo

from lamostvac.configuration.models import (
    descend,
    field_at,
    item_model,
    plain,
    submodel,
    unwrapped,
    walk,
)
from lamostvac.core.messages import closest, first_mistake, keys_at


def sentence(problems: ValidationError, configuration: type[BaseModel]) -> str:
    """The first mistake as one sentence; an unknown key explains most others, so it comes first."""
    error = first_mistake(problems)
    root, place, location = _list_item(error["loc"], configuration)
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
    text = f"{stem}; it must be {_type_words(annotation)}"
    nearest = _nearest_value(error, annotation)
    if nearest is not None:
        text += f" (nearest: {_shown(nearest)})"
    elif not items and not field.is_required():
        text += f" (default: {_shown(field.get_default(call_default_factory=True))})"
    return text


def _list_item(
    location: Sequence[int | str], configuration: type[BaseModel]
) -> tuple[type[BaseModel], str, Sequence[int | str]]:
    """Where a location lies in a list of sections: the items' model, `list[0].` and what follows that.

    The configuration itself, "" and the whole location when it lies in no such list.
    """
    root: type[BaseModel] = configuration
    place, rest = "", location
    model: type[BaseModel] | None = root
    field: FieldInfo | None = None
    text = ""
    for depth, part in enumerate(location):
        if model is not None and part in model.model_fields:
            field = model.model_fields[str(part)]
            model = submodel(field)
            text += f"{part}."
        elif (
            isinstance(part, int) and field is not None and (item := item_model(field)) is not None
        ):
            root = model = item
            place = text = f"{text[:-1]}[{part}]."
            rest = location[depth + 1 :]
        else:
            break
    return root, place, rest


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


def _nearest_value(error: Any, annotation: Any) -> Any:
    """The valid value closest to the wrong one, or None when closeness means nothing."""
    context = error.get("ctx", {})
    if error["type"] == "literal_error":
        choices = typing.get_args(unwrapped(annotation))
        return closest(str(error["input"]), choices, cutoff=0.3) or choices[0]
    if (
        error["type"] == "list_type"
        and isinstance(error["input"], str)
        and " section " not in _type_words(annotation)
    ):
        return [error["input"]]
    if error["type"] == "greater_than" and _type_words(annotation).startswith("a whole"):
        return context["gt"] + 1
    for limit in ("ge", "le"):
        if limit in context:
            return context[limit]
    return None


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(plain(value), default=str, ensure_ascii=False)


def _type_words(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """An annotation in words: `a whole number`, `one of a, b`, `a list of ...`."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        return _type_words(arguments[0], [*arguments[1:], *metadata])
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (types.UnionType, typing.Union):
        return " or ".join(
            "null" if part is type(None) else _type_words(part, metadata) for part in arguments
        )
    if origin in (list, Sequence):
        return f"a list, each item {_type_words(arguments[0])}"
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)} values, each {_type_words(arguments[0])}"
    if origin is tuple:
        return f"a list, each item {_type_words(arguments[0])}"
    if origin in (dict, Mapping):
        return f"a mapping from {_type_words(arguments[0])} to {_type_words(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a section with the keys {', '.join(annotation.model_fields)}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}.get(
        annotation, "a value"
    )
    limits = []
    for mark in metadata:
        for item in getattr(mark, "metadata", [mark]):
            for attribute, phrase in (
                ("gt", "above"),
                ("ge", "at least"),
                ("le", "at most"),
                ("lt", "below"),
            ):
                bound = getattr(item, attribute, None)
                if isinstance(bound, int | float):
                    limits.append(f"{phrase} {bound:g}")
            pattern = getattr(item, "pattern", None)
            if isinstance(pattern, str):
                limits.append(
                    "of letters, digits, _ and -"
                    if pattern == r"^[A-Za-z0-9_-]+$"
                    else f"like {pattern}"
                )
    return f"{words} {' and '.join(limits)}" if limits else words


def allowed(field: FieldInfo) -> str:
    return _type_words(field.annotation, field.metadata)
