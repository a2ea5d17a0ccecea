"""The simulated spectra answer to the labels the way real ones do."""

import numpy as np
import pytest

from lamostvac.simulate import atmosphere, spectrum, synthesis_grid
from lamostvac.simulate.constants import air_to_vacuum
from lamostvac.simulate.linelist import ALL_LINES, STRONG_LINES, hydrogenic_f, hydrogenic_wavelength

pytestmark = pytest.mark.numeric

WAVE = 10 ** np.arange(np.log10(3720.0), np.log10(9080.0), 1e-4)


def spectra(teff, logg, feh=0.0, alpha_fe=0.0, c_fe=0.0, n_fe=0.0):
    return spectrum.synthesize(WAVE, teff, logg, feh, alpha_fe, c_fe, n_fe)


def equivalent_width(flux, low, high, blue, red):
    """Equivalent width in A between two pseudo-continuum windows; flux (n, w)."""
    inside = (WAVE > low) & (WAVE < high)
    sides = []
    for a, b in (blue, red):
        window = (WAVE > a) & (WAVE < b)
        sides.append((0.5 * (a + b), np.median(flux[:, window], axis=1)))
    (x0, y0), (x1, y1) = sides
    level = y0[:, None] + (WAVE[inside] - x0) / (x1 - x0) * (y1 - y0)[:, None]
    return np.trapezoid(1 - flux[:, inside] / level, WAVE[inside], axis=1)


def fe_5270(flux):
    return equivalent_width(flux, 5247, 5287, (5235, 5249), (5288, 5319))


def mg_b(flux):
    return equivalent_width(flux, 5161, 5194, (5119, 5144), (5193, 5208))


def triplet(flux):
    return equivalent_width(flux, 8532, 8556, (8460, 8490), (8600, 8640)) + equivalent_width(
        flux, 8652, 8676, (8600, 8640), (8700, 8740)
    )


def h_delta(flux):
    return equivalent_width(flux, 4060, 4145, (4010, 4055), (4150, 4200))


def g_band(flux):
    return equivalent_width(flux, 4283, 4318, (4268, 4283), (4320, 4336))


def cn_3883(flux):
    # measured at the head itself: the sides are full of iron lines
    return equivalent_width(flux, 3865, 3884, (3892, 3906), (3985, 4015))


def test_neutral_lines_weaken_in_hotter_stars():
    strength = fe_5270(spectra([5000, 5800, 6600, 7600, 9000], 4.3))
    assert np.all(np.diff(strength) < 0)


def test_h_delta_peaks_near_a0():
    teff = np.array([6000, 7000, 8000, 8500, 9000, 9500, 10000, 11000, 13000, 18000, 28000])
    strength = h_delta(spectra(teff, 4.0))
    assert 8000 <= teff[np.argmax(strength)] <= 10500
    assert strength.max() > 3 * strength[-1]


def test_vega_like_star_has_the_measured_h_delta():
    # Lick-like H-delta of A0 dwarfs is 10 to 16 A
    assert 9 < h_delta(spectra([9600], 4.0))[0] < 17


def test_balmer_wings_grow_with_gravity_in_a_stars():
    strength = h_delta(spectra(9500, [2.5, 3.0, 3.5, 4.0, 4.4]))
    assert np.all(np.diff(strength) > 0)


def test_calcium_triplet_strengthens_in_giants():
    strength = triplet(spectra(4800, [4.6, 3.5, 2.5, 1.5]))
    assert strength[2] > 1.1 * strength[0]
    assert strength[3] > strength[2] > strength[1]


def test_triplet_answers_to_metallicity():
    assert np.all(np.diff(triplet(spectra(4700, 2.2, [-2.5, -1.5, -0.5, 0.2]))) > 0)


def test_metal_lines_answer_to_metallicity():
    assert np.all(np.diff(fe_5270(spectra(5500, 4.4, [-3.0, -2.0, -1.0, 0.0]))) > 0)


