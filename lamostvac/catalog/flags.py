"""The quality flags of the catalogue."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lamostvac.catalog.registry import EmulatorLabels, Registry
from lamostvac.catalog.settings import Catalog
from lamostvac.core.vocabulary import CONVERGED, EDGE, GIANT_LOGG, LABELS, NO_FIT, NO_PROGRESS
from lamostvac.external.match import STAR_RADIUS, sky_pairs

_SECTION = Catalog()  # for defaults of parameters

# The emulator's labels are recommended where none of these is set (Liang et al. 2024): S/N and chi2
# (section 4.4), outside the library's range, on its rim or without convergence (4.4), and cold
# giants (4.3). [alpha/Fe] has flag_alpha_fe besides.
NOT_RECOMMENDED = (
    "flag_snr",
    "flag_chi2",
    "flag_edge",
    "flag_no_convergence",
    "flag_outside_library",
    "flag_cold_giant",
)


def snr_flag(
    snr: NDArray[np.floating], logg: NDArray[np.floating], dwarf: float, giant: float
) -> NDArray[np.bool_]:
    """Where S/N is not above the threshold (n,), or is missing.

    `dwarf` and `giant` are the thresholds for log g >= 3.8 and below (Liang et al. 2024, Table 2).
    """
    return ~(snr > np.where(logg < GIANT_LOGG, giant, dwarf))


@dataclass(frozen=True)
class Chi2Regression:
    """chi2 of a type's stars as a linear function of their labels (Liang et al. 2024, section 4.4).

    Attributes
    ----------
    used : numbers of the labels that it depends on
    centre, scale : (k,) by which these labels are standardised
    coefficients : (1 + k,) constant and slopes; empty where there were too few stars
    """

    used: tuple[int, ...] = ()
    centre: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    coefficients: tuple[float, ...] = ()

    def expected(self, labels: NDArray[np.floating]) -> NDArray[np.float64] | None:
        """The regression (n,) at all labels (n, d), or None without one."""
        if not self.coefficients:
            return None
        chosen = labels[:, list(self.used)].astype(np.float64)
        scaled = (chosen - np.array(self.centre)) / np.array(self.scale)
        with np.errstate(invalid="ignore"):
            return np.asarray(
                np.column_stack([np.ones(len(labels)), scaled]) @ np.array(self.coefficients)
            )


def chi2_regression(
    labels: NDArray[np.floating], chi2: NDArray[np.floating], reliable: NDArray[np.bool_]
) -> Chi2Regression:
    """The regression from a type's stars; without coefficients where these are fewer than ten each.

    Parameters
    ----------
    labels : (n, d); columns with no finite value are left out
    chi2 : (n,)
    reliable : (n,) the stars that count: S/N above the threshold
    """
    columns = np.flatnonzero(np.isfinite(labels).any(axis=0))
    chosen = labels[:, columns].astype(np.float64)
    used = reliable & np.isfinite(chosen).all(axis=1) & np.isfinite(chi2)
    if used.sum() < 10 * (len(columns) + 1):
        return Chi2Regression()
    centre, scale = chosen[used].mean(axis=0), chosen[used].std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    design = np.column_stack([np.ones(used.sum()), (chosen[used] - centre) / scale])
    found = np.linalg.lstsq(design, chi2[used].astype(np.float64), rcond=None)[0]
    parts = (values.tolist() for values in (columns, centre, scale, found))
    return Chi2Regression(*(tuple(values) for values in parts))


def chi2_flag(
    labels: NDArray[np.floating],
    chi2: NDArray[np.floating],
    reliable: NDArray[np.bool_],
    regression: Chi2Regression | None = None,
) -> NDArray[np.bool_]:
    """Where chi2 exceeds its linear regression on the labels (Liang et al. 2024, section 4.4).

    Parameters
    ----------
    labels : (n, k); columns with no finite value are left out
    chi2 : (n,)
    reliable : (n,) the stars that the regression is fitted to: S/N above the threshold
    regression : of a larger sample, in its place

    Returns
    -------
    (n,) True where chi2 exceeds the regression, or is missing. Without a regression only missing
    values are flagged.
    """
    found = regression or chi2_regression(labels, chi2, reliable)
    expected = found.expected(labels)
    if expected is None:
        return ~np.isfinite(chi2)
    with np.errstate(invalid="ignore"):
        return ~(chi2 <= expected)


def outside_library(
    labels: NDArray[np.floating], library: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Where the nearest library star is too far for the emulator to interpolate.

    Distances are in labels scaled by the library's standard deviation, with log Teff. The limit is
    the distance below which 99 % of the library's stars have their own nearest neighbour, so that
    no parameter needs tuning.

    Parameters
    ----------
    labels : (n, k), Teff in K first; rows that are not finite count as outside
    library : (m, k), rows that are not finite are left out
    """
    distances, limit = library_distances(labels, library)
    return np.asarray(~(distances <= limit))


