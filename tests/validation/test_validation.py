"""The numbers about the catalogue's accuracy are what they say they are."""

import math
import statistics as plain

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from claims import some
from hypothesis import given, settings
from hypothesis import strategies as st

from lamostvac.catalog.registry import load_registry
from lamostvac.numerics import statistics
from lamostvac.report import catalogue as report_catalogue
from lamostvac.report import comparisons as report_comparisons
from lamostvac.report import style
from lamostvac.validation import comparisons
from lamostvac.validation import comparisons as validation
from lamostvac.validation import statistics as validation_statistics
from lamostvac.validation import subsets as validation_subsets
from lamostvac.validation import truth as validation_truth

REGISTRY = load_registry()
numbers = st.lists(st.floats(-1e4, 1e4, allow_nan=False), min_size=1, max_size=30)


def catalogue(path, n=40, seed=3):
    """A small catalogue as Parquet, and its rows as a data frame; two row groups."""

    rng = np.random.default_rng(seed)
    rows = REGISTRY.empty(n)
    rows["spectrum_id"] = [f"58000-HD1-01-{i:03d}" for i in range(n)]
    rows["designation"] = [f"LAMOST J{i:06d}" for i in range(n)]
    rows["obsid"], rows["lmjd"], rows["planid"], rows["spid"] = np.arange(n) + 100, 58000, b"HD1", 1
    rows["fiberid"], rows["spectral_type"] = np.arange(n), np.where(np.arange(n) % 2, b"G", b"K")
    for band in "ugriz":
        rows[f"snr{band}"] = rng.uniform(5, 120, n)
    for label, value, error in (
        ("teff", 5500, 80),
        ("logg", 4.3, 0.1),
        ("feh", -0.2, 0.1),
        ("alpha_fe", 0.1, 0.05),
    ):
        rows[label] = value + rng.normal(0, 3 * error, n)
        rows[f"{label}_err"] = error
    rows["flags"], rows["chi2"] = 0, 1
    table: pa.Table = REGISTRY.to_arrow(rows)
    pq.write_table(table, path, row_group_size=max(n // 2, 1))
    return table.to_pandas()


# ---------------------------------------------------------------- statistics


@settings(max_examples=100, deadline=None, database=None)
@given(values=numbers, shift=st.floats(-100, 100))
def test_statistics_against_brute_force(values, shift):
    result = validation_statistics.statistics(np.array(values) + shift, np.full(len(values), shift))
    difference = [(value + shift) - shift for value in values]
    middle = plain.median(difference)
    assert result["n"] == len(values)
    assert math.isclose(result["offset"], middle, abs_tol=1e-9)
    assert math.isclose(result["sigma"], plain.pstdev(difference), rel_tol=1e-9, abs_tol=1e-9)
    deviation = plain.median([abs(value - middle) for value in difference])
    assert math.isclose(result["robust_sigma"], 1.4826 * deviation, abs_tol=1e-9)


def test_statistics_leave_missing_values_out():
    result = validation_statistics.statistics([1.0, np.nan, 3.0, np.inf], [0.0, 0.0, 0.0, 0.0])
    assert (result["n"], result["offset"]) == (2, 2.0)
    empty = validation_statistics.statistics([np.nan], [1.0])
    assert empty["n"] == 0
    assert np.isnan(empty["offset"])


def test_robust_sigma_is_the_width_of_a_normal_distribution():
    assert statistics.robust_sigma(np.random.default_rng(1).normal(0, 3, 200_000)) == pytest.approx(
        3, rel=0.01
    )


def test_pulls_of_right_errors_have_mean_0_and_width_1():
    rng = np.random.default_rng(2)
    truth, error = rng.normal(5000, 500, 50_000), rng.uniform(20, 200, 50_000)
    value = truth + error * rng.normal(size=50_000)
    error[:10], value[10:20] = [0, -1, np.nan, np.inf, 0, 0, 0, 0, 0, 0], np.nan
    result = validation_statistics.pull_statistics(value, error, truth)
    # An infinite error is a pull of zero: the value says nothing, and says so.
    assert result["n"] == 50_000 - 19
    assert result["mean"] == pytest.approx(0, abs=0.02)
    assert result["width"] == pytest.approx(1, abs=0.02)


# ---------------------------------------------------------------- cross-validation and truth


def test_crossvalidation_subsets_follow_the_true_temperature():
    table = pd.DataFrame({"teff_true": [3500.0, 4000, 6999, 7000], "logg_true": [5.0, 2, 4, 4]})
    table = table.assign(teff=table["teff_true"] + 10, logg=table["logg_true"])
    rows = comparisons.compare_crossvalidation(table, "miles")
    counts = {row["subset"]: row["n"] for row in rows if row["label"] == "teff"}
    assert counts == {"all": 4, "OBA": 1, "FGK": 2, "M": 1, "FGK dwarfs": 1, "FGK giants": 1}
    assert {row["label"] for row in rows} == {"teff", "logg"}
    assert all(row["offset"] == 10 for row in rows if row["label"] == "teff")


def test_truth_sets_binaries_emission_and_warned_fits_apart(tmp_path):
    frame = catalogue(tmp_path / "c.parquet")
    truth = frame[["spectrum_id", *validation.LABELS]].assign(is_binary=False, is_emission=False)
    truth.loc[:3, "is_binary"] = True
    truth.loc[4:5, "is_emission"] = True
    Table.from_pandas(truth[truth["spectrum_id"] != "58000-HD1-01-039"]).write(
        tmp_path / "truth.fits"
    )
    table = validation_truth.match_spectra(
        tmp_path / "c.parquet", validation_truth.read_truth(tmp_path / "truth.fits"), [], REGISTRY
    )
    table.loc[10, "flag_edge"] = 1
    subsets = validation_truth.truth_subsets(table, "snrr")
    sizes = {name: len(rows) for name, rows in subsets.items()}
    assert (sizes["binaries"], sizes["emission"], sizes["fit warned"], sizes["all"]) == (
        4,
        2,
        1,
        32,
    )
    assert sum(sizes[name] for name in sizes if name.startswith("S/N")) == 32
    assert sizes["G"] + sizes["K"] == 32
    pulls = validation_statistics.pull_rows(subsets)
    assert {row["label"] for row in pulls} == set(validation.LABELS)
    # Values are stored as float32.
    assert all(abs(row["mean"]) < 1e-4 for row in pulls if row["n"])


def test_recommended_labels_are_judged_on_stars_that_no_network_learned_from(tmp_path):
    frame = catalogue(tmp_path / "c.parquet")
    truth = frame[["spectrum_id", *validation.LABELS]].assign(is_binary=False, is_emission=False)
    truth.loc[:3, "is_binary"] = True
    truth.to_csv(tmp_path / "truth.csv", index=False)
    known = validation_truth.read_truth(tmp_path / "truth.csv")
    names = [*validation_subsets.RECOMMENDED]
    table = validation_truth.match_spectra(tmp_path / "c.parquet", known, names, REGISTRY)
    table = table.assign(teff_rec=table["teff"] + 10, teff_rec_err=10.0)
    table.loc[10:11, ["flag_edge", "flag_teff_disagree"]] = 1
    table.loc[12, "teff_rec"] = np.nan
    subsets = validation_truth.recommended_subsets(table, np.arange(40) >= 38, "snrr")
    # Of 40, four are binaries and two were learned from; a fit's warning does not matter.
    assert {name: len(subsets[name]) for name in ("all",)} == {"all": 34}
    assert len(subsets["G"]) + len(subsets["K"]) == 34
    rows = comparisons.comparison_rows("truth", subsets, validation_subsets.RECOMMENDED)
    found = {(row["subset"], row["label"]): row for row in rows}
    assert found["all", "teff_rec"]["n"] == 33
    assert found["all", "teff_rec"]["offset"] == pytest.approx(10, abs=1e-3)
    assert found["all", "logg_rec"]["n"] == 0
    pulls = {row["subset"]: row for row in validation_statistics.pull_rows(subsets, ["teff_rec"])}
    assert pulls["all"]["mean"] == pytest.approx(1, abs=1e-3)
    drawn = comparisons.pairs("truth", table, ["teff_rec"])
    assert drawn["fit_flagged"].to_numpy().nonzero()[0].tolist() == [10, 11]


def test_alpha_counts_only_where_it_is_recommended(tmp_path):
    frame = catalogue(tmp_path / "c.parquet")
    table = frame.assign(**{f"ref_{label}": frame[label] for label in validation.LABELS})
    table.loc[:9, "flag_alpha_fe"] = 1
    rows = comparisons.comparison_rows("x", {"all": table})
    assert {row["label"]: row["n"] for row in rows} == {
        "teff": 40,
        "logg": 40,
        "feh": 40,
        "alpha_fe": 30,
    }
    assert (
        comparisons.pairs("x", table, ["alpha_fe", "feh"])["label"].value_counts()
    ).to_dict() == {
        "alpha_fe": 30,
        "feh": 40,
    }


def test_pairs_are_thinned_evenly(tmp_path):
    frame = catalogue(tmp_path / "c.parquet")
    table = frame.assign(ref_teff=np.arange(40.0))
    drawn = comparisons.pairs("x", table, ["teff"], limit=4)
    assert drawn["reference"].tolist() == [0.0, 13.0, 26.0, 39.0]


# ---------------------------------------------------------------- figures


def every_figure(frame):
    table = frame.assign(**{f"ref_{label}": frame[label] for label in validation.LABELS})
    pairs = comparisons.pairs("truth", table, validation.LABELS)
    subsets = {"all": table, "S/N 20-40": table}
    pulls = pd.DataFrame(
        validation_statistics.pull_rows(subsets), columns=validation_statistics.PULL_COLUMNS
    )
    wave = np.arange(3800.0, 8701.0)
    used = np.ones(4901, bool)
    used[:100] = used[500] = False
    example = {
        "spectrum_id": "s",
        "spectral_type": "G",
        "flux": np.ones(4901),
        "model": np.ones(4901),
        "used": used,
    }
    anomaly = {
        "title": "G",
        "wave": np.linspace(3700.0, 9000, 3900),
        "raw": np.linspace(2.0, 5, 3900),
        "good": np.arange(3900) > 10,
        "flux": np.ones(4901),
        "model": np.ones(4901),
        "masked": used,
        "left_out": ~used,
    }
    balance = {
        "n_in": 3,
        "n_accepted": 2,
        "n_rejected": 1,
        "types": {"G": {"n_in": 2, "n_accepted": 2, "n_rejected": 0}},
        "rejected": {"by_reason": {"low_snr": 1}, "by_stage": {"survey": 1}},
    }
    labels = [frame[label].to_numpy() for label in validation.LABELS]
    thresholds = dict.fromkeys(style.TYPE_COLOURS, 8.0)
    return [
        report_catalogue.kiel(*labels, "Mine"),
        report_catalogue.kiel(*(np.tile(label, 600) for label in labels), "Mine"),
        report_catalogue.chi2(frame, "snrr", thresholds),
        report_catalogue.spectra(wave, [example] if len(frame) else []),
        report_catalogue.anomalous([anomaly] if len(frame) else []),
        report_comparisons.comparison("Title", pairs),
        report_comparisons.pulls(pairs, pulls),
        report_catalogue.accounting(balance),
    ]


@pytest.mark.parametrize("n", [40, 1, 0])
def test_figures_are_drawn_for_many_one_and_no_stars_with_the_same_bytes(tmp_path, n):
    frame = catalogue(tmp_path / "c.parquet", n)
    for run in ("a", "b") if n == 40 else ("a",):
        for number, figure in enumerate(every_figure(frame)):
            style.save(figure, tmp_path / f"{run}{number}.png")
    if n == 40:
        for path in some(tmp_path.glob("b*.png")):
            assert path.read_bytes() == (tmp_path / path.name.replace("b", "a", 1)).read_bytes()
    assert len(list(tmp_path.glob("a*.png"))) == 8


def test_the_spectra_most_unlike_a_star_are_chosen_by_pixels_then_by_misfit():
    table = pd.DataFrame(
        {
            "spectrum_id": list("abcdef"),
            "outlier_fraction": [0.1, 0.3, 0.3, 0.9, 0.8, 0.7],
            "chi2": [1.0, 2, 3, 1, 1, np.nan],
            "snrr": [50.0, 50, 50, 10, 50, 50],
            "best_spectrum": [1, 1, 1, 1, 0, 1],
        }
    )
    assert report_catalogue.most_anomalous(table, "snrr", 3) == ["c", "b", "a"]
    without = table.drop(columns="best_spectrum")
    assert report_catalogue.most_anomalous(without, "snrr", 1) == ["e"]
