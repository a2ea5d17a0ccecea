"""The configuration's section prepare, and what of the section networks prepares a spectrum."""

from functools import cached_property
from typing import ClassVar

from pydantic import Field, NonNegativeFloat

from lamostvac.core.settings import Region, Section
from lamostvac.spectra.masks import diffuse_band_regions

_LARGEST = 3.4028234663852886e38  # of single precision


class FluxLimits(Section):
    """Which normalised fluxes are believed, and how many must be."""

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

    @property
    def lowest_flux(self) -> float:
        """`min_normalised_flux`, minus infinity for none."""
        return float("-inf") if self.min_normalised_flux is None else self.min_normalised_flux

    @property
    def flux_limits(self) -> tuple[float, float]:
        """Least and largest normalised flux."""
        return (self.lowest_flux, self.max_normalised_flux)


class ObservedMasks(Section):
    """What is masked in the observed frame."""

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
        True,
        description="Mask the 17 strongest diffuse interstellar bands, and extra_diffuse_bands.",
    )
    extra_diffuse_bands: list[Region] = Field(
        [],
        description=(
            "Further intervals with diffuse interstellar bands; in A, vacuum, observed frame. Liang et al. (2024) mask "
            "all 380 of Hobbs et al. (2008, VizieR J/ApJ/680/1256, wavelengths in air); docs/method.md says how."
        ),
    )

    @property
    def diffuse_regions(self) -> list[tuple[float, float]]:
        """The diffuse interstellar bands that are masked, in A, vacuum, observed frame."""
        if not self.mask_diffuse_bands:
            return []
        return [*diffuse_band_regions(), *self.extra_diffuse_bands]

    @cached_property
    def masked_regions(self) -> tuple[tuple[float, float], ...]:
        """All intervals that are masked, in A, vacuum, observed frame."""
        regions = [*self.telluric_regions, *self.extra_telluric_regions]
        if self.dichroic_region is not None:
            regions.append(self.dichroic_region)
        return (*regions, *self.diffuse_regions)


class _Median(ObservedMasks):
    median_window: int = Field(
        400,
        ge=3,
        le=4901,
        description="Width of the running median that normalises a spectrum, in pixels of 1 A.",
    )


class HeaderTolerances(Section):
    """How far a file's header may differ from the catalogue; 0 does not compare."""

    position_tolerance: NonNegativeFloat = Field(
        5.0,
        description=(
            "Largest distance between the positions of header and catalogue; in arcsec; 0 does not compare them."
        ),
    )
    redshift_tolerance: NonNegativeFloat = Field(
        0.001,
        description=(
            "Largest difference between the redshifts of header and catalogue, 0.001 is 300 km/s; 0 does not compare "
            "them, for a catalogue with better redshifts of its own."
        ),
    )


class Preparation(HeaderTolerances, FluxLimits, _Median):
    """How a spectrum is brought onto the common grid: all of the section that changes it."""


class Prepare(Preparation):
    """Each spectrum onto the common grid: masks, rest frame, resampling, normalisation."""

    not_in_rows: ClassVar = frozenset({"keep"})

    keep: bool = Field(
        False,
        description="Keep the prepared chunks after fit and predict; 10 million spectra are 390 GB.",
    )


class NetworkWindows(Section):
    """The part of the section networks that says how a spectrum is normalised for them."""

    windows: list[Region] = Field(
        [(3900.0, 5800.0), (8450.0, 8950.0)],
        min_length=1,
        description="Rest wavelengths that the networks see (Wang et al. 2022, section 2.2); in A.",
    )
    median_window: int = Field(
        21,
        ge=1,
        le=401,
        description="Width of the median filter before the pseudo-continuum, in pixels; odd.",
    )
    polynomial_degree: int = Field(
        6, ge=0, le=20, description="Degree of the pseudo-continuum's polynomial in each window."
    )
    max_normalised_flux: float | None = Field(
        2.0,
        gt=1,
        description=(
            "Normalised fluxes above this, such as cosmic rays, are replaced by the local median and count as bad; "
            "null: no limit, which is the published method."
        ),
    )
    min_normalised_flux: float | None = Field(
        0.0,
        lt=1,
        description="The same for normalised fluxes below this; null: no limit, which is the published method.",
    )

    @property
    def flux_limits(self) -> tuple[float, float]:
        """Least and largest normalised flux; without a limit what single precision holds."""
        low, high = self.min_normalised_flux, self.max_normalised_flux
        return (-_LARGEST if low is None else low, _LARGEST if high is None else high)
