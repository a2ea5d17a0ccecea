"""Rates on this machine: `make bench`, or `python -m benchmarks.run prepare_rate` for some of them.

Everything runs on a small simulated survey made for the purpose, the networks on random weights of the
published sizes (rates do not depend on what was learned), the grouped search on random smooth spectra of
the published size. Each benchmark writes
`results/bench/NAME.json`; its baseline is measured in the same run or published, as `baseline_is` says.
`load` is the machine's load before; above 0 others may have used it meanwhile.
"""

import itertools
import json
import multiprocessing
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
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
from threadpoolctl import threadpool_limits

from benchmarks import full_size, merge, plan
from lamostvac.configuration import read_configuration
from lamostvac.distil import distil, split_settings
from lamostvac.emulator import Emulator, build_emulator
from lamostvac.files import atomic
from lamostvac.gaussian_process import train
from lamostvac.grid import GRID
from lamostvac.grouped import GroupedSettings
from lamostvac.kernel import rbf
from lamostvac.library import SpectralLibrary, label_table, prepare_library
from lamostvac.library_mastar import read_mastar
from lamostvac.network_prediction import BLOCK, NetworkStack
from lamostvac.network_spectra import NetworkPreparation, normalise_network_spectrum
from lamostvac.networks import Network, keras_model
from lamostvac.prepare import Preparation, normalise_spectrum
from lamostvac.resample import rest_spectrum
from lamostvac.simulate.mastar import PARAMETERS_NAME, SPECTRA_NAME
from lamostvac.simulate.settings import SimulationSettings
from lamostvac.simulate.survey import simulate_survey
from lamostvac.spectra import read_spectrum
from lamostvac.starfit import FitSettings, StarFitter
from lamostvac.survey import spectral_type
from lamostvac.training_cloud import TrainingCloud

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = read_configuration(ROOT / "config/demo.yaml")
PREPARATION = Preparation.from_settings(**CONFIGURATION.prepare.model_dump(exclude={"keep"}))
NETWORKS = NetworkPreparation.from_settings(
    **CONFIGURATION.networks.model_dump(include={"windows", "median_window", "polynomial_degree"})
)
FIT = FitSettings(**{name: getattr(CONFIGURATION.fit, name) for name in FitSettings.__dataclass_fields__})
STARS = {"OB": 60, "A": 120, "F": 180, "G": 240, "K": 180, "M": 120}
SURVEY = SimulationSettings(
    n_stars=STARS, n_training={}, n_other=0, n_low_snr=0, stars_per_plate=50, n_library=3000
)
SECONDS = 2.0  # that each rate is measured for, at least
N_NAIVE = 8
CHUNK = 500
N_MASTAR, K_MASTAR = 18_654, 237  # spectra and components of Liang+ 2024
NOISE_MASTAR = 0.002  # of the synthetic library's pixels
N_SCIPY = 8192
Array = NDArray[np.floating]
Result = tuple[float, float, str]  # value, baseline, what the baseline is


@dataclass(eq=False)
class Workload:
    """What the benchmarks run on: files, the emulators of the simulated library, prepared spectra."""

    files: list[Path]
    library: SpectralLibrary
    emulator: Emulator
    distilled: Emulator
    flux: Array  # (n, 4901), and ivar
    ivar: Array
    types: NDArray[np.str_]


def make_workload(folder: Path) -> Workload:
    """Simulate, train, prepare."""
    simulate_survey(folder, SURVEY)
    raw = read_mastar(folder / "mastar" / SPECTRA_NAME, folder / "mastar" / PARAMETERS_NAME)
    settings = CONFIGURATION.library
    library = prepare_library(raw, "mastar", settings.labels, PREPARATION, None, settings.min_snr)
    trained, distilled = split_settings(CONFIGURATION.emulator.model_dump())
    # Each component as in the published one: 98.3 % are 237 of a library of MaStar's size.
    emulator = build_emulator(library, PREPARATION.masked_regions, replace(trained, variance=0.983))
    files = sorted((folder / "lamost").rglob("*.fits.gz"))
    return Workload(files, library, emulator, distil(emulator, distilled)[0], *prepared(files))


