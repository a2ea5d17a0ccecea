"""The configuration's sections photometry, extinction, star_pairs and distance."""

from typing import ClassVar, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from lamostvac.core.extinction_coefficients import printed
from lamostvac.core.messages import nearest
from lamostvac.core.settings import PathText, Section
from lamostvac.core.vocabulary import BANDS

Scale = Literal["mixed", "sfd", "corrected"]


class PhotometryJoin(Section):
    """Magnitudes and distances of other surveys joined to every spectrum."""

    not_in_rows: ClassVar = frozenset({"root", "file", "bayestar"})

    enabled: bool = Field(
        True, description="Join them; without them there is neither E(B-V) nor distance."
    )
    file: PathText = Field(
        "config/photometry.yaml",
        min_length=1,
        description="YAML file that names the tables and their columns; tables that are absent are left out.",
    )
    root: PathText | None = Field(
        None,
        description=(
            "Folder that the tables are relative to; null takes networks.root, then survey.root; a simulated run "
            "brings its own."
        ),
    )
    bayestar: str | None = Field(
        None,
        min_length=1,
        description=(
            "File of the 3-D map of Green et al. (2019), bayestar2019.h5: its E(B-V) at r_geo is the column "
            "ebv_bayes19. null: the column is NaN."
        ),
    )
    bayestar_scale: PositiveFloat = Field(
        0.884,
        description="E(B-V) for 1 of that map's unit (argonaut.skymaps.info/usage); 1 keeps its unit.",
    )
    repeat_radius: PositiveFloat = Field(
        1.0,
        description="Spectra without Gaia counterpart within this of each other are one star; in arcsec.",
    )


class Extinction(Section):
    """A(band) / E(B-V) for every band, and the scale of E(B-V)."""

    coefficients: Literal["constant", "zhang_yuan_2022"] = Field(
        "constant",
        description=(
            "constant: the numbers below; zhang_yuan_2022: those of Zhang & Yuan (2023), which depend on Teff and "
            "E(B-V), for all bands but those of APASS."
        ),
    )
    scale: Scale | None = Field(
        None,
        description=(
            "sfd, corrected: all numbers and E(B-V) on the scale of Schlegel et al. (1998), or on the true one, 0.86 "
            "times as large; mixed: one E(B-V) times the numbers as their papers print them, which belong to two "
            "scales. null: sfd, and mixed for a simulated survey, which is made so."
        ),
    )
    sfd: dict[str, PositiveFloat] = Field(
        printed("sfd"),
        description=(
            "Coefficients for E(B-V) of Schlegel et al.: Yuan et al. (2013), those of APASS Schlafly & Finkbeiner "
            "(2011)."
        ),
    )
    corrected: dict[str, PositiveFloat] = Field(
        printed("corrected"),
        description="Coefficients for the true E(B-V): Chen et al. (2018).",
    )

    @field_validator("scale", mode="before")
    @classmethod
    def _earlier_name(cls, value: object) -> object:
        if value == "published":
            raise ValueError(
                "this scale is called mixed, since no paper publishes it; write mixed for the same "
                "numbers as before, or sfd, which is right for real data"
            )
        return value

    @model_validator(mode="after")
    def _every_band_once(self) -> Self:
        named = [*self.sfd, *self.corrected]
        for band in named:
            if band not in BANDS:
                raise ValueError(f"extinction: there is no band {band}{nearest(band, BANDS)}")
        for band in BANDS:
            if named.count(band) != 1:
                raise ValueError(
                    f"extinction: the band {band} must stand once, in sfd or in corrected; it "
                    f"stands {named.count(band)} times"
                )
        return self


class StarPairs(Section):
    """E(B-V) of each star from stars of like labels with little extinction (Yuan et al. 2013)."""

    min_latitude: float = Field(
        30.0,
        ge=0,
        lt=90,
        description="Controls, the stars of little extinction, are farther than this from the Galactic plane; in deg.",
    )
    min_snr: NonNegativeFloat = Field(
        30.0, description="Controls have a higher S/N in survey.snr_band than this."
    )
    max_ebv: PositiveFloat = Field(
        0.03,
        description=(
            "Most E(B-V) of a control: by the map where the photometry has one, else relative to controls of like "
            "labels."
        ),
    )
    zero_point: float = Field(
        0.01,
        description="Without a map: the mean E(B-V) of the controls that remain, which no colour can tell.",
    )
    control_scatter: NonNegativeFloat = Field(
        0.006,
        description=(
            "Without a map: the standard deviation of the controls' own E(B-V), taken off the scatter of their "
            "colours; 0 leaves errors of E(B-V) somewhat too large, too much makes them too small."
        ),
    )
    max_controls: PositiveInt = Field(
        100_000, description="Controls of a spectral type, those of highest S/N."
    )
    n_controls: int = Field(
        40, ge=8, description="Nearest controls that a star's colours are fitted to."
    )
    min_controls: int = Field(12, ge=8, description="E(B-V) is missing where fewer are near.")
    max_distance: PositiveFloat = Field(
        2.0, description="Controls within this are near, in units of the three scales below."
    )
    teff_scale: PositiveFloat = Field(
        0.04, description="Relative difference of Teff that counts as one."
    )
    logg_scale: PositiveFloat = Field(0.4, description="Difference of log g that counts as one.")
    feh_scale: PositiveFloat = Field(0.3, description="Difference of [Fe/H] that counts as one.")
    min_colours: int = Field(
        2, ge=1, le=13, description="E(B-V) is missing for stars with fewer colours."
    )
    clip: PositiveFloat = Field(
        5.0,
        description=(
            "Standard deviations from what the other bands say at which a magnitude is left out, and at which a star "
            "is no control."
        ),
    )

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.min_controls > self.n_controls:
            raise ValueError("star_pairs: min_controls must not exceed n_controls")
        return self


class Distance(Section):
    """Distances from absolute and apparent magnitudes, and positions in the Galaxy."""

    correlation: float | None = Field(
        None,
        ge=0,
        le=0.98,
        description=(
            "Correlation between bands of the absolute magnitudes' errors; null: estimated from the stars that each "
            "network did not learn from, 0.95 where the networks come from another run."
        ),
    )
    clip: PositiveFloat = Field(
        5.0,
        description="Standard deviations from what the other bands say at which a band is left out.",
    )
    positions: Literal["all", "ks"] = Field(
        "all",
        description=(
            "Distance that x_galcen, y_galcen and z_galcen follow from: all, that of all bands (dist); ks, that of Ks "
            "alone (dist_ks), as in Wang et al. (2022)."
        ),
    )
    flagged: Literal["leave_out", "use"] = Field(
        "leave_out",
        description=(
            "Absolute magnitudes with a flag of their network (beyond the range of its training stars, or a spectrum "
            "unlike theirs): leave_out, no distance follows from them; use, as in Wang et al. (2022)."
        ),
    )
    r0: PositiveFloat = Field(
        8.122,
        description="Distance of the Sun from the Galactic centre (GRAVITY Collaboration 2018); in kpc.",
    )
    z_sun: float = Field(
        20.8,
        gt=-500,
        lt=500,
        description="Height of the Sun above the plane (Bennett & Bovy 2019); in pc.",
    )
