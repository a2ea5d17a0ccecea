"""Components of a spectrum are the least squares on the pixels that it has."""

import numpy as np
import pytest
from toy import BUILD, toy_labels, toy_library, toy_spectra

from lamostvac.emulator.model import build_emulator
from lamostvac.grouped.components import project

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def emulator():
    return build_emulator(toy_library(), [(7600.0, 7700.0)], BUILD.changed(variance=0.95))


def sample(n=6, masked=0.2):
    rng = np.random.default_rng(0)
    flux = toy_spectra(toy_labels(n, seed=8))
    flux += rng.normal(0, 0.01, flux.shape)
    ivar = np.where(rng.random(flux.shape) < masked, 0.0, 1e4)
    return np.where(ivar > 0, flux, 99.0), ivar


def test_components_and_residual_are_those_of_least_squares_on_the_surviving_pixels(emulator):
    flux, ivar = sample()
    components, residual = project(emulator, flux, ivar)
    for star in range(len(flux)):
        used = ivar[star, emulator.pixels] > 0
        target = flux[star, emulator.pixels][used] - emulator.mean[used]
        expected, squares, *_ = np.linalg.lstsq(emulator.basis[:, used].T, target, rcond=None)
        np.testing.assert_allclose(components[star], expected, rtol=1e-4, atol=1e-5)
        assert residual[star] == pytest.approx(squares[0], rel=1e-5)


def test_without_masks_it_is_the_projection_and_the_weights_do_not_matter(emulator):
    flux, ivar = sample(masked=0.0)
    ivar *= np.random.default_rng(1).uniform(0.1, 10, ivar.shape)
    components, _ = project(emulator, flux, ivar)
    expected = (flux[:, emulator.pixels] - emulator.mean) @ emulator.basis.T
    np.testing.assert_allclose(components, expected, rtol=1e-5, atol=1e-8)


def test_a_star_without_pixels_has_no_components_and_harms_no_other(emulator):
    flux, ivar = sample()
    expected = project(emulator, flux, ivar)
    ivar[2] = 0
    components, residual = project(emulator, flux, ivar)
    np.testing.assert_allclose(components[2], 0, atol=1e-9)
    assert residual[2] == 0
    others = np.arange(6) != 2
    np.testing.assert_allclose(components[others], expected[0][others])


def test_company_does_not_matter_and_nothing_is_changed(emulator):
    flux, ivar = sample()
    copies = flux.copy(), ivar.copy()
    together, _ = project(emulator, flux, ivar)
    alone, _ = project(emulator, flux[3:4], ivar[3:4])
    np.testing.assert_allclose(alone[0], together[3], rtol=1e-9)
    np.testing.assert_array_equal(flux, copies[0])
    np.testing.assert_array_equal(ivar, copies[1])
    assert project(emulator, flux[:0], ivar[:0])[0].shape == (0, emulator.n_signal)
