"""Every configuration key: its name, default, limits and documentation.

The models below are the only place where a key is defined. `config/config.yaml` (the defaults with
comments), `config/schema.json` (for editors) and `docs/configuration.md` are written from them by
`python -m lamostvac.configuration.root --write`; a test fails when they drift apart.

A configuration file needs only what differs from the defaults. Snakemake passes its `config`
dictionary (file and `--config` merged) to `load_configuration`, which answers a mistake with one
sentence.
"""

import argparse
import hashlib
import itertools
import json
import re
import string
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import closest, first_mistake, keys_at, nearest
from lamostvac.core.paths import PROJECT
from lamostvac.core.vocabulary import BANDS
from lamostvac.simulate.settings import SimulationSettings

SpectralType = Literal["OB", "A", "F", "G", "K", "M"]
SPECTRAL_TYPES: tuple[SpectralType, ...] = ("OB", "A", "F", "G", "K", "M")
Band = Literal["snru", "snrg", "snrr", "snri", "snrz"]
Label = Literal["teff", "logg", "feh", "alpha_fe"]


def _increasing(region: tuple[float, float]) -> tuple[float, float]:
    if not region[0] < region[1]:
        raise ValueError(f"the region must increase, as in [{region[1]:g}, {region[0]:g}]")
    return region


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("each name may stand in the list once")
    return values


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
        pattern.format(**PATTERN_FIELDS)
        fields = [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]
    except (KeyError, IndexError, ValueError, AttributeError):
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


Region = Annotated[tuple[float, float], AfterValidator(_increasing)]


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class Run(Section):
    """The run as a whole."""

    results: str = Field(
        "results", min_length=1, description="Folder that receives everything the run writes."
    )
    seed: int = Field(1, ge=0, description="Seed of every random draw; the same seed gives the same bytes.")


class _Switch(Section):
    enabled: bool = Field(
        True,
        description="Simulate a survey and use its catalogue, library and truth instead of files given below.",
    )


class Simulation(SimulationSettings, _Switch):
    """The simulated survey: LAMOST and MaStar files in the official formats, with known labels."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


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

    root: str = Field(
        ".",
        min_length=1,
        description="Folder that the names of catalogues and spectra below are relative to.",
    )
    catalogues: list[str] = Field(
        default_factory=list,
        description=(
            "General catalogues of the release, CSV (| or , between columns, also .gz) or FITS table (also .gz); "
            "file names or patterns with *, relative to survey.root. Not used by a simulated run."
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
    classes: list[str] = Field(
        ["STAR"],
        min_length=1,
        description="Values of the catalogue's CLASS that are taken (upper or lower case).",
    )
    types: Annotated[list[SpectralType], AfterValidator(_distinct)] = Field(
        list(SPECTRAL_TYPES), min_length=1, description="Spectral types that are processed, by SUBCLASS."
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
    mask_diffuse_bands: bool = Field(True, description="Mask diffuse interstellar bands (Hobbs et al. 2008).")
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
        False, description="Keep the prepared chunks after fit and predict; 10 million spectra are 390 GB."
    )


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
        None, description="Resolution (FWHM) of the library in A; null takes the known value of its format."
    )


class Library(Section):
    """The empirical library that the emulator learns."""

    name: str = Field(
        "mastar", pattern=r"^[A-Za-z0-9_-]+$", description="Name of the library, part of file names."
    )
    format: Literal["mastar", "miles", "elodie", "stelib", "table"] = Field(
        "mastar", description="How its files are laid out (docs/libraries.md)."
    )
    spectra: str | None = Field(
        None,
        description=(
            "File with the spectra, for elodie and stelib the folder with their files; a simulated run brings its own."
        ),
    )
    labels_file: str | None = Field(
        None,
        description="File with the labels; null when they stand with the spectra, or in a simulated run.",
    )
    min_snr: NonNegativeFloat = Field(
        20.0, description="Library spectra are taken when S/N > this (Liang et al. 2024)."
    )
    labels: Annotated[list[Label], AfterValidator(_distinct)] = Field(
        ["teff", "logg", "feh", "alpha_fe"],
        min_length=1,
        description="Labels that the library has and the fit determines.",
    )
    label_columns: dict[Label, str] = Field(
        default_factory=dict,
        description="Columns of the labels file where they differ from the format's usual ones.",
    )
    quality_columns: dict[Label, str] = Field(
        default_factory=dict,
        description=(
            "Header keywords, or columns of the labels file, with the quality flag of a label, for elodie and stelib; "
            "{} uses no flags."
        ),
    )
    min_quality: float = Field(
        1.0, description="A label whose flag in quality_columns is lower than this, or missing, is not used."
    )
    resolution: Resolution = Field(
        Resolution(), description="Matching the library's resolution to the survey's."
    )

    @model_validator(mode="after")
    def _flags_are_read(self) -> Self:
        """A quality flag that no reader looks at would be a cut that is not made."""
        if self.quality_columns and self.format not in ("elodie", "stelib"):
            raise ValueError(
                f"library.quality_columns is set but the format {self.format} has no quality flags; leave it out"
            )
        return self


class ComparedLibrary(Library):
    """A further library, cross-validated beside the one that the run uses."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$", description="Name of the library, part of file names.")
    spectra: str = Field(description="File with the spectra, or folder with their files.")
    variance: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of its variance that the components keep; null: emulator.variance.",
    )


