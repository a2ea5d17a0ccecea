"""A redshift that no header says is found in the spectrum, with its error, or said to be doubtful."""

import numpy as np
import pytest
from preparation import LAMOST, masking
from toy import BUILD, toy_labels, toy_library, toy_spectra

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.core.vocabulary import spectral_type_of
from lamostvac.emulator.model import build_emulator
from lamostvac.fit.redshift import (
    MAX_VELOCITY,
    RELIABLE,
    TEMPLATE_ERROR,
    estimate,
    estimate_prepared,
    templates_of,
)
from lamostvac.spectra.grid import GRID, SPEED_OF_LIGHT
from lamostvac.spectra.normalise import prepare_spectrum

pytestmark = pytest.mark.numeric
GAP = (6200.0, 6400.0)  # A at rest that the emulator does not cover
CLEAN = masking()


@pytest.fixture(scope="module")
def templates():
    return templates_of([build_emulator(toy_library(), [GAP], BUILD)])


def observed(labels, velocities, snr, seed=0):
    """Released spectra (n, 3909) of toy stars at velocities (n,) km/s, with a sloping continuum."""
    rng = np.random.default_rng([seed, 3])
    rest = LAMOST / (1 + np.asarray(velocities)[:, None] / SPEED_OF_LIGHT)
    lines = [np.interp(at, GRID, one) for at, one in zip(rest, toy_spectra(labels), strict=True)]
    flux = 1000 * (LAMOST / 6000) ** -1.5 * (np.array(lines) + rng.normal(0, 1 / snr, rest.shape))
    ivar = (snr / (1000 * (LAMOST / 6000) ** -1.5)) ** 2 * np.ones_like(flux)
    return flux, ivar


def found(labels, velocities, snr, templates, seed=0):
    spectra = zip(*observed(labels, velocities, snr, seed), strict=True)
    prepared = [prepare_spectrum(LAMOST, flux, ivar, 0.0, CLEAN) for flux, ivar in spectra]
    flux, ivar = (np.array(part) for part in zip(*prepared, strict=True))
    return estimate_prepared(flux, ivar, templates)


def test_injected_velocities_are_found_to_a_small_part_of_a_pixel(templates):
    labels = toy_labels(60, seed=5)
    truth = np.linspace(-0.97, 0.97, 60) * MAX_VELOCITY
    result = found(labels, truth, 100, templates)
    error = result.z * SPEED_OF_LIGHT - truth
    assert (result.quality > 2 * RELIABLE).all()
    assert np.abs(error).max() < 10  # a pixel is 69 km/s wide
    assert abs(error.mean()) < 1


def test_noise_gives_errors_of_the_size_that_is_stated(templates):
    labels = toy_labels(150, seed=6)
    truth = np.random.default_rng(1).uniform(-500, 500, 150)
    result = found(labels, truth, 5, templates)
    stated = result.z_err * SPEED_OF_LIGHT
    assert (stated > 1.5 * TEMPLATE_ERROR).mean() > 0.9  # so the noise decides
    pulls = (result.z * SPEED_OF_LIGHT - truth) / stated
    assert 0.7 < 1.4826 * np.median(np.abs(pulls)) < 1.3


def test_the_type_is_that_of_the_star(templates):
    labels = toy_labels(80, seed=8)
    types = found(labels, np.zeros(80), 100, templates).type
    assert (types == spectral_type_of(labels[:, 0])).mean() > 0.75
    middle = np.array([[4800.0, 3, -0.5], [5600, 3, -0.5], [6700, 3, -0.5]])
    assert found(middle, np.zeros(3), 100, templates).type.tolist() == ["K", "G", "F"]


def test_spectra_without_lines_are_said_to_be_doubtful(templates):
    rng = np.random.default_rng(2)
    flux = 1 + rng.normal(0, 0.05, (100, len(GRID)))
    result = estimate_prepared(flux, np.full(flux.shape, 400.0), templates)
    assert (result.quality < RELIABLE).all()


def test_a_spectrum_without_pixels_has_no_redshift(templates):
    flux, ivar = np.ones((2, len(GRID))), np.zeros((2, len(GRID)))
    ivar[1] = 100.0  # a flat spectrum: no template finds absorption
    result = estimate_prepared(flux, ivar, templates)
    assert np.isnan(result.z).all()
    assert np.isnan(result.z_err).all()
    assert result.quality.tolist() == [0, 0]


def test_masked_pixels_say_nothing(templates):
    labels = toy_labels(10, seed=9)
    flux, ivar = observed(labels, np.full(10, 120.0), 50)
    spoiled = (LAMOST > 5000) & (LAMOST < 5300)
    ivar[:, spoiled] = 0
    expected = [estimate(LAMOST, f, i, templates, CLEAN) for f, i in zip(flux, ivar, strict=True)]
    flux[:, spoiled] *= np.where(LAMOST[spoiled] % 40 < 20, 0.3, 1.5)
    result = [estimate(LAMOST, f, i, templates, CLEAN) for f, i in zip(flux, ivar, strict=True)]
    near = [
        abs(one[0] - other[0]) * SPEED_OF_LIGHT for one, other in zip(expected, result, strict=True)
    ]
    assert max(near) < 5
    assert all(abs(z * SPEED_OF_LIGHT - 120) < 15 for z, *_ in result)


def test_one_spectrum_is_estimated_as_among_others(templates):
    labels, truth = toy_labels(7, seed=10), np.linspace(-300, 300, 7)
    together = found(labels, truth, 40, templates)
    flux, ivar = observed(labels, truth, 40)
    for row in range(7):
        z, z_err, kind, quality = estimate(LAMOST, flux[row], ivar[row], templates, CLEAN)
        assert z == pytest.approx(together.z[row], abs=1e-3 * z_err)
        assert (z_err, quality) == pytest.approx(
            (together.z_err[row], together.quality[row]), rel=1e-3
        )
        assert kind == together.type[row]


def test_templates_use_only_pixels_that_the_emulator_covers_at_every_velocity(templates):
    for velocity in (-MAX_VELOCITY, MAX_VELOCITY):
        rest = GRID[templates.pixels] / (1 + velocity / SPEED_OF_LIGHT)
        assert not ((rest > GAP[0]) & (rest < GAP[1])).any()
        assert rest.min() >= GRID[0]
        assert rest.max() <= GRID[-1]
    lost = GAP[1] - GAP[0] + 2 * MAX_VELOCITY / SPEED_OF_LIGHT * (6300 + 6250)
    assert len(GRID) - len(templates.pixels) < lost + 10
    assert set(templates.types) == {"F", "G", "K"}


def test_what_cannot_be_prepared_is_rejected_by_name(templates):
    with pytest.raises(SpectrumRejected) as why:
        estimate(LAMOST, np.zeros(3909), np.ones(3909), templates, CLEAN)
    assert why.value.reason == "zero_flux"
