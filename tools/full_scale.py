"""Time and accuracy of every way to fit, with a library of MaStar's size: the tables of docs/speed.md.

    snakemake --cores 2 results/full_scale/prepared/{OB,A,F,G,K,M}/0000_meta.h5 \\
        results/full_scale/emulator/mastar_distilled.h5 --configfile config/full_scale.yaml
    python tools/full_scale.py results/full_scale times accuracy pulls outliers

Everything runs on one core unless it says otherwise. Stars with a companion or emission lines are left out of
the comparisons with the truth, as no single star has their labels.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from astropy.table import Table
from scipy.optimize import least_squares
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.core.hdf5 import open_hdf5, read_columns
from lamostvac.emulator.model import Emulator, read_emulator
from lamostvac.fit import refine
from lamostvac.fit.fitter import StarFits, StarFitter
from lamostvac.fit.likelihood import Condensed
from lamostvac.fit.priors import prior_intervals
from lamostvac.fit.settings import Fit, FitSettings
from lamostvac.grouped.candidates import filled_candidates
from lamostvac.grouped.components import project
from lamostvac.grouped.correlation import best_matches, references
from lamostvac.grouped.search import fit_group, group_order, group_seed
from lamostvac.grouped.settings import GroupedSettings
from lamostvac.library.library import SpectralLibrary, read_library
from lamostvac.numerics.statistics import robust_sigma
from lamostvac.spectra.grid import GRID

TYPES = ("OB", "A", "F", "G", "K", "M")
NAMES = ("teff", "logg", "feh", "alpha_fe")
SNR_BINS = ((10.0, 20.0), (20.0, 40.0), (40.0, 100.0), (100.0, np.inf))
N_NAIVE = 4
FOLDER = Path()
LEAST = 15  # stars of a line of a table


@dataclass
class Stars:
    """Prepared spectra of one type with their true labels; `single` are those that have some."""

    name: str
    flux: np.ndarray
    ivar: np.ndarray
    truth: np.ndarray
    single: np.ndarray
    snr: np.ndarray
    spectrum_id: np.ndarray


@cache
def stars_of(name: str, most: int = 1000) -> Stars:
    """The first spectra of a type."""
    truth = Table.read(FOLDER / "simulated/truth.fits", character_as_bytes=False).to_pandas()
    truth = truth.drop_duplicates("spectrum_id").set_index("spectrum_id")
    with open_hdf5(FOLDER / f"prepared/{name}/0000.h5") as handle:
        meta = read_columns(handle["meta"]).iloc[:most]
        flux, ivar = handle["flux"][:most], handle["ivar"][:most]
    rows = truth.loc[meta["spectrum_id"]]
    single = ~(rows["is_binary"].to_numpy(bool) | rows["is_emission"].to_numpy(bool))
    snr = meta[["snrg", "snrr"]].max(axis=1).to_numpy(float)
    labels = rows[list(NAMES)].to_numpy(float)
    return Stars(name, flux, ivar, labels, single, snr, meta["spectrum_id"].to_numpy("S"))


@cache
def emulator(kind: str) -> Emulator:
    """`whole`, `distilled` or `exact`, the last from a run with emulator.process: exact in the same folder."""
    names = {"whole": "mastar", "distilled": "mastar_distilled", "exact": "exact"}
    return read_emulator(FOLDER / f"emulator/{names[kind]}.h5")


@cache
def library() -> SpectralLibrary:
    return read_library(FOLDER / "library/mastar.h5")


def grouped(stars: Stars, kind: str) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Labels of the published grouped search, of the first match, and seconds of its steps."""
    model, labels = emulator(kind), library().label_array()
    settings = GroupedSettings(form="published", max_extrapolation=Fit().max_extrapolation)
    n = len(stars.flux)
    ready = references(library().flux[:, model.pixels], model.basis)
    seconds = dict.fromkeys(("candidates", "components", "search"), 0.0)
    rows, parts = [], []
    for first in range(0, n, 256):
        batch = slice(first, first + 256)
        start = time.perf_counter()
        seen = stars.ivar[batch][:, model.pixels] > 0
        similar, _ = best_matches(stars.flux[batch][:, model.pixels], seen, ready, settings.matches)
        rows.append(filled_candidates(model, similar, labels))
        middle = time.perf_counter()
        parts.append(project(model, stars.flux[batch], stars.ivar[batch]))
        seconds["candidates"] += middle - start
        seconds["components"] += time.perf_counter() - middle
    candidates = labels[np.concatenate(rows)]
    components, residual = (np.concatenate(values) for values in zip(*parts, strict=True))
    start = time.perf_counter()
    order = group_order(candidates[:, 0], stars.spectrum_id)
    fit = fit_group(
        model,
        components[order],
        residual[order],
        candidates[order],
        settings,
        group_seed(1, stars.name, 0),
    )
    seconds["search"] = time.perf_counter() - start
    found = np.empty_like(fit.labels)
    found[order] = fit.labels
    return found, candidates[:, 0], seconds


