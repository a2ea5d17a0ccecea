"""The parts of a star's page: texts and numbers for `templates/page.html.j2`.

A missing number is NaN here and a dash in the page.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from lamostvac.catalog.registry import EmulatorLabels
from lamostvac.catalog.repeat_differences import FAR
from lamostvac.core.vocabulary import BANDS, LABELS
from lamostvac.report.style import svg_source
from lamostvac.star import figures
from lamostvac.star.flags import Reason, used_sources
from lamostvac.star.spectrum import Neighbours, StarSpectrum

QUANTITIES = {
    "teff": ("Effective temperature", "K"),
    "logg": ("Surface gravity log g", "dex"),
    "feh": ("Metallicity [Fe/H]", "dex"),
    "alpha_fe": ("[alpha/Fe]", "dex"),
}
_MOST_REPEATS = 40
_LIGHT_SPEED = 299792.458  # km/s
# For the part on photometry: name, column, digits, unit.
_DISTANCES = (
    ("E(B-V) from star pairs", "ebv", 3, "mag"),
    ("E(B-V) of the map", "ebv_map", 3, "mag"),
    ("distance from all bands", "dist", 3, "kpc"),
    ("distance from Ks alone", "dist_ks", 3, "kpc"),
    ("parallax", "parallax", 3, "mas"),
    ("geometric distance", "r_geo", 0, "pc"),
    ("galactocentric X", "x_galcen", 3, "kpc"),
    ("galactocentric Y", "y_galcen", 3, "kpc"),
    ("galactocentric Z", "z_galcen", 3, "kpc"),
)


def head(
    row: Mapping[str, Any], snr_band: str, reasons: Sequence[Reason], suffix: str
) -> dict[str, Any]:
    """`title name identity raised entries`: the star's names, its set flags, boxes of its labels.

    Parameters
    ----------
    suffix : `_rec` for recommended values, "" for the emulator's
    """
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
    z = float(row["redshift"])
    return {
        "title": row["designation"] or row["spectrum_id"],
        "name": _name(row),
        "identity": f"spectrum {row['spectrum_id']}, {_name(row)}, observed {row['obsdate']}, "
        f"RA {float(row['ra']):.5f}, Dec {float(row['dec']):.5f} deg, type {row['spectral_type']} "
        f"({row['lamost_class']} {row['subclass']}), z {z:.6f} ({_LIGHT_SPEED * z:.1f} km/s), "
        f"S/N in {snr_band.removeprefix('snr')} {float(row[snr_band]):.1f}",
        "raised": [reason.flag for reason in reasons if reason.is_set],
        "entries": entries,
    }


def labels(
    row: Mapping[str, Any],
    network_labels: Mapping[str, Mapping[str, str]],
    sources: Mapping[str, Sequence[tuple[str, str, int]]],
    of_networks: Sequence[Reason],
    emulators: Sequence[EmulatorLabels] = (),
) -> dict[str, Any]:
    """`rows`, a line for each label of every system; the fit's numbers by their columns' names.

    A line ends with the recommended value minus the system's, where both have one.

    Parameters
    ----------
    network_labels : label to its set, unit and description
    sources : recommended label to (column, system, bit) of its sources
    of_networks : flags of the networks' labels
    emulators : those beside the first
    """
    flagged: dict[str, list[str]] = {}
    for reason in of_networks:
        if reason.is_set and reason.label is not None:
            flagged.setdefault(reason.label, []).append(reason.flag)
    rows: list[tuple[Any, ...]] = []
    shown = set()
    of_label = ""  # the one of `QUANTITIES` whose systems are added

    def add(quantity: str, name: str, system: str, unit: str, remark: str = "") -> None:
        digits = _digits(unit)
        numbers = (row[name], row.get(f"{name}_err", np.nan), row.get(f"{name}_err_random", np.nan))
        values = (_value(number, digits) for number in numbers)
        recommended = row.get(f"{of_label}_rec", np.nan) if system != "recommended" else np.nan
        shift = float(recommended) - float(row[name])
        moved = f"{shift:+.{digits}f}" if np.isfinite(shift) else ""
        rows.append((quantity, name, system, *values, unit, moved, remark))

    def network(label: str, quantity: str) -> None:
        entry = network_labels[label]
        shown.add(label)
        remark = ", ".join(flagged.get(label, []))
        add(quantity, label, f"network, set {entry['set']}", entry["unit"] or "dex", remark)

    for label, (title, unit) in QUANTITIES.items():
        of_label = label
        if f"{label}_rec" in row:
            used = used_sources(int(row[f"{label}_rec_source"]), sources.get(label, ()))
            remark = f"from {', '.join(c for c, _ in used)}" if used else "no valid source"
            add(title, f"{label}_rec", "recommended", unit, remark)
            title = ""
        if label in row:
            flagged_alpha = label == "alpha_fe" and row.get("flag_alpha_fe")
            add(title, label, "emulator", unit, "flag_alpha_fe" if flagged_alpha else "")
        if label == "logg" and "logg_imig" in row and np.isfinite(float(row["logg_imig"])):
            add("", "logg_imig", "second emulator", unit)
        for emulator in emulators:
            if (name := emulator.columns.get(label, "")) in row:
                remark = emulator.flag if row.get(emulator.flag) else ""
                add("", name, f"emulator {emulator.name}", unit, remark)
        for name in network_labels:
            if name.startswith(f"{label}_") and name in row:
                network(name, "")
    of_label = ""
    for name, entry in network_labels.items():
        if name in row and name not in shown and not name.startswith("abs_mag_"):
            network(name, entry["description"])
    counts = {name: int(row[name]) for name in ("n_pixels", "n_outliers", "n_iterations")}
    chi2 = {name: f"{float(row[name]):.3f}" for name in ("chi2", "chi2_first")}
    return {"rows": rows, **counts, **chi2}


def spectrum(star: StarSpectrum) -> dict[str, Any]:
    """`trouble` (none), `chi2 n_pixels n_outliers` computed again, `masks`, figures
    `figure lines`.
    """
    residual = (star.normalised - star.model)[star.used]
    return {
        "trouble": "",
        "chi2": f"{float(np.sum(residual.astype(np.float64) ** 2)):.3f}",
        "n_pixels": int(star.used.sum()),
        "n_outliers": int(star.left_out.sum()),
        "masks": [
            (mask.name, int(mask.where.sum()), "left out" if mask.used else "kept", mask.meaning)
            for mask in star.masks
        ],
        "figure": svg_source(figures.spectrum(star)),
        "lines": svg_source(figures.lines(star)),
    }


def photometry(row: Mapping[str, Any]) -> dict[str, Any]:
    """`bands` with magnitudes, `facts` of extinction and distance; empty without photometry."""
    if "mag_g_gaia" not in row and "dist" not in row:
        return {}
    bands = []
    for band in BANDS:
        apparent, absolute = f"mag_{band}", f"abs_mag_{band}"
        if apparent not in row:
            continue
        flags = [name for name in (f"flag_{absolute}", f"flag_cloud_{absolute}") if row.get(name)]
        names = (apparent, f"{apparent}_err", absolute, f"{absolute}_err")
        bands.append(
            (band, *(_value(row.get(name, np.nan), 3) for name in names), ", ".join(flags))
        )
    facts = [
        (what, _with_error(row, name, digits, unit))
        for what, name, digits, unit in _DISTANCES
        if name in row
    ]
    return {"bands": bands, "facts": facts}


def repeats(
    row: Mapping[str, Any], others: pd.DataFrame, networks: Sequence[str], snr_band: str
) -> dict[str, Any]:
    """`n head rows network_head network_rows far` of other spectra of the star; empty without any.

    `far` has a text for each label that differs by more than 3 sigma of the random errors, from any
    of all other spectra.

    Parameters
    ----------
    others : their rows of the catalogue with `separation` in arcsec
    networks : labels of the networks
    """
    if not len(others):
        return {}
    compared = [
        name
        for name in (*LABELS, *networks)
        if f"{name}_err_random" in row
        and not name.startswith("abs_mag_")
        and np.isfinite(float(row[name]))
    ]
    own = [name for name in compared if name in LABELS]
    of_networks = [name for name in compared if name not in LABELS]
    rows, network_rows = [], []
    for other in others.head(_MOST_REPEATS).to_dict("records"):
        rows.append(
            [
                other["spectrum_id"],
                other["obsid"] if int(other["obsid"]) > 0 else float("nan"),
                other["obsdate"],
                _value(other["separation"], 2),
                _value(other[snr_band], 1),
                int(other["flags"]),
                *(_difference(row, other, name) for name in own),
            ]
        )
        network_rows.append(
            [other["spectrum_id"], *(_difference(row, other, name) for name in of_networks)]
        )
    return {
        "n": len(others),
        "head": ["spectrum", "obsid", "date", "arcsec", "S/N", "flags", *own],
        "rows": rows,
        "network_head": ["spectrum", *of_networks],
        "network_rows": network_rows,
        "far": [
            f"{name} of {other['spectrum_id']} ({sigma:+.1f} sigma)"
            for other in others.to_dict("records")
            for name in compared
            if abs(sigma := _sigmas(row, other, name)) > FAR
        ],
    }


def neighbours(
    row: Mapping[str, Any], star: StarSpectrum | None, near: Neighbours
) -> dict[str, Any]:
    """`head rows figure`: the spectrum and the library's stars nearest to its labels."""
    own = [float(row[name]) for name in near.label_names]
    digits = [_digits(QUANTITIES.get(name, ("", "dex"))[1]) for name in near.label_names]

    def line(name: str, distance: str | float, values: Any) -> list[Any]:
        return [name, distance, *(_value(v, d) for v, d in zip(values, digits, strict=True))]

    return {
        "head": ["star", "distance", *near.label_names],
        "rows": [
            line("this spectrum", float("nan"), own),
            *(
                line(name, _value(distance, 3), values)
                for name, distance, values in zip(
                    near.names, near.distance, near.labels, strict=True
                )
            ),
        ],
        "figure": svg_source(figures.neighbours(star, near, _name(row))),
    }