class SecondEmulator(Section):
    """A second emulator of the same library with other labels: log g of one team beside the recommended one."""

    label_columns: dict[Label, str] = Field(
        default_factory=dict,
        description=(
            "Columns of the labels file that differ from those of library, logg among them; {logg: LOGG_JI} is the "
            "log g of Imig et al. (2022) in MaStar. Its fits give logg_imig, from each spectrum alone whatever "
            "fit.method is, and take as long as the first; {} makes none, and logg_imig is NaN."
        ),
    )


class Emulator(Section):
    """Principal components and Gaussian process: labels to spectrum."""

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
    amplitude: PositiveFloat = Field(2.1, description="Amplitude of the kernel, in components of flux.")
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
    folds: int = Field(10, ge=2, description="Parts of the cross-validation.")


class Fit(Section):
    """The labels of each spectrum."""

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
        0.01, description="Standard deviation added to the noise of every pixel of the normalised flux."
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
    max_outlier_fraction: float = Field(
        0.2, gt=0, le=1, description="Spectra of which a larger share of the pixels is left out are rejected."
    )


class Grouped(Section):
    """The grouped search of Liang et al. (2024, section 2.2), for fit.method grouped and grouped_refine."""

    group_size: PositiveInt = Field(1000, description="Spectra per group, sorted by first guess.")
    matches: PositiveInt = Field(
        100, description="Library spectra that a star's labels are combined from, the most similar ones."
    )
    variance: float = Field(
        0.98,
        gt=0,
        le=1,
        description="Share of the variance of a group's candidate labels that the search can reach.",
    )
    form: Literal["published", "centred", "scaled"] = Field(
        "published",
        description=(
            "published: candidate labels as they are; centred: less their mean; scaled: each label also divided by "
            "its standard deviation."
        ),
    )
    search: Literal["bayesian", "gradient"] = Field(
        "bayesian", description="bayesian: the published search; gradient: by derivatives."
    )
    random_points: PositiveInt = Field(10, description="Random points that the Bayesian search begins with.")
    kappa: NonNegativeFloat = Field(
        2.576, description="How much the Bayesian search favours the unknown: of its upper confidence bound."
    )
    patience: PositiveInt = Field(5, description="Iterations without a better fit that end a search.")
    max_iterations: PositiveInt = Field(
        50, description="Most iterations of a search after its first points; the paper has no limit."
    )
    groups_per_job: PositiveInt = Field(10, description="Groups of a job; results do not depend on it.")


class Networks(Section):
    """Labels from networks trained on stars with known labels (Wang et al. 2022)."""

    training_sets: str | None = Field(
        "config/training_sets.yaml",
        description=(
            "YAML file that defines the training sets and their labels; null: no networks. The shipped one has the "
            "published sets."
        ),
    )
    root: str | None = Field(
        None,
        description=(
            "Folder that the training sets' files are relative to; null takes survey.root; a simulated run brings "
            "its own."
        ),
    )
    pretrained: str | None = Field(
        None,
        description=(
            "Folder of networks trained by another run ({label}.h5), used instead of training; null trains."
        ),
    )
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
    layers: list[PositiveInt] = Field(
        [512, 256, 64], min_length=1, description="Neurons of the hidden layers; a set may have its own."
    )
    members: PositiveInt = Field(
        5,
        description=(
            "Networks per label, different in their first weights and in the stars kept for validation; the label is "
            "their mean, their spread is in the catalogue. 1 is the published method."
        ),
    )
    validation_fraction: float = Field(
        0.2,
        gt=0,
        le=0.5,
        description="Share of the training stars that each member keeps for early stopping.",
    )
    input_components: int = Field(
        150,
        ge=0,
        description=(
            "Principal components of the training spectra that the first layers are trained on, folded back into "
            "pixels afterwards; 0 trains on pixels, which is the published method."
        ),
    )
    augmentation_snr: NonNegativeFloat = Field(
        10.0,
        description=(
            "Training spectra get noise added as if observed at S/N between this and their own, new in every epoch; 0 "
            "adds none, which is the published method."
        ),
    )
    epochs: PositiveInt = Field(100, description="Most passes over the training stars.")
    patience: PositiveInt = Field(
        40, description="Passes without a better validation loss after which training stops."
    )
    batch_size: PositiveInt = Field(64, description="Spectra per step of the optimiser.")
    learning_rate: PositiveFloat = Field(
        1e-3, description="Step size of the optimiser (Adam) at the start; it falls to 0 as a cosine."
    )
    weight_decay: NonNegativeFloat = Field(
        0.0, description="Decay of the weights per step, in units of the learning rate (AdamW)."
    )
    cloud_quantile: float = Field(
        0.98,
        gt=0.5,
        lt=1,
        description=(
            "A spectrum is outside the training cloud when it is farther from it than this share of the training "
            "spectra themselves."
        ),
    )


