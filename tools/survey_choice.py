"""How much the choice of a survey library's settings flatters it: chosen in inner folds, judged in outer ones.

`python tools/survey_choice.py RESULTS [--set lasp] [--folds 0 1] [--pairs 0:0.99 30:0.99]` after a run with a training
set. The stars are divided into five folds. For each: the next fold judges emulators of the other three by every pair
of `min_snr` and `emulator.variance`, the best pair makes an emulator of all four, and that labels the fold, of which no
star had part in anything. Beside it stand the labels by an emulator with the shipped pair. Prints a line per fold,
then robust sigma and mean absolute difference of both over all folds done, by kind of star and S/N. With the real
spectra of DR10 a fold takes a minute or two of CPU.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.emulator.distil import distil
from lamostvac.emulator.model import build_emulator
from lamostvac.emulator.settings import Emulator as Settings
from lamostvac.fit.fitter import StarFitter
from lamostvac.fit.settings import FitSettings
from lamostvac.library.library import SpectralLibrary
from lamostvac.library.survey import survey_library
from lamostvac.networks.inputs import parts_of
from lamostvac.spectra.chunk import NEEDED
from lamostvac.spectra.settings import Preparation
from lamostvac.training.files import read_training
from lamostvac.validation.statistics import statistics

FOLDS = 5
PAIRS = [(snr, 0.99) for snr in (0.0, 10.0, 20.0, 30.0, 40.0, 50.0)]
PAIRS += [(snr, variance) for snr in (20.0, 30.0) for variance in (0.95, 0.98)]
SHIPPED = (30.0, 0.99)
LABELS = ("teff", "logg", "feh")
KINDS = {
    "FGK, S/N > 20": "teff < 7000 and snr > 20",
    "FGK, 10-20": "teff < 7000 and 10 < snr <= 20",
    "A, S/N > 20": "teff >= 7000 and snr > 20",
}
Rows = NDArray[np.bool_]


def labelled_spectra(results: Path, name: str) -> tuple[SpectralLibrary, pd.DataFrame]:
    """All spectra of a training set as a library, and a row of `star snr spectral_type` and labels for each."""
    folder = results / "training"
    table = read_training(folder / f"{name}.fits")
    columns = {f"{label}_{name}": label for label in LABELS if f"{label}_{name}" in table}
    stars = table[["spectrum_id", "snr", "star", "spectral_type", *columns]].rename(columns=columns)
    needed = pd.read_parquet(folder / f"{name}_candidates.parquet")[NEEDED]
    stars = stars.merge(needed, on="spectrum_id")
    library = survey_library(stars, name, tuple(columns.values()), Preparation())
    found = [identity.split("_", 1)[1] for identity in library.ids.tolist()]
    rows = stars.set_index("spectrum_id").loc[
        found, ["star", "snr", "spectral_type", *columns.values()]
    ]
    return library, rows.reset_index(drop=True)


def _labels(rows: pd.DataFrame) -> list[str]:
    return [label for label in LABELS if label in rows]


def labels_by(
    library: SpectralLibrary, rows: pd.DataFrame, train: Rows, test: Rows, pair: tuple[float, float]
) -> NDArray[np.float64]:
    """Labels (m, number of labels) of the `test` spectra (n,) by an emulator of the `train` spectra (n,)."""
    snr, variance = pair
    settings = Settings(variance=variance)
    chosen = np.flatnonzero(train & (rows["snr"].to_numpy() > snr))
    emulator = build_emulator(library, Preparation().masked_regions, settings, rows=chosen)
    fitter = StarFitter(distil(emulator, settings)[0], FitSettings())
    types = rows.loc[test, "spectral_type"].to_numpy(str)
    return fitter.fit(library.flux[test], library.ivar[test], types).labels


def scatter(rows: pd.DataFrame, found: NDArray[np.float64]) -> float:
    """Mean over labels and kinds (FGK, A) of the logarithm of the robust sigma."""
    hot = rows["teff"].to_numpy() >= 7000
    difference = found - rows[_labels(rows)].to_numpy(float)
    sigmas = [
        statistics(difference[kind, i], np.zeros(kind.sum()))["robust_sigma"]
        for kind in (hot, ~hot)
        for i in range(found.shape[1])
    ]
    return float(np.log(sigmas).mean())


def fold(
    library: SpectralLibrary,
    rows: pd.DataFrame,
    part: NDArray[np.int64],
    i: int,
    pairs: list[tuple[float, float]],
) -> pd.DataFrame:
    """The fold's stars with labels by the chosen and by the shipped pair."""
    judge, test = part == (i + 1) % FOLDS, part == i
    scores = {
        pair: scatter(rows[judge], labels_by(library, rows, ~judge & ~test, judge, pair))
        for pair in dict.fromkeys([*pairs, SHIPPED])
    }
    best = min(scores, key=scores.__getitem__)
    loss = scores[SHIPPED] - scores[best]
    print(f"fold {i}: chosen {best}, {loss:.3f} in ln sigma better than {SHIPPED}", flush=True)
    table = rows[test].reset_index(drop=True)
    for name, pair in (("chosen", best), ("shipped", SHIPPED)):
        found = labels_by(library, rows, ~test, test, pair)
        table[[f"{label} {name}" for label in _labels(rows)]] = found
    return table


def main(results: Path, name: str, folds: list[int], pairs: list[tuple[float, float]]) -> None:
    library, rows = labelled_spectra(results, name)
    part = parts_of(rows["star"].to_numpy(), FOLDS, 1)
    found = pd.concat([fold(library, rows, part, i, pairs) for i in folds])
    lines = []
    for kind, condition in KINDS.items():
        some = found.query(condition)
        for way in ("chosen", "shipped"):
            line: dict[str, object] = {"stars": kind, "n": len(some), "pair": way}
            for label in _labels(rows):
                value, truth = some[f"{label} {way}"], some[label]
                line[label] = statistics(value, truth)["robust_sigma"]
                line[f"{label}, mean absolute"] = float(np.abs(value - truth).mean())
            lines.append(line)
    print(pd.DataFrame(lines).to_string(index=False, float_format=lambda x: f"{x:.4g}"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--set", default="lasp", help="name of the training set")
    parser.add_argument("--folds", type=int, nargs="+", default=range(FOLDS), choices=range(FOLDS))
    parser.add_argument("--pairs", nargs="+", metavar="SNR:VARIANCE", help="what is chosen from")
    arguments = parser.parse_args()
    given = [tuple(map(float, pair.split(":"))) for pair in arguments.pairs or ()]
    main(arguments.results, arguments.set, list(arguments.folds), given or PAIRS)
