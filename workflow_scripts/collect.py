"""Join the chunks of one spectral type into one table; every spectrum is accepted or rejected."""

from collections.abc import Iterator

import pandas as pd

from lamostvac.catalog.files import write_type
from lamostvac.catalog.registry import emulator_labels, network_labels, run_registry
from lamostvac.catalog.rows import assemble, read_chunk
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.core.manifest import read_manifest
from lamostvac.core.progress import Progress


def main(snakemake: Job) -> None:
    log = rule_log(snakemake)
    spectral_type = snakemake.wildcards.type
    params, inputs = snakemake.params, snakemake.input
    labels = network_labels(params.network_labels)
    emulators = emulator_labels(params.emulators)
    registry = run_registry(params)
    manifest = read_manifest(inputs.manifest)
    n_spectra = int(manifest.loc[manifest["type"] == spectral_type, "n_spectra"].sum())
    progress = Progress(log, len(inputs.chunks), "chunks")

    def chunks() -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        none = [None] * len(inputs.chunks)
        predicted, second = inputs.predicted if labels else none, inputs.second_fits or none
        # One file for all chunks where groups are those of the type.
        found = inputs.grouped
        grouped = [found] * len(none) if isinstance(found, str) else found or none
        further = inputs.further_fits or none
        for one, prepared, fit, networks, other, groups, beside in zip(
            inputs.chunks, inputs.prepared, inputs.fits, predicted, second, grouped, further,
            strict=True,
        ):  # fmt: skip
            yield read_chunk(one, prepared, fit, networks, labels, other, groups, beside, emulators)
            progress.add()

    rows, rejected = assemble(
        spectral_type, n_spectra, chunks(), registry, params.library, params.gaia_release
    )
    progress.done()
    write_type(snakemake.output.table, snakemake.output.rejected, rows, rejected, registry, {})
    log.info(
        "%s: %d spectra in, %d accepted, %d rejected",
        spectral_type,
        n_spectra,
        len(rows),
        len(rejected),
    )


if __name__ == "__main__":
    main(snakemake)
