"""From candidates to a training set: cuts, spectra, split, clipping."""

import zlib

import pandas as pd

from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import parse
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.networks.clipping import without_clipped
from lamostvac.networks.settings import NetworkTraining
from lamostvac.spectra.network_grid import NetworkPreparation, seen_pixels
from lamostvac.spectra.settings import HeaderTolerances
from lamostvac.training.accounting import Accounting
from lamostvac.training.files import (
    origin_cards,
    read_spectra,
    read_training,
    write_spectra,
    write_training,
)
from lamostvac.training.schema import TrainingSet
from lamostvac.training.spectra import own_set
from lamostvac.training.split import child_table, count_split


def main(snakemake: Job) -> None:
    """Inputs `candidates steps`, or a parent's `table spectra`; outputs `table spectra cuts`."""
    log = rule_log(snakemake)
    params, inputs, outputs = snakemake.params, snakemake.input, snakemake.output
    entry = TrainingSet.model_validate(params.entry)
    preparation = NetworkPreparation.model_validate(params.preparation)
    name = entry.name
    accounting = Accounting(name) if entry.parent else Accounting.read(name, inputs.steps)
    if entry.parent:
        parent = read_training(inputs.table)
        table, rows = child_table(parent, entry, accounting)
        flux, ivar = read_spectra(inputs.spectra, parent, rows)
    else:
        candidates, seed = pd.read_parquet(inputs.candidates), params.seed
        headers = HeaderTolerances(**params.headers)
        table, flux, ivar = own_set(candidates, entry, preparation, headers, accounting, seed, log)
        if (clip := entry.clip) is not None:
            where = f"training set {entry.name}: clip: except"
            spared = None if clip.except_ is None else parse(clip.except_, where)
            pixels = seen_pixels(preparation, entry.network.windows)
            layers = entry.network.layers or params.clip["layers"]
            settings = NetworkTraining.model_validate(params.clip | {"layers": layers})
            seed = zlib.crc32(f"{params.seed} {entry.name} clip".encode())
            table = without_clipped(
                table, clip.label, spared, flux, ivar, preparation.wave, pixels, settings, seed,
                clip.binary_magnitude, clip.sigma, log,
            )  # fmt: skip
        count_split(table, accounting)
    accounting.write(outputs.cuts)
    if not entry.optional and not (table["split"] == "train").any():
        raise UserError(
            f"training set {entry.name}: no star is left to train on; {outputs.cuts} says which cut takes them"
        )
    cards = origin_cards(entry.parent, [str(path) for path in inputs.get("files", [])])
    write_training(outputs.table, table, entry, cards)
    write_spectra(outputs.spectra, table["spectrum_id"], flux, ivar)
    counts = table["split"].value_counts()
    log.info(", ".join(f"{name}: {count} spectra" for name, count in counts.sort_index().items()))


if __name__ == "__main__":
    main(snakemake)
