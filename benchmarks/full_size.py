"""The grouped search with a library of MaStar's size: spectra of random smooth shapes, 237 components.

Nothing here was learned, and the times do not depend on it: the sizes are those of Liang et al. (2024), the
masks those of real LAMOST spectra (46 pixels in the median, 5 % with more than 300).
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.sizes import Size
from lamostvac.core.vocabulary import TYPE_LIMITS
from lamostvac.emulator.distil import distil
from lamostvac.emulator.model import Emulator
from lamostvac.emulator.settings import DistilSettings
from lamostvac.grouped.candidates import filled_candidates
from lamostvac.grouped.components import project
from lamostvac.grouped.correlation import References, best_matches, references
from lamostvac.grouped.search import fit_group, group_order
from lamostvac.grouped.settings import GroupedSettings
from lamostvac.numerics.gaussian_process import GaussianProcess
from lamostvac.spectra.grid import GRID

STAGES = ("candidates", "components", "search")
Array = NDArray[np.floating]
_BATCH = 1024


@dataclass(eq=False)
class FullSize:
    """A group of stars and what it is fitted with."""

    emulator: Emulator
    distilled: Emulator  # which the search emulates with, as the fit does
    labels: Array  # (N, 4) of the library
    library: References
    flux: NDArray[np.float32]  # (n, 4901) of the stars, and ivar
    ivar: NDArray[np.float32]


def make_full_size(pixels: NDArray[np.bool_], size: Size, seed: int) -> FullSize:
    """A library, its emulator on `pixels` (4901,), and F to K stars at S/N 40 with masked pixels."""
    rng = np.random.default_rng(seed)
    n_library, n_components, n_stars = size.n_mastar, size.k_mastar, size.group
    low, high = np.array([3500.0, 0.5, -2.5, -0.2]), np.array([9000.0, 5.0, 0.5, 0.5])
    labels = rng.uniform(low, high, (n_library, 4))
    offset, scale = np.array([-1.0, 3.0, -0.7, 0.1]), np.array([0.2, 1.0, 0.6, 0.15])
    scaled = (np.column_stack([-5040.0 / labels[:, 0], labels[:, 1:]]) - offset) / scale
    # Each component is a smooth random function of the labels; the first are the largest.
    x = np.linspace(0.0, np.pi, np.count_nonzero(pixels))
    basis = np.linalg.qr(np.cos(np.arange(1, n_components + 1)[:, None] * x).T)[0].T
    scatter = 5.0 / (1.0 + np.arange(n_components))
    weights = rng.standard_normal((n_library, n_components)) * scatter / (4.4 * np.sqrt(n_library))
    emulator = Emulator(
        label_names=("teff", "logg", "feh", "alpha_fe"),
        offset=offset,
        scale=scale,
        pixels=pixels,
        mean=np.full(len(x), 0.95),
        basis=basis,
        process=GaussianProcess(
            scaled, weights, np.zeros((0, n_components)), 2.1, 1.5, 0.2, "zero"
        ),
        library_scaled=scaled,
        discrepancy={name: 1e-4 * np.eye(n_components) for name in TYPE_LIMITS},
        lines={name: np.zeros((n_components, n_components)) for name in TYPE_LIMITS},
        truncation={name: np.zeros(len(x)) for name in TYPE_LIMITS},
        variance_kept=1.0,
    )
    spectra = np.empty((n_library, len(x)), dtype=np.float32)
    for first in range(0, n_library, _BATCH):
        rows = slice(first, first + _BATCH)
        spectra[rows] = emulator.spectra(labels[rows])
        spectra[rows] += 0.02 * rng.standard_normal(spectra[rows].shape, dtype=np.float32)
    # One group: neighbours in Teff.
    truth = rng.uniform([5600.0, 3.0, -1.0, -0.1], [5700.0, 4.8, 0.4, 0.3], (n_stars, 4))
    flux, ivar = (
        np.ones((n_stars, len(GRID)), np.float32),
        np.zeros((n_stars, len(GRID)), np.float32),
    )
    noise = 0.025 * rng.standard_normal((n_stars, len(x)), dtype=np.float32)
    flux[:, pixels], ivar[:, pixels] = emulator.spectra(truth) + noise, 1600.0
    covered = np.flatnonzero(pixels)
    for star, count in enumerate(rng.lognormal(np.log(46.0), 1.15, n_stars)):
        ivar[star, rng.choice(covered, min(int(count), 3000), replace=False)] = 0.0
    small, _ = distil(emulator, DistilSettings())
    return FullSize(emulator, small, labels, references(spectra, basis), flux, ivar)


def grouped_stages(work: FullSize, settings: GroupedSettings) -> tuple[dict[str, float], int]:
    """Seconds of each stage, from prepared spectra to labels, and how often all spectra were emulated."""
    emulator, seconds = work.emulator, dict.fromkeys(STAGES, 0.0)
    parts = []
    for first in range(0, len(work.flux), _BATCH):
        flux, ivar = work.flux[first : first + _BATCH], work.ivar[first : first + _BATCH]
        start = time.perf_counter()
        seen = ivar[:, emulator.pixels] > 0
        similar, _ = best_matches(flux[:, emulator.pixels], seen, work.library, settings.matches)
        rows = filled_candidates(emulator, similar, work.labels)
        between = time.perf_counter()
        parts.append((rows, *project(work.distilled, flux, ivar)))
        seconds["candidates"] += between - start
        seconds["components"] += time.perf_counter() - between
    candidates, components, residual = (
        np.concatenate(values) for values in zip(*parts, strict=True)
    )
    start = time.perf_counter()
    order = group_order(work.labels[candidates[:, 0]], np.arange(len(candidates)))
    fit = fit_group(
        work.distilled,
        components[order],
        residual[order],
        work.labels[candidates[order]],
        settings,
        seed=1,
    )
    seconds["search"] = time.perf_counter() - start
    return seconds, fit.n_evaluations


_worker: list[FullSize] = []  # in a worker process: what it has made


def start_worker(pixels: NDArray[np.bool_], size: Size) -> None:
    """Make the data of a process, which keeps to one core."""
    threadpool_limits(1)
    _worker.append(make_full_size(pixels, size, 1))


def stages_in_worker(settings: GroupedSettings) -> tuple[dict[str, float], int]:
    """`grouped_stages` of the data that `start_worker` made."""
    return grouped_stages(_worker[0], settings)
