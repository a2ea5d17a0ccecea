"""What sections share: one order of mappings, and no truth for a number."""

from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError

from lamostvac.core.settings import Section


class Part(Section):
    """A section with mappings that have, or have not, a default."""

    given: dict[str, int]
    counts: dict[str, int] = Field(default={"b": 1, "a": 2})
    pairs: list[tuple[float, float]] = Field(default=[])
    switch: bool | float = False
    word: Literal["one"] | None = None
    anything: Any = None


class Whole(Section):
    """A section in a section."""

    inner: Part | None = None


def test_mappings_are_in_the_order_of_the_default_then_of_the_alphabet():
    part = Part(given={"z": 1, "c": 2}, counts={"0": 3, "a": 1, "b": 2})
    assert list(part.given) == ["c", "z"]
    assert list(part.counts) == ["b", "a", "0"]
    assert part.counts == {"0": 3, "a": 1, "b": 2}


@pytest.mark.parametrize("values", [{"given": {"a": True}}, {"pairs": [(0, 1), (False, 2)]}])
def test_true_and_false_are_no_numbers(values):
    with pytest.raises(ValidationError, match="true and false are no numbers"):
        Whole.model_validate({"inner": {"given": {}} | values})


def test_true_and_false_stay_where_they_are_meant():
    part = Part.model_validate({"given": {}, "switch": True, "anything": [True]})
    assert part.switch is True
    assert part.anything == [True]
