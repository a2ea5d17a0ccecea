"""Models of the configuration looked at: fields, places, defaults."""

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import (
    BaseModel,
)
from pydantic.fields import FieldInfo


def unwrapped(annotation: Any) -> Any:
    """An annotation without what stands around it: limits (Annotated) and null as an alternative."""
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
    """Models and tuples as what YAML and JSON have."""
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)