def prepared(files: list[Path], networks: bool = True) -> tuple[Array, Array, NDArray[np.str_]]:
    """Files to spectra on the common grid, as the rule prepare does it, and their types."""
    pairs, types = [], []
    for path in files:
        spectrum = read_spectrum(path)
        z = float(spectrum.header["Z"] or 0.0)
        rest = rest_spectrum(spectrum.wave, spectrum.flux, spectrum.ivar, z)
        pairs.append(normalise_spectrum(rest, PREPARATION))
        if networks:
            normalise_network_spectrum(rest, NETWORKS)
        types.append(spectral_type(str(spectrum.header["SUBCLASS"])) or "G")
    flux, ivar = zip(*pairs, strict=True)
    return np.array(flux), np.array(ivar), np.array(types)


def rate(function: Callable[[], int]) -> float:
    """Spectra per second of a function that returns how many it has done."""
    function()
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        done += function()
    return done / elapsed


def usual_preparation(path: Path) -> Array:
    """Reading with astropy, normalising with SciPy; neither masks nor inverse variance."""
    with fits.open(path) as hdus:
        image, header = hdus[0].data, hdus[0].header
        columns = {"FLUX": image[0], "WAVELENGTH": image[2]} if image is not None else hdus[1].data[0]
        flux, wave = (np.array(columns[name], dtype=float) for name in ("FLUX", "WAVELENGTH"))
    on_grid = CubicSpline(wave / (1 + header["Z"]), flux)(GRID)
    return np.asarray(on_grid / median_filter(on_grid, PREPARATION.median_window + 1, mode="nearest"))


def prepare_rate(work: Workload) -> Result:
    """Reading and preparing for emulator and networks, both layouts, one core."""
    ours = rate(lambda: len(prepared(work.files)[0]))
    usual = rate(lambda: len([usual_preparation(path) for path in work.files]))
    return ours, usual, "astropy.io.fits and SciPy, measured now"


def refine_rate(work: Workload) -> Result:
    """Labels with covariance from prepared spectra, outliers left out, a process per core."""
    cores, spawn = os.cpu_count() or 1, multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, spawn, _start_worker, (work,)) as pool:
        ours = rate(lambda: sum(pool.map(_fit_prepared, range(4 * cores))))
    return ours, naive_rate(work)[0] * cores, "naive_rate times the cores, measured now"


@cache
def naive_rate(work: Workload) -> Result:
    """scikit-learn predicts, SciPy searches, star by star, without errors of emulator and calibration, one core."""
    emulator, process = work.emulator, work.emulator.process
    components = (work.library.flux[:, emulator.pixels] - emulator.mean) @ emulator.basis.T
    kernel = ConstantKernel(process.amplitude**2, "fixed") * RBF(process.length_scale, "fixed")
    theirs = GaussianProcessRegressor(kernel, alpha=CONFIGURATION.emulator.noise**2, optimizer=None)
    theirs.fit(emulator.library_scaled, components)
    root = np.sqrt(work.ivar[:N_NAIVE, emulator.pixels])
    fitter = StarFitter(work.distilled, FIT)
    first = fitter.fit(work.flux[:N_NAIVE], work.ivar[:N_NAIVE], work.types[:N_NAIVE]).first
    scaled = emulator.to_scaled(first)

    def residual(labels: Array, star: int) -> Array:
        model = emulator.mean + theirs.predict(labels[None])[0] @ emulator.basis
        return np.asarray((work.flux[star, emulator.pixels] - model) * root[star])

    value = rate(lambda: len([least_squares(residual, scaled[i], args=(i,)) for i in range(N_NAIVE)]))
    return value, 5.0, "Liang+ 2024 without grouping (about 5 spectra/s)"


