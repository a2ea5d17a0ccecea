"""The labels of a type's groups, back in the order of its chunks."""

import numpy as np

from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import open_hdf5
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.grouped.groups import STAR_FIELDS, GroupedStars, read_order, write_labels
from lamostvac.library.library import read_label_names


def main(snakemake: Job) -> None:
    """Inputs `order batches library`, the batches in their order."""
    log = rule_log(snakemake)
    order = read_order(snakemake.input.order)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("spectrum_id", *STAR_FIELDS)}
    for path in snakemake.input.batches:
        with open_hdf5(path) as handle:
            for name, values in parts.items():
                values.append(handle[name][()])
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    if not np.array_equal(joined.pop("spectrum_id"), order.spectrum_id):
        raise UserError(
            f"the groups beside {snakemake.input.order} are not those of its spectra; delete the folder and run again"
        )
    names = read_label_names(snakemake.input.library)
    write_labels(snakemake.output[0], order, GroupedStars(**joined), names)
    log.info("%d spectra of %d chunks", len(order.row), len(order.chunks))


if __name__ == "__main__":
    main(snakemake)
