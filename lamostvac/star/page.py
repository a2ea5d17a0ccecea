"""Everything the run knows of one star on one page (docs/star_page.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from lamostvac.catalog.flags import expected_chi2, library_distances, snr_flag
from lamostvac.catalog.lookup import (
    column_names,
    repeats_of,
    require_star,
    sample_of,
    spectrum_path,
)
from lamostvac.core.hdf5 import read_columns
from lamostvac.core.html import Raw, cards, details, image, section, table, write_page
from lamostvac.core.rejection import SpectrumRejected
from lamostvac.core.vocabulary import BANDS, LABELS
from lamostvac.emulator.model import Emulator, read_emulator
from lamostvac.fit.fitter import FitSettings
from lamostvac.fit.refine import box
from lamostvac.star import figures
from lamostvac.star.flags import (
    FlagFacts,
    Reason,
    disagreement_flags,
    label_limits,
    network_flags,
    star_flags,
    used_sources,
)
from lamostvac.star.spectrum import Neighbours, StarSpectrum, label_vector, neighbours_of, read_star

QUANTITIES = {
    "teff": ("Effective temperature", "K"),
    "logg": ("Surface gravity log g", "dex"),
    "feh": ("Metallicity [Fe/H]", "dex"),
    "alpha_fe": ("[alpha/Fe]", "dex"),
}
# Stars that the regression of chi2 and the diagrams are made from: 12 MB in memory.
SAMPLE = 200_000
_DRAWN = 15_000
_MOST_REPEATS = 40
_N_NEIGHBOURS = 5


@dataclass(frozen=True)
class StarFiles:
    """Files of a finished run.

    Attributes
    ----------
    catalogue, rejected : recommended.parquet and rejected.csv
    survey : folder with the manifest and its chunks
    emulator : that of the fit
    library : the prepared library
    networks : label to its network's file
    """

    catalogue: str
    rejected: str
    survey: str
    emulator: str
    library: str
    networks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StarSettings:
    """What of the run's configuration decided about the star.

    Attributes
    ----------
    preparation : the section `prepare` without `keep`
    fit : the section `fit` as `FitSettings` has it
    snr_band : column of S/N
    snr_thresholds : spectral type to the thresholds of dwarfs and giants in use
    alpha_max_teff, outlier_fraction, disagreement : of the catalogue and of recommended values
    network_labels : label to its set, unit and description
    grids : label to the ranges that other labels must keep as well
    sources : recommended label to (column, system, bit) of its sources
    """

    preparation: Mapping[str, Any]
    fit: FitSettings
    snr_band: str
    snr_thresholds: Mapping[str, tuple[float, float]]
    alpha_max_teff: float
    outlier_fraction: float
    disagreement: float
    network_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    grids: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    sources: Mapping[str, Sequence[tuple[str, str, int]]] = field(default_factory=dict)


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
        The catalogue does not have the spectrum; the sentence says why.
    """
    number, found = require_star(files.catalogue, files.rejected, star)
    row: dict[str, Any] = {str(name): value for name, value in found.items()}
    spectral_type = str(row["spectral_type"])
    emulator = read_emulator(files.emulator)
    labels = label_vector(emulator, row)
    repeats = repeats_of(files.catalogue, number, float(row["ra"]), float(row["dec"]))
    suffix = "_rec" if "teff_rec" in row else ""
    sample = sample_of(files.catalogue, _sample_columns(files.catalogue, settings.snr_band), SAMPLE)
    near = neighbours_of(files.library, emulator, labels, _N_NEIGHBOURS)
    facts = flag_facts(
        row, files, settings, emulator, sample[sample["spectral_type"] == spectral_type]
    )
    path = spectrum_path(files.survey, spectral_type, int(row["lmjd"]), str(row["spectrum_id"]))
    spectrum, trouble = None, "The survey's manifest does not have this spectrum."
    if path is not None:
        try:
            spectrum = read_star(
                path, row, settings.preparation, emulator, settings.fit, labels, spectral_type
            )
        except SpectrumRejected as error:
            trouble = f"The survey's file cannot be read any more: {error}."
    reasons = star_flags(row, facts)
    agreement = disagreement_flags(row, settings.sources, facts)
    of_networks = network_flags(row, list(settings.network_labels), facts)
    thinned = sample.iloc[:: max(1, -(-len(sample) // _DRAWN))]
    content = [
        _head(row, settings.snr_band, reasons, suffix),
        _flags(reasons, agreement, of_networks),
        _labels(row, settings, of_networks),
        _spectrum(row, spectrum, trouble),
        _photometry(row),
        _repeats(row, repeats, list(settings.network_labels), settings.snr_band),
        _neighbours(row, spectrum, near, labels, emulator),
        section(
            "place",
            "Among the run's stars",
            f"{len(thinned):,} stars of the run, evenly spaced in the catalogue, with "
            f"{'recommended' if suffix else 'the emulator' + chr(39) + 's'} values.",
            image(
                figures.place(thinned, row, repeats, near, suffix),
                "Kiel diagram and abundance diagram",
            ),
        ),
        _origin(files.catalogue, path),
    ]
    write_page(output, f"{row['designation'] or row['spectrum_id']}: LAMOST {_name(row)}", content)


def flag_facts(
    row: Mapping[str, Any],
    files: StarFiles,
    settings: StarSettings,
    emulator: Emulator,
    sample: pd.DataFrame,
) -> FlagFacts:
    """What the star's flags were decided by, found again.

    Parameters
    ----------
    sample : stars of the star's type; where it is all of them, the regression of chi2 is that of the catalogue
    """
    dwarf, giant = settings.snr_thresholds[str(row["spectral_type"])]
    own = np.array([[float(row[label]) for label in LABELS]])
    others = sample[list(LABELS)].to_numpy(np.float32)
    low_snr = snr_flag(
        sample[settings.snr_band].to_numpy(), sample["logg"].to_numpy(np.float32), dwarf, giant
    )
    # The star comes last, and is not among those that the regression is fitted to a second time.
    expected = expected_chi2(
        np.concatenate([others, own.astype(np.float32)]),
        np.append(sample["chi2"].to_numpy(np.float64), float(row["chi2"])),
        np.append(~low_snr, False),
    )
    with h5py.File(files.library) as handle:
        known = read_columns(handle["labels"])
    library = np.column_stack(
        [known[label] if label in known else np.full(len(known), np.nan) for label in LABELS]
    )
    distances, limit = library_distances(own, library)
    low, high = (
        emulator.from_scaled(edge[None])[0]
        for edge in box(emulator, settings.fit.max_extrapolation)
    )
    ranges, types = {}, {}
    for label, path in files.networks.items():
        with h5py.File(path) as handle:
            ranges[label] = (
                float(handle.attrs["label_range"][0]),
                float(handle.attrs["label_range"][1]),
            )
            types[label] = str(handle.attrs.get("training_spectral_types", "")).split()
    return FlagFacts(
        snr_band=settings.snr_band,
        dwarf_snr=dwarf,
        giant_snr=giant,
        expected_chi2=float("nan") if expected is None else float(expected[-1]),
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


def _name(row: Mapping[str, Any]) -> str:
    return f"obsid {row['obsid']}" if int(row["obsid"]) > 0 else str(row["spectrum_id"])


def _value(value: Any, digits: int) -> str | float:
    number = float(value)
    return f"{number:.{digits}f}" if np.isfinite(number) else float("nan")


def _with_error(row: Mapping[str, Any], name: str, digits: int, unit: str = "") -> str:
    value, error = float(row[name]), float(row.get(f"{name}_err", np.nan))
    if not np.isfinite(value):
        return "none"
    said = f"{value:.{digits}f}"
    if np.isfinite(error):
        said += f" ± {error:.{digits}f}"
    return f"{said} {unit}".strip()


def _digits(unit: str) -> int:
    return 0 if unit == "K" else 3


def _head(row: Mapping[str, Any], snr_band: str, reasons: Sequence[Reason], suffix: str) -> Raw:
    raised = [reason.flag for reason in reasons if reason.is_set]
    verdict = "No reservations: none of the star's flags is set." if not raised else None
    entries = [
        (
            _with_error(
                row, f"{label}{suffix}", 0 if unit == "K" else 2, "K" if unit == "K" else ""
            ),
            f"{title}, {'recommended' if suffix else 'emulator'}",
        )
        for label, (title, unit) in QUANTITIES.items()
    ]
    if "dist" in row:
        entries += [
            (_with_error(row, "dist", 3, "kpc"), "Distance"),
            (_with_error(row, "ebv", 3), "E(B-V), mag"),
        ]
    identity = (
        f"spectrum {row['spectrum_id']}, {_name(row)}, observed {row['obsdate']}, "
        f"RA {float(row['ra']):.5f}, Dec {float(row['dec']):.5f} deg, type {row['spectral_type']} "
        f"({row['class']} {row['subclass']}), z {float(row['z']):.6f} "
        f"({299792.458 * float(row['z']):.1f} km/s), S/N in {snr_band.removeprefix('snr')} {float(row[snr_band]):.1f}"
    )
    title = escape(f"{row['designation'] or row['spectrum_id']}")
    said = verdict or f"Flags set: {', '.join(raised)}."
    kind = "" if verdict else ' class="set"'
    return Raw(
        f'<h1>{title}</h1>\n<p class="soft">{escape(identity)}</p>\n<p{kind}>{escape(said)}</p>\n{cards(entries)}'
    )


def _flags(
    reasons: Sequence[Reason], agreement: Sequence[Reason], of_networks: Sequence[Reason]
) -> Raw:
    def rows(entries: Sequence[Reason]) -> list[tuple[Any, ...]]:
        return [
            (
                Raw(f"<code>{escape(r.flag)}</code>"),
                Raw('<span class="set">set</span>') if r.is_set else "not set",
                r.why,
            )
            for r in entries
        ]

    head = ("flag", "", "why")
    raised = [r for r in of_networks if r.is_set]
    content: list[Any] = [table(head, rows([*reasons, *agreement]))]
    if of_networks:
        content.append(
            f"Flags of single network labels that are set: {len(raised)} of {len(of_networks)}. Each concerns "
            "its label alone."
        )
        if raised:
            content.append(details("those that are set", table(head, rows(raised))))
    return section("flags", "Flags, and why", *content)


def _labels(row: Mapping[str, Any], settings: StarSettings, of_networks: Sequence[Reason]) -> Raw:
    flagged: dict[str, list[str]] = {}
    for reason in of_networks:
        if reason.is_set and reason.label is not None:
            flagged.setdefault(reason.label, []).append(reason.flag)
    rows: list[tuple[Any, ...]] = []
    shown = set()

    def add(quantity: str, name: str, system: str, unit: str, remark: str = "") -> None:
        digits = _digits(unit)
        rows.append(
            (
                quantity,
                Raw(f"<code>{escape(name)}</code>"),
                system,
                _value(row[name], digits),
                _value(row.get(f"{name}_err", np.nan), digits),
                _value(row.get(f"{name}_random", np.nan), digits),
                unit,
                remark,
            )
        )

    def network(label: str, quantity: str) -> None:
        entry = settings.network_labels[label]
        shown.add(label)
        add(
            quantity,
            label,
            f"network, set {entry['set']}",
            entry["unit"] or "dex",
            ", ".join(flagged.get(label, [])),
        )

    for label, (title, unit) in QUANTITIES.items():
        if f"{label}_rec" in row:
            used = used_sources(int(row[f"{label}_rec_source"]), settings.sources.get(label, ()))
            add(
                title,
                f"{label}_rec",
                "recommended",
                unit,
                f"from {', '.join(c for c, _ in used)}" if used else "no valid source",
            )
            title = ""
        if label in row:
            add(
                title,
                label,
                "emulator",
                unit,
                "flag_alpha_fe" if label == "alpha_fe" and row.get("flag_alpha_fe") else "",
            )
        if label == "logg" and "logg_imig" in row and np.isfinite(float(row["logg_imig"])):
            add("", "logg_imig", "second emulator", unit)
        for name in settings.network_labels:
            if name.startswith(f"{label}_") and name in row:
                network(name, "")
    for name, entry in settings.network_labels.items():
        if name in row and name not in shown and not name.startswith("abs_mag_"):
            network(name, entry["description"])
    head = (
        "quantity",
        "column",
        "system",
        "value",
        "error",
        "of it random",
        "unit",
        "sources, flags",
    )
    fit = (
        f"Fit: chi2 {float(row['chi2']):.3f} over {int(row['n_pixels'])} pixels "
        f"(first guess {float(row['chi2_first']):.3f}), {int(row['n_outliers'])} outliers left out, "
        f"{int(row['n_iterations'])} iterations."
    )
    return section(
        "labels",
        "Labels of every system",
        "error: standard deviation in all; of it random: the part that another spectrum of the star does not share.",
        table(head, rows, numbers=(3, 4, 5)),
        fit,
    )


def _spectrum(row: Mapping[str, Any], spectrum: StarSpectrum | None, trouble: str) -> Raw:
    if spectrum is None:
        return section("spectrum", "Spectrum", trouble)
    residual = (spectrum.normalised - spectrum.model)[spectrum.used]
    chi2 = float(np.sum(residual.astype(np.float64) ** 2))
    masks = [
        (mask.name, f"{int(mask.where.sum())}", "left out" if mask.used else "kept", mask.meaning)
        for mask in spectrum.masks
    ]
    return section(
        "spectrum",
        "Spectrum",
        "From above: flux as released; normalised flux and the model at the emulator's labels; what is left, with the "
        "error it should have (noise, floor, and what the emulator misses; slow errors of the flux calibration come on "
        "top); and what is masked. Everything at rest.",
        f"Misfit found again {chi2:.3f} over {int(spectrum.used.sum())} pixels, in the catalogue "
        f"{float(row['chi2']):.3f} over {int(row['n_pixels'])}; outliers found again "
        f"{int(spectrum.left_out.sum())}, in the catalogue "
        f"{int(row['n_outliers'])}.",
        image(figures.spectrum(spectrum), "Spectrum, model, residual and masks"),
        details(
            "what the masks are",
            table(("mask", "pixels", "in the fit", "what it is"), masks, numbers=(1,)),
        ),
        Raw("<h3>Main lines</h3>"),
        image(figures.lines(spectrum), "Main lines with the model"),
    )


def _photometry(row: Mapping[str, Any]) -> Raw:
    if "mag_g_gaia" not in row and "dist" not in row:
        return Raw("")
    rows = []
    for band in BANDS:
        apparent, absolute = f"mag_{band}", f"abs_mag_{band}"
        if apparent not in row:
            continue
        flags = [name for name in (f"flag_{absolute}", f"flag_cloud_{absolute}") if row.get(name)]
        rows.append(
            (
                band,
                _value(row[apparent], 3),
                _value(row[f"{apparent}_err"], 3),
                _value(row.get(absolute, np.nan), 3),
                _value(row.get(f"{absolute}_err", np.nan), 3),
                ", ".join(flags),
            )
        )
    facts = [
        (what, _with_error(row, name, digits, unit))
        for what, name, digits, unit in (
            ("E(B-V) from star pairs", "ebv", 3, "mag"),
            ("E(B-V) of the map", "ebv_map", 3, "mag"),
            ("distance from all bands", "dist", 3, "kpc"),
            ("distance from Ks alone", "dist_ks", 3, "kpc"),
            ("parallax", "parallax", 3, "mas"),
            ("geometric distance", "r_geo", 0, "pc"),
            ("galactocentric X", "x_gal", 3, "kpc"),
            ("galactocentric Y", "y_gal", 3, "kpc"),
            ("galactocentric Z", "z_gal", 3, "kpc"),
        )
        if name in row
    ]
    head = ("band", "magnitude", "error", "absolute, networks", "error", "flags")
    bands, found = table(head, rows, numbers=(1, 2, 3, 4)), table(("", ""), facts)
    both = Raw(f'<div class="pair"><div>{bands}</div><div>{found}</div></div>')
    return section("photometry", "Photometry, extinction, distance", both)


def _repeats(
    row: Mapping[str, Any], repeats: pd.DataFrame, labels: Sequence[str], snr_band: str
) -> Raw:
    title = "Other spectra of this star"
    if not len(repeats):
        return section("repeats", title, "None within 3 arcsec.")
    compared = [
        name
        for name in (*LABELS, *labels)
        if f"{name}_random" in row and not name.startswith("abs_mag_")
    ]
    compared = [name for name in compared if np.isfinite(float(row[name]))]
    listed = repeats.head(_MOST_REPEATS)
    others = [
        dict(zip(listed.columns, entry, strict=True))
        for entry in listed.itertuples(index=False, name=None)
    ]

    def who(other: Mapping[str, Any]) -> Raw:
        return Raw(f'<code class="one">{escape(str(other["spectrum_id"]))}</code>')

    def differences(names: Sequence[str], other: Mapping[str, Any]) -> list[Any]:
        return [_difference(row, other, name) for name in names]

    own = [name for name in compared if name in LABELS]
    of_networks = [name for name in compared if name not in LABELS]
    rows = [
        [
            who(other),
            str(other["obsid"]) if int(other["obsid"]) > 0 else float("nan"),
            Raw(f'<span class="one">{escape(str(other["obsdate"]))}</span>'),
            _value(other["separation"], 2),
            _value(other[snr_band], 1),
            int(other["flags"]),
            *differences(own, other),
        ]
        for other in others
    ]
    head = ["spectrum", "obsid", "date", "arcsec", "S/N", "flags", *own]
    more = (
        f" The first {_MOST_REPEATS} of {len(repeats)} are listed."
        if len(repeats) > _MOST_REPEATS
        else ""
    )
    content: list[Any] = [
        f"{len(repeats)} within 3 arcsec, in the order of time. The emulator's values, and in brackets the difference "
        f"from this spectrum in sigma of both spectra's random errors: within 2 in nineteen of twenty cases.{more}",
        table(head, rows, numbers=range(3, len(head))),
    ]
    if of_networks:
        again = [[who(other), *differences(of_networks, other)] for other in others]
        content.append(
            details(
                "the same for the labels of networks",
                table(["spectrum", *of_networks], again, numbers=range(1, 1 + len(of_networks))),
            )
        )
    return section("repeats", title, *content)


def _difference(row: Mapping[str, Any], other: Mapping[str, Any], name: str) -> str | float:
    digits = 0 if name.startswith("teff") else 2
    value = float(other[name])
    if not np.isfinite(value):
        return float("nan")
    sigma = np.hypot(float(row[f"{name}_random"]), float(other[f"{name}_random"]))
    difference = (value - float(row[name])) / sigma if sigma > 0 else np.nan
    return f"{value:.{digits}f}" + (f" ({difference:+.1f})" if np.isfinite(difference) else "")


def _neighbours(
    row: Mapping[str, Any],
    spectrum: StarSpectrum | None,
    near: Neighbours,
    labels: Any,
    emulator: Emulator,
) -> Raw:
    digits = [_digits(QUANTITIES.get(name, ("", "dex"))[1]) for name in near.label_names]
    rows: list[list[Any]] = [
        [
            "this spectrum",
            float("nan"),
            *(_value(v, d) for v, d in zip(labels, digits, strict=True)),
        ]
    ]
    rows += [
        [
            near.names[i],
            _value(near.distance[i], 3),
            *(_value(v, d) for v, d in zip(near.labels[i], digits, strict=True)),
        ]
        for i in range(len(near.names))
    ]
    return section(
        "neighbours",
        "Nearest stars of the library",
        "By the emulator's labels, each divided by its scatter in the library (for Teff 5040 K / Teff; "
        "flag_outside_library takes log Teff, so that its distances differ a little).",
        table(
            ["star", "distance", *near.label_names],
            rows,
            numbers=range(1, 2 + len(near.label_names)),
        ),
        image(
            figures.neighbours(spectrum, near, _name(row)), "The star and its library neighbours"
        ),
    )


def _origin(catalogue: str, path: Path | None) -> Raw:
    cards_of = pq.read_schema(catalogue).metadata or {}
    rows = [
        (name, Raw(f"<code>{escape(cards_of[key].decode())}</code>"))
        for name, key in (
            ("program", b"creator"),
            ("commit", b"githash"),
            ("configuration", b"confhash"),
            ("library", b"library"),
        )
        if key in cards_of
    ]
    rows.append(("spectrum's file", Raw(f"<code>{escape(path.name if path else 'none')}</code>")))
    return section("origin", "Made by", table(("", ""), rows))
