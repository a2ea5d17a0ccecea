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
    error = matches._screen(observed, good, references(library)) - correlation(flux, good, library)
    assert np.abs(error).max() < 0.3 * matches._MARGIN


def test_company_and_cores_do_not_change_a_bit():
    flux, good, library = sample(n=40, size=1500, p=3000)
    ready = references(library)
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