def library_distances(
    labels: NDArray[np.floating], library: NDArray[np.floating]
) -> tuple[NDArray[np.float64], float]:
    """The distances and the limit that `outside_library` compares.

    Returns
    -------
    distances : (n,) to the nearest library star; NaN for rows that are not finite
    limit : infinite, and the distances 0, without two different library stars
    """
    stars, points = _scaled(labels, library)
    stars = np.unique(stars[np.isfinite(stars).all(axis=1)], axis=0)
    finite = np.asarray(np.isfinite(points).all(axis=1))
    distances = np.where(finite, 0.0, np.nan)
    if len(stars) < 2 or not finite.any():
        return distances, np.inf
    tree = cKDTree(stars)
    neighbours, _ = tree.query(stars, k=[2])
    distances[finite] = np.ravel(tree.query(points[finite], k=[1])[0])
    return distances, float(np.quantile(neighbours, 0.99))


def distance_from_others(
    labels: NDArray[np.floating],
    library: NDArray[np.floating],
    own: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.float64]:
    """Distance (n,) to the nearest library star that is another star, in units of the limit.

    Parameters
    ----------
    labels, library : as in `outside_library`; a label that one of them lacks everywhere is left out
    own : rows (p,) of `labels`, and rows (p,) of `library` that show the same stars

    Returns
    -------
    (n,) NaN for rows that are not finite, and without two different library stars
    """
    known = np.isfinite(labels).any(axis=0) & np.isfinite(library).any(axis=0)
    if not known[:1].all():
        return np.full(len(labels), np.nan)
    distances, limit = library_distances(labels[:, known], library[:, known])
    stars, points = _scaled(labels[:, known], library[:, known])
    usable = np.flatnonzero(np.isfinite(stars).all(axis=1))
    rows = np.unique(own[0][np.isfinite(points[own[0]]).all(axis=1)])
    if len(rows):
        most = min(np.bincount(own[0]).max() + 1, len(usable))
        near, which = cKDTree(stars[usable]).query(points[rows], k=np.arange(most) + 1)
        pairs = rows[:, None] * len(library) + usable[which]
        is_own = np.isin(pairs, own[0] * len(library) + own[1])
        distances[rows] = np.where(is_own, np.inf, near).min(axis=1)
    distances[~np.isfinite(distances)] = np.nan
    return np.asarray(distances / limit if np.isfinite(limit) else np.full(len(labels), np.nan))