class PhotometryJoin(Section):
    """Magnitudes and distances of other surveys joined to every spectrum."""

    enabled: bool = Field(True, description="Join them; without them there is neither E(B-V) nor distance.")
    file: str = Field(
        "config/photometry.yaml",
        min_length=1,
        description="YAML file that names the tables and their columns; tables that are absent are left out.",
    )
    root: str | None = Field(
        None,
        description=(
            "Folder that the tables are relative to; null takes networks.root, then survey.root; a simulated run "
            "brings its own."
        ),
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
    scale: Literal["published", "sfd", "corrected"] = Field(
        "published",
        description=(
            "published: one E(B-V) times the numbers as they are, as in Wang et al. (2022); sfd or corrected: all "
            "numbers and E(B-V) on the scale of Schlegel et al. (1998) or on the true one, 0.86 times as large."
        ),
    )
    sfd: dict[str, PositiveFloat] = Field(
        {
            "j": 0.72,
            "h": 0.46,
            "ks": 0.306,
            "w1": 0.19,
            "w2": 0.15,
            "b_apass": 3.626,
            "v_apass": 2.742,
            "r_apass": 2.285,
            "g_sdss": 3.31,
            "r_sdss": 2.32,
            "i_sdss": 1.72,
        },
        description=(
            "Coefficients for E(B-V) of Schlegel et al.: Yuan et al. (2013), those of APASS Schlafly & Finkbeiner "
            "(2011)."
        ),
    )
    corrected: dict[str, PositiveFloat] = Field(
        {"g_gaia": 2.50, "bp": 3.24, "rp": 1.91},
        description="Coefficients for the true E(B-V): Chen et al. (2018).",
    )

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
    n_controls: int = Field(40, ge=8, description="Nearest controls that a star's colours are fitted to.")
    min_controls: int = Field(12, ge=8, description="E(B-V) is missing where fewer are near.")
    max_distance: PositiveFloat = Field(
        2.0, description="Controls within this are near, in units of the three scales below."
    )
    teff_scale: PositiveFloat = Field(0.04, description="Relative difference of Teff that counts as one.")
    logg_scale: PositiveFloat = Field(0.4, description="Difference of log g that counts as one.")
    feh_scale: PositiveFloat = Field(0.3, description="Difference of [Fe/H] that counts as one.")
    min_colours: int = Field(2, ge=1, le=13, description="E(B-V) is missing for stars with fewer colours.")
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
        5.0, description="Standard deviations from what the other bands say at which a band is left out."
    )
    r0: PositiveFloat = Field(
        8.122,
        description="Distance of the Sun from the Galactic centre (GRAVITY Collaboration 2018); in kpc.",
    )
    z_sun: float = Field(
        20.8, gt=-500, lt=500, description="Height of the Sun above the plane (Bennett & Bovy 2019); in pc."
    )


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


class PairTolerance(Section):
    """How alike the S/N of two spectra of one star must be for their labels to be compared."""

    networks: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="For the labels of networks; a share of the larger S/N (Wang et al. 2022, section 4.1).",
    )
    emulator: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="For the labels of the emulator; a share of the larger S/N (Liang et al. 2024, section 4.3).",
    )


def _edges(bins: int | list[float]) -> int | list[float]:
    if isinstance(bins, int):
        if bins < 4:
            raise ValueError(f"{bins} bins are too few for three coefficients; give at least 4")
    elif len(bins) < 5 or any(not low < high for low, high in itertools.pairwise(bins)) or bins[0] < 0:
        raise ValueError("the edges must be at least five increasing numbers, the first not negative")
    return bins


class Errors(Section):
    """Errors of the catalogue: how they are found (docs/errors.md)."""

    pair_snr_tolerance: PairTolerance = Field(
        PairTolerance(),
        description="How alike the S/N of two spectra of one star must be for their labels to be compared.",
    )
    emulator: Literal["calibrated", "published", "covariance"] = Field(
        "calibrated",
        description=(
            "Errors of the emulator's labels: covariance, those that the fit predicts for each star; calibrated, these "
            "corrected by repeats and cross-validation as functions of labels and S/N; published, such functions alone "
            "(Liang et al. 2024, equations 5 and 6)."
        ),
    )
    networks: Literal["calibrated", "published", "left_out"] = Field(
        "calibrated",
        description=(
            "Errors of network labels: left_out, the scatter of left-out training stars with noise added to each "
            "spectrum's S/N, and the members' spread (docs/networks.md); calibrated, these corrected by repeats and "
            "left-out stars as functions of labels and S/N; published, a + c / SNR^b from repeats and a method error "
            "in quadrature (Wang et al. 2022, section 4.1)."
        ),
    )
    method_error: Literal["published", "left_out"] = Field(
        "left_out",
        description=(
            "Method error with networks: published. published: standard deviation of the training residuals; left_out: "
            "robust width of left-out stars less the reference's error and the random error."
        ),
    )
    bins: Annotated[int | list[float], AfterValidator(_edges)] = Field(
        20,
        description=(
            "Bins of S/N that a, b, c are fitted to: a number of bins with equally many pairs (fewer when these would "
            "be less than 25 each), or the bins' edges."
        ),
    )
    width: Literal["robust", "deviation"] = Field(
        "robust",
        description=(
            "Width of a bin's differences: robust, 1.4826 times their median size, or deviation, the root of their "
            "mean square (Wang et al.)."
        ),
    )
    min_pairs: PositiveInt = Field(
        200, description="Pairs of spectra that a label needs for a random error of its own."
    )
    max_pairs: PositiveInt = Field(
        50_000,
        description=(
            "Pairs of spectra that the dependence of a label's random error on labels and S/N is learned from at most; "
            "which ones follows from the spectra's names. a, b, c of the networks are fitted to all."
        ),
    )
    few_repeats: Literal["published", "training", "none"] = Field(
        "training",
        description=(
            "Errors of a network's label with fewer pairs than min_pairs: published, Table 2 of Wang et al. "
            "(config/published_errors.yaml; training for labels it does not have); training, the scatter of left-out "
            "training stars at each S/N; none, no error."
        ),
    )


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
        7000.0, description="flag_alpha_fe is 1 for hotter stars, whose spectra hardly show [alpha/Fe]; in K."
    )
    outlier_flag_fraction: float = Field(
        0.02,
        ge=0,
        le=1,
        description="flag_outliers is 1 where the fit left out a larger share of the pixels as outliers.",
    )


