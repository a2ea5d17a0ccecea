"""The stars of a spectral type, sorted for groups, and what the search needs of them in that order."""

from pathlib import Path

from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.progress import Progress
from lamostvac.grouped.groups import order_of, read_first_matches, write_order, write_sorted
from lamostvac.library.library import read_library_labels


def main(snakemake: Job) -> None:
    """Inputs `candidates project library`, the first two for all chunks; outputs `order stars`."""
    log = rule_log(snakemake)
    inputs = snakemake.input
    identifiers, matches = [], []
    for paths in zip(inputs.project, inputs.candidates, strict=True):
        names, first = read_first_matches(*paths)
        identifiers.append(names)
        matches.append(first)
    chunks = [Path(path).stem for path in inputs.project]
    order = order_of(chunks, identifiers, matches, read_library_labels(inputs.library))
    progress = Progress(log, len(order.row), "spectra")
    files = {"components": inputs.project, "spectra/residual": inputs.project}
    files |= {"candidates": inputs.candidates}
    write_sorted(snakemake.output.stars, order, files, progress.add)
    write_order(snakemake.output.order, order)
    progress.done()
    log.info("%d spectra of %d chunks", len(order.row), len(chunks))


if __name__ == "__main__":
    main(snakemake)
