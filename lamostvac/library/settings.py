"""The configuration's section library, and its lists of further libraries."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    model_validator,
)

from lamostvac.core.settings import PathText, Section, distinct
from lamostvac.core.vocabulary import Label


class Resolution(Section):
    """Matching the library's resolution to the survey's."""

    match: bool = Field(True, description="Smooth a sharper library to the survey's resolution.")
    survey_resolving_power: PositiveFloat = Field(
        1800.0,
        description="Resolving power of the survey's spectra, used where survey_fwhm is null.",
    )
    survey_fwhm: list[tuple[PositiveFloat, PositiveFloat]] | None = Field(
        None,
        description=(
            "Line width of the survey's spectra as pairs [wavelength, FWHM] in A, interpolated linearly; the shipped "
            "files for real LAMOST data have the measured one (docs/method.md)."
        ),
    )
    library_fwhm: PositiveFloat | None = Field(
        None,
        description="Resolution (FWHM) of the library in A; null takes the known value of its format.",
    )


class Library(Section):
    """The empirical library that the emulator learns."""

    not_in_rows: ClassVar = frozenset({"spectra", "labels_file"})

    name: str = Field(
        "mastar",
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Name of the library, part of file names.",
    )
    format: Literal["mastar", "miles", "elodie", "stelib", "table", "survey"] = Field(
        "mastar",
        description=(
            "How its files are laid out (docs/libraries.md); survey: the spectra of training_set, without files of its "
            "own."
        ),
    )
    training_set: str | None = Field(
        None,
        description=(
            "Training set of networks.training_sets whose spectra that train are the library; for format: survey."
        ),
    )
    spectra: PathText | None = Field(
        None,
        description=(
            "File with the spectra, for elodie and stelib the folder with their files; a simulated run brings its own."
        ),
    )
    labels_file: PathText | None = Field(
        None,
        description=(
            "File with the labels; null when they stand with the spectra, or in a simulated run. With format: miles, "
            "labels of single stars (miles_id teff logg feh) in place of the stack's."
        ),
    )
    min_snr: NonNegativeFloat = Field(
        20.0, description="Library spectra are taken when S/N > this (Liang et al. 2024)."
    )
    labels: Annotated[list[Label], AfterValidator(distinct)] = Field(
        ["teff", "logg", "feh", "alpha_fe"],
        min_length=1,
        description="Labels that the library has and the fit determines.",
    )
    label_columns: dict[Label, str] = Field(
        default_factory=dict,
        description=(
            "Columns of the labels file where they differ from the format's usual ones; with format: survey labels of "
            "the training set, usually {label}_{training set}."
        ),
    )
    quality_columns: dict[Label, str] = Field(
        default_factory=dict,
        description=(
            "Header keywords, or columns of the labels file, with the quality flag of a label, for elodie and stelib; "
            "{} uses no flags."
        ),
    )
    min_quality: float = Field(
        1.0,
        description="A label whose flag in quality_columns is lower than this, or missing, is not used.",
    )
    resolution: Resolution = Field(
        Resolution(), description="Matching the library's resolution to the survey's."
    )

    @model_validator(mode="after")
    def _flags_are_read(self) -> Self:
        """A quality flag that no reader uses would be a cut without effect."""
        if self.quality_columns and self.format not in ("elodie", "stelib"):
            raise ValueError(
                f"library.quality_columns is set but the format {self.format} has no quality flags; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _spectra_are_of_a_set_or_of_files(self) -> Self:
        """A file that the format does not read would be ignored."""
        if self.format != "survey":
            if self.training_set is not None:
                raise ValueError(
                    f"library.training_set is set but the format is {self.format}; write format: survey or leave it out"
                )
            return self
        if self.training_set is None:
            raise ValueError(
                "library.training_set is not set; with format: survey name a set of networks.training_sets"
            )
        for key in ("spectra", "labels_file"):
            if getattr(self, key) is not None:
                raise ValueError(
                    f"library.{key} is set but the format survey takes the spectra of training_set; leave it out"
                )
        return self

    def column_of(self, label: str) -> str:
        """The training set's label that is `label` in a library of format survey."""
        return self.label_columns.get(label, f"{label}_{self.training_set}")  # type: ignore[call-overload]


class ComparedLibrary(Library):
    """A further library, cross-validated beside the one that the run uses."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_-]+$", description="Name of the library, part of file names."
    )
    spectra: PathText = Field(description="File with the spectra, or folder with their files.")
    variance: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of its variance that the components keep; null: emulator.variance.",
    )

    @model_validator(mode="after")
    def _spectra_are_of_a_set_or_of_files(self) -> Self:
        if self.format == "survey" or self.training_set is not None:
            raise ValueError(
                "a library of the survey's own spectra (format: survey, training_set) goes into the section library or "
                "the list emulators"
            )
        return self


class FurtherEmulator(Library):
    """An emulator beside that of section library: keys of a library, and the name of its columns."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$",
        description="Name of the emulator and of its library; its columns are {label}_{name}.",
    )
    variance: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of its library's variance that the components keep; null: emulator.variance.",
    )
