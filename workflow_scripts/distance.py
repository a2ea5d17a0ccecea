"""E(B-V) by star pairs, distances and positions of one spectral type's rows."""

import numpy as np
import pandas as pd

from lamostvac.catalog.files import read_fields
from lamostvac.catalog.registry import network_labels, run_registry
from lamostvac.catalog.snr import snr_bands
from lamostvac.core.atomic import atomic
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.vocabulary import CONVERGED
from lamostvac.distance import type_distances
from lamostvac.distance.settings import Distance, StarPairs
from lamostvac.spectra.names import in_order_of


def main(snakemake: Job) -> None:
    """Inputs `recommended`, `photometry`, `left_out`; output Parquet, one row per row of `recommended` in its order."""
    log = rule_log(snakemake)
    params, inputs, path = snakemake.params, snakemake.input, snakemake.input.recommended
    networks = network_labels(params.network_labels)
    registry = run_registry(params)
    labels = ["teff_rec", "logg_rec", "feh_rec"]
    names = ["spectrum_id", "ra", "dec", "fit_status", params.snr_band, *labels]
    rows = read_fields(path, registry, [*names, *(f"{label}_err" for label in labels)])
    found = pd.read_parquet(inputs.photometry)
    photometry = in_order_of(rows["spectrum_id"], found, inputs.photometry)
    table = {str(name): np.asarray(values) for name, values in photometry.items()}
    table |= {"ra": rows["ra"], "dec": rows["dec"]}
    teff, logg, feh = (rows[label].astype(np.float64) for label in labels)
    errors = np.column_stack([rows[f"{label}_err"].astype(np.float64) for label in labels])
    quality, converged = rows[params.snr_band].astype(np.float64), rows["fit_status"] == CONVERGED
    red, coefficients = type_distances.reddening(
        table, (teff, logg, feh), errors, quality, converged, StarPairs.model_validate(params.star_pairs),
        params.extinction, params.repeat_radius, log,
    )  # fmt: skip
    settings = Distance.model_validate(params.distance)
    measured = settings.correlation is None and bool(inputs.left_out)
    parts, bands = ["", "_err"], snr_bands(networks, (), params.snr_band)
    parts += ["_spread"] if measured else []
    columns = type_distances.magnitude_columns(registry.names, parts)
    wanted = {*columns, "obsid"} | (set(bands.values()) if measured else set())
    magnitudes = read_fields(path, registry, sorted(wanted))
    absolute = type_distances.usable_magnitudes(magnitudes, settings.flagged)
    correlation = type_distances.equal_correlation(settings.correlation)
    if measured:
        left_out = dict(zip(params.bands, map(pd.read_parquet, inputs.left_out), strict=True))
        correlation = type_distances.left_out_correlation(
            left_out, magnitudes, params.members, bands, log
        )
    added = type_distances.distances(table, absolute, red, coefficients, correlation, settings)
    log.info("distances of %d of %d stars", np.isfinite(added["dist"]).sum(), len(photometry))
    with atomic(snakemake.output[0]) as temporary:
        photometry.assign(**added).to_parquet(temporary, index=False, compression="zstd")


if __name__ == "__main__":
    main(snakemake)
