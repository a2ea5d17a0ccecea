"""Spectra on other grids, against plain code: SciPy's spline, a search for every pixel, a sort for every median."""

import csv

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings
from preparation import LAMOST, masking, outcome, wild_spectrum
from scipy.interpolate import CubicSpline

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.network_grid import STEP, NetworkPreparation, normalise_network_spectrum
from lamostvac.spectra.normalise import normalise_spectrum
from lamostvac.spectra.reader import read_spectrum
from lamostvac.spectra.rest_frame import rest_spectrum

pytestmark = pytest.mark.numeric

REGIONS = ((4400.0, 4440.0), (6860.0, 6960.0), (7590.0, 7720.0))
LEAST = 0.3
PREPARATION = masking(*REGIONS, min_good_fraction=LEAST)
NETWORKS = NetworkPreparation()


def plain_onto(wave, flux, ivar, redshift, grid, width):
    """What `rest_spectrum(...).onto(...)` says it does, pixel by pixel."""
    wave = wave / (1 + redshift)
    good = np.isfinite(flux) & (flux != 0) & np.isfinite(ivar) & (ivar > 0)
    bridged = np.interp(wave, wave[good], flux[good].astype(float))
    spline = CubicSpline(wave, bridged)
    information = np.where(good, ivar, 0).astype(float)
    width = np.broadcast_to(width, len(grid))
    on_grid, on_grid_ivar = np.zeros(len(grid)), np.zeros(len(grid))
    inside = (wave[0] <= grid) & (grid <= wave[-1])
    on_grid[inside] = spline(grid[inside])
    for pixel, position in enumerate(grid):
        if not inside[pixel]:
            continue
        right = max(int(np.searchsorted(wave, position)), 1)
        left, step = right - 1, wave[right] - wave[right - 1]
        share = (position - wave[left]) / step
        if (good[left] or share == 1) and (good[right] or share == 0):
            mean = (1 - share) * information[left] + share * information[right]
            on_grid_ivar[pixel] = mean / step * width[pixel]
    return on_grid, on_grid_ivar


def plain_median(flux, good, window):
    half = window // 2
    medians = np.full(len(flux), np.nan)
    for pixel in range(len(flux)):
        near = slice(max(pixel - half, 0), pixel + half + 1)
        if good[near].any():
            medians[pixel] = np.median(flux[near][good[near]])
    return medians


def plain_preparation(wave, flux, ivar, redshift):
    if wave[0] / (1 + redshift) > GRID[0] or wave[-1] / (1 + redshift) < GRID[-1]:
        raise SpectrumRejected("wavelength_coverage")
    on_grid, on_grid_ivar = plain_onto(wave, flux, ivar, redshift, GRID, 1.0)
    for low, high in REGIONS:
        on_grid_ivar[(low <= GRID * (1 + redshift)) & (GRID * (1 + redshift) <= high)] = 0
    good = on_grid_ivar > 0
    if good.sum() < LEAST * len(GRID):
        raise SpectrumRejected("too_few_pixels")
    continuum = plain_median(on_grid, good, 400)
    if (good & (continuum > 0)).sum() < LEAST * good.sum():
        raise SpectrumRejected("negative_continuum")
    with np.errstate(invalid="ignore", divide="ignore"):
        normalised, information = on_grid / continuum, on_grid_ivar * continuum**2
        usable = good & (continuum > 0) & (normalised >= 0) & (normalised <= 2)
    if usable.sum() < LEAST * len(GRID):
        raise SpectrumRejected("too_few_pixels")
    return np.where(usable, normalised, 1), np.where(usable, information, 0)


def plain_network_preparation(wave, flux, ivar, redshift):
    fluxes, ivars, positive = [], [], []
    for low, high in NETWORKS.windows:
        steps = np.arange(np.ceil(np.log10(low) / STEP) - 10, np.floor(np.log10(high) / STEP) + 11)
        grid = 10 ** (steps * STEP)
        on_grid, on_grid_ivar = plain_onto(
            wave, flux, ivar, redshift, grid, grid * STEP * np.log(10)
        )
        smooth = plain_median(on_grid, on_grid_ivar > 0, 21)[10:-10]
        on_grid, on_grid_ivar = on_grid[10:-10], on_grid_ivar[10:-10]
        x, known = np.linspace(-1, 1, len(smooth)), np.isfinite(smooth)
        continuum = np.full(len(x), np.nan)
        if known.sum() >= 7:
            polynomial = np.polynomial.Legendre.fit(x[known], smooth[known], 6, domain=[-1, 1])
            continuum = polynomial(x)
        with np.errstate(invalid="ignore", divide="ignore"):
            normalised, local = on_grid / continuum, smooth / continuum
            usable = (on_grid_ivar > 0) & (continuum > 0) & (normalised >= 0) & (normalised <= 2)
            instead = np.where((continuum > 0) & (local >= 0) & (local <= 2), local, 1)
        fluxes.append(np.where(usable, normalised, instead))
        ivars.append(np.where(usable, on_grid_ivar * continuum**2, 0))
        positive.append(np.isnan(continuum).all() or (continuum > 0).any())
    if (np.concatenate(ivars) > 0).sum() < 0.5 * NETWORKS.n_pixels:
        raise SpectrumRejected("too_few_pixels" if all(positive) else "negative_continuum")
    return np.concatenate(fluxes), np.concatenate(ivars)