class Recommended(Section):
    """One value of each label from both systems."""

    definitions: str = Field(
        "config/recommended.yaml",
        min_length=1,
        description="YAML file that defines the recommended labels: sources, their ranges, and the scale.",
    )
    snr_min: NonNegativeFloat = Field(
        30.0,
        description=(
            "The relations between the sources' scales are fitted to stars with S/N in survey.snr_band above this."
        ),
    )
    min_stars: int = Field(
        100,
        ge=10,
        description=(
            "With fewer stars of a spectral type that two sources have in common, the source is taken as it stands."
        ),
    )
    min_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description=(
            "A source is the scale of a spectral type when it is valid for this share of the type's stars, "
            "so that the relations need not be extrapolated; else the next in the list is."
        ),
    )
    max_stars: int = Field(
        100_000,
        ge=1000,
        description="Of more stars in common, this many, evenly along the label, take part in the fit.",
    )
    correlation: float = Field(
        0.0,
        ge=-0.95,
        le=0.95,
        description=(
            "Correlation of two sources' random errors where there are no repeat observations to measure it on."
        ),
    )
    min_pairs: PositiveInt = Field(
        30,
        description=(
            "The measured correlation counts as the number of pairs of repeats, recommended.correlation as this many."
        ),
    )
    systematic_correlation: float = Field(
        0.4,
        ge=-0.95,
        le=0.95,
        description=(
            "Correlation of the parts of two sources' errors that repeats do not show, because a star misleads both "
            "in the same way; measured on a simulated survey (docs/recommended.md)."
        ),
    )
    disagreement: PositiveFloat = Field(
        3.0,
        description="flag_{label}_disagree is 1 where the systems differ by more than this many sigma.",
    )


class Publication(Section):
    """Forms of the catalogue beside FITS and Parquet (docs/catalogue.md)."""

    title: str = Field(
        "Stellar labels of LAMOST low-resolution spectra",
        min_length=1,
        description="Title of the catalogue in ReadMe, VOTable and HATS; ASCII.",
    )
    authors: str = Field("", description="Authors of the catalogue in the ReadMe; ASCII; empty: none.")
    cds: bool = Field(
        True,
        description="Write recommended.dat.gz, a text table, and ReadMe, which describes it byte by byte for CDS.",
    )
    votable: bool = Field(True, description="Write recommended.vot, some columns and rows as a VOTable.")
    votable_columns: list[str] | None = Field(
        None,
        description="Columns of recommended.vot; null: identity, position, recommended labels, quality.",
    )
    votable_rows: str | None = Field(
        "best_spectrum == 1 and flag_snr == 0 and flag_chi2 == 0",
        description="Condition on the columns of the catalogue that rows of recommended.vot meet; null: all rows.",
    )
    votable_max_rows: PositiveInt | None = Field(
        None, description="Most rows of recommended.vot, the first ones; null: no limit."
    )
    hats: bool = Field(
        False,
        description="Write hats/, Parquet files by HEALPix pixel, for programs that work on very large catalogues.",
    )
    hats_max_rows: PositiveInt = Field(
        500_000, description="Most rows of a file in hats/; half a million rows of 1 kB need 2 GB of memory."
    )

    @field_validator("title", "authors")
    @classmethod
    def _ascii(cls, text: str) -> str:
        if not text.isascii():
            raise ValueError("it must be ASCII, as CDS wants; write names without accents")
        return text


class Explorer(Section):
    """The page explorer.html, which shows the catalogue without network (docs/explorer.md)."""

    enabled: bool = Field(True, description="Write explorer.html.")
    max_rows: PositiveInt = Field(
        1_000_000,
        description="Most rows in the page, evenly spaced over those that meet rows; a million are about 50 MB.",
    )
    columns: list[str] | None = Field(
        None,
        description=(
            "Columns of the table, the download and the axes; null: position, recommended labels, absolute "
            "magnitudes, distance, quality. Those that the plots and filters need are always there."
        ),
    )
    rows: str | None = Field(
        None,
        description="Condition on the columns of the catalogue that rows of the page meet; null: all rows.",
    )


class Validation(Section):
    """Comparisons of the catalogue with other determinations."""

    enabled: bool = Field(True, description="Write comparisons, pulls and figures.")
    truth: str | None = Field(
        None, description="Table of true labels by spectrum_id; a simulated run brings its own."
    )
    comparisons: str | None = Field(
        "config/comparisons.yaml",
        description=(
            "YAML file that defines the comparisons with other catalogues (docs/comparisons.md); those whose file is "
            "absent are skipped. null: none."
        ),
    )
    isochrone: str | None = Field(
        None,
        description=(
            "Table with the columns teff (K) and bp_rp (mag, intrinsic) of an isochrone that the figure of dereddened "
            "colours shows; null: none."
        ),
    )
    libraries: list[ComparedLibrary] = Field(
        default_factory=list,
        description=(
            "Further libraries whose emulators are cross-validated and compared with the run's own (Liang et al. 2024, "
            "Figure 7); each has the keys of the section library, name and spectra at least, and variance if it needs "
            "another than emulator.variance; resolution.survey_fwhm is that of library.resolution unless it is given."
        ),
    )


