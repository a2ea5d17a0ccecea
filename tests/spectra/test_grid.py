"""Air and vacuum, rest frame, and the regions that are masked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamostvac.spectra.grid import (
    GRID,
    SPEED_OF_LIGHT,
    air_to_vacuum,
    rest_wavelength,
    vacuum_to_air,
)
from lamostvac.spectra.masks import DIFFUSE_BANDS, diffuse_band_regions, in_regions

# Air and vacuum wavelengths (A) of the NIST Atomic Spectra Database.
KNOWN = {
    "Ca II K": (3933.663, 3934.777),
    "H beta": (4861.35, 4862.71),
    "Na D2": (5889.951, 5891.583),
    "Na D1": (5895.924, 5897.558),
    "H alpha": (6562.79, 6564.60),
    "Ca II 8542": (8542.09, 8544.44),
}


@pytest.mark.parametrize("line", KNOWN)
def test_known_lines_in_air_and_vacuum(line):
    air, vacuum = KNOWN[line]
    assert air_to_vacuum(air) == pytest.approx(vacuum, abs=0.015)
    assert vacuum_to_air(vacuum) == pytest.approx(air, abs=0.015)


@given(st.floats(2500, 25000))
def test_there_and_back_from_air_to_vacuum(wave):
    assert vacuum_to_air(air_to_vacuum(wave)) == pytest.approx(wave, abs=2e-5)


def test_vacuum_wavelengths_are_longer_and_keep_their_order():
    vacuum = air_to_vacuum(GRID)
    assert (vacuum > GRID).all()
    assert (np.diff(vacuum) > 0).all()


def test_the_grid_is_the_papers_and_cannot_be_changed():
    assert (len(GRID), GRID[0], GRID[-1]) == (4901, 3800.0, 8700.0)
    assert (np.diff(GRID) == 1.0).all()
    with pytest.raises(ValueError, match="read-only"):
        GRID[0] = 0.0


def test_a_receding_star_has_its_lines_moved_back_to_the_blue():
    velocity = 300.0
    observed = 6564.61 * (1 + velocity / SPEED_OF_LIGHT)
    assert rest_wavelength(observed, velocity / SPEED_OF_LIGHT) == pytest.approx(6564.61)
    assert observed > 6564.61


@given(st.lists(st.tuples(st.floats(3800, 8700), st.floats(0, 300)), max_size=6))
def test_a_pixel_is_masked_when_any_closed_interval_holds_it(intervals):
    regions = [(low, low + width) for low, width in intervals]
    expected = [any(low <= wave <= high for low, high in regions) for wave in GRID]
    np.testing.assert_array_equal(in_regions(GRID, regions), expected)


def test_both_ends_of_a_region_are_masked():
    wave = np.array([4999.0, 5000.0, 5001.0, 5002.0])
    np.testing.assert_array_equal(in_regions(wave, [(5000.0, 5001.0)]), [False, True, True, False])
    assert not in_regions(wave, []).any()


def test_interstellar_bands_are_masked_where_vacuum_has_them_and_take_little():
    regions = diffuse_band_regions()
    assert len(regions) == len(DIFFUSE_BANDS)
    (low, high), *_ = [r for r in regions if r[0] < 5782.1 < r[1]]
    assert (low + high) / 2 == pytest.approx(5782.1, abs=0.05)  # 5780.5 in air
    assert in_regions(GRID, regions).mean() < 0.05
    # the lines that labels are read from stay
    for line in (3934.78, 4862.69, 5174.13, 5185.05, 6564.61, 8544.44, 8664.52):
        assert not in_regions(np.array([line]), regions).any()
