"""A chunk's prepared spectra: made, read by fit and networks, made again after their removal.

Prepared spectra take 56 kB each and are removed once all have read them. A new network, or a new
emulator, needs them again; its job then makes its own copy from the release's files. So nothing
else runs again: if they were temporary outputs of Snakemake, making them again would count as new
input of every other reader.
"""

import hashlib
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from lamostvac.core.atomic import temporary_path
from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import (
    atomic_hdf5,
    open_hdf5,
    read_columns,
    read_text,
    write_attributes,
    write_columns,
)
from lamostvac.core.manifest import rejected_table
from lamostvac.core.progress import Progress
from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.batch import BATCH, Pixels, Prepared, Preparer
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.identity import check_header
from lamostvac.spectra.network_grid import NetworkPreparation
from lamostvac.spectra.reader import StoredSpectrum, read_stored
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
    "redshift",
    "path",
]  # to read a spectrum


Reader: TypeAlias = Callable[[Any], StoredSpectrum]
"""Gives the spectrum of a chunk's row; raises `SpectrumRejected`."""


class _Datasets:
    """Growing datasets (n, width) of an HDF5 group, and a digest of their content."""

    def __init__(self, group: h5py.Group, widths: Mapping[str, int]) -> None:
        # Rows wait until they fill a chunk of the file, which is then written once.
        self._blocks = [np.empty((_ROWS, width), "<f4") for width in widths.values()]
        self._waiting = 0
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
        for block, values in zip(self._blocks, row, strict=True):
            block[self._waiting] = values
        self._waiting += 1
        if self._waiting == _ROWS:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        parts = zip(self._datasets, self._blocks, self.digests, strict=True)
        for dataset, block, digest in parts:
            first, rows = len(dataset), block[: self._waiting]
            dataset.resize(first + len(rows), axis=0)
            digest.update(rows.data)
            dataset[first:] = rows
        self._waiting = 0


class _System:
    """What of a chunk one system of labels can use: its spectra, and why not the others.

    Parameters
    ----------
    width : pixels of a spectrum
    prefix : of the datasets `flux` and `ivar`
    masked : column of `meta` that counts pixels without data
    """

    def __init__(self, handle: h5py.File, width: int, prefix: str, masked: str) -> None:
        names = {f"{prefix}{name}": width for name in ("flux", "ivar")}
        self._datasets, self._masked = _Datasets(handle, names), masked
        self._accepted: list[tuple[int, str, int, int]] = []
        self._rejected: list[tuple[str, int, str, str, str]] = []

    def take(self, index: int, layout: str, sum_ormask: int, pixels: Pixels) -> None:
        """Add a spectrum."""
        self._datasets.add(*pixels)
        n_masked = pixels[1].size - int(np.count_nonzero(pixels[1]))
        self._accepted.append((index, layout, n_masked, sum_ormask))

    def reject(self, row: Any, why: SpectrumRejected) -> None:
        self._rejected.append((row.spectrum_id, row.obsid, "prepare", why.reason, why.detail))

    def tables(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, bytes]:
        """`meta` and `rejected` of `prepare_chunk`, and a digest of the datasets."""
        self._datasets.flush()
        found = pd.DataFrame(
            self._accepted, columns=["index", "layout", self._masked, "sum_ormask"]
        ).astype(
            {"index": np.int64, "layout": object, self._masked: np.int32, "sum_ormask": np.int64}
        )
        meta = rows.iloc[found.pop("index")].reset_index(drop=True)
        parts = b"".join(digest.digest() for digest in self._datasets.digests)
        return pd.concat([meta, found], axis=1), rejected_table(self._rejected), parts


