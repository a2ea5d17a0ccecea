"""The keys of pydantic models: their names, their places, and their allowed values in words."""

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lamostvac.core.messages import closest


def unwrapped(annotation: Any) -> Any:
    """An annotation without limits (Annotated) and without null as an alternative."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is Annotated:
        return unwrapped(arguments[0])
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return unwrapped(next(item for item in arguments if item is not type(None)))
    return annotation


def descend(annotation: Any, path: Sequence[int | str]) -> tuple[Any, str]:
    """The annotation of the item that `path` leads to inside a value, and the path as text."""
    text = ""
    for part in path:
        inner = unwrapped(annotation)
        arguments = typing.get_args(inner)
        if typing.get_origin(inner) is dict and part != "[key]":
            annotation = arguments[0] if path[-1] == "[key]" else arguments[1]
            text += f".{part}"
        elif typing.get_origin(inner) in (list, tuple) and isinstance(part, int):
            annotation = arguments[0]
            text += f"[{part}]"
    return annotation, text


def submodel(field: FieldInfo) -> type[BaseModel] | None:
    annotation: Any = field.annotation
    # `list[str]` counts as a type for isinstance, but not for issubclass.
    is_class = isinstance(annotation, type) and typing.get_origin(annotation) is None
    return annotation if is_class and issubclass(annotation, BaseModel) else None


def item_model(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a list's items when they are sections."""
    annotation: Any = unwrapped(field.annotation)
    items = typing.get_args(annotation)
    if typing.get_origin(annotation) is not list or not isinstance(items[0], type):
        return None
    return items[0] if issubclass(items[0], BaseModel) else None


def walk(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """All keys below `model` that hold values, as dotted paths."""
    for name, field in model.model_fields.items():
        inner = submodel(field)
        if inner:
            yield from walk(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def field_at(location: Sequence[int | str], root: type[BaseModel]) -> tuple[FieldInfo | None, int]:
    """The field that `location` leads to below `root`, and how many of its parts name it."""
    model: type[BaseModel] | None = root
    field: FieldInfo | None = None
    for depth, part in enumerate(location):
        if model is None or part not in model.model_fields:
            return field, depth
        field = model.model_fields[str(part)]
        model = submodel(field)
    return (field if model is None else None), len(location)


def plain(value: Any) -> Any:
    """Models and tuples as dictionaries and lists, as in YAML and JSON."""
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def list_item(
    location: Sequence[int | str], whole: type[BaseModel]
) -> tuple[type[BaseModel], str, Sequence[int | str]]:
    """A location in a list of sections: the items' model, `list[0].` and the rest after that.

    `whole`, "" and the whole location when it is not in such a list.
    """
    root: type[BaseModel] = whole
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


def type_words(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """An annotation in words: `a whole number`, `one of a, b`, `a list of ...`."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        return type_words(arguments[0], [*arguments[1:], *metadata])
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (types.UnionType, typing.Union):
        return " or ".join(
            "null" if part is type(None) else type_words(part, metadata) for part in arguments
        )
    if origin in (list, Sequence):
        return f"a list, each item {type_words(arguments[0])}"
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)} values, each {type_words(arguments[0])}"
    if origin is tuple:
        return f"a list, each item {type_words(arguments[0])}"
    if origin in (dict, Mapping):
        return f"a mapping from {type_words(arguments[0])} to {type_words(arguments[1])}"
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
    """What a key may be, in words."""
    return type_words(field.annotation, field.metadata)


def nearest_value(error: Any, annotation: Any) -> Any:
    """The valid value most similar to the wrong one, or None where similarity is meaningless."""
    context = error.get("ctx", {})
    if error["type"] == "literal_error":
        choices = typing.get_args(unwrapped(annotation))
        return closest(str(error["input"]), choices, cutoff=0.3) or choices[0]
    if (
        error["type"] == "list_type"
        and isinstance(error["input"], str)
        and " section " not in type_words(annotation)
    ):
        return [error["input"]]
    if error["type"] == "greater_than" and type_words(annotation).startswith("a whole"):
        return context["gt"] + 1
    for limit in ("ge", "le"):
        if limit in context:
            return context[limit]
    return None
