"""Which group each star is in and which job searches it; from chunks to groups and back.

A chunk is a run of plates, a group a run of similar stars: each group has stars of all chunks. The
rule `sort_groups` sorts a type's stars once and copies what the search needs in that order; a job
then reads one piece of one file, and the labels go back into the order of the chunks the same way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import atomic_hdf5, open_hdf5, write_attributes
from lamostvac.core.vocabulary import CONVERGED, EDGE, NO_PROGRESS
from lamostvac.emulator.model import Emulator
from lamostvac.fit.fitter import StarFits, StarFitter
from lamostvac.grouped.search import GroupFit, group_order, group_slices, label_limits

STAR_FIELDS = ("labels", "first", "chi2", "chi2_first", "fit_group", "fit_status", "n_iterations")
# Stars gathered at once (1.4 GB with 237 components and 100 candidates); each time, all chunks are
# read.
_BLOCK = 1_000_000


def batch_names(n_groups: int, groups_per_job: int) -> list[str]:
    """Names of the jobs that search `n_groups` groups."""
    return [f"{number:04d}" for number in range(-(-n_groups // groups_per_job))]


def batch_groups(
    n_stars: int, group_size: int, groups_per_job: int, batch: int
) -> list[tuple[int, slice]]:
    """Number and stars of each group of a job.

    The number of jobs is known before preparing has rejected spectra: the last ones may have fewer
    groups than the others, or none.
    """
    groups = list(enumerate(group_slices(n_stars, group_size)))
    return groups[batch * groups_per_job : (batch + 1) * groups_per_job]


@dataclass(frozen=True)
class Order:
    """The n stars of a type, sorted for groups.

    Attributes
    ----------
    chunks : names of the type's chunks
    chunk : (n,) index into `chunks`
    row : (n,) row of the chunk's files
    spectrum_id : (n,) as bytes
    """

    chunks: tuple[str, ...]
    chunk: NDArray[np.int32]
    row: NDArray[np.int32]
    spectrum_id: NDArray[np.bytes_]


def order_of(
    chunks: Sequence[str],
    identifiers: Sequence[NDArray[np.bytes_]],
    first_matches: Sequence[NDArray[np.integer]],
    library_labels: NDArray[np.floating],
) -> Order:
    """The order of a type's stars: `search.group_order` of the labels of their first matches.

    Parameters
    ----------
    chunks : their names
    identifiers, first_matches : of each chunk (n_chunk,), the latter rows of the library
    library_labels : (N, L)
    """
    sizes = [len(names) for names in identifiers]
    names = np.concatenate([np.empty(0, "S1"), *identifiers])
    matches = np.concatenate([np.empty(0, np.int64), *first_matches])
    chunk = np.repeat(np.arange(len(chunks), dtype=np.int32), sizes)
    row = np.concatenate(
        [np.empty(0, np.int32), *(np.arange(size, dtype=np.int32) for size in sizes)]
    )
    order = group_order(library_labels[matches], names)
    return Order(tuple(chunks), chunk[order], row[order], names[order])


def read_first_matches(
    project: str | PathLike[str], candidates: str | PathLike[str]
) -> tuple[NDArray[np.bytes_], NDArray[np.integer]]:
    """Names (n,) of a chunk's spectra, and the row in the library of the first match of each.

    Raises
    ------
    UserError
        The files of components and of candidates are not of the same spectra in the same order.
    """
    with open_hdf5(project) as handle:
        names = handle["spectra/spectrum_id"][()]
    with open_hdf5(candidates) as handle:
        others = handle["spectrum_id"][()] if "spectrum_id" in handle else None
        first = handle["candidates"][:, 0]
    if others is None or not np.array_equal(names, others):
        raise UserError(f"{candidates} has other spectra than {project}; delete both and run again")
    return names, first


def write_order(path: str | PathLike[str], order: Order) -> None:
    """Write as HDF5, one dataset per attribute."""
    with atomic_hdf5(path) as handle:
        chunks = np.array(order.chunks, dtype="S") if order.chunks else np.empty(0, "S1")
        handle.create_dataset("chunks", data=chunks, track_times=False)
        for name in ("chunk", "row", "spectrum_id"):
            handle.create_dataset(name, data=getattr(order, name), track_times=False)


def read_order(path: str | PathLike[str]) -> Order:
    """What `write_order` wrote."""
    with open_hdf5(path) as handle:
        chunks = tuple(name.decode() for name in handle["chunks"][()])
        return Order(chunks, *(handle[name][()] for name in ("chunk", "row", "spectrum_id")))


def gather(
    paths: Sequence[str], dataset: str, chunk: NDArray[np.integer], row: NDArray[np.integer]
) -> NDArray[np.generic]:
    """Rows (m, ...) of a dataset of the chunks' files, in the order of `chunk` and `row` (m,).

    A file is read whole when it has one of the rows, which is faster than row by row.
    """
    with open_hdf5(paths[0]) as handle:
        like = handle[dataset]
        result = np.empty((len(chunk), *like.shape[1:]), like.dtype)
    by_chunk = np.argsort(chunk, kind="stable")
    limits = np.searchsorted(chunk[by_chunk], np.arange(len(paths) + 1))
    for number, path in enumerate(paths):
        wanted = by_chunk[limits[number] : limits[number + 1]]
        if len(wanted):
            with open_hdf5(path) as handle:
                result[wanted] = handle[dataset][()][row[wanted]]
    return result


def write_sorted(
    path: str | PathLike[str],
    order: Order,
    files: Mapping[str, Sequence[str]],
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Write what the search needs of a type's n stars, in order: `spectrum_id` and given datasets.

    Parameters
    ----------
    files : path of a dataset in the chunks' files to those files, one for each of `order.chunks`;
        written under the path's last part
    progress : called with the number of stars done since it was called last
    """
    n = len(order.row)
    with atomic_hdf5(path) as handle:
        handle.create_dataset("spectrum_id", data=order.spectrum_id, track_times=False)
        for source, paths in files.items():
            with open_hdf5(paths[0]) as chunk:
                shape, dtype = (n, *chunk[source].shape[1:]), chunk[source].dtype
            name = PurePosixPath(source).name
            handle.create_dataset(name, shape=shape, dtype=dtype, track_times=False)
        for first in range(0, n, _BLOCK):
            rows = slice(first, first + _BLOCK)
            for source, paths in files.items():
                part = gather(paths, source, order.chunk[rows], order.row[rows])
                handle[PurePosixPath(source).name][rows] = part
            progress(len(order.row[rows]))


