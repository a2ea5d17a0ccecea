"""The stars of a spectral type, sorted for groups, and what the search needs of them in that order."""

from pathlib import Path

import h5py
import numpy as np

from lamostvac.core.hdf5 import atomic_hdf5
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.grouped.groups import gather, order_of, write_order
from lamostvac.library.library import read_library_labels

# Stars gathered at once (1.4 GB with 237 components and 100 candidates). Every chunk is read for each.
BLOCK = 1_000_000


def main(snakemake: Job) -> None:
    """Inputs `candidates project library`, the first two for all chunks; outputs `order stars`."""
    log = rule_log(snakemake)
    inputs = snakemake.input
    paths = {"components": inputs.project, "spectra/residual": inputs.project}
    paths |= {"candidates": inputs.candidates}
    identifiers, matches = [], []
    for project, candidates in zip(inputs.project, inputs.candidates, strict=True):
        with h5py.File(project) as handle:
            identifiers.append(handle["spectra/spectrum_id"][()])
        with h5py.File(candidates) as handle:
            matches.append(handle["candidates"][:, 0])
    chunks = [Path(path).stem for path in inputs.project]
    order = order_of(chunks, identifiers, matches, read_library_labels(inputs.library))
    n = len(order.row)
    progress = Progress(log, n, "spectra")
    with atomic_hdf5(snakemake.output.stars) as handle:
        handle.create_dataset("spectrum_id", data=order.spectrum_id, track_times=False)
        for source, files in paths.items():
            name = Path(source).name
            with h5py.File(files[0]) as chunk:
                shape, dtype = (n, *chunk[source].shape[1:]), chunk[source].dtype
            handle.create_dataset(name, shape=shape, dtype=dtype, track_times=False)
        for first in range(0, n, BLOCK):
            rows = slice(first, first + BLOCK)
            for source, files in paths.items():
                handle[Path(source).name][rows] = gather(
                    files, source, order.chunk[rows], order.row[rows]
                )
            progress.add(len(order.row[rows]))
    write_order(snakemake.output.order, order)
    sizes = np.bincount(order.chunk, minlength=len(chunks))
    progress.done()
    log.info("%d spectra of %d chunks", sizes.sum(), len(chunks))


if __name__ == "__main__":
    main(snakemake)
