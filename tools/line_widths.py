"""Widths of the lines of a run's spectra in each arm of the spectrograph, and what they do to labels.

`python tools/line_widths.py RESULTS [--emulator NAME] [--scatter 40]` after a run. All spectra of its chunks are fitted
with the library's line width and with their own (`fit.line_width_scatter`). Prints, in labels' units:

- `widths`: by years, of F, G and K stars with S/N > 25: median and robust sigma of the variance of the lines less the
  library's, km2/s2, in each arm;
- `spectrograph`: the medians of the years with most spectra, by spectrograph;
- `shift`: by type and years, S/N > 20: own less library's width, median and robust sigma, and the ratio of chi2;
- `repeats`: differences of two spectra of a star on other nights, later less earlier: median, and robust sigma and
  mean absolute difference for one spectrum; also those across the first of the years. Stars of a survey's library are
  left out.
- `widened`: the library's own spectra, with the noise of the survey's, their lines in one arm wider by 1650 km2/s2 less
  the same as they were: median and robust sigma, by both ways.
"""

import argparse
import os
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import logging
import tempfile

from lamostvac.core.hdf5 import atomic_hdf5
from lamostvac.emulator.model import read_emulator, spectral_type_of
from lamostvac.external.match import STAR_RADIUS, group_stars
from lamostvac.fit.fitter import StarFits, StarFitter
from lamostvac.fit.left_out import library_folds
from lamostvac.fit.lines import ARM_BORDER, LIGHT, LineReader
from lamostvac.fit.settings import FitSettings
from lamostvac.library.library import read_library
from lamostvac.library.resolution import FWHM_PER_SIGMA, broaden
from lamostvac.numerics.statistics import robust_sigma
from lamostvac.spectra.chunk import prepare_chunk
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.settings import Preparation

YEARS = {"to 2013": 56200, "2013 to 2016": 57600, "2017 to 2019": 59000, "from 2020": 10**6}  # MJD
WIDER = 1650.0  # km2/s2
LEAST = 5  # spectra of a line of the table
Pixels = NDArray[np.float32]


def spectra(results: Path) -> tuple[pd.DataFrame, Pixels, Pixels]:
    """All prepared spectra: `spectral_type years star lmjd snrg ra dec`, flux and ivar (n, 4901)."""
    tables, flux, ivar = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted((results / "survey/chunks").glob("*/*.parquet")):
            with atomic_hdf5(f"{folder}/chunk.h5") as handle:
                log = logging.getLogger("lamostvac.quiet")
                meta = prepare_chunk(pd.read_parquet(path), handle, Preparation(), None, log)[
                    "meta"
                ]
                flux.append(handle["flux"][:])
                ivar.append(handle["ivar"][:])
            tables.append(meta.assign(spectral_type=path.parent.name))
    table = pd.concat(tables, ignore_index=True)
    table["star"] = group_stars(table["ra"], table["dec"], STAR_RADIUS)
    table["years"] = np.array(list(YEARS))[np.searchsorted(list(YEARS.values()), table["lmjd"])]
    return table, np.concatenate(flux), np.concatenate(ivar)


