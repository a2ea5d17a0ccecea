"""E(B-V), distances and positions of a type's stars from the catalogue and from photometry."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.vocabulary import BANDS
from lamostvac.distance import controls as distance_controls
from lamostvac.distance import distance, extinction, star_pairs
from lamostvac.distance.settings import Distance, StarPairs
from lamostvac.external.match import group_stars

Array = NDArray[np.float64]
# Correlation between bands of the errors of absolute magnitudes, for networks without stars left
# out of training.
PRETRAINED_CORRELATION = 0.95


def by_band(columns: Mapping[str, Any], pattern: str) -> Array:
    """Columns named `pattern` with {band} as one array (n, 14); NaN where a band has no column."""
    n = len(next(iter(columns.values())))
    table = np.full((n, len(BANDS)), np.nan)
    for number, band in enumerate(BANDS):
        name = pattern.format(band=band)
        if name in columns:
            table[:, number] = columns[name]
    return table


def magnitude_columns(names: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Columns of absolute magnitudes among `names`: the given parts, and the flags."""
    present = [f"abs_mag_{band}" for band in BANDS if f"abs_mag_{band}" in names]
    return [
        column
        for name in present
        for column in (*(f"{name}{part}" for part in parts), f"flag_{name}", f"flag_cloud_{name}")
    ]


def usable_magnitudes(
    columns: Mapping[str, NDArray[Any]], flagged: Literal["leave_out", "use"]
) -> tuple[Array, Array]:
    """The networks' absolute magnitudes and errors (n, 14); NaN where a flag forbids their use.

    `columns` (n,) are `magnitude_columns` with parts "" and "_err", and at least one other;
    `flagged` is `distance.flagged` of the configuration.
    """
    values, errors = by_band(columns, "abs_mag_{band}"), by_band(columns, "abs_mag_{band}_err")
    if flagged == "leave_out":
        values[_flagged(columns)] = np.nan
    return values, errors