def test_magnesium_answers_to_alpha_and_iron_does_not():
    flux = spectra(5200, 4.5, -0.5, [0.0, 0.4])
    magnesium, iron = mg_b(flux), fe_5270(flux)
    assert magnesium[1] > 1.1 * magnesium[0]
    assert abs(iron[1] / iron[0] - 1) < 0.25 * (magnesium[1] / magnesium[0] - 1) + 0.03


def test_g_band_answers_to_carbon():
    strength = g_band(spectra(5200, 3.0, -0.5, 0.0, [-0.5, 0.0, 0.5]))
    assert np.all(np.diff(strength) > 0.5)


def test_cyanogen_answers_to_nitrogen():
    strength = cn_3883(spectra(4800, 2.5, -0.2, 0.0, 0.0, [-0.5, 0.0, 0.5]))
    assert np.all(np.diff(strength) > 0.2)


def test_ionised_helium_only_in_o_stars():
    flux = spectra([12000, 20000, 33000, 38000], 4.0)
    strength = equivalent_width(flux, 4679, 4695, (4665, 4677), (4697, 4705))
    assert np.all(np.abs(strength[:2]) < 0.1)
    assert strength[3] > 0.3
    assert strength[3] > strength[2]


def test_neutral_helium_peaks_in_b_stars():
    teff = np.array([9000, 12000, 20000, 38000])
    strength = equivalent_width(spectra(teff, 4.0), 4462, 4479, (4450, 4460), (4487, 4500))
    assert np.argmax(strength) == 2


def test_titanium_oxide_grows_to_cooler_m_stars():
    flux = spectra([4000, 3700, 3400, 3100], 4.9)
    head = flux[:, (WAVE > 7095) & (WAVE < 7130)].mean(axis=1)
    before = flux[:, (WAVE > 7035) & (WAVE < 7050)].mean(axis=1)
    assert np.all(np.diff(head / before) < 0)
    assert (head / before)[-1] < 0.75


def test_sodium_and_calcium_hydride_tell_dwarfs_from_giants():
    flux = spectra(3600, [4.9, 1.0])
    sodium = equivalent_width(flux, 8180, 8202, (8150, 8178), (8206, 8230))
    assert sodium[0] > 1.3 * sodium[1]
    hydride = flux[:, (WAVE > 6910) & (WAVE < 6945)].mean(axis=1) / flux[
        :, (WAVE > 7035) & (WAVE < 7050)
    ].mean(axis=1)
    tio = flux[:, (WAVE > 7130) & (WAVE < 7150)].mean(axis=1) / flux[
        :, (WAVE > 7035) & (WAVE < 7050)
    ].mean(axis=1)
    # relative to titanium oxide, calcium hydride is a dwarf's band
    assert (hydride / tio)[0] < (hydride / tio)[1]


def test_balmer_jump_is_largest_in_a_stars():
    teff = np.array([5800.0, 9500.0, 30000.0])
    zero = np.zeros(3)
    star = atmosphere.build(teff, zero + 4, zero, zero, zero, zero)
    wave = np.array([3600.0, 3960.0])
    source = atmosphere.planck(wave, star.temperature[:, :, None])
    flux = atmosphere.emergent_flux(source, atmosphere.continuum_opacities(star, wave))
    jump = flux[:, 0] / flux[:, 1]
    assert jump[1] < 0.5 < 0.75 < jump[0]
    assert jump[1] < jump[2]


def test_solar_atmosphere_has_the_pressures_of_published_models():
    one = np.ones(1)
    star = atmosphere.build(5772 * one, 4.44 * one, 0 * one, 0 * one, 0 * one, 0 * one)
    surface = np.argmin(np.abs(atmosphere.LOG_TAU))
    # MARCS and Holweger-Mueller at tau = 1: log Pg about 5.05, log Pe about 1.75
    assert np.log10(star.gas_pressure[0, surface]) == pytest.approx(5.05, abs=0.2)
    assert np.log10(star.electron_pressure[0, surface]) == pytest.approx(1.75, abs=0.25)