def arm_widths(
    fitter: StarFitter, flux: Pixels, ivar: Pixels, types: NDArray[np.str_], fits: StarFits
) -> NDArray[np.float64]:
    """Variance (n, 2) of the lines in each arm less the library's."""
    emulator, reader = fitter.emulator, LineReader(fitter.emulator)
    result = np.full((len(flux), 2), np.nan)
    for name in np.unique(types):
        for rows in np.array_split(np.flatnonzero(types == name), (types == name).sum() // 256 + 1):
            sums = fitter.design.sums(flux[rows], ivar[rows], str(name))
            scaled = emulator.to_scaled(fits.labels[rows])
            components, jacobian = emulator.process.predict_with_jacobian(scaled)
            model = components @ emulator.basis[: emulator.n_signal]
            difference = (sums.residual - model).astype(np.float32)
            nothing = np.zeros(difference.shape, bool)
            result[rows] = reader.widths(str(name), sums, difference, nothing, jacobian)[0]
    return result


def described(values: NDArray[np.float64]) -> str:
    """Median and robust sigma of each column (n, d)."""
    return "  ".join(f"{np.median(v):9.3f} +- {robust_sigma(v):8.3f}" for v in values.T)


def pairs(table: pd.DataFrame) -> NDArray[np.int64]:
    """Rows (m, 2) of two spectra of a star on different nights, the earlier one first."""
    both = [
        pair
        for _, rows in table.sort_values("lmjd", kind="stable").groupby("star")
        for pair in combinations(rows.index, 2)
        if table.loc[pair[0], "lmjd"] != table.loc[pair[1], "lmjd"]
    ]
    return np.array(both, dtype=np.int64).reshape(-1, 2)


def print_repeats(
    table: pd.DataFrame, own: NDArray[np.bool_], ways: dict[str, StarFits], names: tuple[str, ...]
) -> None:
    """The lines `repeats`; `own` (n,) are spectra of stars of the emulator's library."""
    both = pairs(table)
    both = both[~own[both[:, 0]]]
    first, second = table["years"].to_numpy()[both].T
    across = (first == next(iter(YEARS))) & (second != first)
    for which, kept in (("all", np.ones(len(both), bool)), ("across the first years", across)):
        if kept.sum() < LEAST:
            continue
        for way, fits in ways.items():
            difference = fits.labels[both[kept, 1]] - fits.labels[both[kept, 0]]
            for name, d in zip(names, difference.T, strict=True):
                print(
                    f"repeats  {which:24}{kept.sum():5}  {way:8}{name:9}{np.median(d):9.3f}"
                    f" {robust_sigma(d) / np.sqrt(2):9.3f} {np.abs(d).mean() / np.sqrt(2):9.3f}"
                )


def print_widened(
    results: Path, emulator: str, table: pd.DataFrame, ivar: Pixels, fitters: dict[str, StarFitter]
) -> None:
    """The lines `widened`."""
    library = read_library(results / "library" / f"{emulator}.h5")
    types = spectral_type_of(library.label_array()[:, 0])
    rng = np.random.default_rng(1)
    seen = np.zeros_like(library.ivar)
    for star, name in enumerate(types):
        like = table["spectral_type"] == ("A" if name == "OB" else name)
        chosen = np.flatnonzero(like & (table["snrg"] > 20))
        if len(chosen):
            seen[star] = np.where(library.ivar[star] > 0, ivar[rng.choice(chosen)], 0)
    noise = rng.standard_normal(seen.shape) / np.sqrt(np.where(seen > 0, seen, np.inf))
    wide = broaden(GRID, library.flux, FWHM_PER_SIGMA * np.sqrt(WIDER) * GRID / LIGHT)
    for way, fitter in fitters.items():
        before = fitter.fit((library.flux + noise).astype(np.float32), seen, types)
        for arm, inside in (("blue", GRID < ARM_BORDER), ("red", GRID >= ARM_BORDER)):
            flux = np.where(inside, wide, library.flux) + noise
            after = fitter.fit(flux.astype(np.float32), seen, types)
            for name in np.unique(types):
                rows = (types == name) & (seen > 0).any(axis=1)
                if rows.sum() >= LEAST:
                    moved = (after.labels - before.labels)[rows]
                    print(f"widened  {arm:5}{name:3}{rows.sum():5}  {way:8} {described(moved)}")


def main(results: Path, emulator: str, scatter: float) -> None:
    table, flux, ivar = spectra(results)
    types = table["spectral_type"].to_numpy(str)
    model = read_emulator(results / "emulator" / f"{emulator}_distilled.h5")
    settings = {"library": FitSettings(), "own": FitSettings(line_width_scatter=scatter)}
    fitters = {way: StarFitter(model, chosen) for way, chosen in settings.items()}
    fits = {way: fitter.fit(flux, ivar, types) for way, fitter in fitters.items()}
    widths = arm_widths(fitters["library"], flux, ivar, types, fits["library"])
    moved = fits["own"].labels - fits["library"].labels
    ratio = fits["own"].chi2 / fits["library"].chi2
    bright = (table["snrg"] > 25) & np.isin(types, list("FGK"))
    for years in YEARS:
        rows = bright & (table["years"] == years)
        if rows.sum() >= LEAST:
            print(f"widths   {years:14}{rows.sum():5}  blue, red {described(widths[rows])}")
    most = bright & (table["years"] == table.loc[bright, "years"].mode()[0])
    for number, rows in table[most].groupby("spid"):
        blue, red = np.median(widths[rows.index], axis=0)
        print(f"spectrograph {number:3}{len(rows):5}  blue, red {blue:9.0f} {red:9.0f}")
    for name in np.unique(types):
        for years in YEARS:
            rows = (types == name) & (table["years"] == years) & (table["snrg"] > 20)
            if rows.sum() >= LEAST:
                line = f"shift    {name:3}{years:14}{rows.sum():5}  {described(moved[rows])}"
                print(f"{line}  chi2 {np.median(ratio[rows]):.4f}")
    without = sorted((results / "emulator").glob(f"{emulator}_without_*.h5"))
    stars = [
        results / f"library/{emulator}.h5",
        results / f"emulator/{emulator}_crossvalidation.csv",
    ]
    folds = library_folds(stars if without else ())
    places = pd.concat([table[["ra", "dec"]], folds[["ra", "dec"]]])
    star = group_stars(places["ra"], places["dec"], STAR_RADIUS)
    own = np.isin(star[: len(table)], star[len(table) :])
    print_repeats(table, own, fits, model.label_names)
    print_widened(results, emulator, table, ivar, fitters)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--emulator", default="miles", help="name of its library")
    parser.add_argument("--scatter", type=float, default=40.0, help="fit.line_width_scatter, km/s")
    given = parser.parse_args()
    main(given.results, given.emulator, given.scatter)
