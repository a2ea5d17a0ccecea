"""The figures of each reference that labels are compared with: one-to-one, and Teff against colour."""

import pandas as pd

from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.report.colours import colour_teff_beside, read_isochrone
from lamostvac.report.comparisons import comparison
from lamostvac.report.style import save


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    pairs = pd.read_parquet(inputs.pairs)
    titles = dict(zip(params.datasets, params.titles, strict=True))
    of = {name: pairs[pairs["dataset"] == name] for name in params.datasets}
    for name, ours, path in zip(of, params.ours, outputs.comparisons, strict=True):
        labels = list(dict.fromkeys(of[name]["label"]))
        save(comparison(titles[name], of[name], labels, ours), path)
    isochrone = read_isochrone(inputs.isochrone[0]) if inputs.isochrone else None
    for (name, types), path in zip(params.coloured, outputs.colours, strict=True):
        figure = colour_teff_beside(titles[name], of[name], types, params.reddening, isochrone)
        save(figure, path)
    log.info("%d references", len(titles))


if __name__ == "__main__":
    main(snakemake)
