"""The configuration's section grouped."""

from typing import ClassVar, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveInt,
)

from lamostvac.core.settings import Section


class GroupSize(Section):
    """The size of a group."""

    group_size: PositiveInt = Field(1000, description="Spectra per group, sorted by first guess.")


class SearchSettings(Section):
    """How the labels of a group are searched for."""

    matches: PositiveInt = Field(
        100,
        description="Library spectra that a star's labels are combined from, the most similar ones.",
    )
    variance: float = Field(
        0.98,
        gt=0,
        le=1,
        description="Share of the variance of a group's candidate labels that the search can reach.",
    )
    form: Literal["published", "centred", "scaled"] = Field(
        "published",
        description=(
            "published: candidate labels as they are; centred: less their mean; scaled: each label also divided by "
            "its standard deviation."
        ),
    )
    search: Literal["bayesian", "gradient"] = Field(
        "bayesian", description="bayesian: the published search; gradient: by derivatives."
    )
    random_points: PositiveInt = Field(
        10, description="Random points that the Bayesian search begins with."
    )
    kappa: NonNegativeFloat = Field(
        2.576,
        description="How much the Bayesian search favours the unknown: of its upper confidence bound.",
    )
    patience: PositiveInt = Field(
        5, description="Iterations without a better fit that end a search."
    )
    max_iterations: PositiveInt = Field(
        50,
        description="Most iterations of a search after its first points; the paper has no limit.",
    )


class GroupedSettings(SearchSettings):
    """The search of a group with what the section fit says about labels."""

    max_extrapolation: NonNegativeFloat = Field(
        description="How far beyond the library's labels a star may lie, as a share of each label's range."
    )


class Grouped(SearchSettings, GroupSize):
    """Grouped search of Liang et al. (2024, section 2.2): fit.method grouped and grouped_refine."""

    not_in_rows: ClassVar = frozenset({"groups_per_job"})

    groups_per_job: PositiveInt = Field(
        10, description="Groups of a job; results do not depend on it."
    )