def ungrouped(stars: Stars, kind: str, first: np.ndarray) -> np.ndarray:
    """The published misfit minimised star by star within the prior intervals about the first match."""
    model = emulator(kind)
    components, residual = project(model, stars.flux, stars.ivar)
    n, k = components.shape
    labels = []
    for start in range(0, n, 256):
        rows = np.arange(start, min(start + 256, n))
        unit = np.broadcast_to(np.eye(k), (len(rows), k, k))
        square = residual[rows] + (components[rows] ** 2).sum(axis=1)
        pixels, nothing = np.full(len(rows), len(model.mean)), np.empty((len(rows), 0, 0))
        plain = Condensed(unit, components[rows], square, pixels, nothing, nothing)
        low, high = refine.box(model, 0.05)
        near = prior_intervals(model, first[rows])
        fit = refine.refine(
            model,
            plain,
            np.arange(len(rows)),
            model.to_scaled(first[rows]),
            np.maximum(low, near[0]),
            np.minimum(high, near[1]),
        )
        labels.append(model.from_scaled(fit.scaled))
    return np.concatenate(labels)


def head(*names: str) -> None:
    """The first two lines of a table."""
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")


def timed(function: Callable[[], object]) -> tuple[object, float]:
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def naive(stars: Stars) -> float:
    """Seconds per spectrum: scikit-learn predicts, SciPy searches, star by star, the exact process."""
    model = emulator("exact")
    flux = library().flux[:, model.pixels]
    components = (flux - model.mean.astype(np.float32)) @ model.basis.T.astype(np.float32)
    process = model.process
    kernel = ConstantKernel(process.amplitude**2, "fixed") * RBF(process.length_scale, "fixed")
    theirs = GaussianProcessRegressor(kernel, alpha=process.noise**2, optimizer=None)
    # Weights as they are; factorising again would take 3 GB and minutes, and is not what is timed.
    theirs.X_train_, theirs.kernel_ = process.inputs, kernel
    theirs.alpha_, theirs._y_train_mean, theirs._y_train_std = process.weights, 0.0, 1.0
    theirs.y_train_ = components[:1]
    root = np.sqrt(stars.ivar[:, model.pixels])

    def residual(scaled: np.ndarray, star: int) -> np.ndarray:
        spectrum = model.mean + theirs.predict(scaled[None])[0] @ model.basis
        return (stars.flux[star, model.pixels] - spectrum) * root[star]

    scaled = model.to_scaled(stars.truth[:N_NAIVE])
    _, seconds = timed(
        lambda: [least_squares(residual, scaled[i] + 0.1, args=(i,)) for i in range(N_NAIVE)]
    )
    return seconds / N_NAIVE


