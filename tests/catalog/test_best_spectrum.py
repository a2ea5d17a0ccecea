"""One spectrum of each star is the best, whatever the order of the rows and the cut into types."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamostvac.catalog import files, merge
from lamostvac.catalog.best_spectrum import best_spectra, set_unique
from lamostvac.catalog.registry import load_registry

pytestmark = pytest.mark.numeric

REGISTRY = load_registry()
ARCSEC = 1 / 3600


def sample(n=300, seed=1):
    """Rows of some eighty stars: repeats within an arcsec, equal and missing S/N."""
    rng = np.random.default_rng(seed)
    star = rng.integers(0, 80, n)
    centre = rng.uniform([0, -10], [360, 80], (80, 2))
    rows = REGISTRY.empty(n)
    rows["spectrum_id"] = np.char.mod("58000-P-01-%03d", rng.permutation(n))
    rows["ra"] = centre[star, 0] + rng.uniform(-0.5, 0.5, n) * ARCSEC
    rows["dec"] = centre[star, 1] + rng.uniform(-0.5, 0.5, n) * ARCSEC
    rows["flags"] = 0
    rows["snrg"] = rng.integers(1, 6, n)
    rows["snrg"][rng.random(n) < 0.1] = np.nan
    return rows, star


def brute_force(rows, star):
    best, count = np.zeros(len(rows), int), np.zeros(len(rows), int)
    for number in np.unique(star):
        at = np.flatnonzero(star == number)
        snr = np.where(np.isnan(rows["snrg"][at]), -1, rows["snrg"][at])
        best[min(at, key=lambda row: (-snr[list(at).index(row)], rows["spectrum_id"][row]))] = 1
        count[at] = len(at)
    return best, count


@settings(max_examples=10, deadline=None, database=None)
@given(seed=st.integers(0, 1000))
def test_the_best_spectrum_against_brute_force(seed):
    rows, star = sample(seed=seed)
    set_unique(rows)
    best, count = brute_force(rows, star)
    np.testing.assert_array_equal(rows["best_spectrum"], best)
    np.testing.assert_array_equal(rows["n_spectra"], count)


def test_the_order_of_rows_does_not_matter():
    rows, _ = sample()
    shuffled = rows[np.random.default_rng(2).permutation(len(rows))]
    set_unique(rows)
    set_unique(shuffled)
    chosen = [
        sorted(table["spectrum_id"][table["best_spectrum"] == 1]) for table in (rows, shuffled)
    ]
    assert chosen[0] == chosen[1]


def test_a_spectrum_without_position_is_a_star_of_its_own():
    ra, dec = [10.0, np.nan, 10.0, np.nan], [0.0, 0.0, 0.0, 1.0]
    best, n = best_spectra(ra, dec, [1.0, 5.0, 2.0, np.nan], lambda at: at.astype("S1"))
    assert best.tolist() == [0, 1, 1, 1]
    assert n.tolist() == [2, 1, 2, 1]
    assert [len(values) for values in best_spectra([], [], [], lambda at: at.astype("S1"))] == [
        0,
        0,
    ]


def test_the_radius_is_three_arcsec_and_right_ascension_wraps():
    ra, dec = [0.4 * ARCSEC, 360 - 2.4 * ARCSEC, 20.0, 20.0], [0.0, 0.0, 30.0, 30.0 + 3.1 * ARCSEC]
    best, n = best_spectra(ra, dec, [1, 2, 3, 4], lambda at: at.astype("S1"))
    assert best.tolist() == [0, 1, 1, 1]
    assert n.tolist() == [2, 2, 1, 1]


def test_more_spectra_than_an_int16_holds_are_capped():
    n = 40_000
    best, counts = best_spectra(np.ones(n), np.ones(n), np.arange(n), lambda at: at.astype("S8"))
    assert best.sum() == best[-1] == 1
    assert set(counts.tolist()) == {32767}


@pytest.mark.parametrize("block", [37, 1000])
def test_the_merge_counts_over_all_types(tmp_path, block):
    rows, _ = sample()
    rows = rows[np.argsort(rows["spectrum_id"], kind="stable")]
    parts = {"G": rows[:120], "OB": rows[120:150], "K": rows[150:]}
    tables = {}
    for name, part in parts.items():
        own = part.copy()
        set_unique(own)
        tables[name] = tmp_path / f"{name}.fits"
        files.write_rows(tables[name], own, REGISTRY, {})
    merge.merge_tables(tables, tmp_path / "all.fits", tmp_path / "all.parquet", REGISTRY, {}, block)
    merged = files.read_rows(tmp_path / "all.fits", REGISTRY)
    expected = np.concatenate([parts[name] for name in ("OB", "G", "K")])
    set_unique(expected)
    assert merged.tobytes() == expected.astype(REGISTRY.record).tobytes()
    frame = files.read_table(tmp_path / "all.parquet")
    np.testing.assert_array_equal(frame["best_spectrum"], expected["best_spectrum"])
    np.testing.assert_array_equal(frame["n_spectra"], expected["n_spectra"])
    alone = files.read_rows(tables["G"], REGISTRY)
    assert (alone["n_spectra"] < expected["n_spectra"][30:150]).any()
    assert alone["best_spectrum"].sum() > merged[30:150]["best_spectrum"].sum()
