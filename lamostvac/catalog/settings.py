"""The configuration's section catalog."""

from typing import Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
)

from lamostvac.core.settings import Region, Section


class SnrFlagThresholds(Section):
    """S/N thresholds of the recommended catalogue (Liang et al. 2024, Table 2)."""

    OB: NonNegativeFloat = Field(5.0, description="O and B stars with log g >= 3.8.")
    OB_giant: NonNegativeFloat = Field(8.0, description="O and B stars with log g < 3.8.")
    A: NonNegativeFloat = Field(5.0, description="A stars.")
    F: NonNegativeFloat = Field(8.0, description="F stars.")
    G: NonNegativeFloat = Field(8.0, description="G stars.")
    K: NonNegativeFloat = Field(8.0, description="K stars.")
    M: NonNegativeFloat = Field(10.0, description="M stars.")

    def of(self, spectral_type: str) -> tuple[float, float]:
        """Thresholds of a type's dwarfs and giants."""
        dwarf = getattr(self, spectral_type)
        return dwarf, getattr(self, f"{spectral_type}_giant", dwarf)


class Catalog(Section):
    """Flags of the catalogue."""

    snr_flag: Literal["configured", "found"] = Field(
        "configured",
        description=(
            "S/N thresholds of flag_snr: configured, those of snr_flag_threshold, or found, for each type the S/N "
            "below which chi2 stops following S/N in this run (Liang et al. 2024, section 4.4; docs/errors.md); types "
            "where no such S/N is found keep the configured ones."
        ),
    )
    snr_flag_threshold: SnrFlagThresholds = Field(
        SnrFlagThresholds(),
        description="flag_snr is 0 when S/N in survey.snr_band > threshold (Liang et al. 2024, Table 2).",
    )
    alpha_max_teff: PositiveFloat = Field(
        7000.0,
        description="flag_alpha_fe is 1 for hotter stars, whose spectra hardly show [alpha/Fe]; in K.",
    )
    cold_giant_max_teff: NonNegativeFloat = Field(
        4500.0,
        description=(
            "flag_cold_giant is 1 for stars cooler than this whose log g is one of cold_giant_logg (Liang et al. 2024, "
            "section 4.3; the temperature is that of section 4.5); in K; 0 flags none."
        ),
    )
    cold_giant_logg: Region = Field(
        (2.0, 4.0),
        description=(
            "Lowest and highest log g of stars with flag_cold_giant: the library's cold giants are below, its dwarfs "
            "above; in dex."
        ),
    )
    outlier_flag_fraction: float = Field(
        0.02,
        ge=0,
        le=1,
        description="flag_outliers is 1 where the fit left out a larger share of the pixels as outliers.",
    )
