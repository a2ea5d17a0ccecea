"""Compare the grouped searches with each other and with fits of single stars, on spectra with known labels.

The tables of docs/grouped.md: `python tools/grouped_trial.py RESULTS`, where RESULTS is the folder of a
simulated run with `prepare.keep: true` that has got as far as its files project/*/*.h5.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from lamostvac import grouped, refine
from lamostvac.cfi import correlation
from lamostvac.emulator import Emulator, read_emulator
from lamostvac.files import read_columns
from lamostvac.library import read_library
from lamostvac.starfit import FitSettings, StarFits, fit_stars, misfit

PAPER = grouped.GroupedSettings()
SEARCHES = {
    "published": PAPER,
    "centred": replace(PAPER, form="centred"),
    "scaled": replace(PAPER, form="scaled"),
    "gradient, published": replace(PAPER, search="gradient"),
    "gradient, scaled": replace(PAPER, form="scaled", search="gradient"),
    "gradient, all of Theta": replace(PAPER, form="scaled", search="gradient", variance=1.0),
}
_BATCH = 256


class Spectra:
    """The prepared spectra of one type, in the order of the groups, with the truth and the first matches."""

    def __init__(self, folder: Path, spectral_type: str, emulator: Emulator, matches: int) -> None:
        library = read_library(next((folder / "library").glob("*.h5")))
        labels = library.label_array()
        truth = Table.read(folder / "simulated/truth.fits")
        rows_of_truth = {str(name).strip(): row for row, name in enumerate(truth["spectrum_id"])}
        parts: dict[str, list[NDArray]] = {}
        started = 0.0
        for path in sorted((folder / "project" / spectral_type).glob("*.h5")):
            with (
                h5py.File(path) as project,
                h5py.File(folder / "prepared" / spectral_type / path.name) as spectra,
            ):
                flux, ivar = spectra["flux"][()], spectra["ivar"][()]
                guess = read_columns(project["first_guess"])
                similar = np.concatenate(
                    [
                        correlation(
                            flux[i : i + _BATCH, emulator.pixels],
                            ivar[i : i + _BATCH, emulator.pixels] > 0,
                            library.flux[:, emulator.pixels],
                        )
                        for i in range(0, len(flux), _BATCH)
                    ]
                )
                begin = time.process_time()
                candidates = labels[grouped.candidate_rows(emulator, similar, labels, matches)]
                started += time.process_time() - begin
                rows = [rows_of_truth[name] for name in guess["spectrum_id"]]
                values = {
                    "flux": flux,
                    "ivar": ivar,
                    "components": project["components"][()],
                    "residual": guess["residual"].to_numpy(),
                    "starts": project["starts"][()],
                    "guess": guess[[f"{name}_cfi" for name in emulator.label_names]].to_numpy(),
                    "candidates": candidates,
                    "name": guess["spectrum_id"].to_numpy(dtype=str),
                    "truth": np.array([truth[name][rows] for name in emulator.label_names]).T,
                }
            for name, array in values.items():
                parts.setdefault(name, []).append(array)
        joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
        order = grouped.group_order(joined["candidates"][:, 0], joined["name"])
        self.arrays = {name: array[order] for name, array in joined.items()}
        self.seconds_candidates = started

    def __getattr__(self, name: str) -> NDArray:
        return self.arrays[name]


def one_step(emulator: Emulator, spectra: Spectra) -> NDArray[np.float64]:
    """Labels after one Gauss-Newton step of the same misfit for each star, from its first match."""
    scaled = emulator.to_scaled(spectra.candidates[:, 0])
    low, high = refine.box(emulator, PAPER.max_extrapolation)
    result = np.empty_like(scaled)
    for first in range(0, len(scaled), _BATCH):
        rows = slice(first, first + _BATCH)
        model, jacobian = emulator.process.predict_with_jacobian(scaled[rows])
        hessian = jacobian @ jacobian.swapaxes(1, 2)
        gradient = np.matvec(jacobian, spectra.components[rows] - model)
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        result[rows] = np.clip(scaled[rows] + np.clip(step, -0.7, 0.7), low, high)
    return emulator.from_scaled(result)


def single_fits(emulator: Emulator, spectra: Spectra, starts: NDArray, factor: float) -> StarFits:
    """The fit of each star that the workflow uses, from `starts` (n, s, d)."""
    return fit_stars(
        emulator, spectra.flux, spectra.ivar, starts, factor, FitSettings(max_extrapolation=0.05)
    )


def report(
    emulator: Emulator,
    spectra: Spectra,
    spectral_type: str,
    method: str,
    labels: NDArray,
    seconds: float,
    note: str,
) -> None:
    """Print one line of the table."""
    chi2 = grouped.misfits(emulator, spectra.components, spectra.residual, labels)
    errors = 1.4826 * np.median(np.abs(labels - spectra.truth), axis=0)
    cells = [
        spectral_type,
        method,
        f"{chi2.mean():.3f}",
        f"{errors[0]:.0f}",
        *(f"{e:.3f}" for e in errors[1:]),
    ]
    print("| " + " | ".join([*cells, note, f"{1000 * seconds / len(labels):.1f}"]) + " |", flush=True)


def timed(work: Callable[[], NDArray[np.float64]]) -> tuple[NDArray[np.float64], float]:
    """What `work` returns, and its CPU seconds."""
    begin = time.process_time()
    result = work()
    return result, time.process_time() - begin


def trial(
    folder: Path,
    spectral_type: str,
    group_size: int,
    seed: int,
    methods: list[str],
    only_groups: bool,
    matches: int,
) -> None:
    """Print the lines of one spectral type."""
    emulator = read_emulator(next((folder / "emulator").glob("*.h5")))
    spectra = Spectra(folder, spectral_type, emulator, matches)
    n = len(spectra.name)
    print(
        f"{spectral_type}: {n} spectra, candidates {1000 * spectra.seconds_candidates / n:.1f} s per 1000",
        flush=True,
    )
    first = spectra.candidates[:, 0]
    low, high = refine.prior_intervals(emulator, first)
    scaled = emulator.to_scaled(spectra.candidates.reshape(-1, first.shape[1])).reshape(
        spectra.candidates.shape
    )
    inside = ((scaled >= low[:, None]) & (scaled <= high[:, None])).all(axis=2)
    print(
        f"{spectral_type}: {100 * inside.mean():.0f} % of the candidates in the prior intervals", flush=True
    )
    exact = misfit(emulator, spectra.flux, spectra.ivar, emulator.process.predict(emulator.to_scaled(first)))
    ratio = grouped.misfits(emulator, spectra.components, spectra.residual, first) / exact
    print(
        f"{spectral_type}: misfit of components / of pixels: {np.percentile(ratio, [2.5, 50, 97.5])}",
        flush=True,
    )
    report(emulator, spectra, spectral_type, "truth", spectra.truth, 0.0, "")
    report(emulator, spectra, spectral_type, "first match", first, 0.0, "")
    report(emulator, spectra, spectral_type, "ten best, weighted", spectra.guess, 0.0, "")
    found = {}
    for method in methods:
        labels, notes, seconds = np.empty_like(first), [], 0.0
        for number, rows in enumerate(grouped.group_slices(n, group_size)):
            begin = time.process_time()
            fit = grouped.fit_group(
                emulator,
                spectra.components[rows],
                spectra.residual[rows],
                spectra.candidates[rows],
                SEARCHES[method],
                grouped.group_seed(seed, spectral_type, number),
            )
            seconds += time.process_time() - begin
            labels[rows] = fit.labels
            if number < 2:
                notes.append(f"{fit.n_dimensions}, {len(fit.history) - 1}{'' if fit.settled else '+'}")
        found[method] = labels
        method = f"{method}, t = {matches}, N = {group_size}" if only_groups else method
        report(emulator, spectra, spectral_type, method, labels, seconds, "; ".join(notes))
    if only_groups:
        return
    labels, seconds = timed(lambda: one_step(emulator, spectra))
    report(emulator, spectra, spectral_type, "one Gauss-Newton step per star", labels, seconds, "")
    factor = emulator.discrepancy_scale[spectral_type]
    starts = {"fit per star, as shipped": spectra.starts}
    starts |= {
        f"fit per star, from {name}": found[name][:, None]
        for name in ("published", "gradient")
        if name in found
    }
    for name, start in starts.items():
        labels, seconds = timed(lambda start=start: single_fits(emulator, spectra, start, factor).labels)  # type: ignore[misc]
        report(emulator, spectra, spectral_type, name, labels, seconds, "")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--types", nargs="*", default=["OB", "A", "F", "G", "K", "M"])
    parser.add_argument("--methods", nargs="*", default=list(SEARCHES))
    parser.add_argument("--group-size", type=int, default=1000)
    parser.add_argument("--matches", type=int, default=PAPER.matches)
    parser.add_argument("--only-groups", action="store_true", help="leave the fits of single stars out")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print("| type | method | mean chi2 | Teff | log g | [Fe/H] | [alpha/Fe] | m, iterations | s per 1000 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for spectral_type in arguments.types:
        trial(
            arguments.results,
            spectral_type,
            arguments.group_size,
            arguments.seed,
            arguments.methods,
            arguments.only_groups,
            arguments.matches,
        )


if __name__ == "__main__":
    main()
