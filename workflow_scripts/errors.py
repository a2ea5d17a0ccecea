"""Learn how large the errors of one type's labels are, from repeats and from stars of known labels."""

from collections.abc import Mapping, Sequence

import pandas as pd

from lamostvac.catalog.files import read_fields
from lamostvac.catalog.registry import emulator_labels, network_labels, run_registry
from lamostvac.catalog.snr import repeat_conditions
from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.vocabulary import CONVERGED, LABELS
from lamostvac.networks.ensemble import load_network
from lamostvac.uncertainty.models import summary
from lamostvac.uncertainty.published import beside_published, load_published_errors
from lamostvac.uncertainty.repeats import Alike
from lamostvac.uncertainty.snr_threshold import find_threshold, thresholds_table
from lamostvac.uncertainty.type_errors import TypeErrors, theta_labels, write_type_errors


def columns_of(conditions: Mapping[str, Alike], snr_band: str, status: Sequence[str]) -> list[str]:
    """What is read of the type's table: labels with their random errors, and what these depend on."""
    names = ["spectrum_id", "ra", "dec", "lmjd", "fit_status", "chi2", *status]
    names += dict.fromkeys([snr_band, *(alike.snr_band for alike in conditions.values())])
    return names + [name for label in conditions for name in (label, f"{label}_err_random")]


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params, inputs, spectral_type = snakemake.params, snakemake.input, snakemake.wildcards.type
    networks = network_labels(params.network_labels)
    library = pd.read_csv(inputs.crossvalidation)
    sources = {label: (library, label) for label in LABELS}
    if inputs.second_crossvalidation:
        sources["logg_imig"] = (pd.read_csv(inputs.second_crossvalidation), "logg")
    further = emulator_labels(params.emulators)
    own = [*sources, *(column for one in further for column in one.columns.values())]
    tolerance = params.settings["pair_snr_tolerance"]
    conditions = repeat_conditions(networks, own, params.snr_band, tolerance)
    names = columns_of(conditions, params.snr_band, [one.status for one in further])
    table = read_fields(inputs.collected, run_registry(params), names)
    theta, converged = theta_labels(library), table["fit_status"] == CONVERGED
    learner = TypeErrors(table, conditions, theta, converged, params.settings)
    models = {
        label: learner.emulator_label(label, crossvalidation, spectral_type, name)
        for label, (crossvalidation, name) in sources.items()
    }
    for one, stars in zip(further, map(pd.read_csv, inputs.further), strict=True):
        models |= learner.further_labels(one.columns, one.status, stars, spectral_type)
    left_out = dict(zip(params.trained_here, map(pd.read_parquet, inputs.left_out), strict=True))
    published, curves = load_published_errors(), []
    for label, path in zip(networks, inputs.networks, strict=True):
        known, scatter = left_out.get(label.label), None
        if known is not None:
            scatter = load_network(path).scatter(known["reference"].median())
        models[label.label] = learner.network_label(label.label, known)
        curves.append(learner.network_curve(label.label, label.unit, known, scatter, published))
    learned = {label: model for label, model in models.items() if model is not None}
    rows = pd.DataFrame(summary(learned, spectral_type))
    log.info("errors of the labels:\n%s", rows.to_string(index=False))
    threshold = find_threshold(table[params.snr_band], table["chi2"])
    (found,) = thresholds_table({spectral_type: threshold})
    log.info("S/N where chi2 stops following it: %s", found)
    write_type_errors(snakemake.output.models, learned, threshold.value)
    write_csv(snakemake.output.summary, rows, digits=5)
    write_csv(snakemake.output.curves, beside_published(curves, published), digits=5)
    write_csv(snakemake.output.threshold, pd.DataFrame([found]), digits=5)


if __name__ == "__main__":
    main(snakemake)
