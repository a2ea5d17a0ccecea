"""Spectra with every error that the fit allows for, drawn from its own covariances."""

import numpy as np
from toy import toy_labels

from lamostvac.fit.likelihood import Design, calibration_bumps
from lamostvac.spectra.grid import GRID

FLOOR, SPACING, AMPLITUDE, TYPE = 0.01, 60.0, 0.03, "G"


def design_of(emulator, spacing=SPACING):
    return Design(emulator, FLOOR, spacing, AMPLITUDE)


def condensed_of(emulator, flux, ivar, spacing=SPACING):
    design = design_of(emulator, spacing)
    return design.condense(design.sums(flux, ivar, TYPE), TYPE)


def observe(emulator, labels, snr, seed=0, visit=None):
    """Flux and inverse variance (n, 4901) of stars of these labels; another visit has other noise and calibration."""
    rng = np.random.default_rng(seed)
    n, k = len(labels), emulator.n_components
    components = np.zeros((n, k))
    components[:, : emulator.n_signal] = emulator.process.predict(emulator.to_scaled(labels))
    if visit is None:
        components += rng.multivariate_normal(np.zeros(k), emulator.discrepancy[TYPE], n)
    else:
        own = emulator.discrepancy[TYPE] - emulator.lines[TYPE]
        components += rng.multivariate_normal(np.zeros(k), own, n)
        rng = np.random.default_rng([seed, visit])
        components += rng.multivariate_normal(np.zeros(k), emulator.lines[TYPE], n)
    bumps = calibration_bumps(GRID[emulator.pixels], SPACING)
    noise = np.sqrt(1 / snr**2 + FLOOR**2 + emulator.truncation[TYPE])
    modelled = emulator.mean + components @ emulator.basis
    modelled += rng.normal(0, AMPLITUDE, (n, len(bumps))) @ bumps
    flux = np.ones((n, len(GRID)))
    flux[:, emulator.pixels] = modelled + rng.normal(0, 1, modelled.shape) * noise
    return flux, np.full(flux.shape, float(snr) ** 2)


def mask_some(flux, ivar, seed=0):
    """Other pixels masked in each star, with values there that must not matter."""
    rng = np.random.default_rng(seed)
    masked = rng.random(flux.shape) < 0.1
    masked[:, 100:180] = True
    return np.where(masked, 1e6, flux), np.where(
        masked, 0.0, ivar * rng.uniform(0.3, 3, flux.shape)
    )


def inner_labels(n, seed=0, share=0.6):
    """(n, 3) labels away from the rim of the toy library."""
    centre = np.array([5750, 3.0, -0.5])
    return (toy_labels(n, seed) - centre) * share + centre
