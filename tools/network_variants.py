"""Five-fold cross-validation of networks on the LASP-labelled real spectra, once per variant of the method.

`python tools/network_variants.py [VARIANT ...]` after `make real`, which makes the training set;
`--training`, `--set` and `--labels`, Teff first, name another one. A star is in one fold with all
its spectra; each variant trains on four fifths and predicts the fifth. Prints, and writes to
results/experiments/network_variants.csv, offset and robust sigma of FGK stars with S/N(g) > 20, of
those with less, and of A stars.
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.core.atomic import atomic
from lamostvac.networks.inputs import TrainingSpectra, parts_of
from lamostvac.networks.predict import NetworkStack
from lamostvac.networks.settings import Networks, NetworkTraining
from lamostvac.networks.train import train_network
from lamostvac.spectra.network_grid import NetworkPreparation, prepare_network_spectrum
from lamostvac.spectra.reader import read_spectrum
from lamostvac.training.files import read_training

PREPARATION = NetworkPreparation.of(Networks())
TRAINING = NetworkTraining()
ALL_PIXELS = ((3900.0, 8950.0),)
PUBLISHED = {"members": 1, "augmentation_snr": 0.0, "input_components": 0}
# Name to changes of the preparation, of the training, and of what is learned for Teff.
VARIANTS: dict[str, tuple[dict, dict, str]] = {
    "default": ({}, {}, "reciprocal"),
    "one_member": ({}, {"members": 1}, "reciprocal"),
    "no_augmentation": ({}, {"augmentation_snr": 0.0}, "reciprocal"),
    "pixels": ({}, {"input_components": 0}, "reciprocal"),
    "linear_teff": ({}, {}, "linear"),
    "as_published": ({}, PUBLISHED, "linear"),
    "no_median_filter": ({"median_window": 1}, {}, "reciprocal"),
    "second_order": ({"polynomial_degree": 2}, {}, "reciprocal"),
    "level_only": ({"polynomial_degree": 0}, {}, "reciprocal"),
    "one_window": ({"windows": ALL_PIXELS}, {}, "reciprocal"),
}
LABELS = ("teff_lasp", "logg_lasp", "feh_lasp")
FOLDS = 5


def spectra_of(preparation: NetworkPreparation, rows: pd.DataFrame) -> TrainingSpectra:
    """The set's spectra as a variant prepares them."""
    pairs = []
    for path, redshift in zip(rows["path"], rows["redshift"], strict=True):
        spectrum = read_spectrum(path)
        pairs.append(
            prepare_network_spectrum(
                spectrum.wave, spectrum.flux, spectrum.ivar, redshift, preparation
            )
        )
    flux, ivar = (np.array(column) for column in zip(*pairs, strict=True))
    return TrainingSpectra(flux, ivar, rows["star"].to_numpy(), rows["snr"].to_numpy(np.float32))


def fold(
    job: tuple[str, str, int], rows: pd.DataFrame, base: NetworkTraining, teff: str, folds: int
) -> tuple[tuple[str, str, int], np.ndarray]:
    """Predictions of one fold, NaN for the other stars."""
    variant, label, number = job
    preparation_changes, training_changes, learned = VARIANTS[variant]
    preparation = PREPARATION.changed(**preparation_changes)
    spectra = spectra_of(preparation, rows)
    out = parts_of(spectra.star, folds, 1) == number
    # Without the fold, since projection and cloud are learned from all spectra that are given.
    network, _ = train_network(
        label,
        rows[label].to_numpy(float)[~out],
        spectra.take(np.flatnonzero(~out)),
        preparation.wave,
        np.ones(preparation.n_pixels, bool),
        base.changed(**training_changes),
        seed=1,
        scale=learned if label == teff else "linear",
    )
    answer = NetworkStack([network]).members(spectra.flux)[0].mean(axis=0)
    return job, np.where(out, answer, np.nan)


def main() -> None:
    """Run the variants and print one line for each, label and subset."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=", ".join(VARIANTS))
    parser.add_argument("--training", type=Path, default=Path("results/real/training"))
    parser.add_argument("--set", default="lasp", help="name of the training set")
    parser.add_argument("--labels", nargs="+", default=LABELS, help="Teff first")
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--epochs", type=int, default=TRAINING.epochs)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument(
        "--output", type=Path, default=Path("results/experiments/network_variants.csv")
    )
    given = parser.parse_args()
    for variant in set(given.variants) - set(VARIANTS):
        sys.exit(f"Error: there is no variant {variant}; there are {', '.join(VARIANTS)}")
    table = read_training(given.training / f"{given.set}.fits")
    candidates = pd.read_parquet(given.training / f"{given.set}_candidates.parquet")
    rows = table.merge(candidates[["spectrum_id", "path", "redshift"]])
    labels, teff = given.labels, given.labels[0]
    subsets = {
        "FGK S/N>20": (rows["snr"] > 20) & (rows[teff] < 7000),
        "FGK S/N<=20": (rows["snr"] <= 20) & (rows[teff] < 7000),
        "A S/N>20": (rows["snr"] > 20) & (rows[teff] >= 7000),
    }
    base, lines = TRAINING.changed(epochs=given.epochs), []
    with ProcessPoolExecutor(given.processes, get_context("spawn")) as pool:
        for variant in given.variants or VARIANTS:
            jobs = [(variant, label, number) for label in labels for number in range(given.folds)]
            run = partial(fold, rows=rows, base=base, teff=teff, folds=given.folds)
            found = dict(pool.map(run, jobs))
            for label in labels:
                parts = np.array([found[variant, label, number] for number in range(given.folds)])
                difference = np.nansum(parts, axis=0) - rows[label].to_numpy(float)
                for subset, chosen in subsets.items():
                    values = difference[chosen.to_numpy()]
                    values = values[np.isfinite(values)]  # stars without the label
                    if not len(values):
                        continue
                    offset = np.median(values)
                    sigma = 1.4826 * np.median(np.abs(values - offset))
                    lines.append((variant, label, subset, len(values), offset, sigma))
                    print(
                        f"{variant:18}{label:14}{subset:12}{len(values):4}{offset:9.3f} +- {sigma:.3f}",
                        flush=True,
                    )
    with atomic(given.output) as temporary:
        columns = ["variant", "label", "subset", "n", "offset", "robust_sigma"]
        pd.DataFrame(lines, columns=columns).to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
