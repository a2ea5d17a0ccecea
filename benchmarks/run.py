"""Rates on this machine: `make bench`, or `python -m benchmarks.run prepare_rate` for some of them.

Everything runs on a small simulated survey made for the purpose, the networks on random weights of the
published sizes (rates do not depend on what was learned), the grouped search on random smooth spectra of
the published size. Each benchmark writes
`results/bench/NAME.json`; its baseline is measured in the same run or published, as `baseline_is` says.
`load` is the machine's load before; above 0 others may have used it meanwhile. A benchmark that
fails is named at the end, with exit code 1, and the others run. `--toy` runs each with next to
nothing, which measures nothing.
"""

import argparse
import itertools
import json
import logging
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.linalg import cho_factor, cho_solve
from scipy.ndimage import median_filter
from scipy.optimize import least_squares
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from threadpoolctl import threadpool_info, threadpool_limits

from benchmarks import full_size, merge, plan
from benchmarks.memory import peak_mb
from benchmarks.sizes import FULL, TOY, Size
from lamostvac.configuration.root import read_configuration
from lamostvac.core.atomic import atomic
from lamostvac.core.hdf5 import atomic_hdf5
from lamostvac.core.rejection import SpectrumRejected
from lamostvac.emulator.distil import distil
from lamostvac.emulator.model import Emulator, build_emulator
from lamostvac.fit.fitter import StarFitter
from lamostvac.grouped.settings import GroupedSettings
from lamostvac.library.formats.mastar import read_mastar
from lamostvac.library.library import SpectralLibrary, label_table, prepare_library
from lamostvac.networks.domain import TrainingCloud
from lamostvac.networks.ensemble import Network, keras_model
from lamostvac.networks.predict import BLOCK, NetworkStack, predict
from lamostvac.numerics.gaussian_process import train
from lamostvac.numerics.kernel import rbf
from lamostvac.simulate.mastar import PARAMETERS_NAME, SPECTRA_NAME
from lamostvac.simulate.survey import simulate_survey
from lamostvac.spectra.batch import BATCH, Preparer
from lamostvac.spectra.chunk import NEEDED, prepare_chunk
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.network_grid import NetworkPreparation
from lamostvac.spectra.reader import read_stored
from lamostvac.survey.catalogue import IN_RELEASES
from lamostvac.survey.selection import spectral_type

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = read_configuration(ROOT / "config/demo.yaml")
PREPARATION = CONFIGURATION.prepare
NETWORKS = NetworkPreparation.of(CONFIGURATION.networks)
FIT = CONFIGURATION.fit
NOISE_MASTAR = 0.002  # of the synthetic library's pixels
Array = NDArray[np.floating]
Result = tuple[float, float, str]  # value, baseline, what the baseline is


@dataclass(eq=False)
class Survey:
    """What benchmarks run on: files, the emulators of the simulated library, prepared spectra."""

    files: list[Path]
    library: SpectralLibrary
    emulator: Emulator
    distilled: Emulator
    flux: Array  # (n, 4901), and ivar
    ivar: Array
    types: NDArray[np.str_]


def make_survey(folder: Path, size: Size) -> Survey:
    """Simulate, train, prepare."""
    simulate_survey(folder, size.survey)
    raw = read_mastar(folder / "mastar" / SPECTRA_NAME, folder / "mastar" / PARAMETERS_NAME)
    settings = CONFIGURATION.library
    library = prepare_library(raw, "mastar", settings.labels, PREPARATION, None, settings.min_snr)
    trained = CONFIGURATION.emulator
    # Each component as in the published one: 98.3 % are 237 of a library of MaStar's size.
    emulator = build_emulator(library, PREPARATION.masked_regions, trained.changed(variance=0.983))
    files = sorted((folder / "lamost").rglob("*.fits.gz"))
    return Survey(files, library, emulator, distil(emulator, trained)[0], *prepared(files))


