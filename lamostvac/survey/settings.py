"""The configuration's section survey."""

import re
import string
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

from lamostvac.core.settings import PathText, Section, distinct
from lamostvac.core.vocabulary import SPECTRAL_TYPES, Band, SpectralType

PATTERN_FIELDS = {
    "obsdate": "",
    "lmjd": 1,
    "planid": "",
    "spid": 1,
    "fiberid": 1,
    "obsid": 1,
    "designation": "",
}
"""Columns that `survey.file_pattern` may name, with a value of their kind."""


def _file_pattern(pattern: str) -> str:
    try:
        parts = [part for part in string.Formatter().parse(pattern) if part[1] is not None]
        fields = [str(name) for _, name, _, _ in parts]
        for _, name, spec, conversion in parts:
            # What `spectrum_paths` does; a width of more digits would fill the memory.
            if conversion or not re.fullmatch(r"(?:0?\d{1,2})?[ds]?", spec or ""):
                raise ValueError
            format(PATTERN_FIELDS[str(name)], spec or "")
    except (KeyError, ValueError):
        fields = [""]
    if not fields or any(name not in PATTERN_FIELDS for name in fields):
        unknown = re.findall(r"{(\w*)", pattern)
        wrong = next((name for name in unknown if name not in PATTERN_FIELDS), None)
        problem = f"there is no {{{wrong}}}" if wrong is not None else "it cannot be filled in"
        raise ValueError(
            f"{problem}; the names in braces may be {', '.join(PATTERN_FIELDS)}, "
            "numbers with a width as in {spid:02d}"
        )
    return pattern


HEADERS = "headers"
"""Value of `survey.catalogues` of a folder without a catalogue."""


def _as_list(value: object) -> object:
    return [HEADERS] if value == HEADERS else value


class SnrThresholds(Section):
    """One S/N threshold per spectral type."""

    OB: NonNegativeFloat = Field(0.0, description="Threshold of O and B stars.")
    A: NonNegativeFloat = Field(0.0, description="Threshold of A stars.")
    F: NonNegativeFloat = Field(0.0, description="Threshold of F stars.")
    G: NonNegativeFloat = Field(0.0, description="Threshold of G stars.")
    K: NonNegativeFloat = Field(0.0, description="Threshold of K stars.")
    M: NonNegativeFloat = Field(0.0, description="Threshold of M stars.")


class Survey(Section):
    """The release: its catalogue, which spectra are taken, how they are cut into jobs."""

    not_in_rows: ClassVar = frozenset(
        {"root", "catalogues", "stellar_catalogues", "file_pattern", "types", "chunk_size"}
    )

    root: PathText = Field(
        ".",
        min_length=1,
        description="Folder that the names of catalogues and spectra below are relative to.",
    )
    catalogues: Annotated[
        list[PathText],
        BeforeValidator(_as_list, json_schema_input_type=Literal["headers"] | list[PathText]),
    ] = Field(
        default_factory=list,
        description=(
            "General catalogues of the release, CSV (| or , between columns, also .gz) or FITS table (also .gz); "
            "file names or patterns with *, relative to survey.root. Or `headers`, for a folder of spectra without a "
            "catalogue: all spectra in and below survey.root, as their headers say. Not used by a simulated run."
        ),
    )
    stellar_catalogues: list[PathText] = Field(
        default_factory=list,
        description=(
            "Stellar catalogues of the release (those with labels of its pipeline), in the formats of "
            "survey.catalogues: the columns rv and rv_err of spectra without them in the general catalogue are taken "
            "from here by obsid. File names or patterns with *, relative to survey.root; the first that has a value "
            "gives it. Not used by a simulated run, which has its own."
        ),
    )
    file_pattern: Annotated[str, AfterValidator(_file_pattern)] = Field(
        "{obsdate}/{planid}/spec-{lmjd}-{planid}_sp{spid:02d}-{fiberid:03d}.fits.gz",
        description=(
            "Where a spectrum lies below survey.root when the catalogue has no column `path`; the names in braces are "
            "catalogue columns, obsdate as YYYYMMDD."
        ),
    )
    column_aliases: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "Catalogue columns under another name than the official ones, as `name in the file: our name`, "
            "for example {plate: planid}."
        ),
    )
    gaia_release: str = Field(
        "",
        pattern=r"^[A-Za-z0-9]{0,8}$",
        description=(
            "Gaia data release of the identifiers in the catalogue's gaia_source_id, DR2 in LAMOST DR8; stands beside "
            "them as gaia_release. Empty: not known."
        ),
    )
    classes: list[str] = Field(
        ["STAR"],
        min_length=1,
        description="Values of the catalogue's CLASS that are taken (upper or lower case).",
    )
    types: Annotated[list[SpectralType], AfterValidator(distinct)] = Field(
        list(SPECTRAL_TYPES),
        min_length=1,
        description="Spectral types that are processed, by SUBCLASS.",
    )
    snr_band: Band = Field("snrr", description="The S/N column that the thresholds below apply to.")
    snr_min: SnrThresholds = Field(
        SnrThresholds(),
        description=(
            "Spectra are taken when S/N in survey.snr_band > threshold (strictly). 0 takes every spectrum with a "
            "positive S/N, as Liang et al. (2024) did."
        ),
    )
    max_abs_redshift: PositiveFloat = Field(
        0.01, description="Stars with |z| above this are rejected; 0.01 is 3000 km/s."
    )
    chunk_size: PositiveInt = Field(
        20000,
        description=(
            "Spectra per job: whole plates of one spectral type, half of this number to all of it. A single larger "
            "plate is not divided."
        ),
    )

    @property
    def from_headers(self) -> bool:
        """Whether the catalogue is what the headers of the spectra say."""
        return self.catalogues == [HEADERS]


def survey_section(params: Any) -> Survey:
    """The section from a rule's params, which are its keys.

    The catalogues are the rule's inputs, and `gaia_release` is for `collect`.
    """
    elsewhere = {"catalogues", "stellar_catalogues", "gaia_release"}
    return Survey(**{name: getattr(params, name) for name in set(Survey.model_fields) - elsewhere})
