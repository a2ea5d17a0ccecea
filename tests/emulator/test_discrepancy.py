"""What counts as the emulator's error: label errors and noise taken off, velocity and line width put in."""

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from toy import BUILD, NAMES, toy_labels, toy_library, toy_spectra

from lamostvac.core.vocabulary import TYPE_LIMITS, spectral_type_of
from lamostvac.emulator.discrepancy import line_covariance, residual_covariance, truncated_variance
from lamostvac.emulator.model import build_emulator
from lamostvac.library.library import SpectralLibrary, label_table
from lamostvac.numerics.gaussian_process import train
from lamostvac.spectra.grid import GRID

pytestmark = pytest.mark.numeric

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
    built = build_emulator(library, BLUE, BUILD.changed(label_error_share=share, variance=0.97))
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
    noisy = build_emulator(toy_library(600, snr=50), BLUE, BUILD.changed(variance=0.9))
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


def test_the_covariance_of_known_label_errors_is_what_exact_labels_give():
    """In the components that labels move; within a factor of 2.5, where label errors make it tens of times larger."""
    built = {
        name: build_emulator(
            library_with_label_errors(size, known=known),
            BLUE,
            BUILD.changed(label_error_share=1.0, variance=0.9),
        )
        for name, size, known in (
            ("exact", 0.0, True),
            ("known", 1.0, True),
            ("unknown", 1.0, False),
        )
    }
    for name in ("F", "G", "K"):
        exact, known, unknown = (
            np.trace(built[each].discrepancy[name]) for each in ("exact", "known", "unknown")
        )
        assert unknown > 5 * exact
        assert exact / 2.5 < known < 2.5 * exact + 0.4 * (unknown - exact)


def synthetic_residuals(n, seed=0):
    """A process of known Jacobian, residuals of known covariance (k = 4), and the rest that goes with them."""
    rng = np.random.default_rng(seed)
    scaled = rng.normal(0, 1, (n, 2))
    slope = rng.normal(0, 1, (2, 4))
    process, _ = train(
        scaled, scaled @ slope, 2.1, 1.5, 0.01, "quadratic"
    )  # a plane: J is `slope` everywhere
    basis = np.linalg.qr(rng.normal(0, 1, (50, 4)))[0].T
    own = np.diag([0.04, 0.02, 0.01, 0.005])
    return rng, scaled, slope, process, basis, own


def test_noise_and_label_errors_come_off_exactly_when_they_are_known():
    """20,000 draws of error, noise and label errors: the error's own covariance comes back within 5 per cent."""
    n = 20000
    rng, scaled, slope, process, basis, own = synthetic_residuals(400)
    scaled = rng.normal(0, 1, (n, 2))
    label_errors = rng.uniform(0.05, 0.15, (n, 2))
    ivar = np.broadcast_to(rng.uniform(50, 400, 50), (n, 50))
    residuals = rng.multivariate_normal(np.zeros(4), own, n)
    residuals += (rng.standard_normal((n, 2)) * label_errors) @ slope
    residuals += (rng.standard_normal((n, 50)) / np.sqrt(ivar)) @ basis.T
    types = np.full(n, "G")
    found = residual_covariance(process, scaled, residuals, basis, ivar, label_errors, 1.0, types)
    np.testing.assert_allclose(found["G"], own, atol=0.05 * own[0, 0])
    none = residual_covariance(process, scaled, residuals, basis, ivar, label_errors, 0.0, types)
    np.testing.assert_allclose(
        none["G"] - found["G"], slope.T @ (slope * 0.1**2 * 13 / 12), rtol=0.1, atol=1e-3
    )


def test_one_wild_star_does_not_make_the_covariance():
    rng, scaled, _, process, basis, own = synthetic_residuals(300)
    residuals = rng.multivariate_normal(np.zeros(4), own, 300)
    rest = (basis, np.full((300, 50), 1e6), np.zeros((300, 2)), 1.0, np.full(300, "K"))
    clean = residual_covariance(process, scaled, residuals, *rest)
    residuals[7] *= 1e3
    wild = residual_covariance(process, scaled, residuals, *rest)
    assert np.trace(clean["K"]) < np.trace(wild["K"]) < 1.1 * np.trace(clean["K"])