def assert_prepared_as_plain(wave, flux, ivar, redshift):
    """Both preparations equal plain code to the rounding of float32, and reject what it rejects."""
    spectrum = rest_spectrum(wave, flux, ivar, redshift)
    for prepare, preparation, plain in (
        (normalise_spectrum, PREPARATION, plain_preparation),
        (normalise_network_spectrum, NETWORKS, plain_network_preparation),
    ):
        found, expected = (
            outcome(prepare, spectrum, preparation),
            outcome(plain, wave, flux, ivar, redshift),
        )
        if isinstance(expected, str):
            assert found == expected
        else:
            np.testing.assert_allclose(found, expected, rtol=3e-7, atol=1e-30)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(4, 300),
    spacing=st.sampled_from(["logarithmic", "linear", "irregular"]),
    redshift=st.sampled_from([0.0, 1e-4, -1e-3, 0.3]),
)
@example(0, 4, "irregular", 0.0)
def test_any_spectrum_goes_onto_any_grid_as_plain_code_takes_it(seed, n, spacing, redshift):
    rng = np.random.default_rng(seed)
    step = {
        "logarithmic": 2e-4 * np.ones(n),
        "linear": np.ones(n),
        "irregular": rng.uniform(0.01, 3, n),
    }
    wave = 4000 + np.cumsum(step[spacing])
    if spacing == "logarithmic":
        wave = 4000 * np.exp(wave - 4000)
    flux, ivar = wild_spectrum(rng, n, 3)
    if not (np.isfinite(flux) & (flux != 0) & np.isfinite(ivar) & (ivar > 0)).any():
        return
    rest = wave / (1 + redshift)
    # Anywhere, on pixels, on the first and last, and beyond; in no order.
    grid = np.concatenate(
        [rng.uniform(rest[0] - 2, rest[-1] + 2, 200), rest, np.nextafter(rest, 0)]
    )
    width = rng.uniform(0.5, 2, len(grid))
    found, information = rest_spectrum(wave, flux, ivar, redshift).onto(grid, width)
    expected, expected_information = plain_onto(wave, flux, ivar, redshift, grid, width)
    largest = np.abs(flux[np.isfinite(flux)]).max()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * largest)
    np.testing.assert_allclose(information, expected_information, rtol=1e-12)


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), bad=st.integers(0, 40), redshift=st.floats(-0.002, 0.002))
@example(1, 10, 0.0)  # the grids fall on pixels
def test_wild_spectra_are_prepared_as_by_plain_code(seed, bad, redshift):
    flux, ivar = wild_spectrum(np.random.default_rng(seed), len(LAMOST), bad)
    assert_prepared_as_plain(LAMOST, flux, ivar, redshift)


def test_a_spectrum_does_not_depend_on_those_before_it():
    rng = np.random.default_rng(5)
    waves = [LAMOST, LAMOST[:3751] * 1.001, np.linspace(3700, 9000, 4500)]
    rows = [
        (wave, *wild_spectrum(rng, len(wave), 10), 1e-4 * i) for i, wave in enumerate(waves * 2)
    ]
    found = [normalise_spectrum(rest_spectrum(*row), PREPARATION) for row in rows]
    again = [normalise_spectrum(rest_spectrum(*row), PREPARATION) for row in rows[::-1]][::-1]
    np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize("shape", ["step", "pixel"])
def test_the_spline_is_a_cubic_through_the_first_and_last_knots(shape):
    """Not-a-knot: four pixels are one cubic, and a cubic stays what it is."""
    wave = np.array([4000.0, 4001.0, 4002.5, 4003.0, 4007.0])[: 4 if shape == "pixel" else 5]
    flux = 3 + (wave - 4002) ** 3 / 40
    grid = np.linspace(wave[0], wave[-1], 50)
    found, _ = rest_spectrum(wave, flux, np.ones_like(flux), 0.0).onto(grid, 1.0)
    np.testing.assert_allclose(found, 3 + (grid - 4002) ** 3 / 40, rtol=1e-12)


def test_real_spectra_of_every_folder_are_prepared_as_by_plain_code(real_data):
    layouts = set()
    for catalogue in sorted(real_data.glob("lamost/*/catalogue.csv")):
        with open(catalogue, newline="") as handle:
            paths = [row["path"] for row in csv.DictReader(handle, delimiter="|")]
        for path in paths[:: max(len(paths) // 3, 1)]:
            try:
                spectrum = read_spectrum(real_data / path)
            except SpectrumRejected:
                continue
            z = spectrum.header.get("Z")
            assert_prepared_as_plain(
                spectrum.wave,
                spectrum.flux,
                spectrum.ivar,
                z if isinstance(z, float) and abs(z) < 0.01 else 0.0,
            )
            layouts.add(spectrum.layout)
    assert layouts == {"pilot", "image", "table"}
