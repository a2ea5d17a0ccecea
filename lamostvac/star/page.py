"""All results of the run for one star on one page (docs/star_page.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.catalog.flags import Chi2Regression, chi2_regression, library_distances, snr_flag
from lamostvac.catalog.lookup import (
    column_names,
    repeats_of,
    require_star,
    sample_of,
    spectrum_path,
)
from lamostvac.catalog.registry import EmulatorLabels
from lamostvac.core.hdf5 import open_hdf5, read_attributes, read_columns
from lamostvac.core.html import write_page
from lamostvac.core.rejection import SpectrumRejected
from lamostvac.core.vocabulary import LABELS, NO_FIT
from lamostvac.emulator.model import Emulator, read_emulator
from lamostvac.fit.refine import box
from lamostvac.fit.settings import FitSettings
from lamostvac.report.style import svg_source
from lamostvac.spectra.settings import Preparation
from lamostvac.star import figures, sections
from lamostvac.star.flags import (
    FlagFacts,
    disagreement_flags,
    extrapolation_flags,
    label_limits,
    network_flags,
    star_flags,
)
from lamostvac.star.spectrum import (
    Neighbours,
    StarSpectrum,
    label_vector,
    neighbours_of,
    read_star,
)

# Number of stars for the regression of chi2 and for the diagrams: 12 MB in memory.
SAMPLE = 200_000
_DRAWN = 15_000
_N_NEIGHBOURS = 5
NOT_FITTED = "The emulator gives this spectrum no labels, so there is no model beside it."


@dataclass(frozen=True)
class StarFiles:
    """Files of a finished run.

    Attributes
    ----------
    catalogue, rejected : recommended.parquet and rejected.csv
    manifest, chunks : the survey's table of chunks, and the pattern of their files with {type} and
        {chunk}
    emulator : that of the fit
    library : the prepared library
    networks : label to its network's file
    """

    catalogue: str
    rejected: str
    manifest: str
    chunks: str
    emulator: str
    library: str
    networks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StarSettings:
    """The run's settings that concern the star.

    Attributes
    ----------
    preparation : how its spectrum was brought onto the grid
    fit : how it was fitted
    snr_band : column of S/N
    snr_thresholds : spectral type to the thresholds of dwarfs and giants in use
    alpha_max_teff, outlier_fraction, disagreement : of the catalogue and of recommended values
    network_labels : label to its set, unit and description
    grids : label to the ranges that other labels must keep as well
    sources : recommended label to (column, system, bit) of its sources
    emulators : those beside the first
    """

    preparation: Preparation
    fit: FitSettings
    snr_band: str
    snr_thresholds: Mapping[str, tuple[float, float]]
    alpha_max_teff: float
    outlier_fraction: float
    disagreement: float
    network_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    grids: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    sources: Mapping[str, Sequence[tuple[str, str, int]]] = field(default_factory=dict)
    emulators: Sequence[EmulatorLabels] = ()


@dataclass(frozen=True)
class Star:
    """What a page shows of a spectrum.

    Attributes
    ----------
    row : of the catalogue
    facts : by which its flags were decided
    spectrum : None where there is none, and `trouble` says why
    repeats : other spectra of the star, as `catalog.lookup.repeats_of` gives them
    near : stars of the library; None leaves that part out
    sample : other stars, and what they are
    origin : lines on what made the labels
    notice : a sentence at the top
    """

    row: Mapping[str, Any]
    facts: FlagFacts
    spectrum: StarSpectrum | None
    trouble: str
    repeats: pd.DataFrame
    near: Neighbours | None
    sample: tuple[pd.DataFrame, str]
    origin: Sequence[tuple[str, str]]
    notice: str = ""


def write_page_of(output: str | Path, star: Star, settings: StarSettings) -> None:
    """Write the page of a spectrum, an HTML file."""
    row, labels = star.row, settings.network_labels
    suffix = "_rec" if "teff_rec" in row else ""
    fitted = int(row["fit_status"]) != NO_FIT
    reasons = star_flags(row, star.facts)
    agreement = disagreement_flags(row, settings.sources, star.facts)
    support = extrapolation_flags(row, settings.sources)
    of_networks = network_flags(row, list(labels), star.facts)
    sample, others = star.sample
    write_page(
        output,
        "star/templates/page.html.j2",
        head=sections.head(row, settings.snr_band, reasons, suffix),
        notice=star.notice,
        fitted=fitted,
        flags={
            "of_star": [*reasons, *agreement, *support],
            "of_networks": of_networks,
            "raised": [reason for reason in of_networks if reason.is_set],
        },
        labels=sections.labels(row, labels, settings.sources, of_networks, settings.emulators),
        spectrum={"trouble": star.trouble}
        if star.spectrum is None
        else sections.spectrum(star.spectrum),
        photometry=sections.photometry(row),
        repeats=sections.repeats(row, star.repeats, list(labels), settings.snr_band),
        neighbours=sections.neighbours(row, star.spectrum, star.near) if star.near else {},
        place={
            "n": f"{len(sample):,}",
            "others": others,
            "whose": "recommended" if suffix else "the emulator's",
            "figure": svg_source(
                figures.place(sample, row, star.repeats, star.near, suffix, others.split(",")[0])
            ),
        },
        origin=star.origin,
    )


def write_star_page(
    output: str | Path, star: str, files: StarFiles, settings: StarSettings
) -> None:
    """Write the page of a spectrum of the catalogue.

    Parameters
    ----------
    output : HTML file
    star : obsid, or spectrum_id where there is none

    Raises
    ------
    UserError
        The catalogue does not have the spectrum; the message says why.
    """
    number, found = require_star(files.catalogue, files.rejected, star)
    row: dict[str, Any] = {str(name): value for name, value in found.items()}
    spectral_type = str(row["spectral_type"])
    emulator = read_emulator(files.emulator)
    labels = label_vector(emulator, row)
    repeats = repeats_of(files.catalogue, number, float(row["ra"]), float(row["dec"]))
    sample = sample_of(files.catalogue, _sample_columns(files.catalogue, settings.snr_band), SAMPLE)
    fitted = int(row["fit_status"]) != NO_FIT
    near = neighbours_of(files.library, emulator, labels, _N_NEIGHBOURS) if fitted else None
    facts = flag_facts(
        row, files, settings, emulator, sample[sample["spectral_type"] == spectral_type]
    )
    thinned = sample.iloc[:: max(1, -(-len(sample) // _DRAWN))]
    path = spectrum_path(
        files.manifest, files.chunks, spectral_type, int(row["lmjd"]), str(row["spectrum_id"])
    )
    spectrum, trouble = None, "The survey's manifest does not have this spectrum."
    if not fitted:
        trouble = NOT_FITTED
    elif path is not None:
        try:
            spectrum = read_star(
                path, row, settings.preparation, emulator, settings.fit, labels, spectral_type
            )
        except SpectrumRejected as error:
            trouble = f"The survey's file cannot be read any more: {error}."
    star_of_page = Star(
        row,
        facts,
        spectrum,
        trouble,
        repeats,
        near,
        (thinned, "stars of the run, evenly spaced in the catalogue"),
        sections.origin(files.catalogue, path),
    )
    write_page_of(output, star_of_page, settings)


def flag_facts(
    row: Mapping[str, Any],
    files: StarFiles,
    settings: StarSettings,
    emulator: Emulator,
    sample: pd.DataFrame,
) -> FlagFacts:
    """The values by which the star's flags were decided, computed again.

    Parameters
    ----------
    sample : stars of the star's type; if all of them, the regression of chi2 is that of the
        catalogue
    """
    dwarf, giant = settings.snr_thresholds[str(row["spectral_type"])]
    others = sample[list(LABELS)].to_numpy(np.float32)
    low_snr = snr_flag(
        sample[settings.snr_band].to_numpy(), sample["logg"].to_numpy(np.float32), dwarf, giant
    )
    regression = chi2_regression(others, sample["chi2"].to_numpy(np.float64), ~low_snr)
    with open_hdf5(files.library) as handle:
        known = read_columns(handle["labels"])
    library = np.column_stack(
        [known[label] if label in known else np.full(len(known), np.nan) for label in LABELS]
    )
    ranges, types = {}, {}
    for label, path in files.networks.items():
        with open_hdf5(path) as handle:
            ranges[label] = (
                float(handle.attrs["label_range"][0]),
                float(handle.attrs["label_range"][1]),
            )
            types[label] = read_attributes(handle).get("training_spectral_types", "").split()
    return facts_of(row, settings, emulator, library, regression, ranges, types)


def facts_of(
    row: Mapping[str, Any],
    settings: StarSettings,
    emulator: Emulator,
    library: NDArray[np.floating],
    regression: Chi2Regression,
    ranges: Mapping[str, tuple[float, float]],
    types: Mapping[str, Sequence[str]],
) -> FlagFacts:
    """The values by which a row's flags were decided.

    Parameters
    ----------
    library : labels (m, 4) of the library's stars, in the order of `LABELS`
    regression : of chi2, for the row's type
    ranges, types : label of a network to its range and the types that it has learned from
    """
    dwarf, giant = settings.snr_thresholds[str(row["spectral_type"])]
    own = np.array([[float(row[label]) for label in LABELS]])
    expected = regression.expected(own.astype(np.float32))
    distances, limit = library_distances(own, library)
    low, high = (
        emulator.from_scaled(edge[None])[0]
        for edge in box(emulator, settings.fit.max_extrapolation)
    )
    return FlagFacts(
        snr_band=settings.snr_band,
        dwarf_snr=dwarf,
        giant_snr=giant,
        expected_chi2=float("nan") if expected is None else float(expected[0]),
        alpha_max_teff=settings.alpha_max_teff,
        limits=label_limits(low, high, emulator.label_names),
        library_distance=float(distances[0]),
        library_limit=limit,
        outlier_limit=settings.outlier_fraction,
        ranges=ranges,
        grids=settings.grids,
        types=types,
        disagreement=settings.disagreement,
    )


def _sample_columns(catalogue: str, snr_band: str) -> list[str]:
    names = [*LABELS, *(f"{label}_rec" for label in LABELS), "chi2", "spectral_type", snr_band]
    return [name for name in dict.fromkeys(names) if name in column_names(catalogue)]