def test_what_is_taken_off_never_leaves_less_than_nothing():
    """More noise quoted than there is: every direction keeps a little variance."""
    rng, scaled, _, process, basis, own = synthetic_residuals(300)
    residuals = rng.multivariate_normal(np.zeros(4), own, 300)
    types = np.array(["G", "K", "M"])[np.arange(300) % 3]
    found = residual_covariance(
        process,
        scaled,
        residuals,
        basis,
        np.full((300, 50), 1.0),
        np.full((300, 2), 9.0),
        1.0,
        types,
    )
    for covariance in found.values():
        assert np.linalg.eigvalsh(covariance).min() > 0
        assert np.trace(covariance) < 0.1 * np.trace(own)


def test_a_type_with_larger_errors_has_a_larger_covariance_even_with_few_stars():
    """Ten M stars of thrice the error lean on all types by half, but on as much of them as their residuals ask for.

    Without that factor their covariance would have 4.7 times the trace of the others' instead of 9.
    """
    rng, scaled, _, process, basis, own = synthetic_residuals(400)
    types = np.where(np.arange(400) < 10, "M", "G")
    found = []
    for _ in range(40):
        residuals = (
            rng.multivariate_normal(np.zeros(4), own, 400)
            * np.where(types == "M", 3.0, 1.0)[:, None]
        )
        covariance = residual_covariance(
            process,
            scaled,
            residuals,
            basis,
            np.full((400, 50), 1e6),
            np.zeros((400, 2)),
            1.0,
            types,
        )
        found.append([np.trace(covariance[name]) / np.trace(own) for name in ("M", "G")])
    large, usual = np.mean(found, axis=0)
    assert 7 < large < 11
    assert usual == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(("count", "own"), [(7, False), (8, True)])
def test_from_eight_stars_on_a_type_speaks_for_itself(count, own):
    rng = np.random.default_rng(0)
    wave = np.arange(4000.0, 4050.0)
    basis = np.linalg.qr(rng.standard_normal((50, 4)))[0].T
    mean = rng.standard_normal(50)
    types = np.where(np.arange(60) < count, "M", "G")
    components = rng.standard_normal((60, 4)) * np.where(types == "M", 5.0, 1.0)[:, None]
    lines = line_covariance(components, mean, basis, wave, types, 5.0, 0.0, 1800.0)
    everyone = line_covariance(components, mean, basis, wave, np.full(60, "G"), 5.0, 0.0, 1800.0)[
        "G"
    ]
    assert np.allclose(lines["M"], everyone) != own
    np.testing.assert_allclose(lines["A"], everyone)
    flux = (
        mean
        + components @ basis
        + rng.standard_normal((60, 50)) * np.where(types == "M", 0.5, 0.1)[:, None]
    )
    ivar = np.full((60, 50), 1e4)
    variance = truncated_variance(flux, ivar, mean, basis, types)
    pooled = truncated_variance(flux, ivar, mean, basis, np.full(60, "G"))["G"]
    assert np.allclose(variance["M"], pooled) != own
    np.testing.assert_allclose(variance["A"], pooled)


def test_variance_outside_the_basis_is_that_of_the_rest_less_the_noise():
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.standard_normal((40, 3)))[0].T
    mean, n = rng.standard_normal(40), 20000
    rest = np.linspace(0.0, 0.3, 40)  # standard deviation that no component explains
    sigma = np.where(np.arange(40) % 2, 0.1, 0.2)
    flux = mean + 5 * rng.standard_normal((n, 3)) @ basis
    flux += rng.standard_normal((n, 40)) * np.hypot(rest, sigma)
    found = truncated_variance(flux, np.full((n, 40), 1 / sigma**2), mean, basis, np.full(n, "G"))[
        "G"
    ]
    away = np.eye(40) - basis.T @ basis
    expected = np.maximum(((away**2) @ (rest**2 + sigma**2)) - sigma**2, 0.0)
    np.testing.assert_allclose(found, expected, atol=0.003)
    assert (found >= 0).all()


