"""The first guess: correlation coefficients over each star's own pixels, and the mean of the best matches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamostvac.grouped.cfi import correlation

pytestmark = pytest.mark.numeric


def spectra(n, p, seed):
    rng = np.random.default_rng(seed)
    return 1 + rng.normal(0, 0.1, (n, p)), rng.random((n, p)) < 0.8


@given(seed=st.integers(0, 10**6), p=st.integers(5, 60), single=st.booleans())
def test_it_is_numpys_correlation_coefficient_on_the_pixels_that_the_star_has(seed, p, single):
    flux, good = spectra(4, p, seed)
    good[:, :3] = True
    library, _ = spectra(6, p, seed + 1)
    dtype = np.float32 if single else np.float64
    found = correlation(flux.astype(dtype), good, library.astype(dtype))
    expected = [
        [np.corrcoef(flux[i, good[i]], each[good[i]])[0, 1] for each in library] for i in range(4)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5 if single else 1e-9)


def test_what_is_masked_never_matters():
    flux, good = spectra(3, 50, 0)
    library, _ = spectra(5, 50, 1)
    for value in (0.0, 1e6, np.nan, np.inf):
        np.testing.assert_array_equal(
            correlation(np.where(good, flux, value), good, library),
            correlation(flux, good, library),
        )


def test_a_spectrum_correlates_best_with_itself_at_any_scale_and_level():
    library, _ = spectra(20, 300, 0)
    good = np.ones(library.shape, dtype=bool)
    found = correlation(0.5 * library + 0.3, good, library)
    np.testing.assert_array_equal(found.argmax(axis=1), np.arange(20))
    np.testing.assert_allclose(found.max(axis=1), 1.0)
    np.testing.assert_allclose(correlation(2 - library, good, library).diagonal(), -1.0)


def test_a_spectrum_without_variance_matches_nothing():
    flux, good = spectra(3, 30, 0)
    library, _ = spectra(2, 30, 1)
    flux[0] = 1.0
    good[1] = False
    library[1] = 0.7
    found = correlation(flux, good, library)
    assert (found[:2] == -1).all()
    assert (found[:, 1] == -1).all()
    assert -1 < found[2, 0] < 1


def test_the_arrays_stay_as_they_were():
    flux, good = spectra(3, 30, 0)
    library, _ = spectra(2, 30, 1)
    copies = flux.copy(), good.copy(), library.copy()
    correlation(flux, good, library)
    for array, copy in zip((flux, good, library), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
