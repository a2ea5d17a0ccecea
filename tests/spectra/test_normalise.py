"""The preparation moves, resamples and normalises without changing what a spectrum says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preparation import masking

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.grid import GRID, air_to_vacuum
from lamostvac.spectra.normalise import prepare_spectrum, running_median
from lamostvac.spectra.settings import Preparation

WAVE = 10 ** (3.5682 + 1e-4 * np.arange(3909))
PLAIN = masking()


def flat(level=1.0, snr=50.0):
    flux = np.full(len(WAVE), level, dtype=np.float32)
    return flux, ((snr / flux) ** 2).astype(np.float32)


def reason_of(*arguments, **keywords):
    with pytest.raises(SpectrumRejected) as rejection:
        prepare_spectrum(*arguments, **keywords)
    return rejection.value.reason


@pytest.mark.parametrize("redshift", [-0.002, -1e-4, 0.0, 3e-4, 0.002])
@pytest.mark.parametrize("line", [3934.78, 5185.05, 6564.61, 8544.44])
def test_a_line_stays_at_its_rest_wavelength(line, redshift):
    flux, ivar = flat()
    flux -= 0.5 * np.exp(-0.5 * ((WAVE - line * (1 + redshift)) / 2.0) ** 2)
    prepared, _ = prepare_spectrum(WAVE, flux, ivar, redshift, PLAIN)
    near = np.abs(GRID - line) < 15
    depth = 1.0 - prepared[near]
    assert (GRID[near] * depth).sum() / depth.sum() == pytest.approx(line, abs=0.02)
    assert depth.max() == pytest.approx(0.5, abs=0.03)  # the 1 A grid may miss the very centre


def test_the_spline_is_exact_on_a_cubic():
    def cubic(wave):
        x = (wave - 6000) / 3000
        return 4 + x + 2 * x**2 - x**3

    flux = cubic(WAVE)
    prepared, ivar = prepare_spectrum(WAVE, flux, np.ones_like(flux), 0.0, PLAIN)
    expected = cubic(GRID) / running_median(cubic(GRID), np.ones(len(GRID), bool), 400)
    assert (ivar > 0).all()
    np.testing.assert_allclose(prepared, expected, rtol=2e-7)


@pytest.mark.parametrize("level", [1e-3, 1.0, 7e4])
def test_a_flat_spectrum_becomes_1_with_its_signal_to_noise(level):
    flux, ivar = flat(level, snr=50.0)
    prepared, prepared_ivar = prepare_spectrum(WAVE, flux, ivar, 0.0, PLAIN)
    np.testing.assert_allclose(prepared, 1.0, atol=1e-6)
    width = np.interp(GRID, WAVE, np.gradient(WAVE))  # A per native pixel
    np.testing.assert_allclose(prepared_ivar, 50.0**2 / width, rtol=1e-3)


@given(scale=st.floats(1e-6, 1e6))
def test_the_unit_of_the_flux_does_not_matter(scale):
    rng = np.random.default_rng(1)
    flux = 1 + 0.2 * np.sin(WAVE / 40) + rng.normal(0, 0.05, len(WAVE))
    ivar = np.full(len(WAVE), 400.0)
    expected = prepare_spectrum(WAVE, flux, ivar, 1e-4, PLAIN)
    found = prepare_spectrum(WAVE, flux * scale, ivar / scale**2, 1e-4, PLAIN)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)


@given(
    values=st.lists(st.floats(-5, 5), min_size=1, max_size=60),
    seed=st.integers(0, 1000),
    window=st.integers(1, 25),
)
def test_the_running_median_is_the_median_of_the_good_pixels_in_the_window(values, seed, window):
    flux = np.array(values)
    good = np.random.default_rng(seed).random(len(flux)) < 0.7
    half = window // 2
    expected = np.full(len(flux), np.nan)
    for i in range(len(flux)):
        inside = slice(max(0, i - half), i + half + 1)
        if good[inside].any():
            expected[i] = np.median(flux[inside][good[inside]])
    np.testing.assert_array_equal(running_median(flux, good, window), expected)
    both = running_median(np.stack([flux, flux]), np.stack([good, good]), window)
    np.testing.assert_array_equal(both, [expected, expected])


@settings(max_examples=60)
@given(
    bad=st.lists(st.tuples(st.integers(0, 3908), st.integers(1, 120)), max_size=8),
    redshift=st.floats(-0.002, 0.002),
    regions=st.lists(st.tuples(st.floats(3700, 9000), st.floats(0.001, 100)), max_size=4),
    seed=st.integers(0, 99),
)
def test_masked_pixels_are_1_and_0_and_nothing_else_is(bad, redshift, regions, seed):
    rng = np.random.default_rng(seed)
    flux = (1 + 0.3 * rng.standard_normal(len(WAVE))).astype(np.float32)
    ivar = np.full(len(WAVE), 11.0, np.float32)
    for first, count in bad:
        ivar[first : first + count] = 0
    regions = [(low, low + width) for low, width in regions]
    prepared, information = prepare_spectrum(WAVE, flux, ivar, redshift, masking(*regions))
    masked = information == 0
    assert (prepared[masked] == 1).all()
    assert np.isfinite(prepared).all()
    assert np.isfinite(information).all()
    assert (prepared <= 2).all()
    observed = GRID * (1 + redshift)
    for low, high in regions:
        assert masked[(observed >= low) & (observed <= high)].all()
    native = np.searchsorted(WAVE, observed)  # a pixel is usable only if both its neighbours are
    leaning_on_bad = (ivar[native - 1] == 0) | (ivar[np.minimum(native, len(WAVE) - 1)] == 0)
    assert masked[leaning_on_bad].all()


@given(value=st.one_of(st.floats(width=32), st.just(np.nan)), how=st.sampled_from(["ivar", "flux"]))
def test_the_value_of_a_bad_pixel_never_matters(value, how):
    flux, ivar = flat()
    flux += 0.1 * np.sin(WAVE / 30).astype(np.float32)
    ivar[[1000, 2500]] = 0 if how == "ivar" else ivar[0]
    flux[[1000, 2500]] = 0 if how == "ivar" else np.nan
    expected = prepare_spectrum(WAVE, flux, ivar, 0.0, PLAIN)
    if how == "ivar":
        flux[[1000, 2500]] = value
    else:
        ivar[[1000, 2500]] = value
    for found, wanted in zip(prepare_spectrum(WAVE, flux, ivar, 0.0, PLAIN), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_bad_pixel_masks_its_neighbourhood_and_no_more():
    flux, ivar = flat()
    ivar[2000] = 0
    _, information = prepare_spectrum(WAVE, flux, ivar, 0.0, PLAIN)
    masked = GRID[information == 0]
    assert len(masked) > 0
    assert (np.abs(masked - WAVE[2000]) < WAVE[2001] - WAVE[2000] + 1e-6).all()


def test_fluxes_over_2_are_set_to_1_and_masked():
    flux, ivar = flat()
    flux[1500:1503] = 5.0  # a cosmic ray that no mask records
    prepared, information = prepare_spectrum(WAVE, flux, ivar, 0.0, PLAIN)
    hit = (GRID > WAVE[1500]) & (GRID < WAVE[1502])
    assert (prepared[hit] == 1).all()
    assert (information[hit] == 0).all()
    loose = masking(max_normalised_flux=10.0)
    assert prepare_spectrum(WAVE, flux, ivar, 0.0, loose)[0][hit].max() > 4


def test_fluxes_under_the_least_are_set_to_1_and_masked_unless_there_is_none():
    flux, ivar = flat()
    flux[1500:1503] = -0.8
    hit = (GRID > WAVE[1500]) & (GRID < WAVE[1502])
    prepared, information = prepare_spectrum(WAVE, flux, ivar, 0.0, PLAIN)
    assert (prepared[hit] == 1).all()
    assert (information[hit] == 0).all()
    published = masking(min_normalised_flux=None)
    prepared, information = prepare_spectrum(WAVE, flux, ivar, 0.0, published)
    assert prepared[hit].max() < -0.7
    assert (information[hit] > 0).all()


def test_resampling_conserves_the_information():
    rng = np.random.default_rng(3)
    flux, _ = flat()
    ivar = (100 * (1 + 0.5 * np.sin(WAVE / 70)) + rng.random(len(WAVE))).astype(np.float32)
    _, information = prepare_spectrum(WAVE, flux, ivar, 0.0, PLAIN)
    for low, high in ((3800, 4400), (5000, 5300), (8000, 8700)):
        native = (low <= WAVE) & (high >= WAVE)
        grid = (low <= GRID) & (high > GRID)
        assert information[grid].sum() == pytest.approx(ivar[native].sum(), rel=0.01)


@pytest.mark.parametrize("centre", [4200.0, 6500.0, 8300.0])
def test_a_weighted_sum_over_many_pixels_scatters_as_its_error_says(centre):
    rng = np.random.default_rng(int(centre))
    snr = 20 + 10 * np.sin(WAVE / 500)
    ivar = (snr**2).astype(np.float32)
    template = np.gradient(np.exp(-0.5 * ((GRID - centre) / 15) ** 2))  # a line shape of mean 0
    scaled = []
    for _ in range(400):
        flux = (1 + rng.standard_normal(len(WAVE)) / snr).astype(np.float32)
        prepared, information = prepare_spectrum(WAVE, flux, ivar, 0.0, PLAIN)
        precision = (information * template**2).sum()
        scaled.append((information * template * (prepared - 1)).sum() / np.sqrt(precision))
    # 400 spectra tell a standard deviation to 3.5 per cent
    assert np.std(scaled) == pytest.approx(1.0, abs=0.11)
    assert abs(np.mean(scaled)) < 0.2


def test_the_callers_arrays_stay_as_they_were():
    flux, ivar = flat()
    flux[[10, 2000]], ivar[[11, 2001]] = np.nan, 0
    copies = WAVE.copy(), flux.copy(), ivar.copy()
    prepare_spectrum(WAVE, flux, ivar, 1e-3, masking((5000.0, 5100.0)))
    for array, copy in zip((WAVE, flux, ivar), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_spectrum_that_covers_part_of_the_grid_is_masked_elsewhere():
    part = (WAVE > 4200) & (WAVE < 7200)
    flux, ivar = flat()
    arguments = WAVE[part], flux[part], ivar[part], 0.0, PLAIN
    assert reason_of(*arguments) == "wavelength_coverage"
    prepared, information = prepare_spectrum(*arguments, coverage=(4400.0, 7000.0))
    inside = (GRID >= 4400) & (GRID <= 7000)
    assert (information[inside] > 0).all()
    assert (information[~inside] == 0).all()
    assert (prepared[~inside] == 1).all()


def test_a_redshift_that_takes_the_spectrum_off_the_grid_is_a_lack_of_coverage():
    flux, ivar = flat()
    assert reason_of(WAVE, flux, ivar, -0.03, PLAIN) == "wavelength_coverage"
    assert reason_of(WAVE, flux, ivar, 0.05, PLAIN) == "wavelength_coverage"


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("nan_flux", lambda flux, ivar: flux.fill(np.nan)),
        ("zero_flux", lambda flux, ivar: flux.fill(0)),
        ("no_valid_ivar", lambda flux, ivar: ivar.fill(0)),
        ("no_valid_ivar", lambda flux, ivar: ivar.fill(-1)),
        ("no_valid_ivar", lambda flux, ivar: ivar.fill(np.inf)),
        ("too_few_pixels", lambda flux, ivar: ivar[:-1500].fill(0)),
        ("too_few_pixels", lambda flux, ivar: flux[::2].fill(np.nan)),
        ("negative_continuum", lambda flux, ivar: flux.fill(-1)),
        ("negative_continuum", lambda flux, ivar: flux[:2500].fill(-1)),
    ],
)
def test_a_useless_spectrum_is_rejected_with_its_reason(reason, change):
    flux, ivar = flat()
    change(flux, ivar)
    assert reason_of(WAVE, flux, ivar, 0.0, PLAIN) == reason


@pytest.mark.parametrize("redshift", [np.nan, np.inf, -1.0, -5.0])
def test_an_impossible_redshift_is_rejected(redshift):
    assert reason_of(WAVE, *flat(), redshift, PLAIN) == "bad_redshift"


def test_one_good_pixel_and_its_bad_neighbours_are_too_few_not_a_crash():
    flux, ivar = flat()
    ivar[np.arange(len(ivar)) != 2000] = 0
    assert reason_of(WAVE, flux, ivar, 0.0, PLAIN) == "too_few_pixels"


def test_settings_become_regions_in_vacuum():
    made = Preparation(
        telluric_regions=[(6860.0, 6960.0)],
        extra_telluric_regions=[(7590.0, 7720.0)],
        dichroic_region=(5700.0, 5900.0),
        mask_diffuse_bands=True,
        median_window=300,
        max_normalised_flux=3.0,
        min_good_fraction=0.4,
        min_normalised_flux=-0.5,
    )
    assert list(made.masked_regions[:3]) == [(6860.0, 6960.0), (7590.0, 7720.0), (5700.0, 5900.0)]
    assert any(low < air_to_vacuum(6613.6) < high for low, high in made.masked_regions[3:])
    assert (made.median_window, made.max_normalised_flux, made.min_good_fraction) == (300, 3.0, 0.4)
    assert made.min_normalised_flux == -0.5
    assert masking().masked_regions == ()


def test_more_diffuse_bands_can_be_masked_as_liang_et_al_mask_all():
    own = [(4880.0, 4884.0), (6089.0, 6092.0)]
    assert set(own) <= set(Preparation(extra_diffuse_bands=own).masked_regions)
    assert len(Preparation(extra_diffuse_bands=own).diffuse_regions) == 17 + 2
    assert Preparation(extra_diffuse_bands=own, mask_diffuse_bands=False).diffuse_regions == []


def test_pixels_that_clipping_takes_do_not_count_as_usable():
    """Half of the pixels are usable before the fluxes above the limit are masked, and few after."""
    wave = 10 ** (3.5682 + 1e-4 * np.arange(3909))
    flux = np.where(np.arange(3909) % 2, 1.0, 50.0) * 100
    ivar = np.full(3909, 1.0)
    settings = masking(max_normalised_flux=1.01, min_good_fraction=0.9)
    with pytest.raises(SpectrumRejected, match="too_few_pixels"):
        prepare_spectrum(wave, flux, ivar, 0.0, settings)
    loose = masking(max_normalised_flux=1.01, min_good_fraction=0.3)
    assert 0.3 < np.count_nonzero(prepare_spectrum(wave, flux, ivar, 0.0, loose)[1]) / 4901 < 0.9
