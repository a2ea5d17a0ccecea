"""What the networks see: windows, pseudo-continuum, bad pixels (Wang+ 2022 section 2.2)."""

import numpy as np
import pandas as pd
import pytest
from claims import some
from hypothesis import given, settings
from hypothesis import strategies as st

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.networks.settings import Networks
from lamostvac.spectra.network_grid import NetworkPreparation, prepare_network_spectrum
from lamostvac.spectra.reader import read_spectrum

WAVE = 10 ** (3.5682 + 1e-4 * np.arange(3909))
PREPARATION = NetworkPreparation()


def lines(wave):
    """A spectrum with lines, over a continuum of 1."""
    centres = np.array([3950.0, 4102.9, 4341.7, 4862.7, 5184.0, 5500.0, 8500.4, 8544.4, 8664.5])
    depths = np.array([0.5, 0.4, 0.5, 0.5, 0.3, 0.2, 0.3, 0.4, 0.35])
    return 1 - (depths * np.exp(-0.5 * ((wave[:, None] - centres) / 3.0) ** 2)).sum(axis=1)


def prepared(flux, ivar=None, redshift=0.0, preparation=PREPARATION):
    return prepare_network_spectrum(
        WAVE, flux, np.full_like(flux, 1e4) if ivar is None else ivar, redshift, preparation
    )


def test_the_grid_is_lamosts_own_steps_in_the_two_windows():
    wave = PREPARATION.wave
    assert len(wave) == PREPARATION.n_pixels == 1974
    blue, red = wave[wave < 7000], wave[wave > 7000]
    assert 3900 <= blue[0] < 3901
    assert 5799 < blue[-1] <= 5800
    assert 8450 <= red[0] < 8452
    assert 8948 < red[-1] <= 8950
    for part in (blue, red):
        np.testing.assert_allclose(np.diff(np.log10(part)), 1e-4, rtol=1e-6)


def test_a_polynomial_continuum_of_the_sixth_degree_leaves_one():
    x = (WAVE - 6000) / 3000
    flux = 100 * (1 + 0.4 * x - 0.3 * x**2 + 0.2 * x**3 + 0.1 * x**5)
    found, ivar = prepared(flux)
    np.testing.assert_allclose(found, 1, atol=2e-3)
    assert (ivar > 0).all()


def test_lines_survive_and_stand_at_rest():
    redshift = 200 / 299792.458
    found, _ = prepared(lines(WAVE / (1 + redshift)), redshift=redshift)
    expected, _ = prepared(lines(WAVE))
    np.testing.assert_allclose(found, expected, atol=4e-3)
    depth = 1 - found[np.argmin(np.abs(PREPARATION.wave - 4862.7))]
    assert depth == pytest.approx(0.5, abs=0.05)


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(1e-3, 1e6), tilt=st.floats(-0.5, 0.5))
def test_scale_and_slope_of_the_flux_do_not_matter(scale, tilt):
    flux = lines(WAVE)
    slope = 1 + tilt * (WAVE - 6400) / 2700
    expected, expected_ivar = prepared(flux)
    found, ivar = prepared(flux * slope * scale, np.full(len(WAVE), 1e4) / (slope * scale) ** 2)
    np.testing.assert_allclose(found, expected, atol=0.01)
    np.testing.assert_allclose(ivar, expected_ivar, rtol=0.05)


def test_the_inverse_variance_is_that_of_the_normalised_flux():
    rng = np.random.default_rng(1)
    sigma = 0.02
    rows = [
        prepared(
            50 * (1 + sigma * rng.standard_normal(len(WAVE))),
            np.full(len(WAVE), 1 / (50 * sigma) ** 2),
        )
        for _ in range(60)
    ]
    scatter = np.std([row[0] for row in rows], axis=0)
    predicted = 1 / np.sqrt(rows[0][1])
    # At rest the grid points fall on pixels, so that the spline takes nothing off the noise.
    assert np.median(scatter / predicted) == pytest.approx(1, abs=0.06)


def test_a_bad_pixel_takes_the_local_median_and_no_weight():
    flux, ivar = lines(WAVE), np.full(len(WAVE), 1e4)
    hit = np.argmin(np.abs(WAVE - 5000))
    broken = flux.copy()
    broken[hit] = 40.0
    ivar[hit] = 0
    found, information = prepared(broken, ivar)
    expected, _ = prepared(flux)
    near = np.abs(PREPARATION.wave - WAVE[hit]) < 1.5
    assert (information[near] == 0).any()
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_an_unrecorded_cosmic_ray_is_replaced():
    flux = lines(WAVE)
    flux[np.argmin(np.abs(WAVE - 5000))] = 40.0
    found, information = prepared(flux)
    near = np.argmin(np.abs(PREPARATION.wave - 5000))
    assert information[near] == 0
    assert found[near] == pytest.approx(1, abs=0.05)


