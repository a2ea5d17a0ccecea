"""Time to train one ensemble at the sizes of the published sets.

    python tools/time_training.py RESULTS [--stars N] [--epochs N] [--members N] [--label SET=LABEL ...]

RESULTS is the folder of a finished simulated run; its training spectra are drawn with replacement and get fresh noise
until there are as many as the published sets have. One label of each set is trained on one thread, as in the
workflow; labels are trained side by side, so that all take (seconds per label) x labels / cores.
The options replace the published sizes, the default settings and the label trained for a set.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from lamostvac.core.hdf5 import open_hdf5
from lamostvac.networks.inputs import TrainingSpectra
from lamostvac.networks.settings import Networks
from lamostvac.networks.train import train_network
from lamostvac.spectra.network_grid import NetworkPreparation
from lamostvac.training.files import read_training

# Set: label that is trained, number of labels, published number of training stars (Wang+ 2022 Table 1).
SETS = {
    "pastel": ("feh_pastel", 3, 1281),
    "apogee": ("alpha_m_apogee", 6, 8753),
    "lgmwas": ("abs_mag_ks", 14, 6000),
}


def named(text: str) -> tuple[str, str]:
    """Set and label of SET=LABEL."""
    name, _, label = text.partition("=")
    return name, label


def main() -> None:
    """Print seconds per label and for all labels of each set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--stars", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--members", type=int)
    parser.add_argument("--label", type=named, action="append", default=[], metavar="SET=LABEL")
    given = parser.parse_args()
    changes = {name: getattr(given, name) for name in ("epochs", "members") if getattr(given, name)}
    settings, labels = Networks(**changes), dict(given.label)
    preparation = NetworkPreparation.of(settings)
    total = 0.0
    for name, (label, n_labels, n_stars) in SETS.items():
        label, n_stars = labels.get(name, label), given.stars or n_stars
        table = read_training(given.results / f"training/{name}.fits")
        rows = np.flatnonzero((table["split"] == "train") & np.isfinite(table[label]))
        rng = np.random.default_rng(1)
        drawn = rng.choice(rows, n_stars)
        with open_hdf5(given.results / f"training/{name}_spectra.h5") as handle:
            flux, ivar = handle["flux"][()][drawn], handle["ivar"][()][drawn]
        noise = np.where(ivar > 0, 1 / np.sqrt(np.maximum(ivar, 1.0)), 0)
        flux += noise * rng.standard_normal(flux.shape, dtype=np.float32)
        spectra = TrainingSpectra(
            flux, ivar / 2, np.arange(n_stars), table["snr"].to_numpy(np.float32)[drawn]
        )
        everything = np.ones(preparation.n_pixels, bool)
        start = time.perf_counter()
        network, _ = train_network(
            label,
            table[label].to_numpy(float)[drawn],
            spectra,
            preparation.wave,
            everything,
            settings,
            1,
        )
        seconds = time.perf_counter() - start
        total += seconds * n_labels
        epochs = network.history["loss"].shape[1]
        print(
            f"{name}: {n_stars} stars, {settings.members} members, {epochs} epochs: {seconds:.0f} s per label, "
            f"{n_labels} labels {seconds * n_labels / 60:.1f} core minutes (load {os.getloadavg()[0]:.1f})",
            flush=True,
        )
    print(
        f"all 23: {total / 60:.0f} core minutes, {total / 60 / (os.cpu_count() or 1):.0f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
