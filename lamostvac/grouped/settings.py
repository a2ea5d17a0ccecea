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
        description="Share of the variance of a group's candidate labels that the search can reach; not with steps.",
    )
    form: Literal["steps", "published", "centred", "scaled"] = Field(
        "steps",
        description=(
            "Along which directions labels move. steps: from the mean of the ten best candidates along each star's "
            "own step, weighed by the emulator's own errors, and towards its first match; published: principal "
            "components of the candidates' labels; centred: less their mean; scaled: each label also divided by its "
            "standard deviation."
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
    """Grouped search of Liang et al. (2024, section 2.2), for the columns teff_grouped and so on."""

    not_in_rows: ClassVar = frozenset({"groups_per_job"})

    run: bool = Field(
        True,
        description=(
            "Search groups in every run, for columns beside the labels of fit.method; false: only where "
            "fit.method needs it."
        ),
    )
    scope: Literal["chunk", "type"] = Field(
        "chunk",
        description=(
            "Which stars are sorted and cut into groups. chunk: those of each chunk, so that new plates leave old "
            "groups as they are; type: all of a spectral type, as published."
        ),
    )
    groups_per_job: PositiveInt = Field(
        10, description="Groups of a job with scope type; results do not depend on it."
    )