def _scaled(
    labels: NDArray[np.floating], library: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The library's stars (m, k) and labels (n, k) in units of the library's scatter."""
    usable = [column for column in range(library.shape[1]) if np.isfinite(library[:, column]).any()]
    stars, points = _log_teff(library[:, usable]), _log_teff(labels[:, usable])
    finite = stars[np.isfinite(stars).all(axis=1)]
    scale = np.unique(finite, axis=0).std(axis=0) if len(finite) else np.ones(len(usable))
    scale[scale == 0] = 1.0
    return stars / scale, points / scale


def cold_giants(
    teff: NDArray[np.floating],
    logg: NDArray[np.floating],
    max_teff: float = _SECTION.cold_giant_max_teff,
    limits: tuple[float, float] = _SECTION.cold_giant_logg,
) -> NDArray[np.bool_]:
    """Cold stars (n,) with a log g that no cold star of the library has (Liang et al. 2024, 4.3).

    "Considering that log g of cold giants in MaStar are less than 2 dex, but our estimates range
    from 2 to 4": both limits count. Section 4.5 has the temperature (K).
    """
    low, high = limits
    with np.errstate(invalid="ignore"):
        return np.asarray((teff < max_teff) & (logg >= low) & (logg <= high))


def _log_teff(labels: NDArray[np.floating]) -> NDArray[np.float64]:
    scaled = labels.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled[:, 0] = np.log10(scaled[:, 0])
    scaled[~np.isfinite(scaled)] = np.nan
    return scaled


def flag_further(
    rows: NDArray[np.void],
    system: EmulatorLabels,
    library_labels: NDArray[np.floating],
    places: NDArray[np.floating] | None = None,
) -> None:
    """Set flag and distance of an emulator beside the first in `rows` (n,), in place.

    The flag is 1 where the first emulator would have `flag_edge`, `flag_no_convergence` or
    `flag_outside_library`, and where there is no fit. The distance is that of the *first* emulator's
    labels from this one's library: a fit by a library without a star's kind ends near what the
    library has, so its own labels do not tell.

    Parameters
    ----------
    library_labels : (m, k) of the stars of the emulator's library, in the order of `system.labels`
    places : (m, 2) their RA and Dec in degrees where they are the survey's, or None; a star's
        distance is from the others
    """
    columns = [rows[name].astype(np.float32) for name in system.columns.values()]
    outside = outside_library(np.column_stack(columns), library_labels)
    rows[system.flag] = outside | (rows[system.status] != CONVERGED)
    first = np.column_stack([rows[label].astype(np.float64) for label in system.labels])
    first[rows["fit_status"] != CONVERGED] = np.nan
    own = np.empty(0, np.int64), np.empty(0, np.int64)
    if places is not None:
        own = sky_pairs(rows["ra"], rows["dec"], places[:, 0], places[:, 1], STAR_RADIUS)[:2]
    rows[system.distance] = distance_from_others(first, library_labels, own)


def set_flags(
    rows: NDArray[np.void],
    registry: Registry,
    library_labels: NDArray[np.floating],
    snr_band: str,
    dwarf_snr: float,
    giant_snr: float,
    alpha_max_teff: float,
    outlier_fraction: float,
    cold_giant_max_teff: float = _SECTION.cold_giant_max_teff,
    cold_giant_logg: tuple[float, float] = _SECTION.cold_giant_logg,
    regression: Chi2Regression | None = None,
) -> None:
    """Compute every flag of `rows` (n,) in place, `flags`, the sum of their bits, and `recommended`.

    Flags of systems that do not label a spectrum (`REASON_FLAGS`) are in `rows` already.
    `regression` is that of chi2 from a larger sample than `rows`, which else give it.
    """
    labels = np.column_stack([rows[label].astype(np.float32) for label in LABELS])
    fitted = rows["fit_status"] != NO_FIT
    low_snr = snr_flag(rows[snr_band], rows["logg"], dwarf_snr, giant_snr)
    flags = {
        "flag_snr": low_snr,
        "flag_chi2": chi2_flag(labels, rows["chi2"].astype(np.float64), ~low_snr, regression),
        "flag_alpha_fe": ~(rows["teff"] <= alpha_max_teff) | ~np.isfinite(rows["alpha_fe"]),
        "flag_edge": rows["fit_status"] == EDGE,
        "flag_no_convergence": rows["fit_status"] == NO_PROGRESS,
        "flag_outside_library": outside_library(labels, library_labels) & fitted,
        "flag_outliers": rows["outlier_fraction"] > outlier_fraction,
        "flag_cold_giant": cold_giants(
            rows["teff"], rows["logg"], cold_giant_max_teff, cold_giant_logg
        ),
    }
    total = np.zeros(len(rows), np.int32)
    for name, values in flags.items():
        rows[name] = values
    for name, bit in registry.flag_bits.items():
        total |= rows[name].astype(np.int32) << bit
    rows["flags"] = total
    rows["recommended"] = fitted & ~np.any([rows[name] != 0 for name in NOT_RECOMMENDED], axis=0)
