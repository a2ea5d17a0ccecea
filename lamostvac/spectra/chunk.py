"""A chunk's prepared spectra: made, read by fit and networks, made again after their removal.

Prepared spectra take 56 kB each and are removed once all have read them. A new network, or a new
emulator, needs them again; its job then makes its own copy from the release's files. So nothing
else runs again: if they were temporary outputs of Snakemake, making them again would count as new
input of every other reader.
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from lamostvac.core.atomic import temporary_path
from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import atomic_hdf5, open_hdf5, read_columns, write_columns
from lamostvac.core.manifest import rejected_table
from lamostvac.core.progress import Progress
from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.identity import check_header
from lamostvac.spectra.network_grid import NetworkPreparation, normalise_network_spectrum
from lamostvac.spectra.normalise import normalise_spectrum
from lamostvac.spectra.reader import read_spectrum
from lamostvac.spectra.rest_frame import RestSpectrum, rest_spectrum
from lamostvac.spectra.settings import Preparation

_ROWS = 64  # spectra per HDF5 chunk; no result depends on it
NEEDED = [
    "spectrum_id",
    "obsid",
    "lmjd",
    "planid",
    "spid",
    "fiberid",
    "ra",
    "dec",
    "z",
    "path",
]  # to read a spectrum


class _Datasets:
    """Growing datasets (n, width) of an HDF5 group, and a digest of their content."""

    def __init__(self, group: h5py.Group, widths: Mapping[str, int]) -> None:
        self._rows: list[tuple[np.ndarray, ...]] = []
        self.digests = [hashlib.sha256() for _ in widths]
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
            block = np.array([row[number] for row in self._rows], dtype="<f4")
            self.digests[number].update(block.tobytes())
            dataset[first:] = block
        self._rows.clear()


def prepare_chunk(
    rows: pd.DataFrame,
    handle: h5py.File,
    settings: Preparation,
    networks: NetworkPreparation | None,
    log: logging.Logger,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the spectra of a chunk and write them prepared for the fit and the networks.

    Parameters
    ----------
    rows : the chunk's rows, as the survey wrote them
    handle : an empty file; it gets `flux`, `ivar` (n, 4901), with `networks` also `network_flux`,
        `network_ivar`, the group `meta`, and the attributes `digest` and `network_digest` of all of
        them

    Returns
    -------
    meta : the rows that were accepted, with `layout n_masked network_masked sum_ormask`
    rejected : `spectrum_id obsid stage reason detail`
    """
    rejected, accepted, layouts, sums, masked, network_masked = [], [], [], [], [], []
    progress = Progress(log, len(rows), "spectra")
    widths = {"flux": len(GRID), "ivar": len(GRID)}
    if networks:
        widths |= {"network_flux": networks.n_pixels, "network_ivar": networks.n_pixels}
    datasets = _Datasets(handle, widths)
    named: Iterator[Any] = rows[NEEDED].itertuples(index=False)
    for index, row in enumerate(named):
        try:
            spectrum = read_spectrum(row.path)
            check_header(spectrum.header, row, settings)
            rest = rest_spectrum(spectrum.wave, spectrum.flux, spectrum.ivar, row.z)
            prepared = normalise_spectrum(rest, settings)
        except SpectrumRejected as rejection:
            log.info("rejected %s (%s): %s", row.spectrum_id, row.path, rejection)
            rejected.append(
                (row.spectrum_id, row.obsid, "prepare", rejection.reason, rejection.detail)
            )
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
    meta = rows.iloc[accepted].reset_index(drop=True)
    meta["layout"] = np.array(layouts, dtype=object)
    meta["n_masked"] = np.array(masked, dtype=np.int32)
    meta["network_masked"] = np.array(network_masked, dtype=np.int32)
    meta["sum_ormask"] = np.array(sums, dtype=np.int64)
    write_columns(handle.create_group("meta"), meta)
    names = "\n".join(meta["spectrum_id"]).encode()
    parts = [digest.digest() for digest in datasets.digests]
    handle.attrs["digest"] = hashlib.sha256(names + b"".join(parts)).hexdigest()
    handle.attrs["network_digest"] = hashlib.sha256(names + b"".join(parts[2:])).hexdigest()
    progress.done()
    return meta, rejected_table(rejected)


def _network_spectrum(
    rest: RestSpectrum, settings: NetworkPreparation
) -> tuple[np.ndarray, np.ndarray]:
    """The spectrum for the networks; ivar is 0 everywhere where it cannot be prepared.

    The emulator's labels do not need it, so the spectrum is not rejected.
    """
    try:
        return normalise_network_spectrum(rest, settings)
    except SpectrumRejected:
        return np.ones(settings.n_pixels, np.float32), np.zeros(settings.n_pixels, np.float32)


def settings_of(
    settings: Mapping[str, Any], networks: Mapping[str, Any] | None
) -> tuple[Preparation, NetworkPreparation | None]:
    """The two preparations from the sections of the configuration."""
    return Preparation.model_validate(settings), NetworkPreparation.model_validate(
        networks
    ) if networks else None


@contextmanager
def open_prepared(
    spectra: str | os.PathLike[str],
    meta: str | os.PathLike[str],
    chunk: str | os.PathLike[str],
    settings: Mapping[str, Any],
    networks: Mapping[str, Any] | None,
    log: logging.Logger,
) -> Iterator[h5py.File]:
    """The prepared spectra of a chunk, open for reading; prepared again if they were removed.

    Parameters
    ----------
    spectra : the file by `prepare`, which may have been removed
    meta : the lasting output of `prepare` about them
    chunk : the chunk's rows (Parquet)
    settings, networks : sections of the configuration, as for `settings_of`

    Raises
    ------
    UserError
        Prepared again they differ: a file of the release has changed or disappeared.
    """
    with open_hdf5(meta) as handle:
        expected = str(handle.attrs["digest"])
        names = read_columns(handle["meta"], ["spectrum_id"])["spectrum_id"]
    try:
        with open_hdf5(spectra) as handle:
            if str(handle.attrs["digest"]) == expected:
                yield handle
                return
    except FileNotFoundError:
        pass
    log.info("%s is gone or of another run; its spectra are prepared again", spectra)
    rows = pq.read_table(chunk).to_pandas()
    rows = rows[rows["spectrum_id"].isin(set(names))].reset_index(drop=True)
    own = temporary_path(Path(spectra))
    try:
        with atomic_hdf5(own) as handle:
            prepare_chunk(rows, handle, *settings_of(settings, networks), log)
        with open_hdf5(own) as handle:
            if str(handle.attrs["digest"]) != expected:
                raise UserError(
                    f"the spectra of {chunk} are not what they were when they were prepared; run again with "
                    f"--forcerun {meta}, which makes them and what depends on them anew"
                )
            yield handle
    finally:
        own.unlink(missing_ok=True)