@pytest.mark.parametrize(
    ("velocity", "width"), [(10.0, 0.0), (0.0, 0.05)], ids=["velocity", "line width"]
)
def test_lines_change_in_the_direction_that_real_shifts_and_broadening_go(velocity, width):
    """Each star's change by finite differences, projected on the components, as a matrix.

    Central differences see lines of 4 A 2 per cent too weak, their curvature 6: squared, 4 and 12 per cent.
    """
    labels = toy_labels(40, seed=3)
    spectra = toy_spectra(labels)
    mean = spectra.mean(axis=0)
    slope = np.gradient(spectra - mean, GRID, axis=1)
    changes = np.concatenate(
        [spectra - mean, GRID * slope, np.gradient(slope, GRID, axis=1) * GRID**2]
    )
    changes = np.concatenate([changes, GRID[None] * np.gradient(mean, GRID)])
    changes = np.concatenate(
        [changes, GRID[None] ** 2 * np.gradient(np.gradient(mean, GRID), GRID)]
    )
    changes /= np.linalg.norm(changes, axis=1, keepdims=True)
    values, rows = np.linalg.svd(changes, full_matrices=False)[1:]
    basis = rows[values > 1e-6 * values[0]]
    power = 1800.0
    fine = np.linspace(
        GRID[0], GRID[-1], 10 * (len(GRID) - 1) + 1
    )  # a filter of half a pixel needs finer ones
    moved = np.empty_like(spectra)
    for star, spectrum in enumerate(spectra):
        curve = CubicSpline(GRID, spectrum)
        if velocity:
            moved[star] = curve(GRID / (1 + velocity / SPEED_OF_LIGHT))
        for first in range(0, len(GRID), 500) if width else ():
            last = min(first + 500, len(GRID))
            added = np.sqrt((1 + width) ** 2 - 1) * GRID[first:last].mean() / power / 2.3548
            moved[star, first:last] = gaussian_filter1d(curve(fine), 10 * added)[::10][first:last]
    change = (moved - spectra) @ basis.T
    expected = change.T @ change / len(change)
    found = line_covariance(
        (spectra - mean) @ basis.T, mean, basis, GRID, np.full(40, "G"), velocity, width, power
    )["G"]
    assert np.linalg.norm(found - expected) < (0.15 if width else 0.06) * np.linalg.norm(expected)


def test_lines_as_narrow_as_the_surveys_are_changed_by_less_than_they_should():
    """Central differences of 1 A lose 10 per cent of a shift and a quarter of a broadening, and never add.

    Sharper derivatives would take the library's noise for lines.
    """
    power, centres = 1800.0, np.linspace(3900.0, 8600.0, 60)
    sigma = centres / power / 2.3548

    def spectrum(velocity=0.0, width=0.0):
        wide, at = sigma * (1 + width), centres * (1 + velocity / SPEED_OF_LIGHT)
        return 1 - (0.3 * sigma / wide) @ np.exp(-0.5 * ((GRID - at[:, None]) / wide[:, None]) ** 2)

    mean = spectrum()
    for velocity, width, expected in ((5.0, 0.0, 0.90), (0.0, 0.05, 0.75)):
        change = spectrum(velocity, width) - mean
        basis = change[None] / np.linalg.norm(change)
        found = line_covariance(
            np.zeros((1, 1)), mean, basis, GRID, np.array(["G"]), velocity, width, power
        )
        assert np.sqrt(found["G"][0, 0]) / np.linalg.norm(change) == pytest.approx(
            expected, abs=0.04
        )
