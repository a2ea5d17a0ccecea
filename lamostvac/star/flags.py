"""Why each flag of a star is set or not, in words with the deciding numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamostvac.catalog.repeat_differences import FAR, FLAG
from lamostvac.core.rejection import REASON_FLAGS, REASONS
from lamostvac.core.vocabulary import GIANT_LOGG, NO_FIT
from lamostvac.recommend.known import ENOUGH

# Flags that say something of a fit.
_OF_FIT = (
    *(
        "flag_edge",
        "flag_no_convergence",
        "flag_outside_library",
        "flag_cold_giant",
        "flag_outliers",
    ),
)


@dataclass(frozen=True)
class FlagFacts:
    """The values by which flags were decided.

    Attributes
    ----------
    snr_band : the column of S/N
    dwarf_snr, giant_snr : thresholds of the star's type
    expected_chi2 : the regression at the star's labels; NaN without one
    alpha_max_teff : K
    limits : label to (low, high) of the box the fit may search
    n_iterations : of the fit
    library_distance, library_limit : distance to the nearest library star, and the largest one that
        counts as inside
    outlier_limit : largest share of outliers without a flag
    ranges : label of a network to its own range
    grids : label to ranges that other labels must keep too
    types : label to the spectral types its network is applied to
    disagreement : sigma
    """

    snr_band: str
    dwarf_snr: float
    giant_snr: float
    expected_chi2: float
    alpha_max_teff: float
    limits: Mapping[str, tuple[float, float]]
    library_distance: float
    library_limit: float
    outlier_limit: float
    ranges: Mapping[str, tuple[float, float]]
    grids: Mapping[str, Mapping[str, tuple[float, float]]]
    types: Mapping[str, Sequence[str]]
    disagreement: float


@dataclass(frozen=True)
class Reason:
    """A flag of a star: its name, whether it is set, why, and the label it concerns
    (None: the whole star).
    """

    flag: str
    is_set: bool
    why: str
    label: str | None = None


def number(value: float, digits: int = 3) -> str:
    """A number for people: fixed decimals, `none` where it is missing."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "none"


def star_flags(row: Mapping[str, Any], facts: FlagFacts) -> list[Reason]:
    """The flags of the star as a whole, ordered by bits; those that the row lacks are left out.

    Of those that say why a system has no labels only those that are set are there.
    """
    snr, logg, teff = float(row[facts.snr_band]), float(row["logg"]), float(row["teff"])
    giant = logg < GIANT_LOGG
    threshold = facts.giant_snr if giant else facts.dwarf_snr
    kind = f"{'giants' if giant else 'dwarfs'} of type {row['spectral_type']}"
    band = facts.snr_band.removeprefix("snr")
    place = f"Teff is {number(teff, 0)} K and log g {number(logg, 2)}"
    share = 100 * float(row["outlier_fraction"])
    outliers = f"{int(row['n_outliers'])} pixels, {share:.1f} %, are unlike any star"
    sentences = {
        "flag_snr": (
            f"S/N in {band} is {number(snr, 1)}, not above {threshold:g}, the threshold of {kind}",
            f"S/N in {band} is {number(snr, 1)}, above {threshold:g}, the threshold of {kind}",
        ),
        "flag_chi2": _chi2_sentences(float(row["chi2"]), facts.expected_chi2),
        "flag_alpha_fe": (
            f"Teff is {number(teff, 0)} K, above {facts.alpha_max_teff:g} K, where [alpha/Fe] leaves no trace"
            if teff > facts.alpha_max_teff
            else "the emulator has no [alpha/Fe] for this star",
            f"Teff is {number(teff, 0)} K, not above {facts.alpha_max_teff:g} K, and [alpha/Fe] is there",
        ),
        "flag_edge": (
            f"the fit ended on the edge of the library's labels{_edges(row, facts.limits)}",
            "the fit ended inside the library's labels",
        ),
        "flag_no_convergence": (
            f"after {int(row['n_iterations'])} steps no further one made the fit better, without having converged",
            f"the fit converged in {int(row['n_iterations'])} steps"
            if int(row["fit_status"]) == 0
            else f"the fit did not get stuck; it took {int(row['n_iterations'])} steps",
        ),
        "flag_outside_library": (
            f"the nearest library star is {number(facts.library_distance, 2)} away in scaled labels, farther than "
            f"{number(facts.library_limit, 2)}, so the emulator extrapolates",
            f"the nearest library star is {number(facts.library_distance, 2)} away in scaled labels; up to "
            f"{number(facts.library_limit, 2)} is near",
        ),
        "flag_cold_giant": (
            f"{place}, between the cold giants and the dwarfs of the library",
            f"{place}, not cold with a log g between giants and dwarfs of the library",
        ),
        "flag_outliers": (
            f"{outliers}, more than {100 * facts.outlier_limit:g} %",
            f"{outliers}; up to {100 * facts.outlier_limit:g} % is no reason for a flag",
        ),
        FLAG: (
            f"a recommended label differs by more than {FAR:g} sigma from the star's other spectra: it varies, is a "
            "binary, or a spectrum is spoiled",
            "no recommended label differs by more than chance from the star's other spectra"
            if int(row.get("n_spectra", 1)) > 1
            else "the star has no other spectrum in the catalogue",
        ),
    }
    if int(row["fit_status"]) == NO_FIT:
        for flag in _OF_FIT:
            sentences[flag] = sentences[flag][0], "there is no fit"
    for system, flag_of in REASON_FLAGS.items():
        for reason, flag in flag_of.items():
            if row.get(flag):
                said = f"the {system} cannot label the spectrum: {REASONS[reason]}"
                sentences[flag] = said, ""
    return [
        Reason(flag, bool(row[flag]), sentences[flag][0 if row[flag] else 1])
        for flag in sentences
        if flag in row
    ]


