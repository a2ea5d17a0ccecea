"""Train the ensemble of one label."""

import numpy as np
import pandas as pd

from lamostvac.core.atomic import atomic
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.networks.cache import KeptFiles, training_state
from lamostvac.networks.ensemble import save_network
from lamostvac.networks.label import answers_of, left_out_rows, train_label
from lamostvac.networks.settings import NetworkTraining
from lamostvac.spectra.network_grid import NetworkPreparation
from lamostvac.training.files import read_spectra, read_training


def main(snakemake: Job) -> None:
    """Inputs `table`, `spectra` of the training set; outputs `network`, `left_out`."""
    log = rule_log(snakemake)
    params, inputs, outputs = snakemake.params, snakemake.input, snakemake.output
    entry, label = params.entry, params.entry["label"]["name"]
    preparation = NetworkPreparation.model_validate(params.preparation)
    layers = entry["network"]["layers"] or params.settings["layers"]
    settings = NetworkTraining.model_validate(params.settings | {"layers": layers})
    table = read_training(inputs.table)
    train, clipped = (np.flatnonzero(table["split"] == part) for part in ("train", "clipped"))
    n, total = len(train), len(table)
    log.info("%s: %d of %d spectra of the set %s train", label, n, total, entry["set"])
    given = (params.entry, params.preparation, params.settings, params.seed, params.code_version)
    state, kept = training_state(table, label, inputs.spectra, given), KeptFiles(params.kept)
    if kept.restore(state, [outputs.network, outputs.left_out]):
        log.info("%s: trained on the same before; its network is kept", label)
        return
    flux, ivar = read_spectra(inputs.spectra, table, train)
    network, left_out = train_label(
        table.iloc[train], flux, ivar, entry, preparation, settings, params.seed, log
    )
    save_network(outputs.network, network)
    more = read_spectra(inputs.spectra, table, clipped)
    flux, ivar = np.concatenate([flux, more[0]]), np.concatenate([ivar, more[1]])
    answer, spread = answers_of(network, left_out, flux, ivar)
    stars = pd.concat([table.iloc[train], table.iloc[clipped]])
    with atomic(outputs.left_out) as temporary:
        rows = left_out_rows(stars, label, answer, spread, network)
        rows.to_parquet(temporary, index=False)
    kept.keep(state, [outputs.network, outputs.left_out])


if __name__ == "__main__":
    main(snakemake)