@dataclass(eq=False)
class Workload:
    """How large the benchmarks are, where they write, and what several of them share."""

    size: Size
    output: Path  # of results, and of the large files of a merge while it is measured
    folder: Path  # that is removed at the end

    @cached_property
    def survey(self) -> Survey:
        """The simulated survey, made when the first benchmark asks for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return make_survey(Path(tempfile.mkdtemp(dir=self.folder)), self.size)

    @cached_property
    def naive(self) -> float:
        """Spectra per second of the naive fit, which are the baseline of another one."""
        return naive_fits(self.survey, self.size)

    @cached_property
    def merged(self) -> tuple[float, float, float, float]:
        """Seconds and peak GB of a merge, and of vstack of fewer rows, each in its own process."""
        size = self.size
        self.output.mkdir(parents=True, exist_ok=True)
        need = size.n_merged * 3 * merge.full_registry().record.itemsize
        if shutil.disk_usage(self.output).free < need:
            raise OSError(
                f"{self.output} needs {need / 1e9:.0f} GB for the files of the merge benchmarks"
            )
        found: list[float] = []
        spawn = multiprocessing.get_context("spawn")
        for n, function in (
            (size.n_merged, merge.timed_merge),
            (size.n_vstack, merge.timed_vstack),
        ):
            with tempfile.TemporaryDirectory(dir=self.output) as folder:
                with ProcessPoolExecutor(1, spawn) as pool:
                    tables = pool.submit(merge.write_types, Path(folder), n).result()
                with ProcessPoolExecutor(1, spawn) as pool:
                    found += pool.submit(function, Path(folder), tables).result()
        return found[0], found[1], found[2], found[3]


def seen(files: list[Path], networks: bool = True) -> Iterator[tuple[Array, Array, str]]:
    """Each file on the common grid, as the rule prepare does it, and its type; the next overwrites it."""
    preparer = Preparer(PREPARATION, NETWORKS if networks else None)
    for first in range(0, len(files), BATCH):
        spectra = [read_stored(path) for path in files[first : first + BATCH]]
        redshifts = [float(spectrum.header["Z"] or 0.0) for spectrum in spectra]
        for spectrum, found in zip(spectra, preparer.prepare(spectra, redshifts), strict=True):
            if isinstance(found, SpectrumRejected):
                raise found
            for one in found.seen:
                if isinstance(one, SpectrumRejected):
                    raise one
            flux, ivar = found.seen[0]
            yield flux, ivar, spectral_type(str(spectrum.header["SUBCLASS"])) or "G"


def prepared(files: list[Path], networks: bool = True) -> tuple[Array, Array, NDArray[np.str_]]:
    """`seen` of all files."""
    flux, ivar = np.empty((2, len(files), len(GRID)), np.float32)
    types = []
    for row, (one_flux, one_ivar, name) in enumerate(seen(files, networks)):
        flux[row], ivar[row] = one_flux, one_ivar
        types.append(name)
    return flux, ivar, np.array(types)


def rate(function: Callable[[], int], seconds: float) -> float:
    """Spectra per second of a function that returns how many it has done, run for `seconds`."""
    function()
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        done += function()
    return done / elapsed


def usual_preparation(path: Path) -> Array:
    """Reading with astropy, normalising with SciPy; neither masks nor inverse variance."""
    with fits.open(path) as hdus:
        image, header = hdus[0].data, hdus[0].header
        columns = (
            {"FLUX": image[0], "WAVELENGTH": image[2]} if image is not None else hdus[1].data[0]
        )
        flux, wave = (np.array(columns[name], dtype=float) for name in ("FLUX", "WAVELENGTH"))
    on_grid = CubicSpline(wave / (1 + header["Z"]), flux)(GRID)
    return np.asarray(
        on_grid / median_filter(on_grid, PREPARATION.median_window + 1, mode="nearest")
    )


def chunk_rows(files: list[Path]) -> pd.DataFrame:
    """The rows of a chunk with these files, from their headers."""
    rows = []
    for number, path in enumerate(files):
        header = read_stored(path).header
        row = {name: header.get(IN_RELEASES.get(name, name).upper()) for name in NEEDED}
        rows.append(row | {"spectrum_id": f"{number}", "path": str(path)})
    return pd.DataFrame(rows)


def prepare_rate(work: Workload) -> Result:
    """Reading and preparing for emulator and networks, both layouts, one core."""
    files, seconds = work.survey.files, work.size.seconds
    ours = rate(lambda: sum(1 for _ in seen(files)), seconds)
    rows, quiet = chunk_rows(files), logging.Logger("quiet", logging.ERROR)

    def as_a_job() -> int:
        with atomic_hdf5(work.folder / "prepared.h5") as handle:
            tables = prepare_chunk(rows, handle, PREPARATION, NETWORKS, quiet)
        return len(tables["network_meta"])

    text = "headers compared with the catalogue's rows and all written to HDF5, as a job does"
    print(f"{'':<23}{rate(as_a_job, seconds):>8.4g}  {text}")
    usual = rate(lambda: sum(usual_preparation(path).shape[0] > 0 for path in files), seconds)
    return ours, usual, "astropy.io.fits and SciPy, measured now"


def refine_rate(work: Workload) -> Result:
    """Labels with covariance from prepared spectra, outliers left out, a process per core."""
    cores, spawn = work.size.cores, multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, spawn, _start_worker, (work.survey,)) as pool:
        ours = rate(lambda: sum(pool.map(_fit_prepared, range(4 * cores))), work.size.seconds)
    return ours, work.naive * cores, "naive_rate times the cores, measured now"


def naive_fits(survey: Survey, size: Size) -> float:
    """Spectra per second when scikit-learn predicts and SciPy searches."""
    emulator, process, n = survey.emulator, survey.emulator.process, size.n_naive
    components = (survey.library.flux[:, emulator.pixels] - emulator.mean) @ emulator.basis.T
    kernel = ConstantKernel(process.amplitude**2, "fixed") * RBF(process.length_scale, "fixed")
    theirs = GaussianProcessRegressor(kernel, alpha=CONFIGURATION.emulator.noise**2, optimizer=None)
    theirs.fit(emulator.library_scaled, components)
    root = np.sqrt(survey.ivar[:n, emulator.pixels])
    fitter = StarFitter(survey.distilled, FIT)
    first = fitter.fit(survey.flux[:n], survey.ivar[:n], survey.types[:n]).first
    scaled = emulator.to_scaled(first)

    def residual(labels: Array, star: int) -> Array:
        model = emulator.mean + theirs.predict(labels[None])[0] @ emulator.basis
        return np.asarray((survey.flux[star, emulator.pixels] - model) * root[star])

    return rate(
        lambda: len([least_squares(residual, scaled[i], args=(i,)) for i in range(n)]), size.seconds
    )


def naive_rate(work: Workload) -> Result:
    """scikit-learn predicts, SciPy searches, star by star, without errors of emulator and calibration, one core."""
    return work.naive, 5.0, "Liang+ 2024 without grouping (about 5 spectra/s)"


@dataclass(frozen=True)
class Sees:
    """How the networks of a training set see a spectrum, with directions that are random."""

    pixels: NDArray[np.bool_]
    projection: Array
    cloud: TrainingCloud

    @classmethod
    def at_random(cls, seed: int, pixels: NDArray[np.bool_], components: int) -> "Sees":
        """Directions of a published number, and a cloud of the usual size."""
        rng, p = np.random.default_rng(seed), int(pixels.sum())
        ones = np.ones(max(p, 200), np.float32)
        directions = np.linalg.qr(rng.standard_normal((p, components)))[0].astype(np.float32)
        near, centres = _draw(rng, 20, p), _draw(rng, 200, 20)
        cloud = TrainingCloud(near, ones[:20], centres, ones[:200], ones[:200], ones[:p], 1.0, 1.0)
        return cls(pixels, directions, cloud)


def _draw(rng: np.random.Generator, *shape: int) -> Array:
    return (rng.standard_normal(shape) / np.sqrt(shape[-2])).astype(np.float32)


def random_network(label: str, layers: tuple[int, ...], sees: Sees, members: int) -> Network:
    """A network of a published size with weights that were not trained."""
    rng = np.random.default_rng(sum(label.encode()))
    p, components = sees.projection.shape
    pairs = list(itertools.pairwise((components, *layers, 1)))
    return Network(
        label=label,
        wave=NETWORKS.wave,
        pixels=sees.pixels,
        flux_mean=np.ones(p, np.float32),
        flux_scale=np.full(p, 0.1, np.float32),
        projection=sees.projection,
        label_mean=0.0,
        label_scale=1.0,
        label_range=(-1.0, 1.0),
        weights=tuple(_draw(rng, members, a, b) for a, b in pairs),
        biases=tuple(_draw(rng, members, b) for _, b in pairs),
        cloud=sees.cloud,
    )


def all_networks(members: int, size: Size) -> NetworkStack:
    """The 24 networks of Wang+ 2022: three sets of the usual size, and very metal-poor stars."""
    whole, blue = np.ones(NETWORKS.n_pixels, bool), NETWORKS.pixels_in([(3900.0, 4400.0)])
    networks = []
    for number, count in enumerate(size.sets):
        sees = Sees.at_random(number, whole, size.components)
        labels = [f"label{number}_{label}" for label in range(count)]
        networks += [random_network(label, size.layers, sees, members) for label in labels]
    sees = Sees.at_random(len(size.sets), blue, size.components)
    return NetworkStack([*networks, random_network("feh_vmp", size.layers[1:], sees, members)])


def on_pixels(stack: NetworkStack) -> NetworkStack:
    """The same networks in the published form, whose first layers see pixels."""
    return NetworkStack(
        [
            replace(network, projection=None, weights=network.pixel_weights())
            for network in stack.networks
        ]
    )


def operations(stack: NetworkStack) -> float:
    """Floating-point operations of all members of all networks for one spectrum, each projection once."""
    weights = sum(weight.size for network in stack.networks for weight in network.weights)
    projections = {id(network.projection): network.projection for network in stack.networks}
    return 2.0 * (weights + sum(0 if one is None else one.size for one in projections.values()))


def _networks_rate(stack: NetworkStack, flux: Array, seconds: float) -> float:
    return rate(lambda: stack.members(flux)[0].shape[1], seconds)


def _columns_rate(stack: NetworkStack, flux: Array, seconds: float) -> float:
    ivar, snr = np.full(flux.shape, 2500, np.float32), np.full(len(flux), 50, np.float32)
    bands = {network.label: snr for network in stack.networks}
    return rate(lambda: len(list(predict(stack, flux, ivar, bands))) and len(flux), seconds)


def _spectra_seen(n: int) -> Array:
    return (1 + 0.1 * np.random.default_rng(1).standard_normal((n, NETWORKS.n_pixels))).astype(
        np.float32
    )


def networks_rate(work: Workload) -> Result:
    """Labels of 24 networks from prepared spectra, all cores."""
    flux, seconds = _spectra_seen(work.size.n_spectra), work.size.seconds
    with threadpool_limits(work.size.cores):
        members = type(CONFIGURATION.networks).model_fields["members"].default
        ensembles = all_networks(members, work.size)
        for text, measure, stack in (
            (f"with {members} members each, the default", _networks_rate, ensembles),
            ("the same, first layers on pixels", _networks_rate, on_pixels(ensembles)),
            ("with the default's errors and clouds", _columns_rate, ensembles),
        ):
            print(f"{'':<23}{measure(stack, flux, seconds):>8.4g}  {text}")
        single = all_networks(1, work.size)
        ours = _networks_rate(single, flux, seconds)
    models = [keras_model(network) for network in single.networks]
    seen = [flux[:, network.pixels] for network in single.networks]

    def one_after_the_other() -> int:
        for model, values in zip(models, seen, strict=True):
            model.predict(values, batch_size=BLOCK, verbose=0)
        return len(flux)

    return (
        ours,
        rate(one_after_the_other, seconds),
        "Keras, one network after the other, on pixels, measured now",
    )


def networks_peak_fraction(work: Workload) -> Result:
    """Share of the peak of float32 matrix products that prediction reaches, all cores."""
    stack, flux = all_networks(1, work.size), _spectra_seen(work.size.n_spectra)
    n, seconds = work.size.square, work.size.seconds
    square = np.random.default_rng(1).standard_normal((n, n)).astype(np.float32)
    with threadpool_limits(work.size.cores):
        # In turn, so that whatever else the machine does hits both.
        pairs = [
            (
                _networks_rate(stack, flux, seconds) * operations(stack),
                rate(lambda: len(square @ square), seconds) * 2 * n**2,
            )
            for _ in range(3)
        ]
    reached, peak = (float(np.max(column)) for column in zip(*pairs, strict=True))
    return reached / peak, 0.8, f"the aim; peak {peak / 1e9:.0f} GFLOP/s, measured now"


_worker: list[Survey] = []  # in a worker process: what it got when it was started


def _start_worker(survey: Survey) -> None:
    threadpool_limits(1)
    _worker.append(survey)


@cache
def _fitter() -> StarFitter:
    return StarFitter(_worker[0].distilled, FIT)


def _fit_prepared(_: int) -> int:
    survey = _worker[0]
    return len(_fitter().fit(survey.flux, survey.ivar, survey.types).status)


def _fit_files(files: list[Path]) -> int:
    result = _fitter().fit(*prepared(files, networks=False))
    return int(np.isfinite(result.errors).all(axis=1).sum())


def end_to_end_rate(work: Workload) -> Result:
    """Gzipped files to labels with covariance, one process per core, no networks."""
    cores, step, files = work.size.cores, work.size.chunk, work.survey.files
    chunks = [files[first : first + step] for first in range(0, len(files), step)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, spawn, _start_worker, (work.survey,)) as pool:
        ours = rate(lambda: sum(pool.map(_fit_files, chunks * cores)), work.size.seconds)
    return ours, 45.0, "Liang+ 2024, grouped fit, 8-core Xeon E5-2620 v4 (published)"


def full_library(size: Size, rng: np.random.Generator) -> tuple[SpectralLibrary, float]:
    """A library of MaStar's size without its physics, and the variance that keeps its 237 components.

    Labels at random in MaStar's box; spectra with 237 directions, each a wave over the labels, plus noise; ten
    pixels of each spectrum masked, as half of MaStar's have.
    """
    n, k = size.n_mastar, size.k_mastar
    box = np.array([(3000.0, 0.0, -2.5, -0.2), (9000.0, 5.0, 0.5, 0.5)])
    labels = rng.uniform(*box, (n, 4))
    unit = (labels - box[0]) / (box[1] - box[0])
    waves = np.cos(unit @ rng.normal(0, 12, (4, k)) + rng.uniform(0, 6, k))
    directions = np.linalg.qr(rng.standard_normal((len(GRID), k)))[0].T
    flux = (1 + waves @ directions).astype(np.float32)
    flux += rng.normal(0, NOISE_MASTAR, flux.shape).astype(np.float32)
    ivar = np.full(flux.shape, 1 / NOISE_MASTAR**2, np.float32)
    ivar[np.arange(n)[:, None], rng.integers(0, len(GRID), (n, 10))] = 0
    least = float(np.linalg.eigvalsh(np.cov(waves.T))[0])
    noise = NOISE_MASTAR**2 * len(GRID)
    outside = noise * (
        1 - k / len(GRID)
    )  # of the directions; half the weakest leaves room for filled pixels
    variance = 1 - (outside + least / 2) / (waves.var(axis=0).sum() + noise)
    columns = dict(zip(("teff", "logg", "feh", "alpha_fe"), labels.T, strict=True))
    ids = np.array([f"star{number}" for number in range(n)])
    table = pd.DataFrame(label_table(columns, n))
    return SpectralLibrary("full", ids, flux, ivar, table, tuple(columns)), float(variance)


def _build_full(size: Size) -> tuple[float, float, float, int]:
    """Seconds of the whole and of the process, peak GB, components; in a process of its own."""
    threadpool_limits(size.cores)
    library, variance = full_library(size, np.random.default_rng(1))
    trained = CONFIGURATION.emulator
    start = time.perf_counter()
    emulator = build_emulator(library, [], trained.changed(variance=variance, process="exact"))
    whole = time.perf_counter() - start
    components = np.zeros((size.n_mastar, emulator.n_components))
    start = time.perf_counter()
    process = emulator.process
    train(
        process.inputs,
        components,
        process.amplitude,
        process.length_scale,
        process.noise,
        process.mean,
    )
    alone = time.perf_counter() - start
    return whole, alone, peak_mb() / 1000, emulator.n_components


def _scipy_process(size: Size) -> tuple[float, float]:
    """Seconds and peak GB of SciPy's factor, weights and diagonal of the inverse; in a process of its own."""
    threadpool_limits(size.cores)
    rng, n = np.random.default_rng(1), size.n_scipy
    inputs, outputs = rng.standard_normal((n, 4)), rng.standard_normal((n, size.k_mastar))
    start = time.perf_counter()
    kernel = rbf(inputs, inputs, 2.1, 1.5)
    kernel[np.diag_indices(n)] += 0.2**2
    factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
    np.diag(cho_solve(factor, np.eye(n), check_finite=False)).copy()
    cho_solve(factor, outputs, check_finite=False)
    return time.perf_counter() - start, peak_mb() / 1000


