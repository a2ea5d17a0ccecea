"""Read a chunk's spectra, bring them onto the common grid, and say what was rejected and why."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from lamostvac.errors import REASONS, SpectrumRejected
from lamostvac.files import atomic_hdf5, rejected_table, write_columns
from lamostvac.grid import GRID
from lamostvac.log import Progress, rule_log
from lamostvac.prepare import Preparation, check_identity, prepare_spectrum
from lamostvac.spectra import read_spectrum

_ROWS = 64  # spectra per HDF5 chunk; a multiple of nothing that a result depends on


def main(snakemake: Any) -> None:
    """Input `chunk`; outputs `spectra` (flux, ivar, meta) and `meta` (meta, rejected)."""
    log = rule_log(snakemake)
    settings = Preparation.from_settings(**snakemake.params.settings)
    manifest = pq.read_table(snakemake.input.chunk).to_pandas()
    rejected, accepted, layouts, sums, masked = [], [], [], [], []
    progress = Progress(log, len(manifest), "spectra")
    with atomic_hdf5(snakemake.output.spectra) as handle:
        options = {
            "dtype": "f4",
            "maxshape": (None, len(GRID)),
            "chunks": (_ROWS, len(GRID)),
            "track_times": False,
        }
        flux = handle.create_dataset("flux", (0, len(GRID)), **options)
        ivar = handle.create_dataset("ivar", (0, len(GRID)), **options)
        waiting: list[tuple[np.ndarray, np.ndarray]] = []

        def flush() -> None:
            if waiting:
                first, last = flux.shape[0], flux.shape[0] + len(waiting)
                for dataset, column in ((flux, 0), (ivar, 1)):
                    dataset.resize(last, axis=0)
                    dataset[first:last] = np.array([row[column] for row in waiting])
                waiting.clear()

        for index, row in enumerate(manifest.itertuples(index=False)):
            try:
                spectrum = read_spectrum(row.path)
                check_identity(spectrum.header, row.lmjd, row.planid, row.spid, row.fiberid, row.obsid)
                prepared = prepare_spectrum(spectrum.wave, spectrum.flux, spectrum.ivar, row.z, settings)
            except SpectrumRejected as rejection:
                log.info("rejected %s (%s): %s", row.spectrum_id, row.path, rejection)
                rejected.append((row.spectrum_id, row.obsid, "prepare", rejection.reason, rejection.detail))
            else:
                waiting.append(prepared)
                accepted.append(index)
                layouts.append(spectrum.layout)
                sums.append(int(spectrum.ormask.sum(dtype=np.int64)))
                masked.append(int(np.count_nonzero(prepared[1] == 0)))
                if len(waiting) == _ROWS:
                    flush()
            progress.add()
        flush()
        meta = manifest.iloc[accepted].reset_index(drop=True)
        meta["layout"] = np.array(layouts, dtype=object)
        meta["n_masked"] = np.array(masked, dtype=np.int32)
        meta["sum_ormask"] = np.array(sums, dtype=np.int64)
        write_columns(handle.create_group("meta"), meta)
    with atomic_hdf5(snakemake.output.meta) as handle:
        write_columns(handle.create_group("meta"), meta)
        write_columns(handle.create_group("rejected"), rejected_table(rejected))
    progress.done()
    for reason, count in sorted(Counter(row[3] for row in rejected).items()):
        log.info("%d rejected: %s", count, REASONS[reason])
    log.info("%d in, %d accepted, %d rejected", len(manifest), len(meta), len(rejected))


if __name__ == "__main__":
    main(snakemake)
