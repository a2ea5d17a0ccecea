"""A small library of made-up stars whose spectra are smooth functions of their labels."""

import numpy as np
import pandas as pd

from lamostvac.emulator.settings import EmulatorSettings
from lamostvac.library.library import SpectralLibrary, label_table
from lamostvac.spectra.grid import GRID

NAMES = ("teff", "logg", "feh")
_RNG = np.random.default_rng(0)
_LINES = _RNG.uniform(3850, 8650, 60)
_MIX = _RNG.normal(0, 1, (60, 3))


def toy_labels(n, seed=0):
    """(n, 3) Teff, log g, [Fe/H] spread over a box."""
    return np.random.default_rng([seed, n]).uniform([4500, 1.0, -1.5], [7000, 5.0, 0.5], (n, 3))


def toy_spectra(labels):
    """(n, 4901) normalised spectra: sixty lines whose depths answer to the labels."""
    x = (labels - [5750, 3.0, -0.5]) / [1250, 2.0, 1.0]
    depth = 0.25 * np.exp(0.5 * (x @ _MIX.T) / np.sqrt(3)) * (1 + 0.1 * x[:, :1])
    shapes = np.exp(-0.5 * ((GRID - _LINES[:, None]) / 4) ** 2)
    return 1 - depth @ shapes


def toy_library(n=150, snr=300.0, seed=0, ids=None):
    """A library of `n` toy stars with noise."""
    rng = np.random.default_rng([seed, 7])
    labels = toy_labels(n, seed)
    flux = toy_spectra(labels) + rng.normal(0, 1 / snr, (n, len(GRID)))
    columns = dict(zip(NAMES, labels.T, strict=True))
    return SpectralLibrary(
        name="toy",
        ids=np.array(ids if ids is not None else [f"s{i}" for i in range(n)]),
        flux=flux.astype(np.float32),
        ivar=np.full(flux.shape, snr**2, dtype=np.float32),
        labels=pd.DataFrame(label_table(columns, n)),
        label_names=NAMES,
    )


# Toy spectra have no velocities and no line widths.
BUILD = EmulatorSettings(variance=0.99, noise=0.05, velocity_error=0.0, line_width_error=0.0)