def origin(catalogue: str, path: Path | None) -> list[tuple[str, str]]:
    """Program, commit, configuration and library of the catalogue, and the spectrum's file."""
    cards = pq.read_schema(catalogue).metadata or {}
    keys = {
        "program": b"creator",
        "commit": b"githash",
        "configuration": b"confhash",
        "library": b"library",
    }
    rows = [(name, cards[key].decode()) for name, key in keys.items() if key in cards]
    return [*rows, ("spectrum's file", path.name if path else "none")]


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


def _difference(row: Mapping[str, Any], other: Mapping[Any, Any], name: str) -> str | float:
    digits = 0 if name.startswith("teff") else 2
    value = float(other[name])
    if not np.isfinite(value):
        return float("nan")
    difference = _sigmas(row, other, name)
    return f"{value:.{digits}f}" + (f" ({difference:+.1f})" if np.isfinite(difference) else "")


def _sigmas(row: Mapping[str, Any], other: Mapping[Any, Any], name: str) -> float:
    """How far another spectrum's label is, in sigma of both random errors; NaN if unknown."""
    sigma = float(np.hypot(float(row[f"{name}_err_random"]), float(other[f"{name}_err_random"])))
    return (float(other[name]) - float(row[name])) / sigma if sigma > 0 else np.nan
