"""Learn how large the errors of one type's labels are, from repeats and from stars of known labels."""

import numpy as np
import pandas as pd

from lamostvac.catalog.files import read_fields
from lamostvac.catalog.registry import load_registry, network_labels
from lamostvac.core.atomic import atomic
from lamostvac.core.hdf5 import atomic_hdf5
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.vocabulary import CONVERGED, LABELS
from lamostvac.external.match import group_stars
from lamostvac.networks.ensemble import load_network
from lamostvac.spectra.names import RowsByName, values_at
from lamostvac.uncertainty.model_files import write_models
from lamostvac.uncertainty.models import (
    LabelErrors,
    Residuals,
    learn,
    left_out_residuals,
    library_residuals,
    pair_residuals,
    summary,
    write_errors,
)
from lamostvac.uncertainty.published import beside_published, load_published_errors
from lamostvac.uncertainty.repeats import RADIUS, similar_pairs
from lamostvac.uncertainty.snr_curve import network_curve
from lamostvac.uncertainty.snr_threshold import find_threshold, thresholds_table

# Labels that the scale of errors depends on, of those that the library has.
THETA = LABELS
NOTHING = Residuals(np.empty((0, 0)), *[np.empty(0)] * 6)


def scatter_of(network: str, reference: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """S/N, and the scatter of left-out stars there, for a star in the middle of the training set."""
    trained = load_network(network)
    middle = np.full_like(trained.error_snr, reference.median())
    return trained.error_snr, trained.label_error(middle, trained.error_snr)


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    spectral_type = snakemake.wildcards.type
    params, inputs, settings = snakemake.params, snakemake.input, snakemake.params.settings
    networks = network_labels(params.network_labels)
    registry = load_registry(networks)
    own = [*LABELS, *(["logg_imig"] if inputs.second_crossvalidation else [])]
    names = [label for name in own for label in (name, f"{name}_err", f"{name}_random")]
    names += [f"{label.label}{part}" for label in networks for part in ("", "_random")]
    place = ["ra", "dec", "lmjd", params.snr_band]
    table = read_fields(
        inputs.collected, registry, ["spectrum_id", *place, "fit_status", "chi2", *names]
    )
    library = pd.read_csv(inputs.crossvalidation)
    theta = [label for label in THETA if label in library]
    points = (
        np.column_stack([table[label] for label in theta])
        .astype(np.float64)
        .reshape(len(table["ra"]), len(theta))
    )
    points[table["fit_status"] != CONVERGED] = np.nan
    row_of = RowsByName(table["spectrum_id"])
    identity = row_of.fingerprints
    star = group_stars(table["ra"], table["dec"], RADIUS)
    pairs = {
        system: similar_pairs(
            table["ra"],
            table["dec"],
            table["lmjd"],
            table[params.snr_band],
            tolerance,
            identity=identity,
            star=star,
        )
        for system, tolerance in settings["pair_snr_tolerance"].items()
    }
    for system, found in pairs.items():
        log.info(
            "%d spectra, %d pairs of one star with S/N alike for the %s",
            len(identity),
            len(found),
            system,
        )

    learned = {
        system: found.sample(settings["max_pairs"], identity) for system, found in pairs.items()
    }

    def repeats(label: str, system: str) -> Residuals:
        return pair_residuals(table[label], points, table[f"{label}_random"], learned[system])

    models: dict[str, LabelErrors] = {}
    for label in own if settings["emulator"] != "covariance" else []:
        source, name = library, label
        if label == "logg_imig":
            source, name = pd.read_csv(inputs.second_crossvalidation), "logg"
        if name in source:
            known = library_residuals(source, spectral_type, name, theta)
            models[label] = learn(
                label, theta, settings["emulator"], repeats(label, "emulator"), known
            )
    left_out = {
        label: pd.read_parquet(path)
        for label, path in zip(params.trained_here, inputs.left_out, strict=True)
    }
    published = load_published_errors()
    curves = []
    for network_label, network in zip(networks, inputs.networks, strict=True):
        name = network_label.label
        value = table[name].astype(np.float64)
        where, seen, scatter = None, None, None
        if name in left_out:
            where = row_of(left_out[name]["spectrum_id"])
            seen = left_out[name].assign(value=values_at(value, where))
            scatter = scatter_of(network, seen["reference"])
        if settings["networks"] == "calibrated":
            known = NOTHING if where is None else left_out_residuals(left_out[name], where, points)
            models[name] = learn(name, theta, "calibrated", repeats(name, "networks"), known)
        curves.append(
            network_curve(
                name,
                network_label.unit,
                pairs["networks"],
                value,
                settings,
                published,
                seen,
                scatter,
            )
        )
    rows = pd.DataFrame(summary(models, spectral_type))
    for row in rows.itertuples():
        log.info(
            "%s: random times %.3g (%d pairs), systematic times %.3g (%d stars)",
            row.label, row.factor_random, row.n_random, row.factor_systematic, row.n_systematic,
        )  # fmt: skip
    snr = table[params.snr_band].astype(np.float64)
    threshold = find_threshold(snr, table["chi2"].astype(np.float64))
    (found_threshold,) = thresholds_table({spectral_type: threshold})
    log.info("S/N where chi2 stops following it: %s", found_threshold)
    with atomic_hdf5(snakemake.output.models) as handle:
        write_errors(handle.create_group("errors"), models)
        write_models(handle.create_group("curves"), curves)
        handle.attrs["snr_threshold"] = threshold.value
    for path, content in (
        (snakemake.output.summary, rows),
        (snakemake.output.curves, beside_published(curves, published)),
        (snakemake.output.threshold, pd.DataFrame([found_threshold])),
    ):
        with atomic(path) as temporary:
            content.to_csv(temporary, index=False, float_format="%.5g", lineterminator="\n")


if __name__ == "__main__":
    main(snakemake)