def _chi2_sentences(chi2: float, expected: float) -> tuple[str, str]:
    if not np.isfinite(chi2):
        return "chi2 is missing", ""
    if not np.isfinite(expected):
        return (
            f"chi2 is {number(chi2)}",
            f"chi2 is {number(chi2)}; there are too few stars to say what is expected",
        )
    said = f"chi2 is {number(chi2)}"
    return (
        f"{said}, larger than the {number(expected)} that stars of the type with such labels have",
        f"{said}, not larger than the {number(expected)} that stars of the type with such labels have",
    )


def _edges(row: Mapping[str, Any], limits: Mapping[str, tuple[float, float]]) -> str:
    """Which labels are at their limit, within a thousandth of the range."""
    found = []
    for label, (low, high) in limits.items():
        value, margin = float(row[label]), 1e-3 * (high - low)
        if value <= low + margin:
            found.append(f"{label} {value:.4g} at its lower limit {low:.4g}")
        elif value >= high - margin:
            found.append(f"{label} {value:.4g} at its upper limit {high:.4g}")
    return ": " + ", ".join(found) if found else ""


def network_flags(row: Mapping[str, Any], labels: Sequence[str], facts: FlagFacts) -> list[Reason]:
    """The two flags of each network's label."""
    reasons = []
    for label in labels:
        if f"flag_{label}" not in row:
            continue
        is_set = bool(row[f"flag_{label}"])
        reasons.append(
            Reason(f"flag_{label}", is_set, _beyond(row, label, facts) if is_set else "within the training grid", label)
        )  # fmt: skip
        is_set = bool(row[f"flag_cloud_{label}"])
        types = facts.types.get(label, ())
        why = "the spectrum is like those that the network was trained on"
        if is_set and types and row["spectral_type"] not in types:
            why = f"the network has learned from types {', '.join(types)} only, not {row['spectral_type']}"
        elif is_set:
            why = "the spectrum is unlike those that the network was trained on"
        reasons.append(Reason(f"flag_cloud_{label}", is_set, why, label))
    return reasons


def _beyond(row: Mapping[str, Any], label: str, facts: FlagFacts) -> str:
    """Which ranges of a label's grid the star is outside of."""
    asked = {label: facts.ranges[label]} if label in facts.ranges else {}
    asked |= {other: bounds for other, bounds in facts.grids.get(label, {}).items() if other in row}
    found = []
    for name, (low, high) in asked.items():
        value = float(row[name])
        if not np.isfinite(value):
            found.append(f"{name} is missing")
        elif not low <= value <= high:
            found.append(f"{name} is {value:.4g}, not in {low:g} to {high:g}")
    return "beyond the training grid: " + "; ".join(found) if found else "beyond the training grid"


def disagreement_flags(
    row: Mapping[str, Any], sources: Mapping[str, Sequence[tuple[str, str, int]]], facts: FlagFacts
) -> list[Reason]:
    """Whether systems disagree on recommended labels.

    Parameters
    ----------
    sources : recommended label to (column, system, bit) of each of its sources
    """
    reasons = []
    for label, entries in sources.items():
        flag = f"flag_{label}_disagree"
        if flag not in row:
            continue
        used = used_sources(int(row[f"{label}_rec_source"]), entries)
        values = ", ".join(
            f"{column} {_short(float(row[column]))} +- {_short(float(row[f'{column}_err']))}" for column, _ in used
        )  # fmt: skip
        why = (
            "the systems agree"
            if len({system for _, system in used}) == 2
            else "only one system is valid"
        )
        if not used:
            why = "no system is valid"
        if row[flag]:
            why = (
                f"brought to one scale, emulator and networks differ by more than {facts.disagreement:g} sigma of "
                f"their difference ({values}); the error of {label}_rec is enlarged"
            )
        reasons.append(Reason(flag, bool(row[flag]), why, label))
    return reasons


def extrapolation_flags(
    row: Mapping[str, Any], sources: Mapping[str, Sequence[tuple[str, str, int]]]
) -> list[Reason]:
    """Whether recommended labels, the keys of `sources`, rest on few stars of the kind."""
    reasons = []
    for label in sources:
        flag = f"flag_{label}_extrapolated"
        if flag not in row:
            continue
        few = f"fewer than {ENOUGH} training or library stars are like the star by the emulator's labels"
        why = (
            f"{few}, and more than half of {label}_rec rests on them; its error covers what these may miss"
            if row[flag]
            else f"not so that {few}, or less than half of the value rests on them"
        )
        reasons.append(Reason(flag, bool(row[flag]), why, label))
    return reasons


def used_sources(bits: int, entries: Sequence[tuple[str, str, int]]) -> list[tuple[str, str]]:
    """(column, system) of the sources whose bit is set."""
    return [(column, system) for column, system, bit in entries if bits >> bit & 1]


def _short(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "none"


def label_limits(
    low: NDArray[np.float64], high: NDArray[np.float64], names: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Limits by label from two vectors (d,) of labels, in either order."""
    return {
        name: (float(min(a, b)), float(max(a, b)))
        for name, a, b in zip(names, low, high, strict=True)
    }