def random_network(label: str, layers: tuple[int, ...], pixels: NDArray[np.bool_], members: int) -> Network:
    """A network of a published size with weights that were not trained."""
    rng = np.random.default_rng(sum(label.encode()))
    p = int(pixels.sum())
    sizes = (p, *layers, 1)

    def draw(*shape: int) -> Array:
        return (rng.standard_normal(shape) / np.sqrt(shape[-2])).astype(np.float32)

    ones = np.ones(max(p, 200), np.float32)
    cloud = TrainingCloud(draw(20, p), ones[:20], draw(200, 20), ones[:200], ones[:200], ones[:p], 1.0, 1.0)
    pairs = list(itertools.pairwise(sizes))
    return Network(
        label=label,
        wave=NETWORKS.wave,
        pixels=pixels,
        flux_mean=np.ones(p, np.float32),
        flux_scale=np.full(p, 0.1, np.float32),
        label_mean=0.0,
        label_scale=1.0,
        label_range=(-1.0, 1.0),
        weights=tuple(draw(members, a, b) for a, b in pairs),
        biases=tuple(draw(members, b) for _, b in pairs),
        cloud=cloud,
    )


def all_networks(members: int) -> NetworkStack:
    """The 24 networks of Wang+ 2022: 23 of the usual size and the one of very metal-poor stars."""
    whole, blue = np.ones(NETWORKS.n_pixels, bool), NETWORKS.pixels_in([(3900.0, 4400.0)])
    networks = [random_network(f"label{number}", (512, 256, 64), whole, members) for number in range(23)]
    return NetworkStack([*networks, random_network("feh_vmp", (256, 64), blue, members)])


def operations(stack: NetworkStack) -> float:
    """Floating-point operations of all members of all networks for one spectrum."""
    return float(sum(2 * weight.size for network in stack.networks for weight in network.weights))


def _networks_rate(stack: NetworkStack, flux: Array) -> float:
    return rate(lambda: stack.members(flux)[0].shape[1])


def _spectra_seen(n: int) -> Array:
    return (1 + 0.1 * np.random.default_rng(1).standard_normal((n, NETWORKS.n_pixels))).astype(np.float32)


def networks_rate(work: Workload) -> Result:
    """Labels of 24 networks from prepared spectra, all cores."""
    flux = _spectra_seen(2 * BLOCK)
    with threadpool_limits(os.cpu_count()):
        members = type(CONFIGURATION.networks).model_fields["members"].default
        ensembles = _networks_rate(all_networks(members), flux)
        print(f"{'':<23}{ensembles:>8.4g}  with {members} members each, the default")
        ours = _networks_rate(all_networks(1), flux)
    models = [keras_model(network) for network in all_networks(1).networks]
    seen = [flux[:, network.pixels] for network in all_networks(1).networks]

    def one_after_the_other() -> int:
        for model, values in zip(models, seen, strict=True):
            model.predict(values, batch_size=BLOCK, verbose=0)
        return len(flux)

    return ours, rate(one_after_the_other), "Keras, one network after the other, measured now"


def networks_peak_fraction(work: Workload) -> Result:
    """Share of the peak of float32 matrix products that prediction reaches, all cores."""
    stack, flux = all_networks(1), _spectra_seen(2 * BLOCK)
    square = np.random.default_rng(1).standard_normal((4096, 4096)).astype(np.float32)
    with threadpool_limits(os.cpu_count()):
        # In turn, so that whatever else the machine does hits both.
        pairs = [
            (
                _networks_rate(stack, flux) * operations(stack),
                rate(lambda: len(square @ square)) * 2 * 4096**2,
            )
            for _ in range(3)
        ]
    reached, peak = (float(np.max(column)) for column in zip(*pairs, strict=True))
    return reached / peak, 0.8, f"the aim; peak {peak / 1e9:.0f} GFLOP/s, measured now"