def emulator_build_seconds(work: Workload) -> Result:
    """Building the emulator of a library of MaStar's size, synthetic, all cores."""
    size, spawn = work.size, multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool:
        whole, alone, peak, components = pool.submit(_build_full, size).result()
    with ProcessPoolExecutor(1, spawn) as pool:
        seconds, theirs = pool.submit(_scipy_process, size).result()
    seconds *= (size.n_mastar / size.n_scipy) ** 3
    what = (
        f"with SciPy's cho_factor and inverse, measured now at n = {size.n_scipy} ({theirs:.1f} GB) and scaled by n^3; "
        f"ours peaks at {peak:.1f} GB with {components} components, the process takes {alone:.0f} s of it, "
        f"SciPy's {seconds:.0f} s without the variance"
    )
    return whole, whole - alone + seconds, what


def grouped_seconds_per_1000(work: Workload) -> Result:
    """Prepared spectra to labels by the published grouped search, a group of 1000 and a process per core."""
    settings = GroupedSettings(form="published", max_extrapolation=FIT.max_extrapolation)
    cores, spawn = work.size.cores, multiprocessing.get_context("spawn")
    made_of = (work.survey.emulator.pixels, work.size)
    with ProcessPoolExecutor(cores, spawn, full_size.start_worker, made_of) as pool:
        list(pool.map(full_size.stages_in_worker, [settings.changed(max_iterations=1)] * cores))
        start = time.perf_counter()
        results = list(pool.map(full_size.stages_in_worker, [settings] * cores))
        elapsed = time.perf_counter() - start
    for stage in full_size.STAGES:
        share = float(np.mean([seconds[stage] for seconds, _ in results]))
        print(f"{'':<23}{share / cores:>8.4g}  {stage}")
    print(f"{'':<23}{np.mean([n for _, n in results]):>8.4g}  times all spectra were emulated")
    return (
        elapsed / cores * 1000 / work.size.group,
        22.0,
        "Liang+ 2024, 8-core Xeon E5-2620 v4 (published)",
    )