def times() -> None:
    """Seconds per 1000 spectra of each way to fit; two processes for the last."""
    head("what", "s per 1000", "spectra/s")

    def line(what: str, per_1000: float) -> None:
        print(f"| {what} | {per_1000:.2f} | {1000 / per_1000:.4g} |", flush=True)

    stars = stars_of("G")
    line("(a) scikit-learn and SciPy, exact process, one core", 1000 * naive(stars))
    for kind in ("exact", "whole"):
        labels, _, seconds = grouped(stars, kind)
        each = ", ".join(
            f"{name} {1000 * value / len(labels):.2f}" for name, value in seconds.items()
        )
        total = 1000 * sum(seconds.values()) / len(labels)
        line(f"(b) published grouped search, {kind} ({each}), one core", total)
        fitter = StarFitter(emulator("distilled"), FitSettings())
        refined, again = timed(
            lambda f=fitter, s=labels: f.fit(stars.flux, stars.ivar, "G", s[:, None])
        )
        line(f"(c) the same, then refined, {kind}", total + 1000 * again / len(refined.status))
    for kind in ("exact", "whole", "distilled"):
        fitter = StarFitter(emulator(kind), FitSettings())
        _, seconds = timed(lambda f=fitter: f.fit(stars.flux, stars.ivar, "G"))
        line(f"(d) refined alone, {kind}, one core", 1000 * seconds / len(stars.flux))
    # What is read before the fork is there in every process.
    cores, _ = os.cpu_count() or 1, [stars_of(name) for name in TYPES]
    _fitters["distilled"] = StarFitter(emulator("distilled"), FitSettings())
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        pool.map(fit_type, [(name, "distilled") for name in TYPES])
        jobs = [(name, "distilled") for name in TYPES] * 2
        counts, seconds = timed(lambda: sum(pool.map(fit_type, jobs, chunksize=1)))
    line(f"(d) refined alone, distilled, all types, {cores} processes", 1000 * seconds / counts)


_fitters: dict[str, StarFitter] = {}


def fit_type(job: tuple[str, str]) -> int:
    """Fit a type's stars in this process; how many they are."""
    name, kind = job
    if kind not in _fitters:
        _fitters[kind] = StarFitter(emulator(kind), FitSettings())
    stars = stars_of(name)
    return len(_fitters[kind].fit(stars.flux, stars.ivar, name).status)


def accuracy() -> None:
    """Robust sigma of the labels minus the truth, by type and S/N."""
    print("Robust sigma of Teff, log g, [Fe/H], [alpha/Fe]\n")
    ways_named = (
        "first match",
        "(b) grouped",
        "ungrouped",
        "(c) grouped, refined",
        "(d) distilled",
        "(d) exact",
    )
    head("type", "S/N", "n", *ways_named)
    for name in TYPES:
        stars = stars_of(name)
        labels, first, _ = grouped(stars, "exact")
        small = StarFitter(emulator("distilled"), FitSettings())
        large = StarFitter(emulator("exact"), FitSettings())
        ways = [
            first,
            labels,
            ungrouped(stars, "exact", first),
            small.fit(stars.flux, stars.ivar, name, labels[:, None]).labels,
            small.fit(stars.flux, stars.ivar, name).labels,
            large.fit(stars.flux, stars.ivar, name).labels,
        ]
        for low, high in SNR_BINS:
            chosen = stars.single & (stars.snr >= low) & (stars.snr < high)
            if chosen.sum() < LEAST:
                continue
            cells = [
                ", ".join(
                    f"{robust_sigma(way[chosen, i] - stars.truth[chosen, i]):.3g}" for i in range(4)
                )
                for way in ways
            ]
            print(
                f"| {name} | {low:.0f}-{high:.0f} | {chosen.sum()} | {' | '.join(cells)} |",
                flush=True,
            )