_worker: list[Workload] = []  # in a worker process: what it got when it was started


def _start_worker(work: Workload) -> None:
    threadpool_limits(1)
    _worker.append(work)


@cache
def _fitter() -> StarFitter:
    return StarFitter(_worker[0].distilled, FIT)


def _fit_prepared(_: int) -> int:
    work = _worker[0]
    return len(_fitter().fit(work.flux, work.ivar, work.types).status)


def _fit_files(files: list[Path]) -> int:
    result = _fitter().fit(*prepared(files, networks=False))
    return int(np.isfinite(result.errors).all(axis=1).sum())


def end_to_end_rate(work: Workload) -> Result:
    """Gzipped files to labels with covariance, one process per core, no networks."""
    cores = os.cpu_count() or 1
    chunks = [work.files[first : first + CHUNK] for first in range(0, len(work.files), CHUNK)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, spawn, _start_worker, (work,)) as pool:
        ours = rate(lambda: sum(pool.map(_fit_files, chunks * cores)))
    return ours, 45.0, "Liang+ 2024, grouped fit, 8-core Xeon E5-2620 v4 (published)"


def full_library(rng: np.random.Generator) -> tuple[SpectralLibrary, float]:
    """A library of MaStar's size without its physics, and the variance that keeps its 237 components.

    Labels at random in MaStar's box; spectra with 237 directions, each a wave over the labels, plus noise; ten
    pixels of each spectrum masked, as half of MaStar's have.
    """
    box = np.array([(3000.0, 0.0, -2.5, -0.2), (9000.0, 5.0, 0.5, 0.5)])
    labels = rng.uniform(*box, (N_MASTAR, 4))
    unit = (labels - box[0]) / (box[1] - box[0])
    waves = np.cos(unit @ rng.normal(0, 12, (4, K_MASTAR)) + rng.uniform(0, 6, K_MASTAR))
    directions = np.linalg.qr(rng.standard_normal((len(GRID), K_MASTAR)))[0].T
    flux = (1 + waves @ directions).astype(np.float32)
    flux += rng.normal(0, NOISE_MASTAR, flux.shape).astype(np.float32)
    ivar = np.full(flux.shape, 1 / NOISE_MASTAR**2, np.float32)
    ivar[np.arange(N_MASTAR)[:, None], rng.integers(0, len(GRID), (N_MASTAR, 10))] = 0
    least = float(np.linalg.eigvalsh(np.cov(waves.T))[0])
    noise = NOISE_MASTAR**2 * len(GRID)
    outside = noise * (
        1 - K_MASTAR / len(GRID)
    )  # of the directions; half the weakest leaves room for filled pixels
    variance = 1 - (outside + least / 2) / (waves.var(axis=0).sum() + noise)
    columns = dict(zip(("teff", "logg", "feh", "alpha_fe"), labels.T, strict=True))
    ids = np.array([f"star{number}" for number in range(N_MASTAR)])
    table = pd.DataFrame(label_table(columns, N_MASTAR))
    return SpectralLibrary("full", ids, flux, ivar, table, tuple(columns)), float(variance)


def _build_full() -> tuple[float, float, float, int]:
    """Seconds of the whole and of the process, peak GB, components; in a process of its own."""
    threadpool_limits(os.cpu_count())
    library, variance = full_library(np.random.default_rng(1))
    trained, _ = split_settings(CONFIGURATION.emulator.model_dump())
    start = time.perf_counter()
    emulator = build_emulator(library, [], replace(trained, variance=variance, process="exact"))
    whole = time.perf_counter() - start
    components = np.zeros((N_MASTAR, emulator.n_components))
    start = time.perf_counter()
    process = emulator.process
    train(process.inputs, components, process.amplitude, process.length_scale, process.noise, process.mean)
    alone = time.perf_counter() - start
    return whole, alone, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, emulator.n_components


