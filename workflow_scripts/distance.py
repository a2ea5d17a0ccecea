"""E(B-V) by star pairs, distances and positions of one spectral type's rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamostvac.catalog.files import read_fields
from lamostvac.catalog.registry import Registry, load_registry, network_labels
from lamostvac.core.atomic import atomic
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.vocabulary import BANDS, CONVERGED
from lamostvac.distance import controls as distance_controls
from lamostvac.distance import distance, extinction, star_pairs
from lamostvac.distance.settings import Distance, StarPairs
from lamostvac.external.match import group_stars

LABELS = ("teff_rec", "logg_rec", "feh_rec")
PRETRAINED_CORRELATION = 0.95

Array = NDArray[np.float64]


def by_band(columns: Mapping[str, Any], pattern: str) -> Array:
    """Columns named `pattern` with {band} as one array (n, 14); NaN where a band has no column."""
    n = len(next(iter(columns.values())))
    found = np.full((n, len(BANDS)), np.nan)
    for number, band in enumerate(BANDS):
        name = pattern.format(band=band)
        if name in columns:
            found[:, number] = columns[name]
    return found


def absolute_magnitudes(path: str, registry: Registry) -> tuple[Array, Array]:
    """The networks' absolute magnitudes and errors (n, 14); NaN where a flag says that they are not to be used."""
    names = [f"abs_mag_{band}" for band in BANDS if f"abs_mag_{band}" in registry.names]
    wanted = [
        column
        for name in names
        for column in (name, f"{name}_err", f"flag_{name}", f"flag_cloud_{name}")
    ]
    columns = read_fields(path, registry, [*wanted, "obsid"])
    for name in names:
        flagged = (columns[f"flag_{name}"] != 0) | (columns[f"flag_cloud_{name}"] != 0)
        columns[name][flagged] = np.nan
    return by_band(columns, "abs_mag_{band}"), by_band(columns, "abs_mag_{band}_err")


def reddening(
    table: Mapping[str, Any],
    labels: tuple[Array, Array, Array],
    label_errors: Array,
    quality: Array,
    usable: NDArray[np.bool_],
    params: Any,
    log: Any,
) -> tuple[star_pairs.Reddening, Array]:
    """E(B-V) of n stars, and the coefficients (n, 14) that belong to it.

    Parameters
    ----------
    table : the photometry's columns, `ra` and `dec`
    labels, label_errors : Teff, log g, [Fe/H], each (n,); (n, 3)
    quality : (n,) S/N
    usable : (n,) whether the star may be a control, its latitude and S/N apart
    """
    settings = StarPairs.model_validate(params.star_pairs)
    dust = params.extinction
    constant = extinction.constants(dust["sfd"], dust["corrected"], dust["scale"])
    magnitudes, errors = by_band(table, "mag_{band}"), by_band(table, "mag_{band}_err")
    star = group_stars(table["ra"], table["dec"], params.repeat_radius, table["gaia_source_id"])
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
        found = star_pairs.star_pair_reddening(
            magnitudes, errors, scaled, scaled_errors, star, coefficients, controls, settings
        )
        # Coefficients that depend on E(B-V) are taken at the first answer.
        coefficients = extinction.coefficients(kind, constant, scale, labels[0], found.ebv)
    log.info("E(B-V) of %d of %d stars", np.isfinite(found.ebv).sum(), len(star))
    return found, coefficients


def members_variance(
    path: str, registry: Registry, members: int, snr: Array, least: float
) -> Array:
    """Variance (14,) of single members about the mean of all, for stars of a S/N above `least`; NaN without any."""
    names = [f"abs_mag_{band}" for band in BANDS if f"abs_mag_{band}" in registry.names]
    wanted = [
        column
        for name in names
        for column in (f"{name}_spread", f"flag_{name}", f"flag_cloud_{name}")
    ]
    columns = read_fields(path, registry, [*wanted, "obsid"])
    found = np.full(len(BANDS), np.nan)
    for number, band in enumerate(BANDS):
        name = f"abs_mag_{band}"
        if name in names:
            good = (
                (columns[f"flag_{name}"] == 0)
                & (columns[f"flag_cloud_{name}"] == 0)
                & (snr > least)
            )
            good &= np.isfinite(columns[f"{name}_spread"])
            if good.any():
                spread = columns[f"{name}_spread"][good].astype(np.float64)
                found[number] = np.median(spread) ** 2 * (1 - 1 / members)
    return found


