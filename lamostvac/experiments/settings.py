"""The configuration's section experiments."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    PositiveInt,
)

from lamostvac.core.settings import Section


class Experiments(Section):
    """Experiments on the method, run by name (docs/experiments.md); no part of the catalogue."""

    n_stars: PositiveInt = Field(
        1000,
        description="Survey spectra of each type, drawn at random; Liang et al. (2024) took 10,000.",
    )
    n_chunks: PositiveInt = Field(
        2,
        description=(
            "Chunks of each type that these are drawn from, evenly spaced in the release, because all spectra of a "
            "chunk have to be prepared."
        ),
    )
    matches: list[Annotated[int, Field(ge=5)]] = Field(
        [5, 10, 25, 50, 75, 100, 150, 200, 300, 500, 750, 1000],
        min_length=1,
        description=(
            "Numbers of candidates t in bounds and matches; Liang et al.: 5 to 1500 in steps of 20. Those above the "
            "library's size are left out."
        ),
    )
    n_candidates: int = Field(
        100, ge=5, description="Candidates t in group_size and grouping, as published."
    )
    bound_sizes: list[PositiveInt] = Field(
        [5, 50, 200, 1000],
        min_length=1,
        description="Group sizes in bounds; Liang et al.: 5 to 2000 in steps of 100.",
    )
    group_sizes: list[PositiveInt] = Field(
        [1, 10, 100, 1000],
        min_length=1,
        description=(
            "Group sizes in group_size; Liang et al.: 1 to 3000 in steps of 10. 1, with which the others are compared, "
            "is added where it is missing."
        ),
    )
    n_group: int = Field(
        100, ge=2, description="Stars of a group in grouping and matches; Liang et al.: 1000."
    )
    n_groups: PositiveInt = Field(
        5, description="Groups of each type and size in bounds, grouping and matches."
    )
    trial_stars: PositiveInt = Field(
        25,
        description=(
            "Stars of each type whose Teff is compared in group_size; all groups that hold one of them are fitted."
        ),
    )
    variance: float = Field(
        0.98, gt=0, le=1, description="Share of the variance of candidates that components keep."
    )
    form: Literal["published", "centred"] = Field(
        "published",
        description=(
            "Candidates as they are, or less their mean (docs/grouped.md), in group_size, grouping and matches; bounds "
            "shows both."
        ),
    )
    search: Literal["bayesian", "gradient"] = Field(
        "bayesian", description="The search in group_size."
    )
    folds: int = Field(
        5,
        ge=2,
        description="Parts of the library, each left out once, in group_size and reproduction.",
    )