class Fetch(Section):
    """Bringing public files, and checking the release's tree (docs/howto_dr10.md); no part of a run."""

    file: str = Field(
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
    tries: PositiveInt = Field(8, description="How often a request is made before it fails.")
    first_wait: NonNegativeFloat = Field(
        2.0, description="Time before the second try, doubled before each further one up to 5 minutes; in s."
    )
    contact: str = Field(
        "",
        description="Address of a person, which archives see in each request and may use before they block it.",
    )
    sizes: bool = Field(
        True,
        description=(
            "check_release looks for files without a byte too, which asks the file system once per spectrum; false: "
            "once per plate folder."
        ),
    )


class Experiments(Section):
    """Experiments on the method, asked for by name (docs/experiments.md); no part of the catalogue."""

    n_stars: PositiveInt = Field(
        1000, description="Survey spectra of each type, drawn at random; Liang et al. (2024) took 10,000."
    )
    n_chunks: PositiveInt = Field(
        2,
        description=(
            "Chunks of each type that these are drawn from, evenly spaced in the release, because all spectra of a "
            "chunk have to be prepared."
        ),
    )
    matches: list[Annotated[int, Field(ge=5)]] = Field(
        [5, 10, 25, 50, 75, 100, 150, 200, 300, 500, 750, 1000],
        min_length=1,
        description=(
            "Numbers of candidates t in bounds and matches; Liang et al.: 5 to 1500 in steps of 20. Those above the "
            "library's size are left out."
        ),
    )
    n_candidates: int = Field(100, ge=5, description="Candidates t in group_size and grouping, as published.")
    bound_sizes: list[PositiveInt] = Field(
        [5, 50, 200, 1000],
        min_length=1,
        description="Group sizes in bounds; Liang et al.: 5 to 2000 in steps of 100.",
    )
    group_sizes: list[PositiveInt] = Field(
        [1, 10, 100, 1000],
        min_length=1,
        description=(
            "Group sizes in group_size; Liang et al.: 1 to 3000 in steps of 10. 1, with which the others are compared, "
            "is added where it is missing."
        ),
    )
    n_group: int = Field(
        100, ge=2, description="Stars of a group in grouping and matches; Liang et al.: 1000."
    )
    n_groups: PositiveInt = Field(
        5, description="Groups of each type and size in bounds, grouping and matches."
    )
    trial_stars: PositiveInt = Field(
        25,
        description=(
            "Stars of each type whose Teff is compared in group_size; all groups that hold one of them are fitted."
        ),
    )
    variance: float = Field(
        0.98, gt=0, le=1, description="Share of the variance of candidates that components keep."
    )
    form: Literal["published", "centred"] = Field(
        "published",
        description=(
            "Candidates as they are, or less their mean (docs/grouped.md), in group_size, grouping and matches; bounds "
            "shows both."
        ),
    )
    search: Literal["bayesian", "gradient"] = Field("bayesian", description="The search in group_size.")
    folds: int = Field(
        5, ge=2, description="Parts of the library, each left out once, in group_size and reproduction."
    )


class Configuration(Section):
    """Configuration of lamost-vac."""

    run: Run = Field(Run(), description="The run as a whole.")
    simulation: Simulation = Field(Simulation(), description="The simulated survey.")
    survey: Survey = Field(Survey(), description="The release and the selection.")
    prepare: Prepare = Field(Prepare(), description="Spectra onto the common grid.")
    library: Library = Field(Library(), description="The empirical library.")
    emulator: Emulator = Field(Emulator(), description="Labels to spectrum.")
    second_emulator: SecondEmulator = Field(SecondEmulator(), description="Another log g.")
    fit: Fit = Field(Fit(), description="The labels of each spectrum.")
    grouped: Grouped = Field(Grouped(), description="The grouped search.")
    networks: Networks = Field(Networks(), description="Labels by networks.")
    errors: Errors = Field(Errors(), description="Errors of the labels.")
    photometry: PhotometryJoin = Field(PhotometryJoin(), description="Other surveys' magnitudes.")
    extinction: Extinction = Field(Extinction(), description="Coefficients of extinction.")
    star_pairs: StarPairs = Field(StarPairs(), description="E(B-V).")
    distance: Distance = Field(Distance(), description="Distances.")
    catalog: Catalog = Field(Catalog(), description="Flags of the catalogue.")
    recommended: Recommended = Field(Recommended(), description="One value from both systems.")

    publication: Publication = Field(Publication(), description="Forms of the catalogue.")
    explorer: Explorer = Field(Explorer(), description="The catalogue's page.")
    validation: Validation = Field(Validation(), description="Comparisons.")
    experiments: Experiments = Field(Experiments(), description="Experiments on the method.")
    fetch: Fetch = Field(Fetch(), description="Bringing public files.")

    @model_validator(mode="after")
    def _inputs_are_named(self) -> Self:
        """A run on real files names them; a simulated run must not be mistaken for one."""
        if self.simulation.enabled:
            if self.survey.catalogues:
                raise ValueError(
                    "survey.catalogues is set but simulation.enabled is true, so it would be ignored; "
                    "set simulation.enabled to false or leave survey.catalogues out"
                )
        elif not self.survey.catalogues:
            raise ValueError(
                "survey.catalogues is empty; name the release's catalogue, or set simulation.enabled to true"
            )
        elif self.library.spectra is None:
            raise ValueError("library.spectra is not set; name the file with the library's spectra")
        return self

    @model_validator(mode="after")
    def _libraries_have_names_of_their_own(self) -> Self:
        names = [self.library.name, *(library.name for library in self.validation.libraries)]
        names += [self.second_library.name] if self.second_library else []
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"two libraries are called {name}; give each entry of validation.libraries a name of its own"
                )
        return self

    @model_validator(mode="after")
    def _second_emulator_has_a_log_g_of_its_own(self) -> Self:
        if not self.second_emulator.label_columns:
            return self
        if "logg" not in self.second_emulator.label_columns:
            raise ValueError(
                "second_emulator.label_columns has no logg; name its column or leave the section out"
            )
        if "logg" not in self.library.labels:
            raise ValueError("second_emulator.label_columns is set but library.labels has no logg")
        if self.library.format == "miles":
            raise ValueError(
                "second_emulator.label_columns is set but the format miles has one set of labels; leave it out"
            )
        return self

    @property
    def second_library(self) -> Library | None:
        """The run's library with the labels of the second emulator; None without one."""
        columns = self.second_emulator.label_columns
        if not columns:
            return None
        changed = {
            "name": f"{self.library.name}_imig",
            "label_columns": self.library.label_columns | columns,
        }
        return self.library.model_copy(update=changed)

    def chunk_rules(self, networks: bool) -> list[str]:
        """The rules that have a job for each chunk, in the order of the data; `networks`: whether there are any."""
        rules = ["prepare"]
        if self.fit.method != "refine":
            rules += ["project", "candidates"]
        rules.append("fit")
        if self.second_library is not None:
            rules.append("fit_imig")
        if networks:
            rules.append("predict")
        return rules

    def libraries(self) -> dict[str, Library]:
        """The run's library, that of the second emulator and those compared with them, by name.

        One line width of the survey for all.
        """
        width = self.library.resolution.survey_fwhm
        found: dict[str, Library] = {self.library.name: self.library}
        if self.second_library:
            found[self.second_library.name] = self.second_library
        for library in self.validation.libraries:
            if library.resolution.survey_fwhm is None and width is not None:
                matched = library.resolution.model_copy(update={"survey_fwhm": width})
                library = library.model_copy(update={"resolution": matched})
            found[library.name] = library
        return found


