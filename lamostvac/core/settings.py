"""What all sections of the configuration share."""

import re
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ValidationInfo,
    field_validator,
)


def _increasing(region: tuple[float, float]) -> tuple[float, float]:
    if not region[0] < region[1]:
        raise ValueError(f"the region must increase, as in [{region[1]:g}, {region[0]:g}]")
    return region


def distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("each name may stand in the list once")
    return values


def plain_path(path: str) -> str:
    """A path that Snakemake takes as it is; ValueError for others."""
    if re.search(r"[{}\x00-\x1f]", path):
        raise ValueError(
            "a path cannot have braces, which Snakemake takes for wildcards, nor line feeds; "
            "give the file or folder another name, or a link to it"
        )
    return path


PathText = Annotated[str, AfterValidator(plain_path)]
Region = Annotated[tuple[float, float], AfterValidator(_increasing)]


def _has_truth(value: Any) -> bool:
    """Whether a value of a file is, or has, true or false."""
    parts = value.values() if isinstance(value, dict) else value
    return isinstance(value, bool) or (
        isinstance(value, dict | list | tuple) and any(_has_truth(part) for part in parts)
    )


def _takes_truth(annotation: Any) -> bool:
    """Whether true and false can stand in a value; sections in it look after themselves."""
    if annotation in (bool, Any) or isinstance(annotation, bool):
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(_takes_truth(part) for part in get_args(annotation))


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused.

    `not_in_rows` has the keys that no row of the catalogue depends on: where files are, which part
    of the survey runs, how work is cut into jobs. They are no part of `configuration_hash`.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    not_in_rows: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuses true and false, `yes` and `on` of YAML, for a number: pydantic takes them for 1 and 0."""
        if _has_truth(value) and not _takes_truth(
            cls.model_fields[str(info.field_name)].annotation
        ):
            # Not ValueError, whose text would stand for what the key must be.
            raise AssertionError("true and false are no numbers")
        return value

    @field_validator("*")
    @classmethod
    def _in_one_order(cls, value: Any, info: ValidationInfo) -> Any:
        """Mappings in the order of the default, then of the alphabet, whatever order a file has.

        Snakemake runs a job again whose params have another order.
        """
        if not isinstance(value, dict):
            return value
        default = cls.model_fields[str(info.field_name)].get_default(call_default_factory=True)
        # A key that has to be given has no default.
        names = default if isinstance(default, dict) else {}
        first = {name: number for number, name in enumerate(names)}
        order = sorted(value, key=lambda key: (first.get(key, len(first)), key))
        return {key: value[key] for key in order}

    def part(self, model: "type[Section]") -> dict[str, Any]:
        """The section's keys from `model`, as in JSON: a rule's params for its script."""
        return self.model_dump(mode="json", include=set(model.model_fields))

    def changed(self, **values: Any) -> Self:
        """A copy with other values for some keys, validated like those of a file."""
        # `dict(self)` would also have the cached properties that were used before.
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate(fields | values)
