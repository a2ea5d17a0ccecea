"""The table of docs/grouped.md: forms of the grouped search and the fit of each star, by spectral type.

`python tools/grouped_forms.py RESULTS [LABELS]` after a run with `prepare.keep: true` that has got as far as its fits;
RESULTS is its folder. Labels are compared with the truth of a simulated run, else with LABELS, a CSV file with
`obsid` and labels. Prints as CSV, by type and method, the number of stars, the mean of the plain misfit (equation 2)
and, for each label, the median and the robust sigma of the difference, that sigma as a ratio to the first match's and
the ratio's standard error, by drawing the stars again (both methods from the same ones); then seconds per 1000 spectra.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.table import Table
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.core.hdf5 import open_hdf5, read_columns
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.emulator.model import Emulator, read_emulator
from lamostvac.fit.settings import Fit
from lamostvac.grouped.candidates import chunk_candidates
from lamostvac.grouped.components import project_chunk
from lamostvac.grouped.search import (
    fit_group,
    group_order,
    group_seed,
    group_slices,
    label_limits,
    misfits,
)
from lamostvac.grouped.settings import GroupedSettings
from lamostvac.library.library import SpectralLibrary, read_library
from lamostvac.numerics.statistics import robust_sigma

LIMIT = Fit().max_extrapolation
GROUP = 1000
DRAWS = 400  # of the stars, for standard errors
SEARCHES = {
    "published": GroupedSettings(max_extrapolation=LIMIT, form="published"),
    # With all candidates its ninety dimensions take up to ten minutes, and it stays at the first match.
    "centred, ten candidates": GroupedSettings(max_extrapolation=LIMIT, form="centred", matches=10),
    "steps": GroupedSettings(max_extrapolation=LIMIT, form="steps"),
    "gradient": GroupedSettings(
        max_extrapolation=LIMIT, form="scaled", search="gradient", variance=1.0
    ),
}


@dataclass(frozen=True)
class Stars:
    """A type's n stars in the order of their groups.

    Attributes
    ----------
    identity : `spectrum_id obsid`
    components, residual, candidates : what the search needs; candidates are labels (n, t, L)
    fitted : (n, L) labels of the fit of each star, NaN where it rejected a spectrum
    """

    identity: pd.DataFrame
    components: NDArray[np.floating]
    residual: NDArray[np.floating]
    candidates: NDArray[np.floating]
    fitted: NDArray[np.floating]


def read_stars(
    results: Path, name: str, emulator: Emulator, whole: Emulator, library: SpectralLibrary
) -> Stars | None:
    """All chunks of a type; None without any."""
    identities, parts, fits = [], [], []
    for path in sorted((results / "fit" / name).glob("*.h5")):
        with open_hdf5(results / "prepared" / name / path.name) as handle:
            identities.append(read_columns(handle["meta"], ["spectrum_id", "obsid"]))
            flux, ivar = handle["flux"], handle["ivar"]
            rows = chunk_candidates(flux, ivar, library, whole, 100)
            parts.append((*project_chunk(emulator, flux, ivar), library.label_array()[rows]))
        with open_hdf5(path) as handle:
            fits.append(read_columns(handle["fit"]).set_index("spectrum_id"))
    if not identities:
        return None
    identity = pd.concat(identities, ignore_index=True)
    components, residual, candidates = map(np.concatenate, zip(*parts, strict=True))
    fitted = pd.concat(fits).reindex(identity["spectrum_id"])[list(emulator.label_names)]
    order = group_order(candidates[:, 0], identity["spectrum_id"].to_numpy())
    return Stars(
        identity.iloc[order].reset_index(drop=True),
        *(values[order] for values in (components, residual, candidates, fitted.to_numpy(float))),
    )


def solutions(stars: Stars, name: str, emulator: Emulator) -> Iterator[tuple[str, NDArray, float]]:
    """Method, labels (n, L) and CPU seconds of the search."""
    limits = label_limits(emulator, LIMIT)
    yield "first match", np.clip(stars.candidates[:, 0], *limits), 0.0
    yield "mean of ten", np.clip(stars.candidates[:, :10].mean(axis=1), *limits), 0.0
    for method, settings in SEARCHES.items():
        start = time.process_time()
        found = [
            fit_group(
                emulator,
                stars.components[rows],
                stars.residual[rows],
                stars.candidates[rows, : settings.matches],
                settings,
                group_seed(1, name, number),
            ).labels
            for number, rows in enumerate(group_slices(len(stars.residual), GROUP))
        ]
        yield method, np.concatenate(found), time.process_time() - start
    yield "fit of each star", stars.fitted, 0.0


def reference(results: Path, file: str | None) -> tuple[str, pd.DataFrame]:
    """The column that names spectra, and labels by it."""
    if file is not None:
        return "obsid", pd.read_csv(file).drop_duplicates("obsid").set_index("obsid")
    truth = Table.read(results / "simulated/truth.fits", character_as_bytes=False).to_pandas()
    return "spectrum_id", truth.drop_duplicates("spectrum_id").set_index("spectrum_id")


def sigma_ratio(values: NDArray, theirs: NDArray) -> tuple[float, float]:
    """Robust sigma of values (n,) as a ratio to that of others of the same stars, and its standard error."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(values), (DRAWS, len(values)))
    sigmas = [(robust_sigma(values[rows]), robust_sigma(theirs[rows])) for rows in drawn]
    # A few stars drawn again may all be the same one.
    ratios = [own / other for own, other in sigmas if other > 0]
    other = robust_sigma(theirs)
    ratio = robust_sigma(values) / other if other > 0 else np.nan
    return round(float(ratio), 2), round(float(np.std(ratios)) if ratios else np.nan, 2)