def correlation_of(
    paths: list[str], collected: str, registry: Registry, snr: Array, params: Any, log: Any
) -> Array:
    """Correlation (14, 14) of the absolute magnitudes' errors between bands."""
    if params.distance["correlation"] is not None or not paths:
        value = params.distance["correlation"]
        value = PRETRAINED_CORRELATION if value is None else value
        return value + (1 - value) * np.eye(len(BANDS))
    residuals, least = {}, 0.0
    for path, band in zip(paths, params.bands, strict=True):
        left_out = pd.read_parquet(path, columns=["spectrum_id", "snr", "reference", "left_out"])
        least = float(left_out["snr"].quantile(0.25))
        residuals[band] = (left_out["left_out"] - left_out["reference"]).set_axis(
            left_out["spectrum_id"]
        )
    table = pd.DataFrame(residuals).reindex(columns=list(BANDS)).sort_index()
    # A star left out is seen by the members that kept it, one mostly; the catalogue has the mean of all.
    own = members_variance(collected, registry, params.members, snr, least)
    found = distance.estimate_correlation(table.to_numpy(np.float64), own)
    above = found[np.triu_indices(len(BANDS), 1)]
    log.info(
        "correlation of bands from %d stars: %.2f to %.2f", len(table), above.min(), above.max()
    )
    return found


def main(snakemake: Job) -> None:
    """Inputs `recommended`, `photometry`, `left_out`; output Parquet, one row per row of `recommended` in its order."""
    log = rule_log(snakemake)
    params, inputs = snakemake.params, snakemake.input
    registry = load_registry(network_labels(params.network_labels))
    photometry = pq.read_table(inputs.photometry).to_pandas()
    names = ["ra", "dec", "fit_status", params.snr_band]
    names += [column for label in LABELS for column in (label, f"{label}_err")]
    rows = read_fields(inputs.recommended, registry, names)
    table = {name: np.asarray(photometry[name]) for name in photometry if name != "spectrum_id"}
    table |= {"ra": rows["ra"], "dec": rows["dec"]}
    teff, logg, feh = (rows[label].astype(np.float64) for label in LABELS)
    label_errors = np.column_stack([rows[f"{label}_err"].astype(np.float64) for label in LABELS])
    red, coefficients = reddening(
        table, (teff, logg, feh), label_errors, rows[params.snr_band].astype(np.float64),
        rows["fit_status"] == CONVERGED, params, log,
    )  # fmt: skip

    # Where there are no pairs the map may know; without an error it is of no use for a distance.
    known = np.isfinite(red.ebv) | ~np.isfinite(table["ebv_map_err"])
    ebv = np.where(known, red.ebv, table["ebv_map"])
    ebv_err = np.where(known, red.error, table["ebv_map_err"])
    absolute, absolute_err = absolute_magnitudes(inputs.recommended, registry)
    apparent, apparent_err = by_band(table, "mag_{band}"), by_band(table, "mag_{band}_err")
    ks = BANDS.index("ks")
    one = distance.modulus_of_band(
        apparent[:, ks], apparent_err[:, ks], absolute[:, ks], absolute_err[:, ks], coefficients[:, ks], ebv, ebv_err
    )  # fmt: skip
    correlation = correlation_of(
        list(inputs.left_out),
        inputs.recommended,
        registry,
        rows[params.snr_band].astype(np.float64),
        params,
        log,
    )
    combined = distance.modulus_of_bands(
        apparent, apparent_err, absolute, absolute_err, coefficients, ebv, ebv_err, correlation,
        params.distance["clip"],
    )  # fmt: skip
    dist, dist_err = distance.distance_kpc(combined.value, combined.error)
    dist_ks, dist_ks_err = distance.distance_kpc(one.value, one.error)
    sun = Distance.model_validate(params.distance)
    position, position_err = distance.galactocentric(rows["ra"], rows["dec"], dist, dist_err, sun)
    log.info("distances of %d of %d stars", np.isfinite(dist).sum(), len(dist))
    added = {"ebv": red.ebv, "ebv_err": red.error}
    added |= {"dist": dist, "dist_err": dist_err, "dist_ks": dist_ks, "dist_ks_err": dist_ks_err}
    for number, axis in enumerate(("x_gal", "y_gal", "z_gal")):
        added |= {axis: position[:, number], f"{axis}_err": position_err[:, number]}
    result = photometry.assign(
        **{name: values.astype(np.float32) for name, values in added.items()},
        ebv_n_colours=red.n_colours.astype(np.int16),
        dist_n_bands=combined.n_bands.astype(np.int16),
    )
    with atomic(snakemake.output[0]) as temporary:
        result.to_parquet(temporary, index=False, compression="zstd")


if __name__ == "__main__":
    main(snakemake)