def test_the_limits_of_the_flux_are_keys_and_null_keeps_what_is_there_as_published():
    flux = lines(WAVE)
    for wavelength, value in ((4200.0, 1.7), (5300.0, 3.0), (5000.0, -0.4)):
        flux[np.argmin(np.abs(WAVE - wavelength))] = value
    at = [np.argmin(np.abs(PREPARATION.wave - one)) for one in (4200.0, 5300.0, 5000.0)]
    section = Networks(min_normalised_flux=None, max_normalised_flux=None)
    found, ivar = prepared(flux, preparation=NetworkPreparation.of(section))
    assert found[at] == pytest.approx([1.7, 3.0, -0.4], abs=0.05)
    assert (ivar[at] > 0).all()
    narrow = NetworkPreparation.of(Networks(min_normalised_flux=-1, max_normalised_flux=1.5))
    found, ivar = prepared(flux, preparation=narrow)
    assert found[at] == pytest.approx([1, 1, -0.4], abs=0.05)
    assert (ivar[at] > 0).tolist() == [False, False, True]


def test_a_spectrum_that_ends_early_has_no_weight_there():
    flux, ivar = lines(WAVE), np.full(len(WAVE), 1e4)
    keep = WAVE < 8900
    found, information = prepare_network_spectrum(
        WAVE[keep], flux[keep], ivar[keep], 0.0, PREPARATION
    )
    beyond = PREPARATION.wave > 8902
    assert (information[beyond] == 0).all()
    assert np.isfinite(found).all()
    assert (information[PREPARATION.wave < 8890] > 0).all()


def test_windows_can_be_narrowed():
    inside = PREPARATION.pixels_in([(3900.0, 4400.0)])
    assert inside.sum() == np.count_nonzero(PREPARATION.wave <= 4400)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda flux, ivar: (flux * np.nan, ivar), "nan_flux"),
        (lambda flux, ivar: (flux * 0, ivar), "zero_flux"),
        (lambda flux, ivar: (flux, ivar * 0), "no_valid_ivar"),
        (lambda flux, ivar: (flux, np.where(WAVE < 5200, 0, ivar)), "too_few_pixels"),
        (lambda flux, ivar: (-flux, ivar), "negative_continuum"),
    ],
)
def test_what_cannot_be_normalised_is_rejected_by_name(change, reason):
    flux, ivar = change(lines(WAVE), np.full(len(WAVE), 1e4))
    with pytest.raises(SpectrumRejected) as rejection:
        prepared(flux, ivar)
    assert rejection.value.reason == reason


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bad=st.floats(0, 0.4), noise=st.floats(0, 3))
def test_whatever_comes_out_is_finite_and_bounded(seed, bad, noise):
    rng = np.random.default_rng(seed)
    flux = lines(WAVE) + noise * rng.standard_normal(len(WAVE))
    ivar = np.where(rng.random(len(WAVE)) < bad, 0.0, 1 / max(noise, 0.01) ** 2)
    flux[rng.random(len(WAVE)) < 0.01] = np.nan
    try:
        found, information = prepared(flux, ivar)
    except SpectrumRejected:
        return
    assert found.dtype == information.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.isfinite(information).all()
    assert ((found >= 0) & (found <= 2)).all()
    assert (information >= 0).all()


def test_real_spectra_of_every_folder_look_like_normalised_spectra(real_data):
    """Up to ten stars of each folder: near 1, with the Ca triplet of cool stars where it belongs."""
    triplet = np.abs(PREPARATION.wave[:, None] - np.array([8544.4, 8664.5])).min(axis=1) < 4
    depths = []
    for catalogue in some(sorted(real_data.glob("lamost/*/catalogue.csv"))):
        table = pd.read_csv(catalogue, sep="|")
        table = table[(table["class"] == "STAR") & (table["z"].abs() < 0.01) & (table["snrg"] > 20)]
        for row in table.head(10).itertuples():
            spectrum = read_spectrum(real_data / row.path)
            flux, ivar = prepare_network_spectrum(
                spectrum.wave, spectrum.flux, spectrum.ivar, row.z, PREPARATION
            )
            good = ivar > 0
            assert good.mean() > 0.7
            assert 0.9 < np.median(flux[good]) < 1.1
            if str(row.subclass).startswith(("F", "G", "K")):
                depths.append(1 - np.median(flux[triplet & good]))
    assert len(depths) > 10
    assert 0.08 < np.median(depths) < 0.5
