"""What all sections of the configuration share."""

import re
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
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


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused.

    `not_in_rows` has the keys that no row of the catalogue depends on: where files are, which part
    of the survey runs, how work is cut into jobs. They are no part of `configuration_hash`.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    not_in_rows: ClassVar[frozenset[str]] = frozenset()

    def part(self, model: "type[Section]") -> dict[str, Any]:
        """The section's keys from `model`, as in JSON: a rule's params for its script."""
        return self.model_dump(mode="json", include=set(model.model_fields))

    def changed(self, **values: Any) -> Self:
        """A copy with other values for some keys, validated like those of a file."""
        # `dict(self)` would also have the cached properties that were used before.
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate(fields | values)
