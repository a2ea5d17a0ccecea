"""Settings of the simulated survey: the section `simulation` of the configuration."""

from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from lamostvac.core.settings import Section
from lamostvac.core.vocabulary import SpectralType

TrainingSet = Literal["pastel", "apogee", "lgmwas"]


class SimulationSettings(BaseModel):
    """How large the simulated sky is and how badly its spectra are disturbed."""

    model_config = ConfigDict(extra="forbid")

    seed: int = Field(
        default=20240501, ge=0, description="Seed of the random numbers; same seed, same bytes."
    )
    n_stars: dict[SpectralType, int] = Field(
        default={"OB": 120, "A": 220, "F": 300, "G": 360, "K": 300, "M": 200},
        description="Number of stars of each spectral type observed by the simulated LAMOST.",
    )
    n_training: dict[TrainingSet, int] = Field(
        default={"pastel": 600, "apogee": 1200, "lgmwas": 900},
        description="Number of stars added to the simulated LAMOST for each training set of the networks; "
        "a set that is left out gets none.",
    )
    repeat_fraction: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Fraction of the stars observed on two to four nights.",
    )
    snr_median: float = Field(
        default=40.0,
        gt=0,
        description="Median S/N per pixel in the g band (log-normal distribution).",
    )
    snr_scatter_dex: float = Field(
        default=0.35, ge=0, description="Standard deviation of log10 S/N."
    )
    snr_min: float = Field(default=5.0, gt=0, description="S/N below this is raised to it.")
    snr_max: float = Field(default=200.0, gt=0, description="S/N above this is lowered to it.")
    binary_fraction: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="Fraction of stars with an unresolved companion in the spectrum.",
    )
    emission_fraction: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Fraction of stars with emission lines (Be stars, active dwarfs, nebulae).",
    )
    ebv_scale: float = Field(
        default=0.10,
        ge=0,
        description="Scale of the reddening E(B-V) in mag at 1 kpc near the Galactic plane.",
    )
    cosmic_rays: float = Field(
        default=1.0,
        ge=0,
        description="Mean number of cosmic rays per spectrum that the masks do not record.",
    )
    dead_pixels: float = Field(
        default=8.0, ge=0, description="Mean number of pixels per spectrum without data (ivar 0)."
    )
    flux_calibration_error: float = Field(
        default=0.08,
        ge=0,
        description="Amplitude of the smooth relative error of the flux calibration.",
    )
    n_other: int = Field(
        default=24,
        ge=0,
        description="Number of galaxies, quasars and unknown objects in the catalogue.",
    )
    n_low_snr: int = Field(
        default=16, ge=0, description="Number of extra stars with S/N between 0.5 and 4."
    )
    n_broken: int = Field(
        default=0,
        ge=0,
        description="Number of spectra broken on purpose (see lamostvac/simulate/broken.py), spread over the kinds.",
    )
    stars_per_plate: int = Field(
        default=120,
        gt=0,
        description="Mean number of spectra per plate; each plate is one folder and one night.",
    )
    table_fraction: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Fraction of plates in the binary-table layout of DR9 and later; the others are images.",
    )
    n_library: int = Field(
        default=1300, ge=0, description="Number of stars in the simulated MaStar library."
    )
    library_repeat_fraction: float = Field(
        default=0.15, ge=0, le=1, description="Fraction of library stars with a second visit."
    )
    library_bad_fraction: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Fraction of library visits that a quality cut must remove (MJDQUAL, NGROUPS, S/N).",
    )
    library_snr_median: float = Field(
        default=120.0, gt=0, description="Median S/N per pixel of the library's spectra."
    )
    library_label_error_scale: float = Field(
        default=1.0,
        ge=0,
        description="Scale of the errors of the library's published labels; 0 publishes the truth.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(count < 0 for count in self.n_stars.values()):
            raise ValueError(
                "simulation.n_stars: a number of stars cannot be negative; write 0 for none"
            )
        if any(count < 0 for count in self.n_training.values()):
            raise ValueError(
                "simulation.n_training: a number of stars cannot be negative; write 0 for none"
            )
        if self.snr_max <= self.snr_min:
            raise ValueError("simulation.snr_max must be larger than simulation.snr_min")
        return self


class _Switch(Section):
    enabled: bool = Field(
        True,
        description="Simulate a survey and use its catalogue, library and truth instead of files given below.",
    )


class Simulation(SimulationSettings, _Switch):
    """The simulated survey: LAMOST and MaStar files in the official formats, with known labels."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )
