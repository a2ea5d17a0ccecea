"""What counts as the emulator's error: label errors and noise taken off, velocity and line width put in."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter1d
from toy import BUILD, NAMES, toy_library, toy_spectra

from lamostvac.discrepancy import line_covariance
from lamostvac.emulator import build_emulator
from lamostvac.grid import GRID
from lamostvac.library import SpectralLibrary, label_table
from lamostvac.spectral_types import TYPE_LIMITS, spectral_type_of

BLUE = [(4300.5, 8700.0)]  # leaves 501 pixels
SPEED_OF_LIGHT = 299792.458


def library_with_label_errors(size, known=True):
    """A toy library whose labels are off by `size` times (60 K, 0.1, 0.1), and says so."""
    clean = toy_library(600)
    rng = np.random.default_rng(5)
    errors = size * np.array([60.0, 0.1, 0.1])
    labels = clean.label_array() + rng.standard_normal((600, 3)) * errors
    columns = dict(zip(NAMES, labels.T, strict=True))
    if known:
        columns |= {f"{name}_err": np.full(600, e) for name, e in zip(NAMES, errors, strict=True)}
    return SpectralLibrary(**(vars(clean) | {"labels": pd.DataFrame(label_table(columns, 600))}))


def traces(library, share=1.0):
    built = build_emulator(library, BLUE, replace(BUILD, label_error_share=share, variance=0.97))
    for covariance in built.discrepancy.values():
        assert np.linalg.eigvalsh(covariance).min() > 0
    return {name: np.trace(built.discrepancy[name]) for name in ("F", "G", "K")}


def test_errors_of_labels_that_are_known_are_not_the_emulators():
    clean = traces(library_with_label_errors(0.0))
    known, half, unknown = (
        traces(library_with_label_errors(1.0, known=k), share)
        for k, share in ((True, 1.0), (True, 0.5), (False, 1.0))
    )
    for name in ("F", "G", "K"):
        assert unknown[name] > 5 * clean[name]
        assert known[name] < 0.4 * unknown[name]
        assert known[name] < half[name] < unknown[name]


def test_noise_of_the_library_is_not_the_emulators():
    """In the components that labels move; the others follow the noise of the very spectra that made them."""
    noisy = build_emulator(toy_library(600, snr=50), BLUE, replace(BUILD, variance=0.9))
    for name in ("F", "G", "K"):
        leading = noisy.discrepancy[name][:3, :3]
        assert np.trace(leading) < 0.5 * 3 * 0.02**2  # what noise alone would put there, halved


def test_velocity_and_line_width_change_spectra_as_predicted():
    """Against a spectrum that is really shifted and really broadened."""
    spectrum = toy_spectra(np.array([[5800.0, 4.0, -0.2]]))[0]
    slope = np.gradient(spectrum, GRID)
    # A basis that holds such changes, beside others.
    rows = np.stack([GRID * slope, GRID**2 * np.gradient(slope, GRID), np.sin(GRID / 50)])
    basis = np.linalg.qr(rows.T)[0].T
    velocity, width, power = 10.0, 0.1, 1800.0
    shifted = np.interp(GRID, GRID * (1 + velocity / SPEED_OF_LIGHT), spectrum) - spectrum
    narrow = np.zeros_like(spectrum)
    for first in range(0, len(GRID), 100):  # the line width changes slowly along the spectrum
        here = slice(first, first + 100)
        added = np.sqrt((1 + width) ** 2 - 1) * GRID[here].mean() / power / 2.3548
        narrow[here] = (gaussian_filter1d(spectrum, added) - spectrum)[here]
    for errors, expected in (((velocity, 0.0), shifted), ((0.0, width), narrow)):
        covariance = line_covariance(
            np.zeros((1, 3)), spectrum, basis, GRID, np.array(["G"]), *errors, power
        )["G"]
        found = np.sqrt(np.trace(covariance) / len(GRID))
        assert found == pytest.approx(np.sqrt((expected**2).mean()), rel=0.1)


def test_both_errors_grow_as_their_squares_and_gaps_are_not_bridged():
    rng = np.random.default_rng(0)
    wave = np.concatenate([np.arange(4000.0, 4050.0), np.arange(5000.0, 5050.0), [6000.0]])
    basis = np.linalg.qr(rng.standard_normal((len(wave), 4)))[0].T
    mean, components = rng.standard_normal(len(wave)), rng.standard_normal((30, 4))
    types = np.repeat(["G", "K", "M"], 10)
    one = line_covariance(components, mean, basis, wave, types, 5.0, 0.0, 1800.0)
    two = line_covariance(components, mean, basis, wave, types, 10.0, 0.0, 1800.0)
    for name in TYPE_LIMITS:
        np.testing.assert_allclose(two[name], 4 * one[name])
    # a step across the gap is no slope
    step = np.where(wave < 4500, 0.0, 1.0)
    nothing = line_covariance(components, step, 0 * basis, wave, types, 5.0, 0.05, 1800.0)
    assert all((covariance == 0).all() for covariance in nothing.values())
    flat = line_covariance(0 * components, step, basis, wave, types, 5.0, 0.05, 1800.0)
    assert all((covariance == 0).all() for covariance in flat.values())


def test_a_type_without_stars_has_the_errors_of_all():
    built = build_emulator(toy_library(), BLUE, BUILD)
    assert not np.isin(["OB", "M", "A"], spectral_type_of(toy_library().labels["teff"])).any()
    for name in ("OB", "A"):
        np.testing.assert_allclose(built.discrepancy[name], built.discrepancy["M"])
        np.testing.assert_allclose(built.truncation[name], built.truncation["M"])
    assert built.discrepancy["G"] != pytest.approx(built.discrepancy["M"])
