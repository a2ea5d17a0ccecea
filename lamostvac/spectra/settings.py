"""The configuration's section prepare."""

from pydantic import (
    Field,
)

from lamostvac.core.settings import Region, Section


class Prepare(Section):
    """Each spectrum onto the common grid: masks, rest frame, resampling, normalisation."""

    telluric_regions: list[Region] = Field(
        [(6850.0, 6960.0), (7210.0, 7350.0), (7560.0, 7720.0), (8105.0, 8240.0)],
        description="Observed wavelengths with telluric absorption, masked (Liang et al. 2024, section 3.3); in A.",
    )
    extra_telluric_regions: list[Region] = Field(
        [(6274.0, 6326.0), (7160.0, 7210.0)],
        description=(
            "Further observed wavelengths with telluric absorption, masked: the O2 gamma band and the blue end of an "
            "H2O band, which the list of the paper leaves out and which show in the residuals of real spectra "
            "(docs/method.md); in A; [] reproduces the paper."
        ),
    )
    dichroic_region: Region | None = Field(
        (5700.0, 6050.0),
        description="Observed wavelengths where blue and red arm overlap, masked; in A; null masks nothing.",
    )
    mask_diffuse_bands: bool = Field(
        True, description="Mask diffuse interstellar bands (Hobbs et al. 2008)."
    )
    median_window: int = Field(
        400,
        ge=3,
        le=4901,
        description="Width of the running median that normalises a spectrum, in pixels of 1 A.",
    )
    max_normalised_flux: float = Field(
        2.0,
        gt=1,
        description="Normalised fluxes above this are set to 1 and masked (near-zero medians inflate them).",
    )
    min_normalised_flux: float | None = Field(
        0.0,
        lt=1,
        description=(
            "Normalised fluxes below this are set to 1 and masked, for the same reason: without it noise is cut off on "
            "one side only. null reproduces the paper."
        ),
    )
    min_good_fraction: float = Field(
        0.5, ge=0, le=1, description="Spectra with a smaller share of usable pixels are rejected."
    )
    keep: bool = Field(
        False,
        description="Keep the prepared chunks after fit and predict; 10 million spectra are 390 GB.",
    )
