"""The grouped search over some groups, one after the other, and the file of their stars."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from lamostvac.core.hdf5 import atomic_hdf5, write_columns
from lamostvac.emulator.model import Emulator
from lamostvac.grouped.candidates import chunk_candidates
from lamostvac.grouped.components import project_chunk
from lamostvac.grouped.groups import STAR_FIELDS, GroupedStars, Order, group_status, order_of
from lamostvac.grouped.search import fit_group, group_seed, group_slices
from lamostvac.grouped.settings import GroupedSettings
from lamostvac.library.library import SpectralLibrary

# Group numbers that a chunk has for itself, so that groups of a type have numbers of their own.
GROUPS_OF_CHUNK = 10_000

_COLUMNS = ("fit_group", "n_spectra", "n_dimensions", "n_evaluations", "n_iterations", "settled")


@dataclass(frozen=True)
class Batch:
    """Some groups with n stars.

    Attributes
    ----------
    spectrum_id : (n,) as bytes
    stars : in the order of the groups
    groups : int64 columns (g,) `fit_group n_spectra n_dimensions n_evaluations n_iterations
        settled`
    coordinates : the solutions, one group after the other, `n_dimensions` numbers of each
    history : best mean chi2, one group after the other, `n_iterations` + 1 numbers of each
    """

    spectrum_id: NDArray[np.bytes_]
    stars: GroupedStars
    groups: dict[str, NDArray[np.int64]]
    coordinates: NDArray[np.float64]
    history: NDArray[np.float64]


def search_batch(
    emulator: Emulator,
    sorted_stars: Mapping[str, NDArray[Any]],
    groups: Sequence[tuple[int, slice]],
    library_labels: NDArray[np.floating],
    settings: GroupedSettings,
    seed: int,
    spectral_type: str,
    log: logging.Logger,
    progress: Callable[[int], None] = lambda count: None,
) -> Batch:
    """Search some groups of a spectral type.

    Parameters
    ----------
    sorted_stars : `spectrum_id` (N,), `components` (N, r), `residual` (N,), `candidates` (N, t)
        rows of the library, of the type's stars in the order of their groups; arrays or the open
        file of them
    groups : number and rows of each group (`groups.batch_groups`)
    library_labels : (m, L)
    seed : of the run; each group has its own stream
    progress : called with the number of stars of each group that is done
    """
    n_labels = library_labels.shape[1]
    parts: dict[str, list[NDArray[np.generic]]] = {
        "labels": [np.empty((0, n_labels))],
        "first": [np.empty((0, n_labels))],
        "chi2": [np.empty(0)],
        "chi2_first": [np.empty(0)],
        "fit_group": [np.empty(0, np.int64)],
        "fit_status": [np.empty(0, np.int8)],
        "n_iterations": [np.empty(0, np.int32)],
    }
    names = [np.empty(0, "S1")]
    rows_of_table: list[tuple[int, ...]] = []
    coordinates, history = [np.empty(0)], [np.empty(0)]
    for number, rows in groups:
        candidates = library_labels[sorted_stars["candidates"][rows]]
        components, residual = sorted_stars["components"][rows], sorted_stars["residual"][rows]
        own_seed = group_seed(seed, spectral_type, number)
        fit = fit_group(emulator, components, residual, candidates, settings, own_seed)
        n, n_iterations = len(candidates), len(fit.history) - 1
        values = {
            "labels": fit.labels,
            "first": candidates[:, 0],
            "chi2": fit.chi2,
            "chi2_first": fit.chi2_first,
            "fit_group": np.full(n, number, np.int64),
            "fit_status": group_status(emulator, fit, settings.max_extrapolation),
            "n_iterations": np.full(n, n_iterations, np.int32),
        }
        for name, array in values.items():
            parts[name].append(array)
        names.append(sorted_stars["spectrum_id"][rows])
        rows_of_table.append(
            (number, n, fit.n_dimensions, fit.n_evaluations, n_iterations, int(fit.settled))
        )
        coordinates.append(fit.coordinates)
        history.append(fit.history)
        log.info(
            "group %d: %d spectra, %d dimensions, %d evaluations, mean chi2 %.4g, of the first matches %.4g",
            number, n, fit.n_dimensions, fit.n_evaluations, fit.chi2.mean(), fit.chi2_first.mean(),
        )  # fmt: skip
        progress(n)
    table = np.array(rows_of_table, dtype=np.int64).reshape(-1, len(_COLUMNS))
    return Batch(
        np.concatenate(names),
        GroupedStars(**{name: np.concatenate(parts[name]) for name in STAR_FIELDS}),
        dict(zip(_COLUMNS, table.T, strict=True)),
        np.concatenate(coordinates),
        np.concatenate(history),
    )


def search_chunk(
    emulator: Emulator,
    whole: Emulator,
    library: SpectralLibrary,
    flux: h5py.Dataset,
    ivar: h5py.Dataset,
    spectrum_id: NDArray[np.bytes_],
    chunk: str,
    group_size: int,
    settings: GroupedSettings,
    seed: int,
    spectral_type: str,
    log: logging.Logger,
    progress: Callable[[int], None] = lambda count: None,
) -> tuple[Order, GroupedStars]:
    """Search the groups of a chunk's own stars.

    Parameters
    ----------
    emulator, whole : that of the search, and that with all components, in which candidates are
        compared first
    flux, ivar : (n, 4901) of the prepared spectra, from one file or array
    spectrum_id : (n,) as bytes
    chunk : its name, a number
    progress : called with the number of stars of each group that is done

    Returns
    -------
    order : of the chunk's stars
    stars : in that order; groups are numbered from `GROUPS_OF_CHUNK` times the chunk's number on
    """
    components, residual = project_chunk(emulator, flux, ivar)
    candidates = chunk_candidates(flux, ivar, library, whole, settings.matches)
    order = order_of([chunk], [spectrum_id], [candidates[:, 0]], library.label_array())
    sorted_stars: dict[str, NDArray[Any]] = {
        "components": components[order.row],
        "residual": residual[order.row],
        "candidates": candidates[order.row],
        "spectrum_id": order.spectrum_id,
    }
    first = GROUPS_OF_CHUNK * int(chunk)
    groups = [
        (first + number, rows)
        for number, rows in enumerate(group_slices(len(order.row), group_size))
    ]
    batch = search_batch(
        emulator,
        sorted_stars,
        groups,
        library.label_array(),
        settings,
        seed,
        spectral_type,
        log,
        progress,
    )
    return order, batch.stars


def write_batch(path: str | PathLike[str], batch: Batch) -> None:
    """Write as HDF5, one dataset per attribute; the stars' attributes keep their own names."""
    with atomic_hdf5(path) as handle:
        handle.create_dataset("spectrum_id", data=batch.spectrum_id, track_times=False)
        for name in STAR_FIELDS:
            handle.create_dataset(name, data=getattr(batch.stars, name), track_times=False)
        write_columns(handle.create_group("groups"), batch.groups)
        handle.create_dataset("coordinates", data=batch.coordinates, track_times=False)
        handle.create_dataset("history", data=batch.history, track_times=False)