def prepare_chunk(
    rows: pd.DataFrame,
    handle: h5py.File,
    settings: Preparation,
    networks: NetworkPreparation | None,
    log: logging.Logger,
    read: Reader | None = None,
) -> dict[str, pd.DataFrame]:
    """Read the spectra of a chunk and write them prepared for the fit and the networks.

    Emulator and networks each have the spectra that they can use, whatever the other can.

    Parameters
    ----------
    rows : the chunk's rows, as the survey wrote them
    handle : an empty file; it gets `flux`, `ivar` (n, 4901) and the group `meta` of these rows,
        with `networks` also `network_flux`, `network_ivar` (m, pixels) and the group
        `network_meta`, and the attributes `digest` of all of them and `network_digest`

    read : gives the spectrum of a row; by default `read_row`

    Returns
    -------
    `meta`, the rows that the emulator can use, with `layout n_masked sum_ormask`, and `rejected`,
    the others as `spectrum_id obsid stage reason detail`; with `networks` also `network_meta`, with
    `layout n_masked_network sum_ormask`, and `network_rejected`
    """
    systems = {"": _System(handle, len(GRID), "", "n_masked")}
    if networks:
        systems["network_"] = _System(handle, networks.n_pixels, "network_", "n_masked_network")
    preparer = Preparer(settings, networks)
    progress = Progress(log, len(rows), "spectra")
    named: Iterator[Any] = enumerate(rows[NEEDED].itertuples(index=False))
    while batch := list(itertools.islice(named, BATCH)):
        for (index, row), layout, found in _read_and_prepare(
            batch, preparer, read or partial(read_row, settings=settings)
        ):
            if isinstance(found, SpectrumRejected):
                log.info("rejected %s (%s): %s", row.spectrum_id, row.path, found)
                for system in systems.values():
                    system.reject(row, found)
                continue
            for (prefix, system), seen in zip(systems.items(), found.seen, strict=True):
                if isinstance(seen, SpectrumRejected):
                    whose = "networks" if prefix else "emulator"
                    log.info(
                        "the %s cannot use %s (%s): %s", whose, row.spectrum_id, row.path, seen
                    )
                    system.reject(row, seen)
                else:
                    system.take(index, layout, found.sum_ormask, seen)
        progress.add(len(batch))
    tables: dict[str, pd.DataFrame] = {}
    digests: list[bytes] = []
    for prefix, system in systems.items():
        meta, rejected, parts = system.tables(rows)
        tables |= {f"{prefix}meta": meta, f"{prefix}rejected": rejected}
        write_columns(handle.create_group(f"{prefix}meta"), meta)
        digests.append("\n".join(meta["spectrum_id"]).encode() + parts)
    names = ("digest", "network_digest")
    values = (b"".join(digests), b"".join(digests[1:]))
    sums = (hashlib.sha256(value).hexdigest() for value in values)
    write_attributes(handle, dict(zip(names, sums, strict=True)))
    progress.done()
    return tables


def _read_and_prepare(
    batch: list[tuple[int, Any]], preparer: Preparer, read: Reader
) -> Iterator[tuple[tuple[int, Any], str, Prepared | SpectrumRejected]]:
    """A batch's rows with the layouts of their files and what `Preparer.prepare` says of them."""
    stored = [_outcome(read, row) for _, row in batch]
    usable = [
        (one, row.redshift)
        for one, (_, row) in zip(stored, batch, strict=True)
        if not isinstance(one, SpectrumRejected)
    ]
    prepared = iter(preparer.prepare([one for one, _ in usable], [z for _, z in usable]))
    for numbered, one in zip(batch, stored, strict=True):
        if isinstance(one, SpectrumRejected):
            yield numbered, "", one
        else:
            yield numbered, one.layout, next(prepared)


def _outcome(read: Reader, row: Any) -> StoredSpectrum | SpectrumRejected:
    try:
        return read(row)
    except SpectrumRejected as why:
        return why


def read_row(row: Any, settings: Preparation) -> StoredSpectrum:
    """The file of a chunk's row, which has to hold that row's spectrum.

    Raises `SpectrumRejected` with a reason of stage "prepare".
    """
    stored = read_stored(row.path)
    try:
        check_header(stored.header, row, settings)
    except SpectrumRejected:
        stored.decoded()  # what is wrong with the file itself comes first
        raise
    return stored


def rejected_by_all(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Rows of `rejected` of `prepare_chunk` that no system can use."""
    rejected = tables["rejected"]
    if "network_meta" not in tables:
        return rejected
    return rejected[~rejected["spectrum_id"].isin(tables["network_meta"]["spectrum_id"])]


def names_of_networks(prepared: h5py.File) -> set[str]:
    """`spectrum_id` of the spectra that networks will label; none in a run without networks."""
    if "network_meta" not in prepared:
        return set()
    return set(read_columns(prepared["network_meta"], ["spectrum_id"])["spectrum_id"])


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
        expected = read_text(handle.attrs, "digest")
        groups = [name for name in ("meta", "network_meta") if name in handle]
        names = {
            one
            for name in groups
            for one in read_columns(handle[name], ["spectrum_id"])["spectrum_id"]
        }
    try:
        with open_hdf5(spectra) as handle:
            if read_text(handle.attrs, "digest") == expected:
                yield handle
                return
    except FileNotFoundError:
        pass
    log.info("%s is gone or of another run; its spectra are prepared again", spectra)
    rows = pq.read_table(chunk).to_pandas()
    rows = rows[rows["spectrum_id"].isin(names)].reset_index(drop=True)
    own = temporary_path(Path(spectra))
    try:
        with atomic_hdf5(own) as handle:
            prepare_chunk(rows, handle, *settings_of(settings, networks), log)
        with open_hdf5(own) as handle:
            if read_text(handle.attrs, "digest") != expected:
                raise UserError(
                    f"the spectra of {chunk} are not what they were when they were prepared; run again with "
                    f"--forcerun {meta}, which makes them and what depends on them anew"
                )
            yield handle
    finally:
        own.unlink(missing_ok=True)
