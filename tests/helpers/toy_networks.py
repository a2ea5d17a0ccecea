"""Spectra with three lines, and networks that are small enough to train in a second."""

from itertools import pairwise

import numpy as np

from lamostvac.networks.agreement import preparation_text
from lamostvac.networks.domain import TrainingCloud
from lamostvac.networks.ensemble import Network
from lamostvac.networks.inputs import TrainingSpectra
from lamostvac.networks.settings import NetworkTraining

N_PIXELS = 120
WAVE = np.linspace(4000, 5000, N_PIXELS)
SMALL = NetworkTraining(
    layers=(24, 12, 6),
    members=3,
    validation_fraction=1 / 3,
    input_components=20,
    epochs=80,
    learning_rate=3e-3,
)
ALL = np.ones(N_PIXELS, bool)


def toy_spectra(n, snr, seed=0):
    """Spectra whose three lines deepen with Teff and metallicity, and their labels."""
    rng = np.random.default_rng(seed)
    teff, feh = rng.uniform(4000, 7000, n), rng.uniform(-2, 0.5, n)
    snr = np.broadcast_to(np.asarray(snr, float), (n,)).astype(np.float32)
    depth = np.column_stack(
        [
            0.1 + 0.6 * (7000 - teff) / 3000,
            0.2 + 0.15 * feh / 2,
            0.3 + 0.1 * (teff / 5000) + 0.1 * feh,
        ]
    )
    profile = np.exp(-0.5 * ((WAVE[:, None] - np.array([4200, 4500, 4800])) / 20) ** 2)
    flux = 1 - depth @ profile.T + rng.standard_normal((n, N_PIXELS)) / snr[:, None]
    ivar = np.repeat(snr[:, None] ** 2, N_PIXELS, axis=1)
    return TrainingSpectra(flux.astype(np.float32), ivar, np.arange(n), snr), teff, feh


def random_network(prepared, /, label="teff_x", neurons=(4, 3), members=2, seed=1, **attributes):
    """A network with random weights on the grid of a preparation, as training would leave one."""
    rng = np.random.default_rng(seed)
    p = prepared.n_pixels

    def numbers(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    sizes = (p, *neurons, 1)
    ones = np.ones(p, np.float32)
    return Network(
        label=label,
        wave=prepared.wave,
        pixels=np.ones(p, bool),
        flux_mean=ones,
        flux_scale=ones,
        label_mean=0.0,
        label_scale=1.0,
        label_range=(-2.0, 0.5),
        weights=tuple(numbers(members, *pair) for pair in pairwise(sizes)),
        biases=tuple(numbers(members, size) for size in sizes[1:]),
        cloud=TrainingCloud(
            numbers(2, p), numbers(2), numbers(3, 2), *np.ones((2, 3), np.float32), ones, 3.0, 2.0
        ),
        error_snr=np.array([10, 100], np.float32),
        error=np.array([0.2, 0.1], np.float32),
        history={"loss": numbers(members, 5)},
        attributes={
            "set": "toy",
            "snr_band": "snrg",
            "unit": "K",
            "spectral_types": "F G",
            "n_spectra": 100,
            "preparation": preparation_text(prepared),
            **attributes,
        },
    )