def _flagged(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Whether a flag of the band is set (n, 14); a band without columns is not flagged."""
    flags = (by_band(columns, f"flag_{kind}abs_mag_{{band}}") for kind in ("", "cloud_"))
    return np.logical_or(*(np.nan_to_num(flag) != 0 for flag in flags))


def reddening(
    table: Mapping[str, Any],
    labels: tuple[Array, Array, Array],
    label_errors: Array,
    quality: Array,
    usable: NDArray[np.bool_],
    settings: StarPairs,
    dust: Mapping[str, Any],
    repeat_radius: float,
    log: logging.Logger,
) -> tuple[star_pairs.Reddening, Array]:
    """E(B-V) of n stars, and the coefficients (n, 14) that belong to it.

    Parameters
    ----------
    table : the photometry's columns, `ra` and `dec`
    labels, label_errors : Teff, log g, [Fe/H], each (n,); (n, 3)
    quality : (n,) S/N
    usable : (n,) whether the star may be a control, not regarding its latitude and S/N
    dust : section `extinction` of the configuration
    repeat_radius : arcsec within which spectra are of one star
    """
    constant = extinction.constants(dust["sfd"], dust["corrected"], dust["scale"])
    magnitudes, errors = by_band(table, "mag_{band}"), by_band(table, "mag_{band}_err")
    star = group_stars(table["ra"], table["dec"], repeat_radius, table["gaia_source_id"])
    scaled, scaled_errors = star_pairs.scale_labels(*labels, label_errors, settings)
    with np.errstate(invalid="ignore"):
        candidate = usable & (quality > settings.min_snr)
        candidate &= np.abs(table["b"]) > settings.min_latitude
    kind, scale = dust["coefficients"], dust["scale"]
    coefficients = extinction.coefficients(kind, constant, scale, labels[0], np.zeros(len(star)))
    controls, rows = distance_controls.choose_controls(
        magnitudes, errors, scaled, scaled_errors, star, quality, candidate, coefficients, BANDS.index("g_gaia"),
        settings, np.asarray(table["ebv_map"], np.float64), np.asarray(table["ebv_map_err"], np.float64),
    )  # fmt: skip
    log.info("%d candidates, %d controls", candidate.sum(), len(rows))
    for _ in range(1 if kind == "constant" else 2):
        red = star_pairs.star_pair_reddening(
            magnitudes, errors, scaled, scaled_errors, star, coefficients, controls, settings
        )
        # Coefficients that depend on E(B-V) are evaluated at the first result.
        coefficients = extinction.coefficients(kind, constant, scale, labels[0], red.ebv)
    log.info("E(B-V) of %d of %d stars", np.isfinite(red.ebv).sum(), len(star))
    return red, coefficients


def members_variance(
    columns: Mapping[str, NDArray[Any]],
    members: int,
    snr_bands: Mapping[str, str],
    least: Mapping[str, float],
) -> Array:
    """Variance (14,) of single members about the mean of all at high S/N; NaN if there is none.

    Parameters
    ----------
    columns : (n,) `magnitude_columns` with the part "_spread", the S/N, and at least one other
    snr_bands : `abs_mag_{band}` to the column of the S/N that its network was trained with
    least : band to the S/N above which spectra are used
    """
    spread, flagged = by_band(columns, "abs_mag_{band}_spread"), _flagged(columns)
    variance = np.full(len(BANDS), np.nan)
    for number, band in enumerate(BANDS):
        if band not in least:
            continue
        good = (
            ~flagged[:, number]
            & (columns[snr_bands[f"abs_mag_{band}"]] > least[band])
            & np.isfinite(spread[:, number])
        )
        if good.any():
            variance[number] = np.median(spread[good, number]) ** 2 * (1 - 1 / members)
    return variance


def equal_correlation(value: float | None) -> Array:
    """Correlation (14, 14), one value for all pairs of bands; None: that of pretrained networks."""
    value = PRETRAINED_CORRELATION if value is None else value
    return value + (1 - value) * np.eye(len(BANDS))


def left_out_correlation(
    left_out: Mapping[str, pd.DataFrame],
    columns: Mapping[str, NDArray[Any]],
    members: int,
    snr_bands: Mapping[str, str],
    log: logging.Logger,
) -> Array:
    """Correlation (14, 14) of absolute magnitudes' errors between bands, from stars left out.

    Parameters
    ----------
    left_out : band to `spectrum_id snr reference left_out`; bands are joined by `spectrum_id`
    columns, members, snr_bands : as of `members_variance`
    """
    residuals, least = {}, {}
    for band, table in left_out.items():
        least[band] = float(table["snr"].quantile(0.25))
        difference = table["left_out"] - table["reference"]
        residuals[band] = difference.set_axis(table["spectrum_id"])
    joined = pd.DataFrame(residuals).reindex(columns=list(BANDS)).sort_index()
    # A star left out has the answer of the members that kept it, mostly one; the catalogue has the
    # mean of all members.
    own = members_variance(columns, members, snr_bands, least)
    correlation = distance.estimate_correlation(joined.to_numpy(np.float64), own)
    above = correlation[np.triu_indices(len(BANDS), 1)]
    log.info(
        "correlation of bands from %d stars: %.2f to %.2f", len(joined), above.min(), above.max()
    )
    return correlation


def distances(
    table: Mapping[str, Any],
    absolute: tuple[Array, Array],
    red: star_pairs.Reddening,
    coefficients: Array,
    correlation: Array,
    settings: Distance,
) -> dict[str, NDArray[Any]]:
    """Distances and positions of n stars as columns of the catalogue, E(B-V) among them.

    Parameters
    ----------
    table : the photometry's columns, `ra` and `dec`
    absolute : magnitudes and errors (n, 14)
    red, coefficients : `reddening`
    correlation : (14, 14) of the errors of `absolute`
    """
    # Where star pairs give no E(B-V) the map may; a value without an error cannot be used for a
    # distance.
    known = np.isfinite(red.ebv) | ~np.isfinite(table["ebv_map_err"])
    ebv = np.where(known, red.ebv, table["ebv_map"])
    ebv_err = np.where(known, red.error, table["ebv_map_err"])
    (value, error), ks = absolute, BANDS.index("ks")
    apparent, apparent_err = by_band(table, "mag_{band}"), by_band(table, "mag_{band}_err")
    one = distance.modulus_of_band(
        apparent[:, ks], apparent_err[:, ks], value[:, ks], error[:, ks],
        coefficients[:, ks], ebv, ebv_err
    )  # fmt: skip
    combined = distance.modulus_of_bands(
        apparent, apparent_err, value, error, coefficients, ebv, ebv_err, correlation, settings.clip,
        typical_err=distance.errors_of_level(error)
    )  # fmt: skip
    dist, dist_err = distance.distance_kpc(combined.value, combined.error)
    dist_ks, dist_ks_err = distance.distance_kpc(one.value, one.error)
    placed = (dist_ks, dist_ks_err) if settings.positions == "ks" else (dist, dist_err)
    place, place_err = distance.galactocentric(table["ra"], table["dec"], *placed, settings)
    added = {"ebv": red.ebv, "ebv_err": red.error}
    added |= {"dist": dist, "dist_err": dist_err, "dist_ks": dist_ks, "dist_ks_err": dist_ks_err}
    for number, axis in enumerate(("x_galcen", "y_galcen", "z_galcen")):
        added |= {axis: place[:, number], f"{axis}_err": place_err[:, number]}
    columns: dict[str, NDArray[Any]] = {k: v.astype(np.float32) for k, v in added.items()}
    columns["ebv_n_colours"] = red.n_colours.astype(np.int16)
    columns["dist_n_bands"] = combined.n_bands.astype(np.int16)
    return columns
