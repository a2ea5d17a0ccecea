"""Spectra of one star are flagged where they differ by more than chance, and no others."""

import numpy as np
import pytest

from lamostvac.catalog import files, merge
from lamostvac.catalog.registry import load_registry
from lamostvac.catalog.repeat_differences import FLAG, RANDOM, VALUES, differing, set_repeats

pytestmark = pytest.mark.numeric

REGISTRY = load_registry()
BIT = 1 << REGISTRY.flag_bits[FLAG]


def test_two_spectra_are_compared_by_both_errors():
    star = np.array([0, 0, 1, 1, 2])
    value = np.array([5000.0, 5212.0, 5000.0, 5213.0, 9000.0])
    found = differing(star, [value], [np.full(5, 50.0)])
    assert found.tolist() == [False, False, True, True, False]  # 3 sqrt(2) 50 = 212.1


def test_one_spoiled_spectrum_among_many_is_named_alone():
    star = np.repeat([3, 1], [6, 6])
    value = np.where(np.arange(12) == 4, 5.0, 4.0) + 0.02 * np.sin(np.arange(12))
    found = differing(star, [value, np.zeros(12)], [np.full(12, 0.2), np.full(12, 0.1)])
    assert np.flatnonzero(found).tolist() == [4]


def test_what_has_no_value_or_error_is_not_compared_with():
    star = np.zeros(5, int)
    value = np.array([4.0, np.nan, 9.0, 9.0, 9.0])
    error = np.array([0.1, 0.1, np.nan, 0.0, np.inf])
    assert not differing(star, [value], [error]).any()
    assert differing(np.zeros(0, int), [np.zeros(0)], [np.zeros(0)]).shape == (0,)


def test_chance_flags_three_in_a_thousand_however_often_a_star_is_observed():
    rng = np.random.default_rng(1)
    for spectra in (2, 30):
        star = np.repeat(np.arange(60_000 // spectra), spectra)
        error = rng.uniform(0.5, 2.0, len(star))
        value = 1e4 + error * rng.normal(size=len(star))
        share = differing(star, [value], [error]).mean()
        assert share == pytest.approx(0.0027, abs=0.001)
        shuffled = rng.permutation(len(star))
        again = differing(star[shuffled], [value[shuffled]], [error[shuffled]])
        assert np.array_equal(again, differing(star, [value], [error])[shuffled])


def rows_of(ra, teff, spectral_type):
    rows = REGISTRY.empty(len(ra))
    rows["flags"], rows["dec"], rows["ra"], rows["snrg"] = 0, 20.0, ra, 30.0
    rows["spectrum_id"] = [f"58000-{spectral_type}-01-{i:03d}".encode() for i in range(len(ra))]
    for name in VALUES[1:]:
        rows[name] = np.nan
    rows[VALUES[0]], rows[RANDOM[0]] = teff, 30.0
    return rows


def test_the_bit_is_put_in_and_taken_out_and_leaves_the_others():
    rows = rows_of([10.0, 10.0], [5000.0, 5000.0], "G")
    rows["flags"] = 5
    set_repeats(rows, REGISTRY, np.array([True, False]))
    assert rows["flags"].tolist() == [5 | BIT, 5]
    set_repeats(rows, REGISTRY, np.array([False, False]))
    assert rows["flags"].tolist() == [5, 5]
    assert rows[FLAG].tolist() == [0, 0]


def test_the_merge_compares_spectra_of_all_types_and_counts_stars(tmp_path):
    parts = {
        "G": rows_of([10.0, 11.0, 12.0], [5000.0, 5100.0, 5200.0], "G"),
        "K": rows_of([10.0, 11.0], [4500.0, 5110.0], "K"),
    }
    tables = {name: tmp_path / f"{name}.fits" for name in parts}
    for name, rows in parts.items():
        files.write_rows(tables[name], rows, REGISTRY, {})
    paths = tmp_path / "all.fits", tmp_path / "all.parquet"
    counts = merge.merge_tables(tables, *paths, REGISTRY, {})
    merged = files.read_rows(paths[0], REGISTRY)
    assert merged[FLAG].tolist() == [1, 0, 0, 1, 0]
    assert merged["flags"].tolist() == [BIT, 0, 0, BIT, 0]
    assert counts["repeats"] == {"stars": 2, "differ": 1}
    assert counts["flags"][FLAG] == 2
