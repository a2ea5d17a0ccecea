"""Learn how large the errors of one type's labels are, from repeats and from stars of known labels."""

import pandas as pd

from lamostvac.catalog.files import read_fields
from lamostvac.catalog.registry import load_registry, network_labels
from lamostvac.catalog.snr import repeat_conditions
from lamostvac.core.files import write_csv
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.vocabulary import CONVERGED, LABELS
from lamostvac.networks.ensemble import load_network
from lamostvac.uncertainty.models import summary
from lamostvac.uncertainty.published import beside_published, load_published_errors
from lamostvac.uncertainty.snr_threshold import find_threshold, thresholds_table
from lamostvac.uncertainty.type_errors import TypeErrors, theta_labels, write_type_errors


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    params, inputs, spectral_type = snakemake.params, snakemake.input, snakemake.wildcards.type
    networks = network_labels(params.network_labels)
    library = pd.read_csv(inputs.crossvalidation)
    sources = {label: (library, label) for label in LABELS}
    if inputs.second_crossvalidation:
        sources["logg_imig"] = (pd.read_csv(inputs.second_crossvalidation), "logg")
    conditions = repeat_conditions(
        networks, sources, params.snr_band, params.settings["pair_snr_tolerance"]
    )
    names = ["spectrum_id", "ra", "dec", "lmjd", "fit_status", "chi2"]
    names += dict.fromkeys([params.snr_band, *(alike.snr_band for alike in conditions.values())])
    names += [name for label in conditions for name in (label, f"{label}_random")]
    table = read_fields(inputs.collected, load_registry(networks), names)
    converged = table["fit_status"] == CONVERGED
    learner = TypeErrors(table, conditions, theta_labels(library), converged, params.settings)

    models = {
        label: learner.emulator_label(label, crossvalidation, spectral_type, name)
        for label, (crossvalidation, name) in sources.items()
    }
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
