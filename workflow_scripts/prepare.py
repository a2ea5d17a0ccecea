"""Read a chunk's spectra, bring them onto the common grid, and say what was rejected and why."""

from collections import Counter
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq

from lamostvac.errors import REASONS, SpectrumRejected
from lamostvac.files import atomic_hdf5, rejected_table, write_columns
from lamostvac.grid import GRID
from lamostvac.log import Progress, rule_log
from lamostvac.network_spectra import NetworkPreparation, normalise_network_spectrum
from lamostvac.prepare import Preparation, check_identity, normalise_spectrum
from lamostvac.resample import RestSpectrum, rest_spectrum
from lamostvac.spectra import read_spectrum

_ROWS = 64  # spectra per HDF5 chunk; a multiple of nothing that a result depends on
_NEEDED = ["spectrum_id", "obsid", "lmjd", "planid", "spid", "fiberid", "z", "path"]  # to read a spectrum


class _Datasets:
    """Growing datasets (n, width) of an HDF5 group, written some rows at a time."""

    def __init__(self, group: h5py.Group, widths: dict[str, int]) -> None:
        self._rows: list[tuple[np.ndarray, ...]] = []
        self._datasets = [
            group.create_dataset(
                name,
                (0, width),
                dtype="f4",
                maxshape=(None, width),
                chunks=(_ROWS, width),
                track_times=False,
            )
            for name, width in widths.items()
        ]

    def add(self, *row: np.ndarray) -> None:
        self._rows.append(row)
        if len(self._rows) == _ROWS:
            self.flush()

    def flush(self) -> None:
        if not self._rows:
            return
        for number, dataset in enumerate(self._datasets):
            first = len(dataset)
            dataset.resize(first + len(self._rows), axis=0)
            dataset[first:] = np.array([row[number] for row in self._rows])
        self._rows.clear()


def main(snakemake: Any) -> None:
    """Input `chunk`; outputs `spectra` (flux, ivar, network_flux, network_ivar, meta) and `meta` (meta, rejected)."""
    log = rule_log(snakemake)
    settings = Preparation.from_settings(**snakemake.params.settings)
    networks = snakemake.params.networks and NetworkPreparation.from_settings(**snakemake.params.networks)
    manifest = pq.read_table(snakemake.input.chunk).to_pandas()
    rejected, accepted, layouts, sums, masked, network_masked = [], [], [], [], [], []
    progress = Progress(log, len(manifest), "spectra")
    with atomic_hdf5(snakemake.output.spectra) as handle:
        widths = {"flux": len(GRID), "ivar": len(GRID)}
        if networks:
            widths |= {"network_flux": networks.n_pixels, "network_ivar": networks.n_pixels}
        datasets = _Datasets(handle, widths)
        for index, row in enumerate(manifest[_NEEDED].itertuples(index=False)):
            try:
                spectrum = read_spectrum(row.path)
                check_identity(spectrum.header, row.lmjd, row.planid, row.spid, row.fiberid, row.obsid)
                rest = rest_spectrum(spectrum.wave, spectrum.flux, spectrum.ivar, row.z)
                prepared = normalise_spectrum(rest, settings)
            except SpectrumRejected as rejection:
                log.info("rejected %s (%s): %s", row.spectrum_id, row.path, rejection)
                rejected.append((row.spectrum_id, row.obsid, "prepare", rejection.reason, rejection.detail))
            else:
                seen = _network_spectrum(rest, networks) if networks else ()
                datasets.add(*prepared, *seen)
                accepted.append(index)
                layouts.append(spectrum.layout)
                sums.append(int(spectrum.ormask.sum(dtype=np.int64)))
                masked.append(int(np.count_nonzero(prepared[1] == 0)))
                network_masked.append(int(np.count_nonzero(seen[1] == 0)) if seen else -1)
            progress.add()
        datasets.flush()
        meta = manifest.iloc[accepted].reset_index(drop=True)
        meta["layout"] = np.array(layouts, dtype=object)
        meta["n_masked"] = np.array(masked, dtype=np.int32)
        meta["network_masked"] = np.array(network_masked, dtype=np.int32)
        meta["sum_ormask"] = np.array(sums, dtype=np.int64)
        write_columns(handle.create_group("meta"), meta)
    with atomic_hdf5(snakemake.output.meta) as handle:
        write_columns(handle.create_group("meta"), meta)
        write_columns(handle.create_group("rejected"), rejected_table(rejected))
    progress.done()
    for reason, count in sorted(Counter(row[3] for row in rejected).items()):
        log.info("%d rejected: %s", count, REASONS[reason])
    log.info("%d in, %d accepted, %d rejected", len(manifest), len(meta), len(rejected))


def _network_spectrum(rest: RestSpectrum, settings: NetworkPreparation) -> tuple[np.ndarray, np.ndarray]:
    """What the networks see; nothing at all (ivar 0 everywhere) where that cannot be made.

    The emulator's labels do not need it, so the spectrum is not rejected.
    """
    try:
        return normalise_network_spectrum(rest, settings)
    except SpectrumRejected:
        return np.ones(settings.n_pixels, np.float32), np.zeros(settings.n_pixels, np.float32)


if __name__ == "__main__":
    main(snakemake)