def pulls() -> None:
    """Width (and median) of (label - truth) / error of the fit's own covariance, by type and S/N."""
    head("type", "S/N", "n", "Teff", "log g", "[Fe/H]", "[alpha/Fe]")
    fitter = StarFitter(emulator("distilled"), FitSettings())
    for name in TYPES:
        stars = stars_of(name)
        fits = fitter.fit(stars.flux, stars.ivar, name)
        pull = (fits.labels - stars.truth) / fits.errors
        for low, high in ((10.0, 100.0), *SNR_BINS):
            chosen = stars.single & (stars.snr >= low) & (stars.snr < high)
            if chosen.sum() < LEAST:
                continue
            cells = [
                f"{robust_sigma(pull[chosen, i]):.2f} ({np.median(pull[chosen, i]):+.2f})"
                for i in range(4)
            ]
            print(
                f"| {name} | {low:.0f}-{high:.0f} | {chosen.sum()} | {' | '.join(cells)} |",
                flush=True,
            )


def spoil(stars: Stars, what: str, pixels: np.ndarray) -> np.ndarray:
    """Flux with emission lines, cosmic rays or bad columns put in."""
    rng = np.random.default_rng(7)
    flux = stars.flux.copy()
    covered = np.flatnonzero(pixels)
    for star in range(len(flux)):
        if what == "emission":
            for centre in rng.choice(covered, 3):
                line = np.exp(-0.5 * ((GRID - GRID[centre]) / rng.uniform(1.5, 4.0)) ** 2)
                flux[star] += np.float32(rng.uniform(0.2, 1.0)) * line.astype(np.float32)
        elif what == "cosmic rays":
            flux[star, rng.choice(covered, 5)] += rng.uniform(0.3, 1.0, 5).astype(np.float32)
        else:
            for first in rng.choice(covered[:-20], 2):
                flux[star, first : first + 15] -= np.float32(rng.uniform(0.2, 0.6))
    return flux


def outliers() -> None:
    """Label errors with and without the search for outliers, on spoiled spectra and on untouched ones."""
    head(
        "type", "spectra", "outliers", "found in", "robust sigma", "change of labels / error, 90 %"
    )
    fitters = {
        "left in": StarFitter(emulator("distilled"), FitSettings(outlier_sigma=0.0)),
        "left out": StarFitter(emulator("distilled"), FitSettings()),
    }
    for name in ("A", "G", "K", "M"):
        stars = stars_of(name)
        # Spectra in which nothing is found to begin with.
        untouched = fitters["left out"].fit(stars.flux, stars.ivar, name)
        chosen = stars.single & (stars.snr > 20) & (untouched.n_outliers == 0)
        ivar, truth = stars.ivar[chosen], stars.truth[chosen]
        reference = fitters["left in"].fit(stars.flux[chosen], ivar, name)
        for what in ("none", "emission", "cosmic rays", "bad columns"):
            flux = stars.flux[chosen]
            if what != "none":
                flux = spoil(replace(stars, flux=flux), what, emulator("distilled").pixels)
            for way, fitter in fitters.items():
                fits: StarFits = fitter.fit(flux, ivar, name)
                scatter = ", ".join(
                    f"{robust_sigma(fits.labels[:, i] - truth[:, i]):.3g}" for i in range(4)
                )
                change = np.quantile(
                    np.abs(fits.labels - reference.labels) / reference.errors, 0.9, axis=0
                )
                changes = ", ".join(f"{value:.2f}" for value in change)
                found = np.mean(fits.n_outliers > 0)
                print(
                    f"| {name} | {what} (n = {len(flux)}) | {way} | {found:.2f} | {scatter} | {changes} |",
                    flush=True,
                )


def main() -> None:
    global FOLDER, LEAST
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="the run of config/full_scale.yaml")
    ways = {f.__name__: f for f in (times, accuracy, pulls, outliers)}
    parser.add_argument("what", nargs="+", choices=sorted(ways))
    parser.add_argument("--least", type=int, default=LEAST, help="stars that a line needs")
    arguments = parser.parse_args()
    FOLDER, LEAST = arguments.results, arguments.least
    threadpool_limits(1)
    for name in arguments.what:
        print(f"\n## {name} (load {os.getloadavg()[0]:.1f})\n")
        ways[name]()


if __name__ == "__main__":
    main()
