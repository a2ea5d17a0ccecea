"""The distilled emulator: how far from the whole one, and what it keeps of its errors."""

from dataclasses import replace

import numpy as np
import pytest
from noisy import TYPE, inner_labels, observe
from toy import BUILD, toy_library

from lamostvac.distil import DistilSettings, distil, split_settings
from lamostvac.emulator import EmulatorSettings, build_emulator
from lamostvac.starfit import FitSettings, StarFitter

SETTINGS = DistilSettings(signal_tolerance=1e-3, error_tolerance=0.01)


@pytest.fixture(scope="module", params=["by_component", "exact"])
def whole(request):
    settings = replace(BUILD, process=request.param, noise=0.05, velocity_error=5.0)
    return build_emulator(toy_library(400, snr=300), [(6000.5, 8700.0)], settings)


@pytest.fixture(scope="module")
def pair(whole):
    return distil(whole, SETTINGS)


def test_distances_are_those_between_the_spectra(whole, pair):
    small, distance = pair
    assert small.n_signal < small.n_components < whole.n_components
    labels = whole.from_scaled(whole.library_scaled.copy())
    difference = small.spectra(labels) - whole.spectra(labels)
    assert distance["signal_rms"] == pytest.approx(np.sqrt((difference**2).mean(axis=1)).max(), rel=1e-6)
    assert distance["signal_max"] == pytest.approx(np.abs(difference).max(), rel=1e-6)
    # what the setting promises: rms over stars and pixels
    assert np.sqrt((difference**2).mean()) < 1.1 * SETTINGS.signal_tolerance
    assert distance["between_rms"] < 20 * SETTINGS.signal_tolerance


def test_nothing_is_lost_when_nothing_may_be(whole):
    small, distance = distil(
        whole, DistilSettings(max_inducing=10**6, signal_tolerance=1e-9, error_tolerance=1e-9)
    )
    assert max(distance["signal_rms"], distance["signal_max"]) < 1e-5
    assert max(distance.values()) < 1e-3  # the kernel's own tolerance, beside the stars
    assert small.n_components == whole.n_components


def test_fewer_points_are_farther(whole):
    distances = [distil(whole, replace(SETTINGS, max_inducing=m))[1]["between_rms"] for m in (15, 60, 400)]
    assert distances[0] > distances[1] > 0.9 * distances[2]


def test_the_basis_is_orthonormal_and_the_variance_of_each_pixel_stays(whole, pair):
    small, _ = pair
    np.testing.assert_allclose(small.basis @ small.basis.T, np.eye(small.n_components), atol=1e-9)
    for name in whole.discrepancy:
        both = []
        for each in (whole, small):
            variance = np.vecdot(each.basis.T @ each.discrepancy[name], each.basis.T)
            both.append(variance + each.truncation[name])
        np.testing.assert_allclose(both[1].mean(), both[0].mean(), rtol=0.02)
        assert np.linalg.eigvalsh(small.discrepancy[name]).min() > 0


def test_labels_are_those_of_the_whole_emulator_to_a_fraction_of_their_errors(whole, pair):
    flux, ivar = observe(whole, inner_labels(100), 40)
    settings = FitSettings(outlier_sigma=0.0)
    one, other = (StarFitter(each, settings).fit(flux, ivar, TYPE) for each in (whole, pair[0]))
    away = (other.labels - one.labels) / one.errors
    assert np.sqrt(np.median(away**2)) < 0.15
    np.testing.assert_allclose(np.median(other.errors / one.errors, axis=0), 1, atol=0.1)


def test_a_distilled_emulator_can_be_distilled_again(pair):
    small, _ = pair
    again, distance = distil(small, SETTINGS)
    assert again.n_signal <= small.n_signal
    assert distance["signal_rms"] < 10 * SETTINGS.signal_tolerance


def test_settings_come_apart():
    emulator, distilled = split_settings({"variance": 0.9, "signal_tolerance": 0.01, "folds": 3})
    assert emulator == EmulatorSettings(variance=0.9)
    assert distilled == DistilSettings(signal_tolerance=0.01)
