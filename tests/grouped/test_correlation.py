"""The most similar library spectra: those of the whole correlation matrix, and the same whoever else is there."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from lamostvac.grouped import correlation as matches
from lamostvac.grouped.cfi import correlation
from lamostvac.grouped.correlation import best_matches, references

pytestmark = pytest.mark.numeric


def sample(n=9, size=700, p=400, snr=30.0, seed=0):
    """Observed spectra (n, p), their valid pixels, and a library (size, p) of smooth spectra in float32."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 1, p)
    waves = np.cos(np.pi * np.arange(1, 13)[:, None] * x)
    library = (0.95 + 0.02 * rng.standard_normal((size, 12)) @ waves).astype(np.float32)
    flux = library[rng.integers(0, size, n)] + rng.standard_normal((n, p)) / snr
    good = rng.random((n, p)) > rng.uniform(0, 0.5, (n, 1))
    return np.where(good, flux, np.nan), good, library


@pytest.mark.parametrize("snr", [2.0, 30.0, 1000.0])
@pytest.mark.parametrize("count", [1, 25, 700, 5000])
def test_they_are_the_greatest_correlations_of_all_in_their_order(count, snr):
    flux, good, library = sample(snr=snr)
    rows, values = best_matches(flux, good, references(library), count)
    full = correlation(flux, good, library)
    assert rows.shape == values.shape == (9, min(count, 700))
    np.testing.assert_allclose(values, -np.sort(-full, axis=1)[:, :count], atol=1e-6)
    # Centred about other numbers in float32, correlations differ in the eighth digit, and so may their order.
    np.testing.assert_allclose(np.take_along_axis(full, rows, axis=1), values, atol=1e-6)
    assert all(len(set(row)) == len(row) for row in rows.tolist())


def test_the_screen_is_as_precise_as_its_margin_wants():
    flux, good, library = sample(n=60, size=2000, p=3000)
    observed = matches._unit_vectors(flux, good)
    ready, everything = references(library), np.arange(len(library))
    error = matches._screen(observed, good, ready, everything) - correlation(flux, good, library)
    assert np.abs(error).max() < 0.3 * matches._MARGIN


