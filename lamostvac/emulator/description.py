"""Lines on an emulator for a job's log."""

import logging
from collections.abc import Mapping

import numpy as np

from lamostvac.emulator.model import Emulator
from lamostvac.emulator.settings import Emulator as EmulatorSection


def describe_emulator(trained: Emulator, settings: EmulatorSection, log: logging.Logger) -> None:
    """Sizes, errors by spectral type, and the Gaussian process of a trained emulator."""
    log.info(
        "%d spectra, %d pixels, %d components with %.2f %% of the variance",
        len(trained.library_scaled),
        np.count_nonzero(trained.pixels),
        trained.n_components,
        100 * trained.variance_kept,
    )
    for name, covariance in trained.discrepancy.items():
        log.info(
            "error of %s stars: %.4f of the flux in the components, %.4f outside (rms)",
            name,
            np.sqrt(np.trace(covariance) / len(trained.mean)),
            np.sqrt(trained.truncation[name].mean()),
        )
    process = trained.process
    log.info(
        "process %s: length scale %.3g, amplitude %.3g, noise %.3g (%s), %d points",
        settings.process,
        process.length_scale,
        process.amplitude,
        process.noise,
        settings.hyperparameters,
        len(process.inputs),
    )


def describe_distilled(small: Emulator, distance: Mapping[str, float], log: logging.Logger) -> None:
    """Sizes of a distilled emulator, and its largest differences from the whole one."""
    log.info(
        "distilled: %d directions of emulated spectra, %d with errors, %d points; largest differences %s",
        small.n_signal,
        small.n_components,
        len(small.process.inputs),
        ", ".join(f"{name} {value:.2g}" for name, value in distance.items()),
    )
    log.info(
        "%d spectra; %d directions give their flux to %.2g (rms of the worst one)",
        len(small.library_scaled),
        small.n_signal,
        distance["signal_rms"],
    )
