"""The configuration's section fit."""

from typing import Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

from lamostvac.core.settings import Section


class FitMethod(Section):
    """Which search finds the labels, with which emulator."""

    method: Literal["refine", "grouped", "grouped_refine"] = Field(
        "refine",
        description=(
            "refine: first guess, then Levenberg-Marquardt for each star; grouped: the search of Liang et al. (2024) "
            "for groups of stars, section grouped; grouped_refine: Levenberg-Marquardt from that search's result."
        ),
    )
    emulator: Literal["distilled", "whole"] = Field(
        "distilled",
        description=(
            "distilled: the emulator in as few directions as matter, several times as fast; whole: all its components "
            "(docs/method.md has the differences)."
        ),
    )


class FitSettings(Section):
    """How one star is fitted."""

    prior: Literal["none", "intervals", "density"] = Field(
        "density",
        description=(
            "none; intervals: the prior intervals of Liang et al. (2024) around the first guess; density: the density "
            "of the library's stars."
        ),
    )
    prior_bandwidth: PositiveFloat = Field(
        0.3, description="Smoothing of the library's density, in scaled labels; for prior: density."
    )
    flux_floor: NonNegativeFloat = Field(
        0.01,
        description="Standard deviation added to the noise of every pixel of the normalised flux.",
    )
    calibration_scale: NonNegativeFloat = Field(
        60.0,
        description=(
            "Errors of the flux calibration that are smooth on this scale are left out of the fit; in A; 0 trusts the "
            "calibration."
        ),
    )
    calibration_error: NonNegativeFloat = Field(
        0.03, description="Standard deviation of those errors, as a share of the flux."
    )
    max_iterations: PositiveInt = Field(30, description="Most iterations for a star and a start.")
    max_extrapolation: NonNegativeFloat = Field(
        0.05,
        description="How far beyond the library's labels a solution may lie, as a share of each label's range.",
    )
    outlier_sigma: NonNegativeFloat = Field(
        5.0,
        description=(
            "Pixels that differ by more standard deviations from the fitted model, and their neighbours, are left out "
            "and the star is fitted again; 0 leaves none out, which reproduces the paper."
        ),
    )
    outlier_rounds: PositiveInt = Field(3, description="Most rounds of leaving pixels out.")
    line_width_scatter: NonNegativeFloat = Field(
        0.0,
        description=(
            "By how much the lines of a spectrum are typically wider or narrower than the library's (dispersions, in "
            "quadrature), in km/s: each star is fitted again with the width that its own lines have in each arm; 0 "
            "takes the library's width for all, as published."
        ),
    )

    def at_given_labels(self) -> Self:
        """For errors at known labels: no iteration (which users cannot configure), no outlier, no
        second fit.
        """
        none = {"max_iterations": 0, "outlier_sigma": 0.0, "line_width_scatter": 0.0}
        return self.model_copy(update=none)


class Fit(FitSettings, FitMethod):
    """The labels of each spectrum."""

    max_outlier_fraction: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Spectra of which a larger share of the pixels is left out are rejected.",
    )