def large(n=60, size=4000, p=1200, snr=40.0, seed=0):
    """Like `sample`, with few masked pixels, noise in the library, and an orthonormal basis of its shapes."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 1, p)
    basis = np.linalg.qr(np.cos(np.pi * np.arange(1, 21)[:, None] * x).T)[0].T
    shapes = rng.standard_normal((size, 20)) * 2.0 / np.arange(1, 21)
    library = (0.95 + shapes @ basis + 0.01 * rng.standard_normal((size, p))).astype(np.float32)
    chosen = shapes[rng.integers(0, size, n)] + 0.02 * rng.standard_normal((n, 20))
    flux = 0.95 + chosen @ basis + rng.standard_normal((n, p)) / snr
    good = rng.random((n, p)) > rng.uniform(0, 0.01, (n, 1))
    return np.where(good, flux, np.nan), good, library, basis


def compared_whole(monkeypatch):
    """The stars that `best_matches` compares with the whole library from now on."""
    whole = []

    def screen(observed, good, library, rows):
        if len(rows) == len(library.flux):
            whole.extend(observed)
        return original(observed, good, library, rows)

    original = matches._screen
    monkeypatch.setattr(matches, "_screen", screen)
    return whole


@pytest.mark.parametrize("snr", [10.0, 40.0, 100.0])
def test_by_way_of_components_they_are_those_of_the_whole_comparison(snr, monkeypatch):
    flux, good, library, basis = large(snr=snr)
    expected = best_matches(flux, good, references(library), 100)
    whole = compared_whole(monkeypatch)
    found = best_matches(flux, good, references(library, basis), 100)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert len(whole) < 0.1 * len(flux)


def test_what_one_library_star_shares_with_a_spectrum_outside_the_basis_is_found(monkeypatch):
    flux, good, library, basis = large()
    line = np.zeros(library.shape[1])
    line[700:703] = 1.0
    good[0, 690:710], flux[0, 690:710] = True, 0.95
    flux[0] += 5.0 * line
    # Unlike the spectrum in its components, like it in a line that no component has.
    farthest = best_matches(flux[:1], good[:1], references(library), len(library))[0][0, -1]
    library[farthest] += line.astype(np.float32) * 10.0
    whole = compared_whole(monkeypatch)
    rows, _ = best_matches(flux, good, references(library, basis), 100)
    assert rows[0, 0] == farthest
    assert len(whole) >= 1


def test_where_residuals_are_not_independent_more_of_the_library_is_compared(monkeypatch):
    flux, good, library, basis = large()
    # The library's noise is that of one pattern, which the spectra have as well, more or less of it.
    rng = np.random.default_rng(1)
    pattern = rng.choice([-0.03, 0.03], library.shape[1])
    library = (library + rng.uniform(-1, 1, (len(library), 1)) * pattern).astype(np.float32)
    flux = flux + rng.uniform(-1, 1, (len(flux), 1)) * pattern
    expected, _ = best_matches(flux, good, references(library), 100)
    rows, _ = best_matches(flux, good, references(library, basis), 100)
    np.testing.assert_array_equal(rows, expected)
    monkeypatch.setattr(matches, "_might_be_missed", lambda *given: np.empty(0, np.int64))
    rows, _ = best_matches(flux, good, references(library, basis), 100)
    assert (rows != expected).any()


def test_mostly_masked_spectra_are_compared_as_precisely():
    flux, good, library, basis = large(n=6)
    good[:, 5:-40] = False
    _, values = best_matches(flux, good, references(library, basis), 20)
    full = correlation(np.where(good, flux, 0.0), good, library)
    np.testing.assert_allclose(values, -np.sort(-full, axis=1)[:, :20], atol=1e-6)


def test_company_and_cores_do_not_change_a_bit():
    flux, good, library = sample(n=40, size=1600, p=3000)
    good |= np.arange(40)[:, None] % 2 == 0
    flux = np.where(np.isnan(flux), 1.0, flux)
    waves = np.cos(np.pi * np.arange(1, 13)[:, None] * np.linspace(0, 1, 3000))
    ready = references(library, np.linalg.qr(waves.T)[0].T)
    with threadpool_limits(2):
        rows, values = best_matches(flux, good, ready, 50)
    with threadpool_limits(1):
        for part in (slice(0, 1), slice(1, 8), slice(8, 40)):
            alone = best_matches(flux[part], good[part], ready, 50)
            np.testing.assert_array_equal(alone[0], rows[part])
            np.testing.assert_array_equal(alone[1], values[part])


def test_equal_spectra_follow_each_other_by_row():
    flux, good, library = sample()
    library = np.concatenate([library, library])
    rows, _ = best_matches(flux, good, references(library), 40)
    np.testing.assert_array_equal(rows[:, 1::2], rows[:, ::2] + 700)


def test_spectra_alike_all_over_come_by_row_whatever_their_number():
    flux, good, library = sample(size=5)
    same = np.repeat(library[:1], 1300, axis=0)
    rows, _ = best_matches(flux, good, references(same), 7)
    np.testing.assert_array_equal(rows, np.tile(np.arange(7), (len(flux), 1)))


def test_without_variance_nothing_is_similar():
    flux, good, library = sample()
    flux[0] = 1.0
    good[1] = False
    library[:690] = 0.9
    rows, values = best_matches(flux, good, references(library), 20)
    assert (values[:2] == -1).all()
    np.testing.assert_array_equal(rows[:2], [np.arange(20)] * 2)
    # Ten library spectra are not flat; flat ones fill the rest.
    assert (rows[2:, :10] >= 690).all()
    assert (values[2:, :10] > -1).all()
    assert (rows[2:, 10:] == np.arange(10)).all()
    full = correlation(flux, good, library)
    np.testing.assert_allclose(values, -np.sort(-full, axis=1)[:, :20], atol=1e-6)


def test_the_arrays_stay_as_they_were():
    flux, good, library = sample()
    copies = flux.copy(), good.copy(), library.copy()
    best_matches(flux, good, references(library), 5)
    for array, copy in zip((flux, good, library), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert best_matches(flux[:0], good[:0], references(library), 5)[0].shape == (0, 5)