def merge_10m_seconds(work: Workload) -> Result:
    """Six types of ten million rows in all to one FITS and one Parquet file, with stars found; one core."""
    seconds, _, theirs, _ = work.merged
    n, few = work.size.n_merged, work.size.n_vstack
    per_row = theirs / few
    what = (
        f"{n} times the {per_row * 1e6:.0f} us per row of astropy's vstack and pandas' Parquet, without "
        f"finding stars, measured now on {few} rows; ours takes {seconds / n * 1e6:.0f} us per row"
    )
    return seconds, per_row * n, what


def merge_10m_memory_gb(work: Workload) -> Result:
    """Peak memory of that merge."""
    _, gigabytes, _, theirs = work.merged
    what = f"the limit; vstack takes {theirs:.1f} GB for {work.size.n_vstack} rows, measured now"
    return gigabytes, 8.0, what


def plan_seconds_dr10(work: Workload) -> Result:
    """A dry run for all spectra of DR10, from the survey's chunks to the report's figures."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, gigabytes, jobs, chunks = plan.plan(ROOT, Path(folder), work.size.n_planned)
    what = f"the limit; {jobs} jobs of {chunks} chunks, {gigabytes:.2f} GB at most of this and what ran before"
    return seconds, plan.LIMIT, what


def of_survey(work: Workload) -> str:
    """The simulated survey's library and its emulators."""
    survey = work.survey
    return (
        f"{len(survey.library.ids)} library stars, {survey.emulator.n_components} components, "
        f"distilled to {survey.distilled.n_signal} of {survey.distilled.n_components}"
    )