def _scipy_process(n: int) -> tuple[float, float]:
    """Seconds and peak GB of SciPy's factor, weights and diagonal of the inverse; in a process of its own."""
    threadpool_limits(os.cpu_count())
    rng = np.random.default_rng(1)
    inputs, outputs = rng.standard_normal((n, 4)), rng.standard_normal((n, K_MASTAR))
    start = time.perf_counter()
    kernel = rbf(inputs, inputs, 2.1, 1.5)
    kernel[np.diag_indices(n)] += 0.2**2
    factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
    np.diag(cho_solve(factor, np.eye(n), check_finite=False)).copy()
    cho_solve(factor, outputs, check_finite=False)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def emulator_build_seconds(work: Workload) -> Result:
    """Building the emulator of a library of MaStar's size, synthetic, all cores."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool:
        whole, alone, peak, components = pool.submit(_build_full).result()
    with ProcessPoolExecutor(1, spawn) as pool:
        seconds, theirs = pool.submit(_scipy_process, N_SCIPY).result()
    seconds *= (N_MASTAR / N_SCIPY) ** 3
    what = (
        f"with SciPy's cho_factor and inverse, measured now at n = {N_SCIPY} ({theirs:.1f} GB) and scaled by n^3; "
        f"ours peaks at {peak:.1f} GB with {components} components, the process takes {alone:.0f} s of it, "
        f"SciPy's {seconds:.0f} s without the variance"
    )
    return whole, whole - alone + seconds, what


def grouped_seconds_per_1000(work: Workload) -> Result:
    """Prepared spectra to labels by the published grouped search, a group of 1000 and a process per core."""
    settings = GroupedSettings()
    cores, spawn = os.cpu_count() or 1, multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, spawn, full_size.start_worker, (work.emulator.pixels,)) as pool:
        list(pool.map(full_size.stages_in_worker, [replace(settings, max_iterations=1)] * cores))
        start = time.perf_counter()
        results = list(pool.map(full_size.stages_in_worker, [settings] * cores))
        elapsed = time.perf_counter() - start
    for stage in full_size.STAGES:
        share = float(np.mean([seconds[stage] for seconds, _ in results]))
        print(f"{'':<23}{share / cores:>8.4g}  {stage}")
    print(f"{'':<23}{np.mean([n for _, n in results]):>8.4g}  times all spectra were emulated")
    return elapsed / cores, 22.0, "Liang+ 2024, 8-core Xeon E5-2620 v4 (published)"


@cache
def _merged() -> tuple[float, float, float, float]:
    """Seconds and peak GB of a merge of ten million rows, and of astropy's vstack of fewer, each in its own process."""
    bench = ROOT / "results/bench"
    bench.mkdir(parents=True, exist_ok=True)
    need = merge.N_ROWS * 3 * merge.full_registry().record.itemsize
    if shutil.disk_usage(bench).free < need:
        sys.exit(f"Error: {bench} needs {need / 1e9:.0f} GB for the files of the merge benchmarks")
    found = []
    spawn = multiprocessing.get_context("spawn")
    for n, function in ((merge.N_ROWS, merge.timed_merge), (merge.N_NAIVE, merge.timed_vstack)):
        with tempfile.TemporaryDirectory(dir=bench) as folder:
            with ProcessPoolExecutor(1, spawn) as pool:
                tables = pool.submit(merge.write_types, Path(folder), n).result()
            with ProcessPoolExecutor(1, spawn) as pool:
                found += pool.submit(function, Path(folder), tables).result()
    return found[0], found[1], found[2], found[3]


def merge_10m_seconds(work: Workload) -> Result:
    """Six types of ten million rows in all to one FITS and one Parquet file, with stars found; one core."""
    seconds, _, theirs, _ = _merged()
    per_row = theirs / merge.N_NAIVE
    what = (
        f"{merge.N_ROWS} times the {per_row * 1e6:.0f} us per row of astropy's vstack and pandas' Parquet, without "
        f"finding stars, measured now on {merge.N_NAIVE} rows; ours takes {seconds / merge.N_ROWS * 1e6:.0f} us per row"
    )
    return seconds, per_row * merge.N_ROWS, what