def group_status(emulator: Emulator, fit: GroupFit, max_extrapolation: float) -> NDArray[np.int8]:
    """Codes of `fit_status` (N,): the search settled, a label is at a limit, or it did not
    settle.
    """
    low, high = label_limits(emulator, max_extrapolation)
    edge = ((fit.labels <= low) | (fit.labels >= high)).any(axis=1)
    ended = np.where(edge, EDGE, CONVERGED)
    return np.where(fit.settled, ended, NO_PROGRESS).astype(np.int8)


@dataclass(frozen=True)
class GroupedStars:
    """What the grouped search found for n stars, in the order of their chunk.

    Attributes
    ----------
    labels, first : (n, L) the solution, and the labels of the first match
    chi2, chi2_first : (n,) `search.misfits` at both
    fit_group : (n,) number of the group within the type
    fit_status : (n,) int8, codes of `refine`
    n_iterations : (n,) of the group's search
    """

    labels: NDArray[np.float64]
    first: NDArray[np.float64]
    chi2: NDArray[np.float64]
    chi2_first: NDArray[np.float64]
    fit_group: NDArray[np.int64]
    fit_status: NDArray[np.int8]
    n_iterations: NDArray[np.int32]

    def __getitem__(self, rows: slice) -> "GroupedStars":
        return GroupedStars(**{name: getattr(self, name)[rows] for name in STAR_FIELDS})


def write_labels(
    path: str | PathLike[str], order: Order, stars: GroupedStars, label_names: Sequence[str]
) -> None:
    """Write the stars of a type or a chunk, given in the order of their groups, chunk by chunk."""
    back = np.lexsort((order.row, order.chunk))
    with atomic_hdf5(path) as handle:
        write_attributes(handle, {"label_names": ",".join(label_names)})
        handle.create_dataset(
            "chunks",
            data=np.array(order.chunks, dtype="S") if order.chunks else np.empty(0, "S1"),
            track_times=False,
        )
        limits = np.searchsorted(order.chunk[back], np.arange(len(order.chunks) + 1))
        handle.create_dataset("limits", data=limits, track_times=False)
        handle.create_dataset("spectrum_id", data=order.spectrum_id[back], track_times=False)
        for name in STAR_FIELDS:
            handle.create_dataset(name, data=getattr(stars, name)[back], track_times=False)


def read_labels(path: str | PathLike[str], chunk: str, spectrum_id: Sequence[str]) -> GroupedStars:
    """One chunk's stars of what `write_labels` wrote.

    Raises
    ------
    UserError
        The file's spectra of the chunk are not `spectrum_id`, in this order.
    """
    with open_hdf5(path) as handle:
        chunks = [name.decode() for name in handle["chunks"][()]]
        number = chunks.index(chunk) if chunk in chunks else None
        rows = slice(0, 0) if number is None else slice(*handle["limits"][number : number + 2])
        found = [name.decode() for name in handle["spectrum_id"][rows]]
        if found != list(spectrum_id):
            raise UserError(
                f"{path} does not have the spectra of chunk {chunk}; delete it and run again"
            )
        return GroupedStars(**{name: handle[name][rows] for name in STAR_FIELDS})


def fit_at(
    fitter: StarFitter,
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    stars: GroupedStars,
    spectral_type: str,
) -> StarFits:
    """Grouped labels of prepared spectra (n, 4901), with the errors of the fit per star at them.

    No label moves and no pixel is left out (`fitter` has no iterations and no outliers). chi2 and
    chi2_first are sums over the pixels that a spectrum has, as for every other method; the search
    itself counts masked pixels as if they agreed with the star's components.
    """
    fits = fitter.fit(flux, ivar, spectral_type, stars.labels[:, None])
    first = fitter.fit(flux, ivar, spectral_type, stars.first[:, None])
    return replace(
        fits,
        labels=stars.labels,
        first=stars.first,
        chi2_first=first.chi2,
        status=stars.fit_status,
        n_iterations=stars.n_iterations.astype(np.int64),
    )