def of_networks(work: Workload) -> str:
    """The networks that were not trained."""
    size = work.size
    layers = " x ".join(str(number) for number in size.layers)
    networks = f"{sum(size.sets)} networks of {layers} and one smaller"
    return f"{networks}, random weights, {size.n_spectra} spectra"


def of_library(work: Workload) -> str:
    """The synthetic library."""
    return f"{work.size.n_mastar} library stars, {work.size.k_mastar} components, random"


def of_group(work: Workload) -> str:
    """The synthetic library and the group that is fitted with it."""
    return f"{of_library(work)}; groups of {work.size.group}"


def of_merge(work: Workload) -> str:
    """The rows that are merged."""
    return f"{work.size.n_merged} random rows, columns of a run with {len(merge.LABELS)} networks"


def of_plan(work: Workload) -> str:
    """The release that is planned."""
    return f"{work.size.n_planned} spectra, config/lamost_dr10.yaml, empty files"


@dataclass(frozen=True)
class Benchmark:
    """What is measured, in which unit, and what says on what."""

    function: Callable[[Workload], Result]
    unit: str
    setting: Callable[[Workload], str]


BENCHMARKS = {
    entry.function.__name__: entry
    for entry in (
        Benchmark(prepare_rate, "spectra/s", of_survey),
        Benchmark(refine_rate, "spectra/s", of_survey),
        Benchmark(naive_rate, "spectra/s", of_survey),
        Benchmark(networks_rate, "spectra/s", of_networks),
        Benchmark(networks_peak_fraction, "1", of_networks),
        Benchmark(grouped_seconds_per_1000, "s per 1000 spectra", of_group),
        Benchmark(end_to_end_rate, "spectra/s", of_survey),
        Benchmark(emulator_build_seconds, "s", of_library),
        Benchmark(merge_10m_seconds, "s", of_merge),
        Benchmark(merge_10m_memory_gb, "GB", of_merge),
        Benchmark(plan_seconds_dr10, "s", of_plan),
    )
}