def lines(
    stars: Stars, name: str, emulator: Emulator, key: str, given: pd.DataFrame
) -> Iterator[Mapping[str, object]]:
    """A row of the table for each method; on the stars that all methods and the reference have."""
    known = [label for label in emulator.label_names if label in given]
    true = given[known].reindex(stars.identity[key]).to_numpy(float)
    columns = [emulator.label_names.index(label) for label in known]
    shared = np.isfinite(true).all(axis=1) & np.isfinite(stars.fitted).all(axis=1)
    first = None
    for method, labels, seconds in solutions(stars, name, emulator):
        chi2 = misfits(
            emulator, stars.components[shared], stars.residual[shared], labels[shared]
        ).mean()
        row: dict[str, object] = {"type": name, "method": method, "n": int(shared.sum())}
        row["chi2"] = round(float(chi2), 3)
        difference = labels[shared][:, columns] - true[shared]
        first = difference if first is None else first
        for label, values, theirs in zip(known, difference.T, first.T, strict=True):
            digits = 0 if label == "teff" else 3
            row[f"{label} median"] = round(float(np.median(values)), digits)
            row[f"{label} sigma"] = round(float(robust_sigma(values)), digits)
            row[f"{label} ratio"], row[f"{label} ratio error"] = sigma_ratio(values, theirs)
        yield row | {"s per 1000": round(1000 * seconds / len(labels), 2)}


def main(arguments: list[str]) -> None:
    results, file = Path(arguments[0]), arguments[1] if len(arguments) > 1 else None
    name = next((results / "emulator").glob("*_distilled.h5")).stem.removesuffix("_distilled")
    emulator = read_emulator(results / f"emulator/{name}_distilled.h5")
    whole = read_emulator(results / f"emulator/{name}.h5")
    library = read_library(results / f"library/{name}.h5")
    key, given = reference(results, file)
    rows: list[Mapping[str, object]] = []
    for spectral_type in TYPE_ORDER:
        stars = read_stars(results, spectral_type, emulator, whole, library)
        if stars is not None:
            rows += lines(stars, spectral_type, emulator, key, given)
    print(pd.DataFrame(rows).to_csv(index=False), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