def test_flux_over_depth_returns_a_constant_source():
    ratio = np.random.default_rng(0).uniform(0.3, 3, (2, atmosphere.TAU.size, 4))
    flux = atmosphere.emergent_flux(np.full_like(ratio, 2.5), ratio)
    np.testing.assert_allclose(flux, 2.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("teff", "logg"), [(4400.0, 2.0), (5000.0, 4.5), (5800.0, 4.4), (6500.0, 4.2)]
)
def test_labels_are_not_degenerate(teff, logg):
    """Derivatives of the normalised spectrum by the four labels are independent."""
    steps = np.diag([60.0, 0.15, 0.1, 0.1])
    centre = np.array([teff, logg, -0.2, 0.05])
    grid = np.concatenate([centre + steps, centre - steps]).T
    flux = spectra(*grid).astype(float)
    keep = (WAVE > 3900) & (WAVE < 8800)
    kernel = np.ones(151) / 151
    smooth = np.array([np.convolve(row, kernel, mode="same") for row in flux])
    normal = (flux / smooth)[:, keep]
    derivative = normal[:4] - normal[4:]
    unit = derivative / np.linalg.norm(derivative, axis=1)[:, None]
    # what is left of each derivative when the other three are projected out
    left = 1 / np.sqrt(np.diag(np.linalg.inv(unit @ unit.T)))
    assert np.all(left > 0.12)
    assert np.all(np.linalg.norm(derivative, axis=1) > 0.05)


def test_spectra_are_smooth_in_the_labels():
    teff = np.linspace(3000, 35000, 65)
    teff = np.sort(np.concatenate([teff, teff + 1.0]))
    flux = spectra(teff, 4.0)
    relative = np.abs(flux[1::2] / flux[::2] - 1)
    # a kelvin never changes a pixel by more than 1 % (no grid, no switch)
    assert relative.max() < 0.01


def test_batches_do_not_change_a_spectrum():
    labels = [np.array([4000.0, 5500.0, 9000.0]), np.array([4.6, 4.3, 4.0])] + [np.zeros(3)] * 4
    together = spectrum.synthesize_native(*labels)
    alone = spectrum.synthesize_native(*labels, batch=1)
    np.testing.assert_allclose(alone, together, rtol=2e-4, atol=1e-6 * together.max())


def test_lines_are_in_vacuum_and_sorted():
    assert np.all(np.diff(ALL_LINES.wave) >= 0)
    assert np.min(np.abs(ALL_LINES.wave - 3934.777)) < 0.01  # Ca II K in vacuum
    assert np.min(np.abs(STRONG_LINES.wave - 8544.44)) < 0.01
    assert hydrogenic_wavelength(2, 3) == pytest.approx(6564.6, abs=0.1)
    assert air_to_vacuum(np.array(6562.79)) == pytest.approx(6564.6, abs=0.1)
    assert hydrogenic_f(2, 8) == pytest.approx(0.00804, rel=0.03)


def test_radial_velocity_and_resolution():
    flux = spectrum.synthesize_native(*(np.array([x]) for x in (5800.0, 4.4, 0.0, 0.0, 0.0, 0.0)))
    sigma = np.array([80.0])
    still = synthesis_grid.broaden(flux, sigma, sigma, np.zeros(1))
    moving = synthesis_grid.broaden(flux, sigma, sigma, np.array([150.0]))
    a = synthesis_grid.resample(still, WAVE)
    b = synthesis_grid.resample(moving, WAVE * (1 + 150 / 299792.458))
    np.testing.assert_allclose(a[:, 50:-50], b[:, 50:-50], rtol=3e-3)
    # broader lines, the same light
    broad = synthesis_grid.broaden(flux, sigma * 2, sigma * 2, np.zeros(1))
    assert broad[0, 3000:6000].std() < still[0, 3000:6000].std()
    assert broad.sum() == pytest.approx(float(still.sum()), rel=1e-3)


def test_wavelengths_outside_the_range_are_refused():
    with pytest.raises(ValueError, match="between 3600 and 10400"):
        spectrum.synthesize(np.array([3000.0, 5000.0]), 5000, 4, 0)