def kernels() -> str:
    """The BLAS of NumPy and SciPy here, and the kernel it chose for this processor."""
    found = {
        f"{entry['internal_api']} {entry['version']} {entry.get('architecture', 'unknown')}"
        for entry in threadpool_info()
        if entry["user_api"] == "blas"
    }
    return ", ".join(sorted(found)) or "no BLAS known"


def machine() -> dict[str, str | float]:
    """Processors, load, and the commit that is measured, with a `+` when files differ from it."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    hardware = f"{os.cpu_count()} x {models[0] if models else 'unknown'}; {kernels()}"
    return {"hardware": hardware, "load": os.getloadavg()[0], "commit": commit or "unknown"}


def measure(name: str, work: Workload, here: dict[str, str | float]) -> dict[str, str | float]:
    """Run one benchmark and write `NAME.json`; returns what is written."""
    benchmark = BENCHMARKS[name]
    value, baseline, what = benchmark.function(work)
    record: dict[str, str | float] = {"name": name, "value": value, "unit": benchmark.unit}
    record |= {"baseline": baseline, "ratio": value / baseline, "baseline_is": what}
    record |= {"setting": benchmark.setting(work), **here}
    with atomic(work.output / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
    return record


def run(names: list[str], work: Workload) -> list[str]:
    """Run benchmarks one after the other, whatever becomes of each; returns those that failed."""
    here, failed = machine(), []
    print(f"{here['hardware']}, load {here['load']:.1f}\n", flush=True)
    for name in names:
        try:
            found = measure(name, work, here)
        except Exception:
            traceback.print_exc()
            print(f"{name:<23}  failed", flush=True)
            failed.append(name)
        else:
            print(
                f"{name:<23}{found['value']:>8.4g} {found['unit']}  {found['ratio']:>8.3g} times "
                f"{found['baseline']:.4g}: {found['baseline_is']}; {found['setting']}",
                flush=True,
            )
    return failed


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="Rates on this machine."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--toy", action="store_true", help="only to see that all work")
    parser.add_argument(
        "--output", type=Path, help="folder of the results, results/bench or results/bench/toy"
    )
    given = parser.parse_args(arguments)
    for name in given.names:
        if name not in BENCHMARKS:
            sys.exit(f"Error: there is no benchmark {name}; there are {', '.join(BENCHMARKS)}")
    output = given.output or ROOT / ("results/bench/toy" if given.toy else "results/bench")
    threadpool_limits(1)  # a rate is that of one core; several are used by several processes
    with tempfile.TemporaryDirectory() as folder:
        work = Workload(TOY if given.toy else FULL, output, Path(folder))
        failed = run(given.names or list(BENCHMARKS), work)
    if failed:
        sys.exit(f"Error: {len(failed)} of the benchmarks failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
