"""The distilled emulator: how far from the whole one, and what it keeps of its errors."""

import numpy as np
import pytest
from noisy import TYPE, inner_labels, observe
from toy import BUILD, toy_library

from lamostvac.emulator.distil import distil
from lamostvac.emulator.model import build_emulator, write_emulator
from lamostvac.emulator.settings import DistilSettings
from lamostvac.fit.fitter import StarFitter
from lamostvac.fit.settings import FitSettings

pytestmark = pytest.mark.numeric

SETTINGS = DistilSettings(signal_tolerance=1e-3, error_tolerance=0.01)


@pytest.fixture(scope="module", params=["by_component", "exact"])
def whole(request):
    settings = BUILD.changed(process=request.param, noise=0.05, velocity_error=5.0)
    return build_emulator(toy_library(400, snr=300), [(6000.5, 8700.0)], settings)


@pytest.fixture(scope="module")
def pair(whole):
    return distil(whole, SETTINGS)


def test_distances_are_those_between_the_spectra(whole, pair):
    small, distance = pair
    assert small.n_signal < small.n_components < whole.n_components
    labels = whole.from_scaled(whole.library_scaled.copy())
    difference = small.spectra(labels) - whole.spectra(labels)
    assert distance["signal_rms"] == pytest.approx(
        np.sqrt((difference**2).mean(axis=1)).max(), rel=1e-6
    )
    assert distance["signal_max"] == pytest.approx(np.abs(difference).max(), rel=1e-6)
    # what the setting promises: rms over stars and pixels
    assert np.sqrt((difference**2).mean()) < 1.1 * SETTINGS.signal_tolerance
    assert distance["between_rms"] < 20 * SETTINGS.signal_tolerance


def test_nothing_is_lost_when_nothing_may_be(whole):
    small, distance = distil(
        whole, DistilSettings(signal_tolerance=1e-9, error_tolerance=1e-9), max_inducing=10**6
    )
    assert max(distance["signal_rms"], distance["signal_max"]) < 1e-5
    assert max(distance.values()) < 1e-3  # the kernel's own tolerance, beside the stars
    assert small.n_components == whole.n_components


def test_fewer_points_are_farther(whole):
    distances = [distil(whole, SETTINGS, max_inducing=m)[1]["between_rms"] for m in (15, 60, 400)]
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


def test_distances_between_the_stars_are_no_smaller_than_any_found_there(whole, pair):
    """Half-way between neighbours by hand: one of the two sets of points that are measured."""
    small, distance = pair
    stars = whole.library_scaled
    order = sorted(range(len(stars)), key=lambda row: tuple(stars[row]))
    halfway = np.array(
        [(stars[a] + stars[b]) / 2 for a, b in zip(order[1:], order[:-1], strict=True)]
    )
    labels = whole.from_scaled(halfway)
    difference = small.spectra(labels) - whole.spectra(labels)
    assert np.sqrt((difference**2).mean(axis=1)).max() <= distance["between_rms"] * (1 + 1e-9)
    assert np.abs(difference).max() <= distance["between_max"] * (1 + 1e-9)
    # and half a length scale beside the stars
    beside = (
        stars
        + np.random.default_rng(8).uniform(-0.5, 0.5, stars.shape) * whole.process.length_scale
    )
    labels = whole.from_scaled(beside)
    difference = small.spectra(labels) - whole.spectra(labels)
    found = np.sqrt((difference**2).mean(axis=1)).max()
    assert 0.2 * distance["between_rms"] < found < 5 * distance["between_rms"]


def test_no_pixel_loses_variance_and_pixels_gain_little(whole, pair):
    """Cross terms of kept and dropped directions may be negative in a pixel, where variance is then added."""
    small, _ = pair
    for name in whole.discrepancy:
        both = [
            np.einsum("kp,kl,lp->p", each.basis, each.discrepancy[name], each.basis)
            + each.truncation[name]
            for each in (whole, small)
        ]
        assert (both[1] >= both[0] * (1 - 1e-9)).all()
        assert np.median(both[1] / both[0]) < 1.01


def test_covariances_of_pixels_in_the_kept_directions_are_the_whole_ones(whole, pair):
    small, _ = pair
    for name in ("F", "G", "K"):
        pixels = whole.basis.T @ whole.discrepancy[name] @ whole.basis
        np.testing.assert_allclose(
            small.basis @ pixels @ small.basis.T, small.discrepancy[name], atol=1e-9
        )


def test_the_same_emulator_gives_the_same_bytes(whole, pair, tmp_path):
    again, distance = distil(whole, SETTINGS)
    assert distance == pair[1]
    for name, each in (("a.h5", pair[0]), ("b.h5", again)):
        write_emulator(each, tmp_path / name, {"library": "toy"})
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
