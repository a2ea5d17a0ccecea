"""The configuration's section recommended."""

from typing import ClassVar, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

from lamostvac.core.settings import PathText, Section


class Definitions(Section):
    """Where the recommended labels are defined."""

    definitions: PathText = Field(
        "config/recommended.yaml",
        min_length=1,
        description="YAML file that defines the recommended labels: sources, their ranges, and the scale.",
    )


class Combination(Section):
    """How relations and correlations between sources are fitted, for all labels alike."""

    snr_min: NonNegativeFloat = Field(
        30.0,
        description=(
            "The relations between the sources' scales are fitted to stars with S/N in survey.snr_band above this."
        ),
    )
    min_stars: int = Field(
        100,
        ge=10,
        description=(
            "With fewer stars of a spectral type that two sources have in common, the source is taken as it stands."
        ),
    )
    min_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description=(
            "A source is the scale of a spectral type when it is valid for this share of the type's stars, "
            "so that the relations need not be extrapolated; else the next in the list is."
        ),
    )
    max_stars: int = Field(
        100_000,
        ge=1000,
        description="Of more stars in common, this many, evenly along the label, take part in the fit.",
    )
    correlation: float = Field(
        0.0,
        ge=-0.95,
        le=0.95,
        description=(
            "Correlation of two sources' random errors where there are no repeat observations to measure it on."
        ),
    )
    min_pairs: PositiveInt = Field(
        30,
        description=(
            "The measured correlation counts as the number of pairs of repeats, recommended.correlation as this many."
        ),
    )
    systematic_correlation: float = Field(
        0.4,
        ge=-0.95,
        le=0.95,
        description=(
            "Correlation of the parts of two sources' errors that repeats do not show, because a star misleads both "
            "in the same way; measured on a simulated survey (docs/recommended.md)."
        ),
    )
    weights: Literal["learned", "stated"] = Field(
        "learned",
        description=(
            "learned: weights and errors follow how far each source is from the labels of training stars that it did "
            "not learn from; stated: they follow the sources' errors as the catalogue has them."
        ),
    )
    min_left_out: PositiveInt = Field(
        30,
        description=(
            "With recommended.weights: learned, the stated error of a source counts as much as this many left-out "
            "stars."
        ),
    )
    disagreement: PositiveFloat = Field(
        3.0,
        description="flag_{label}_disagree is 1 where the systems differ by more than this many sigma.",
    )


class Settings(Combination):
    """How relations are fitted, with the S/N that the section survey counts."""

    snr_band: str = Field(description="Column of the S/N that `snr_min` applies to.")


class Recommended(Combination, Definitions):
    """One value of each label from all systems."""

    not_in_rows: ClassVar = frozenset({"definitions"})