def load_configuration(mapping: Mapping[str, Any]) -> Configuration:
    """Defaults overlaid with `mapping` (nested dictionaries, as Snakemake's `config`).

    A section that is present but empty (`survey:` in YAML) counts as left out. Texts are converted
    to numbers where a number is wanted, and the text `null` to none, because Snakemake passes what
    stands inside `--config 'section={key: value}'` as text.

    Raises
    ------
    UserError
        One sentence on the first mistake: an unknown key and the nearest valid one, or a wrong
        value, what is allowed and the nearest valid value.
    """
    try:
        return Configuration.model_validate(_cleaned(mapping))
    except ValidationError as problems:
        raise UserError(_sentence(problems)) from None


def read_configuration(path: str | Path) -> Configuration:
    """The configuration of a YAML file. Raises `UserError` when it is missing or not a mapping."""
    try:
        content = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise UserError(f"the configuration file {path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise UserError(
            f"the configuration file {path} is not YAML: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(content or {}, dict):
        raise UserError(f"the configuration file {path} must consist of `section:` blocks")
    return load_configuration(content or {})


def configuration_hash(configuration: Mapping[str, Any]) -> str:
    """SHA-256 of the settings that a row of the catalogue depends on.

    `configuration` is the whole one as nested dictionaries, with a section `training_sets` for the content of
    the file that the section `networks` names, `recommended_labels` for that of `recommended.definitions` and
    `photometry_tables` for that of the section `photometry`. Left out is what only says where files are, which part of
    the survey runs, or how work is cut into jobs.
    """
    ignored = {
        "run": {"results"},
        "survey": {"root", "catalogues", "file_pattern", "types", "chunk_size"},
        "prepare": {"keep"},
        "library": {"spectra", "labels_file"},
        "grouped": {"groups_per_job"},
        "networks": {"root", "training_sets"},
        "recommended": {"definitions"},
        "photometry": {"root", "file"},
    }
    kept = {
        section: {key: value for key, value in content.items() if key not in ignored.get(section, ())}
        for section, content in configuration.items()
        if section not in ("validation", "publication", "explorer")
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _cleaned(mapping: Mapping[str, Any]) -> dict[str, Any]:
    sections = {name for name in Configuration.model_fields}
    return {
        key: _without_null_text(value)
        for key, value in mapping.items()
        if not (value is None and key in sections)
    }


def _without_null_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_null_text(item) for key, item in value.items()}
    return None if value == "null" else value


# ---------------------------------------------------------------- mistakes in words


def _sentence(problems: ValidationError) -> str:
    """The first mistake as one sentence; an unknown key explains most others, so it comes first."""
    error = first_mistake(problems)
    root, place, location = _list_item(error["loc"])
    value = error["input"]
    if error["type"] == "extra_forbidden":
        return _unknown_key([str(part) for part in location], root, place)
    if error["type"] == "value_error" and not location:
        return f"{place[:-1]}: {error['ctx']['error']}" if place else str(error["ctx"]["error"])
    field, depth = _field_at(location, root)
    name = (place + ".".join(str(part) for part in location[:depth])).removesuffix(".")
    if error["type"] == "missing":
        return f"configuration key {name} is missing; it must be {_allowed(field) if field else 'given'}"
    if field is None:
        keys = ", ".join(keys_at(root, [str(part) for part in location]))
        if error["type"] == "value_error":
            return str(error["ctx"]["error"])
        return (
            f"configuration key {name} = {_shown(value)} is not allowed; it is a section with the keys {keys}"
        )
    annotation, items = _descend(Annotated[field.annotation, None, *field.metadata], location[depth:])
    if location[-1] == "[key]":
        choices = list(typing.get_args(_unwrapped(annotation)))
        close = closest(str(value), choices) or choices[0]
        return f"configuration key {name}.{value} does not exist; did you mean {name}.{close}?"
    stem = f"configuration key {name}{items} = {_shown(value)} is not allowed"
    if error["type"] == "value_error":
        return f"{stem}: {error['ctx']['error']}"
    text = f"{stem}; it must be {_type_words(annotation)}"
    nearest = _nearest_value(error, annotation)
    if nearest is not None:
        text += f" (nearest: {_shown(nearest)})"
    elif not items and not field.is_required():
        text += f" (default: {_shown(field.get_default(call_default_factory=True))})"
    return text


def _list_item(location: Sequence[int | str]) -> tuple[type[BaseModel], str, Sequence[int | str]]:
    """Where a location lies in a list of sections: the items' model, `list[0].` and what follows that.

    The configuration itself, "" and the whole location when it lies in no such list.
    """
    root: type[BaseModel] = Configuration
    place, rest = "", location
    model: type[BaseModel] | None = root
    field: FieldInfo | None = None
    text = ""
    for depth, part in enumerate(location):
        if model is not None and part in model.model_fields:
            field = model.model_fields[str(part)]
            model = _submodel(field)
            text += f"{part}."
        elif isinstance(part, int) and field is not None and (item := _item_model(field)) is not None:
            root = model = item
            place = text = f"{text[:-1]}[{part}]."
            rest = location[depth + 1 :]
        else:
            break
    return root, place, rest


def _unknown_key(location: Sequence[str], root: type[BaseModel], place: str) -> str:
    siblings = keys_at(root, location[:-1])
    prefix = place + "".join(f"{part}." for part in location[:-1])
    name, last = prefix + location[-1], location[-1]
    # A correct key in the wrong section is as common a mistake as a misspelt one.
    by_last = {path.split(".")[-1]: path for path, _ in _walk(Configuration)}
    close = closest(last, siblings)
    stem = f"configuration key {name} does not exist"
    if close and (place or last not in by_last):
        return f"{stem}; did you mean {prefix}{close}?"
    elsewhere = closest(last, by_last, cutoff=0.75)
    if elsewhere and not place:
        return f"{stem}; did you mean {by_last[elsewhere]}?"
    return f"{stem}; the keys {f'of {prefix[:-1]} ' if prefix else ''}are {', '.join(siblings)}"


def _unwrapped(annotation: Any) -> Any:
    """An annotation without what stands around it: limits (Annotated) and null as an alternative."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is Annotated:
        return _unwrapped(arguments[0])
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return _unwrapped(next(item for item in arguments if item is not type(None)))
    return annotation


def _descend(annotation: Any, path: Sequence[int | str]) -> tuple[Any, str]:
    """The annotation of the item that `path` leads to inside a value, and the path as text."""
    text = ""
    for part in path:
        inner = _unwrapped(annotation)
        arguments = typing.get_args(inner)
        if typing.get_origin(inner) is dict and part != "[key]":
            annotation = arguments[0] if path[-1] == "[key]" else arguments[1]
            text += f".{part}"
        elif typing.get_origin(inner) in (list, tuple) and isinstance(part, int):
            annotation = arguments[0]
            text += f"[{part}]"
    return annotation, text


def _nearest_value(error: Any, annotation: Any) -> Any:
    """The valid value closest to the wrong one, or None when closeness means nothing."""
    context = error.get("ctx", {})
    if error["type"] == "literal_error":
        choices = typing.get_args(_unwrapped(annotation))
        return closest(str(error["input"]), choices, cutoff=0.3) or choices[0]
    if (
        error["type"] == "list_type"
        and isinstance(error["input"], str)
        and " section " not in _type_words(annotation)
    ):
        return [error["input"]]
    if error["type"] == "greater_than" and _type_words(annotation).startswith("a whole"):
        return context["gt"] + 1
    for limit in ("ge", "le"):
        if limit in context:
            return context[limit]
    return None


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(_plain(value), default=str, ensure_ascii=False)


# ---------------------------------------------------------------- the models as documentation


def _submodel(field: FieldInfo) -> type[BaseModel] | None:
    annotation: Any = field.annotation
    # `list[str]` counts as a type for isinstance, but not for issubclass.
    is_class = isinstance(annotation, type) and typing.get_origin(annotation) is None
    return annotation if is_class and issubclass(annotation, BaseModel) else None


def _item_model(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a list's items when they are sections."""
    annotation: Any = _unwrapped(field.annotation)
    items = typing.get_args(annotation)
    if typing.get_origin(annotation) is not list or not isinstance(items[0], type):
        return None
    return items[0] if issubclass(items[0], BaseModel) else None


def _walk(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """All keys below `model` that hold values, as dotted paths."""
    for name, field in model.model_fields.items():
        inner = _submodel(field)
        if inner:
            yield from _walk(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _field_at(
    location: Sequence[int | str], root: type[BaseModel] | None = None
) -> tuple[FieldInfo | None, int]:
    """The field that `location` leads to below `root`, and how many of its parts name it."""
    model: type[BaseModel] | None = root or Configuration
    field: FieldInfo | None = None
    for depth, part in enumerate(location):
        if model is None or part not in model.model_fields:
            return field, depth
        field = model.model_fields[str(part)]
        model = _submodel(field)
    return (field if model is None else None), len(location)


def _plain(value: Any) -> Any:
    """Models and tuples as what YAML and JSON have."""
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _type_words(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """An annotation in words: `a whole number`, `one of a, b`, `a list of ...`."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        return _type_words(arguments[0], [*arguments[1:], *metadata])
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (types.UnionType, typing.Union):
        return " or ".join(
            "null" if part is type(None) else _type_words(part, metadata) for part in arguments
        )
    if origin in (list, Sequence):
        return f"a list, each item {_type_words(arguments[0])}"
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)} values, each {_type_words(arguments[0])}"
    if origin is tuple:
        return f"a list, each item {_type_words(arguments[0])}"
    if origin in (dict, Mapping):
        return f"a mapping from {_type_words(arguments[0])} to {_type_words(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a section with the keys {', '.join(annotation.model_fields)}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}.get(
        annotation, "a value"
    )
    limits = []
    for mark in metadata:
        for item in getattr(mark, "metadata", [mark]):
            for attribute, phrase in (
                ("gt", "above"),
                ("ge", "at least"),
                ("le", "at most"),
                ("lt", "below"),
            ):
                bound = getattr(item, attribute, None)
                if isinstance(bound, int | float):
                    limits.append(f"{phrase} {bound:g}")
            pattern = getattr(item, "pattern", None)
            if isinstance(pattern, str):
                limits.append(
                    "of letters, digits, _ and -" if pattern == r"^[A-Za-z0-9_-]+$" else f"like {pattern}"
                )
    return f"{words} {' and '.join(limits)}" if limits else words


def _allowed(field: FieldInfo) -> str:
    return _type_words(field.annotation, field.metadata)


def _flow(value: Any) -> str:
    """A value as it stands behind `key:` in YAML, on one line."""
    return (
        yaml.safe_dump(
            _plain(value), default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False
        )
        .removesuffix("\n...\n")
        .strip()
    )


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def default_yaml() -> str:
    """The text of config/config.yaml: every key with its default and its meaning."""
    lines = [
        "# yaml-language-server: $schema=schema.json",
        "# Every configuration key with its default. Written by `python -m lamostvac.configuration.root --write`:",
        "# copy what you want to change into a file of your own and run `snakemake --configfile FILE`.",
    ]

    def add(model: type[BaseModel], values: BaseModel, indent: int) -> None:
        margin = " " * indent
        for name, field in model.model_fields.items():
            value = getattr(values, name)
            inner = _submodel(field)
            if indent == 0:
                lines.append("")
                text = (inner.__doc__ or "").strip().splitlines()[0] if inner else field.description or ""
            else:
                text = field.description or ""
                if inner is None:
                    text += f" [{_allowed(field)}]"
            lines.extend(
                textwrap.wrap(text, 108, initial_indent=f"{margin}# ", subsequent_indent=f"{margin}# ")
            )
            if inner:
                lines.append(f"{margin}{name}:")
                add(inner, value, indent + 2)
            else:
                lines.append(f"{margin}{name}: {_flow(value)}")

    add(Configuration, Configuration(), 0)
    return "\n".join(lines) + "\n"


def schema_json() -> str:
    """The text of config/schema.json, by which editors complete and check configuration files."""
    return json.dumps(Configuration.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def documentation() -> str:
    """The text of docs/configuration.md: one table per section."""
    lines = [
        "# Configuration",
        "",
        "Written by `python -m lamostvac.configuration.root --write` from `lamostvac/configuration/root.py`.",
        "",
        "A configuration file contains only what differs from these defaults and stands alone:",
        "`snakemake --configfile config/mine.yaml`. Single values can be set on the command line, by section:",
        "`snakemake --configfile config/mine.yaml --config 'survey={types: [M]}' 'run={seed: 2}'`.",
        "A wrong key or value ends the run before any job starts, with one sentence that names it.",
    ]
    for section, field in Configuration.model_fields.items():
        inner = _submodel(field)
        assert inner is not None
        lines += ["", f"## {section}", "", (inner.__doc__ or "").strip(), ""]
        lines += ["| key | default | allowed | meaning |", "|---|---|---|---|"]
        for path, key in _walk(inner, f"{section}."):
            owner: Any = Configuration()
            for part in path.split("."):
                owner = getattr(owner, part)
            cells = [f"`{path}`", f"`{_flow(owner)}`", _allowed(key), key.description or ""]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def generated_files(project: Path) -> dict[Path, str]:
    """The files that are written from the models, with their content."""
    return {
        project / "config" / "config.yaml": default_yaml(),
        project / "config" / "schema.json": schema_json(),
        project / "docs" / "configuration.md": documentation(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the generated files, or say which of them are out of date (exit code 1)."""
    parser = argparse.ArgumentParser(prog="python -m lamostvac.configuration.root", description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="write config/config.yaml, schema.json, docs")
    options = parser.parse_args(arguments)
    stale = 0
    for path, text in generated_files(PROJECT).items():
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if options.write:
            path.write_text(text)
        print(f"{'written' if options.write else 'out of date'}: {path}")
    return 0 if options.write or not stale else 1


if __name__ == "__main__":
    raise SystemExit(main())
