"""The configuration's section fetch."""

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

from lamostvac.core.settings import PathText, Section


class FetchedFiles(Section):
    """Which files are brought, in what pieces."""

    file: PathText = Field(
        "config/sources.yaml",
        min_length=1,
        description="YAML file that says where the public files are from.",
    )
    sources: list[str] | None = Field(
        None, description="Names of the sources to fetch; null: all whose files the run reads."
    )
    offline: bool = Field(
        False, description="Make no connection; only look at what is there and list what to bring."
    )
    piece_rows: int = Field(
        50000,
        ge=1,
        le=100000,
        description="Stars in one request to a cross-match service; VizieR takes at most 100,000.",
    )


class Requests(Section):
    """How an archive is treated."""

    connections: int = Field(2, ge=1, le=16, description="Requests to one archive at a time.")
    pause: NonNegativeFloat = Field(
        1.0, description="Least time between the beginnings of two requests to one archive; in s."
    )
    stall: PositiveFloat = Field(
        300.0,
        description=(
            "A connection that gives nothing for this long is given up and tried again; a service may need as long "
            "before it begins to answer; in s."
        ),
    )
    least_rate: NonNegativeFloat = Field(
        100.0,
        description=(
            "An answer that brings fewer bytes a second than this, over the time `stall`, is given up and tried "
            "again; 0: however slow; in bytes/s."
        ),
    )
    largest_file: PositiveFloat = Field(
        50.0, description="A file that is larger is given up, so that none fills the disk; in GB."
    )
    largest_answer: float = Field(
        256.0,
        gt=0,
        le=4000,
        description=(
            "A service's answer that is larger is given up; it is held in memory, unpacked; in MB."
        ),
    )
    tries: PositiveInt = Field(8, description="How often a request is made before it fails.")
    first_wait: NonNegativeFloat = Field(
        2.0,
        description="Time before the second try, doubled before each further one up to 5 minutes; in s.",
    )
    contact: str = Field(
        "",
        pattern=r"^[ -~]*$",
        description="Address of a person, which archives see in each request and may use before they block it.",
    )


class Fetch(Requests, FetchedFiles):
    """Public files, and a check of the release's tree (docs/howto_dr10.md); no part of a run."""

    sizes: bool = Field(
        True,
        description=(
            "check_release looks for files without a byte too, which asks the file system once per spectrum; false: "
            "once per plate folder."
        ),
    )