def merge_10m_memory_gb(work: Workload) -> Result:
    """Peak memory of that merge."""
    _, gigabytes, _, theirs = _merged()
    what = f"the limit; vstack takes {theirs:.1f} GB for {merge.N_NAIVE} rows, measured now"
    return gigabytes, 8.0, what


def plan_seconds_dr10(work: Workload) -> Result:
    """A dry run for all spectra of DR10, from the survey's chunks to the report's figures."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, gigabytes, jobs, chunks = plan.plan(ROOT, Path(folder))
    what = (
        f"the limit; {jobs} jobs of {chunks} chunks, {gigabytes:.2f} GB at most of this and what ran before"
    )
    return seconds, plan.LIMIT, what


BENCHMARKS = {
    f.__name__: f
    for f in (
        prepare_rate,
        refine_rate,
        naive_rate,
        networks_rate,
        networks_peak_fraction,
        grouped_seconds_per_1000,
        end_to_end_rate,
        emulator_build_seconds,
        merge_10m_seconds,
        merge_10m_memory_gb,
        plan_seconds_dr10,
    )
}
# Where it is not the simulated survey's.
SETTINGS = {
    "grouped_seconds_per_1000": f"{full_size.N_LIBRARY} library stars, {full_size.N_COMPONENTS} components, random",
    "plan_seconds_dr10": f"{plan.N_SPECTRA} spectra, config/lamost_dr10.yaml, empty files",
    "merge_10m_seconds": f"{merge.N_ROWS} random rows, columns of a run with {len(merge.LABELS)} networks",
    "merge_10m_memory_gb": f"{merge.N_ROWS} random rows, columns of a run with {len(merge.LABELS)} networks",
}
UNITS = {
    "plan_seconds_dr10": "s",
    "networks_peak_fraction": "1",
    "grouped_seconds_per_1000": "s per 1000 spectra",
    "emulator_build_seconds": "s",
    "merge_10m_seconds": "s",
    "merge_10m_memory_gb": "GB",
}


def machine() -> dict[str, str | float]:
    """Processors, load, and the commit that is measured, with a `+` when files differ from it."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    hardware = f"{os.cpu_count()} x {models[0] if models else 'unknown'}"
    return {"hardware": hardware, "load": os.getloadavg()[0], "commit": commit or "unknown"}


def main(names: list[str]) -> None:
    for name in set(names) - set(BENCHMARKS):
        sys.exit(f"Error: there is no benchmark {name}; there are {', '.join(BENCHMARKS)}")
    threadpool_limits(1)  # a rate is that of one core; several are used by several processes
    here = machine()
    with tempfile.TemporaryDirectory() as folder:
        work = make_workload(Path(folder))
        size = (
            f"{len(work.library.ids)} library stars, {work.emulator.n_components} components, distilled to "
            f"{work.distilled.n_signal} of {work.distilled.n_components}"
        )
        print(f"{here['hardware']}, load {here['load']:.1f}; {size}; spectra per second\n")
        for name in names or BENCHMARKS:
            value, baseline, what = BENCHMARKS[name](work)
            record = {
                "name": name,
                "value": value,
                "unit": UNITS.get(name, "spectra/s"),
                "baseline": baseline,
            }
            record |= {"ratio": value / baseline, "baseline_is": what}
            record |= {"setting": SETTINGS.get(name, size), **here}
            with atomic(ROOT / "results/bench" / f"{name}.json") as temporary:
                temporary.write_text(json.dumps(record, indent=2) + "\n")
            print(
                f"{name:<23}{value:>8.4g}  {value / baseline:>5.1f} times {baseline:.4g}: {what}", flush=True
            )


if __name__ == "__main__":
    main(sys.argv[1:])
