"""The configuration's sections emulator and second_emulator."""

from typing import Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
)

from lamostvac.core.settings import Section
from lamostvac.core.vocabulary import Label


class SecondEmulator(Section):
    """A second emulator of the library with other labels: one log g beside the recommended one."""

    label_columns: dict[Label, str] = Field(
        default_factory=dict,
        description=(
            "Columns of the labels file that differ from those of library, logg among them; {logg: LOGG_JI} is the "
            "log g of Imig et al. (2022) in MaStar. Its fits give logg_imig, from each spectrum alone whatever "
            "fit.method is, and take as long as the first; {} makes none, and logg_imig is NaN."
        ),
    )


class EmulatorSettings(Section):
    """How the whole emulator is trained."""

    variance: float = Field(
        0.95,
        gt=0,
        le=1,
        description=(
            "Share of the library's variance that the principal components keep; 0.95 gave Liang et al. (2024) 237 "
            "components of the noisy MaStar spectra, a library with little noise needs 0.99 for as much detail."
        ),
    )
    process: Literal["by_component", "exact"] = Field(
        "by_component",
        description=(
            "by_component: a principal component has more noise where that predicts left-out stars better; exact: one "
            "noise for all, the published process on all library stars."
        ),
    )
    length_scale: PositiveFloat = Field(
        1.5,
        description="Length scale of the kernel, in labels divided by their scatter in the library, Teff as 5040/Teff.",
    )
    amplitude: PositiveFloat = Field(
        2.1, description="Amplitude of the kernel, in components of flux."
    )
    noise: PositiveFloat = Field(
        0.2,
        description="Standard deviation of a component about the process; the least one with process: by_component.",
    )
    mean: Literal["zero", "constant", "quadratic"] = Field(
        "quadratic",
        description="Mean of the process, polynomial in the scaled labels; zero is the published one.",
    )
    hyperparameters: Literal["fixed", "cross_validation"] = Field(
        "fixed",
        description=(
            "fixed: length_scale, amplitude and noise as given; cross_validation: those that predict left-out stars "
            "best, chosen on up to 3000 of the library's; the log has the table of what was tried."
        ),
    )
    velocity_error: NonNegativeFloat = Field(
        5.0,
        description="Standard deviation of the errors of the survey's redshifts, which the fit allows for; in km/s.",
    )
    line_width_error: NonNegativeFloat = Field(
        0.05,
        description="Standard deviation of the survey's line width from fibre to fibre, as a share of it.",
    )
    label_error_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description=(
            "Share of the scatter that the quoted errors of the library's labels explain which does not count as an "
            "error of the emulator; 1 trusts these errors wholly."
        ),
    )


class DistilSettings(Section):
    """How close the distilled emulator stays to the whole one."""

    signal_tolerance: PositiveFloat = Field(
        1e-3,
        description="How far the distilled emulator's spectra may be from the whole one's; rms of normalised flux.",
    )
    error_tolerance: PositiveFloat = Field(
        0.1,
        description=(
            "Directions in which a component's error is smaller do not count as correlated errors in the distilled "
            "emulator but as noise of the pixels."
        ),
    )


class Emulator(DistilSettings, EmulatorSettings):
    """Principal components and Gaussian process: labels to spectrum."""

    folds: int = Field(10, ge=2, description="Parts of the cross-validation.")
