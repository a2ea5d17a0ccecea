"""The experiments of Liang+ 2024 sections 4.1 and 4.2 measure what they say."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from toy import BUILD, toy_library, toy_spectra

from lamostvac.core.hdf5 import write_columns
from lamostvac.emulator.model import build_emulator
from lamostvac.experiments import figures
from lamostvac.experiments.flux import FluxComparison, emulator_uncertainty, example_rows
from lamostvac.experiments.group_size import (
    fold_rows,
    group_size_table,
    library_trial,
    trial_fits,
    trial_positions,
)
from lamostvac.experiments.grouping import (
    bounds_table,
    grouping_errors,
    grouping_table,
    matches_table,
)
from lamostvac.experiments.pools import draw_groups, sizes_below, teff_bin
from lamostvac.experiments.reproduction import prior_counts, prior_counts_table, reproduction_errors
from lamostvac.experiments.sample import draw_spectra, make_sample, read_samples
from lamostvac.grouped import search
from lamostvac.grouped.settings import GroupedSettings
from lamostvac.report.style import save

pytestmark = pytest.mark.numeric

LIBRARY = toy_library(150)
LABELS = LIBRARY.label_array()
GRADIENT = GroupedSettings(
    matches=20, form="scaled", search="gradient", variance=1.0, max_extrapolation=0.05
)


@pytest.fixture(scope="module")
def emulator():
    return build_emulator(LIBRARY, [], BUILD)


def stars(n=24, seed=3):
    """Prepared spectra of n toy stars, their names and their labels."""
    rng = np.random.default_rng([seed, n])
    truth = rng.uniform([5200, 2.0, -1.0], [6400, 4.5, 0.2], (n, 3))
    flux = (toy_spectra(truth) + rng.normal(0, 0.01, (n, 4901))).astype(np.float32)
    ivar = np.full(flux.shape, 1e4, dtype=np.float32)
    ivar[:, 1000:1050] = 0
    return flux, ivar, np.array([f"star{i:03d}" for i in range(n)]), truth


@pytest.fixture(scope="module")
def sample(emulator):
    flux, ivar, names, _ = stars()
    return make_sample(emulator, flux, ivar, names, LIBRARY.flux, LABELS)


# Figure 2


def test_prior_counts_are_those_of_a_loop_over_the_papers_intervals(emulator):
    hot = LABELS.copy()
    hot[:40, 0] = np.linspace(8500, 24000, 40)
    hot[3, 0], hot[4, 0] = 10000.0, 9999.0
    counts = prior_counts(emulator, hot)
    for row, star in enumerate(hot):
        half = [1000.0 if star[0] < 10000 else 5000.0, 1.0, 0.5]
        inside = [all(abs(other[i] - star[i]) <= half[i] for i in range(3)) for other in hot]
        assert counts[row] == sum(inside)
    assert counts.min() >= 1


def test_shares_are_of_intervals_with_more_than_a_hundred():
    teff = np.array([3500.0, 5000.0, 5500.0, 12000.0])
    table = prior_counts_table(teff, np.array([100, 101, 5, 400])).set_index("subset")
    assert table.loc["all", "above"] == 0.5
    assert table["above"].tolist()[1:3] == [0.0, 0.5]
    assert np.isnan(table.loc["6000-10000", "above"])
    assert table.loc["Teff >= 10000", "above"] == 1.0
    assert table["n"].tolist() == [4, 1, 2, 0, 1]


def test_limits_of_the_bins_belong_to_the_hotter_bin():
    assert teff_bin(np.array([3999.9, 4000.0, 6000.0, 10000.0])).tolist() == [0, 1, 2, 3]


# Samples and groups


def write_chunks(folder, names, flux, ivar, cuts):
    folder.mkdir(parents=True)
    paths = []
    for number, rows in enumerate(np.split(np.arange(len(names)), cuts)):
        paths.append(str(folder / f"{number:04d}.h5"))
        with h5py.File(paths[-1], "w") as handle:
            handle["flux"], handle["ivar"] = flux[rows], ivar[rows]
            write_columns(handle.create_group("meta"), pd.DataFrame({"spectrum_id": names[rows]}))
    return paths


def test_the_draw_does_not_know_how_the_survey_was_cut(tmp_path):
    flux, ivar, names, _ = stars(30)
    shuffled = np.random.default_rng(0).permutation(30)
    one = write_chunks(tmp_path / "one" / "G", names, flux, ivar, [])
    many = write_chunks(
        tmp_path / "many" / "G", names[shuffled], flux[shuffled], ivar[shuffled], [0, 7, 19]
    )
    first, second = draw_spectra(one, 12, [1, 2]), draw_spectra(many, 12, [1, 2])
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    row = int(np.flatnonzero(names == first[0][5])[0])
    np.testing.assert_array_equal(first[1][5], flux[row])
    assert list(draw_spectra(one, 12, [1, 3])[0]) != list(first[0])
    assert len(draw_spectra(one, 100, [1])[0]) == 30


def test_types_are_the_folders_and_come_hottest_first(tmp_path, emulator):
    flux, ivar, names, _ = stars(20)
    paths = write_chunks(tmp_path / "K", names, flux, ivar, [8])
    paths += write_chunks(tmp_path / "F", names[:5], flux[:5], ivar[:5], [])
    samples = read_samples(paths, emulator, LIBRARY, 6, seed=1)
    assert {name: len(sample) for name, sample in samples.items()} == {"F": 5, "K": 6}
    assert list(samples) == ["F", "K"]


def test_a_sample_is_sorted_by_its_first_match_and_knows_where_its_stars_were(sample, emulator):
    candidates = sample.candidates(emulator, LABELS, 20)
    assert candidates.shape == (24, 20, 3)
    assert (np.diff(candidates[:, 0, 0]) >= 0).all()
    truth = stars()[3][sample.rows]
    assert np.median(np.abs(candidates[:, 0, 0] - truth[:, 0])) < 250
    part = sample.part(slice(3, 8))
    np.testing.assert_array_equal(part.candidates(emulator, LABELS, 20), candidates[3:8])
    np.testing.assert_array_equal(part.rows, sample.rows[3:8])


def test_sizes_that_take_all_stars_are_tried_once():
    assert sizes_below(50, [1000, 1, 10, 50, 2000]) == [1, 10, 50]
    assert sizes_below(60, [1, 50, 1000, 2000]) == [1, 50, 1000]
    assert sizes_below(3, [10, 20]) == [10]


def test_drawn_groups_are_full_groups_of_the_cut():
    groups = draw_groups(103, 10, 4, [1])
    assert len(groups) == 4
    assert all(part in search.group_slices(100, 10) for part in groups)
    assert groups == draw_groups(103, 10, 4, [1])
    assert draw_groups(7, 10, 4, [1]) == [slice(0, 7)]
    assert draw_groups(0, 10, 4, [1]) == []


# Figure 3


def test_bounds_are_the_range_of_the_projected_candidates(sample, emulator):
    table = bounds_table(emulator, {"G": sample}, LABELS, [10, 30, 999], [5, 24], 3, 0.98, seed=1)
    assert set(table["matches"]) == {10, 30}  # the library has 150 stars
    assert set(table["n_group"]) == {5, 24}
    for form in ("published", "centred"):
        row = table[
            (table["form"] == form) & (table["n_group"] == 24) & (table["matches"] == 30)
        ].iloc[0]
        theta = sample.candidates(emulator, LABELS, 30).swapaxes(0, 1).reshape(30, -1)
        if form == "centred":
            theta = theta - theta.mean(axis=0)
        d = theta @ np.linalg.svd(theta, full_matrices=False)[2][0]
        expected = sorted([abs(d.min()), abs(d.max())])
        assert sorted([abs(row["low"]), abs(row["high"])]) == pytest.approx(
            np.array(expected) / np.sqrt(24)
        )
    # Uncentred, d_1 is the Teff of the group times sqrt(N), whatever N is.
    published = table[table["form"] == "published"]
    assert published["low"].between(4500, 7000).all()
    assert published["high"].between(4500, 7500).all()
    assert (published["low"] < published["high"]).all()
    assert (table[table["form"] == "centred"]["low"] < 0).all()


# Figures 8 and 9


@pytest.mark.parametrize("form", ["published", "centred"])
def test_candidates_in_a_plane_are_reproduced_exactly(form):
    """A Theta of few dimensions is found again from four fifths of its rows."""
    rng = np.random.default_rng(1)
    theta = rng.normal(0, 1, (40, 3)) @ rng.normal(0, 1, (3, 8 * 4)) * 100
    if form == "centred":
        theta += rng.uniform(0, 5000, 8 * 4)
    errors = reproduction_errors(theta.reshape(40, 8, 4), 1.0, form, [1])
    assert errors.shape == (8, 5, 8, 4)
    assert np.abs(errors).max() < 1e-8 * np.abs(theta).max()
    # One component cannot hold three dimensions.
    assert np.abs(reproduction_errors(theta.reshape(40, 8, 4), 0.3, form, [1])).max() > 1


@pytest.mark.parametrize("form", ["published", "centred"])
def test_reproduction_errors_are_those_of_the_definition(form):
    """By singular vectors and explicit products, parts recovered from which rows are in which."""
    theta = np.random.default_rng(2).uniform(0, 1, (23, 4, 3)) * [2000, 1, 1] + [5000, 3, -1]
    errors = reproduction_errors(theta, 0.999999, form, [7])
    parts = np.random.default_rng([7]).permutation(23)[:20].reshape(5, 4)
    for number, part in enumerate(parts):
        others = np.concatenate([p for i, p in enumerate(parts) if i != number])
        matrix = theta[others].reshape(16, 12)
        centre = matrix.mean(axis=0) if form == "centred" else 0.0
        _, values, vectors = np.linalg.svd(matrix - centre, full_matrices=False)
        share = np.cumsum(values**2) / (values**2).sum()
        q = vectors[: int(np.searchsorted(share, 0.999999)) + 1]
        rest = theta[part].reshape(4, 12) - centre
        expected = (rest @ q.T @ q - rest).reshape(4, 4, 3)
        np.testing.assert_allclose(errors[:, number], expected, atol=1e-6)


def test_fewer_candidates_than_parts_are_refused():
    with pytest.raises(ValueError, match="4 candidates"):
        reproduction_errors(np.ones((4, 2, 3)), 0.98, "published", [1])


def test_identical_stars_do_not_care_how_they_are_grouped():
    star = np.random.default_rng(3).uniform(0, 1, (1, 20, 3)) * [2000, 1, 1] + [5000, 3, -1]
    errors = grouping_errors({"G": np.repeat(star, 60, axis=0)}, 10, 3, 0.98, "published", seed=1)
    np.testing.assert_array_equal(errors["FGK", "prior"], errors["FGK", "random"])
    assert errors["FGK", "prior"].shape == (3 * 5 * 10, 3)
    assert errors["FGK", "prior"].max() > 0


def test_a_type_with_few_stars_is_grouped_by_halves():
    labels = np.random.default_rng(6).uniform(0, 1, (12, 20, 3)) * [2000, 1, 1] + [5000, 3, -1]
    errors = grouping_errors({"A": labels}, 100, 5, 0.98, "published", seed=1)
    assert len(errors["A", "prior"]) == len(errors["A", "random"]) == 2 * 6 * 5
    assert not np.array_equal(errors["A", "prior"], errors["A", "random"])


def test_priors_help_where_neighbours_have_the_same_candidates():
    """Blocks of stars with common candidates: within a block a few components do, across blocks they do not."""
    rng = np.random.default_rng(4)
    blocks = [np.repeat(rng.normal(0, 300, (1, 50, 3)), 10, axis=0) for _ in range(12)]
    labels = np.concatenate(blocks) + rng.normal(0, 1, (120, 50, 3))
    errors = grouping_errors({"F": labels}, 10, 12, 0.9, "centred", seed=1)
    assert np.median(errors["FGK", "prior"]) < 0.2 * np.median(errors["FGK", "random"])


def test_stars_of_any_type_count_to_their_own_pool():
    rng = np.random.default_rng(5)
    labels = {"M": rng.normal(3500, 50, (40, 20, 3)), "OB": rng.normal(20000, 3000, (40, 20, 3))}
    errors = grouping_errors(labels, 10, 2, 0.98, "published", seed=1)
    assert {pool for pool, _ in errors} == {"M", "OB"}
    assert len(errors["M", "any type"]) + len(errors["OB", "any type"]) == 4 * 10 * 5
    assert np.median(errors["OB", "any type"]) > 10 * np.median(errors["M", "any type"])
    table = grouping_table(errors, ("teff", "logg", "feh"))
    assert len(table) == 2 * 3 * 3
    row = table[
        (table["pool"] == "M") & (table["grouping"] == "prior") & (table["label"] == "logg")
    ].iloc[0]
    assert row["median"] == np.median(errors["M", "prior"][:, 1])
    assert row["low"] < row["median"] < row["high"]


def test_matches_table_is_the_median_over_the_rows_of_each_column(sample, emulator):
    table = matches_table(
        emulator, {"G": sample}, LABELS, [10, 50], 8, 99, 0.98, "published", seed=1
    )
    assert table["matches"].tolist() == [10, 50]
    assert (table["n"] == 3 * 8 * 5).all()
    theta = sample.candidates(emulator, LABELS, 50)
    medians = []
    for number, group in enumerate(search.group_slices(24, 8)):
        errors = reproduction_errors(theta[group].swapaxes(0, 1), 0.98, "published", [1, number])[
            ..., 0
        ]
        medians += [np.median(abs(errors[:, f, s])) for f in range(5) for s in range(8)]
    assert table["q50"][1] == pytest.approx(np.median(medians))
    assert table["q05"][1] == pytest.approx(np.percentile(medians, 5))
    # More candidates reach farther out.
    assert table["inside"][0] > table["inside"][1] > 0


# Figure 4


def test_trial_stars_are_the_same_for_all_sizes_and_alone_they_are_fitted_alone(sample, emulator):
    trial = trial_positions(24, 7)
    assert trial.tolist() == sorted(set(trial.tolist()))
    assert trial[0] == 0
    assert trial[-1] == 23
    fits = trial_fits(emulator, sample, LABELS, [1, 6, 24, 99], trial, GRADIENT, 1, "G")
    assert sorted(set(fits["n_group"])) == [1, 6, 24]
    for _, table in fits.groupby("n_group"):
        assert table["row"].tolist() == sample.rows[trial].tolist()
    candidates = sample.candidates(emulator, LABELS, 20)
    one = slice(int(trial[2]), int(trial[2]) + 1)
    alone = search.fit_group(
        emulator, sample.components[one], sample.residual[one], candidates[one], GRADIENT, 0
    )
    row = fits[(fits["n_group"] == 1) & (fits["row"] == sample.rows[trial[2]])].iloc[0]
    assert row["teff"] == alone.labels[0, 0]
    assert row["first_teff"] == candidates[trial[2], 0, 0]
    assert (fits["seconds"] > 0).all()


def test_a_size_is_compared_with_stars_alone_or_with_the_library():
    fits = pd.DataFrame(
        {
            "n_group": [1, 1, 2, 2],
            "row": [4, 9, 9, 4],
            "size": [1, 1, 2, 2],
            "seconds": [1.0, 3.0, 0.5, 0.5],
            "teff": [5000.0, 6000.0, 6010.0, 5030.0],
            "first_teff": [5100.0, 6100.0, 6100.0, 5100.0],
            "teff_true": [5000.0, 6000.0, 6000.0, 5000.0],
            "spectral_type": "G",
        }
    )
    table = group_size_table(fits, "survey", None).set_index("n_group")
    assert table.loc[1, ["offset", "sigma"]].tolist() == [0.0, 0.0]
    assert table.loc[2, ["offset", "sigma", "sigma_first"]].tolist() == [20.0, 10.0, 0.0]
    assert table["seconds_per_1000"].tolist() == [2000.0, 500.0]
    # Here the stars alone have the library's Teff: both comparisons are the same.
    against_library = group_size_table(fits, "library", "teff_true").set_index("n_group")
    pd.testing.assert_frame_equal(
        table.drop(columns="sample"), against_library.drop(columns="sample")
    )


def test_a_library_star_finds_itself_in_sample_and_not_when_it_is_held_out(emulator):
    rows = np.arange(150)
    settings = dict(library=LIBRARY, sizes=[1, 10], n_trial=30, settings=GRADIENT, seed=1)
    inside = library_trial([(emulator, rows, rows)], **settings)
    assert (inside["first_teff"] == inside["teff_true"]).all()
    folds = [
        (build_emulator(LIBRARY, [], BUILD, rows=train), train, test)
        for train, test in fold_rows(LIBRARY.ids, 3, seed=1)
    ]
    outside = library_trial(folds, **settings)
    assert (outside["first_teff"] != outside["teff_true"]).all()
    assert set(outside["spectral_type"]) <= {"K", "G", "F"}
    # The same stars at every size, whatever the folds' numbers of stars are.
    for fits in (
        inside,
        outside,
        library_trial(folds, **{**settings, "sizes": [1, 15, 18, 21, 99]}),
    ):
        counts = fits.groupby(["spectral_type", "n_group"]).size()
        assert (counts == counts.groupby("spectral_type").transform("max")).all()
    errors = [np.abs(fits["first_teff"] - fits["teff_true"]).median() for fits in (inside, outside)]
    assert errors[0] < errors[1] < 400


def test_folds_leave_every_spectrum_out_once():
    pairs = list(fold_rows(LIBRARY.ids, 4, seed=1))
    assert sorted(np.concatenate([test for _, test in pairs])) == list(range(150))
    assert all(
        not set(train) & set(test) and len(train) + len(test) == 150 for train, test in pairs
    )


# Figures 5 and 6


def test_flux_statistics_are_those_of_the_arrays(emulator):
    comparison = FluxComparison()
    ivar = LIBRARY.ivar.copy()
    ivar[:, 2000:2100] = 0
    library = type(LIBRARY)(**{**LIBRARY.__dict__, "ivar": ivar})
    rows = np.arange(0, 150, 2)
    comparison.add(emulator, library, rows[:30])
    comparison.add(emulator, library, rows[30:])
    table = comparison.table("in sample").set_index("teff_bin")
    assert list(table.index) == ["4000-6000", "6000-10000"]
    cool = rows[LABELS[rows, 0] < 6000]
    good = ivar[cool][:, emulator.pixels] > 0
    flux = library.flux[cool][:, emulator.pixels]
    difference = (emulator.spectra(LABELS[cool]) - flux)[good]
    row = table.loc["4000-6000"]
    assert row["n_spectra"] == len(cool)
    assert row["n_pixels"] == good.sum() == comparison.counts[1].sum()
    assert row["mean"] == pytest.approx(difference.mean(), abs=1e-12)
    assert row["sigma"] == pytest.approx(difference.std())
    assert row["within"] == (np.abs(difference) < 0.03).mean()
    low, high = np.percentile(difference, [15.85, 84.15])
    assert row["middle"] == pytest.approx((high - low) / 2, rel=0.05)
    # Which axis is which: the library's flux first.
    emulated = emulator.spectra(LABELS[cool])[good]
    assert np.array_equal(
        comparison.counts[1].sum(axis=1), np.histogram(flux[good], np.linspace(0, 2, 201))[0]
    )
    assert np.array_equal(
        comparison.counts[1].sum(axis=0), np.histogram(emulated, np.linspace(0, 2, 201))[0]
    )


def test_a_star_that_was_seen_is_reproduced_better_and_the_uncertainty_is_that_of_one_that_was_not(
    emulator,
):
    """In-sample numbers flatter; the emulator's own uncertainty fits stars that it has not seen."""
    inside, outside = FluxComparison(), FluxComparison()
    inside.add(emulator, LIBRARY, np.arange(150))
    for train, test in fold_rows(LIBRARY.ids, 5, seed=1):
        outside.add(build_emulator(LIBRARY, [], BUILD, rows=train), LIBRARY, test)
    seen, unseen = inside.table("in sample"), outside.table("held out")
    assert seen["n_spectra"].sum() == unseen["n_spectra"].sum() == 150
    assert (seen["sigma"].to_numpy() < unseen["sigma"].to_numpy()).all()
    assert (seen["within"].to_numpy() >= unseen["within"].to_numpy()).all()
    # A few stars at the rim are far off; in the covariance they are shortened.
    assert unseen["pull"].between(0.7, 2.0).all()


def test_the_uncertainty_is_the_diagonal_of_the_papers_covariance(emulator):
    covariance = emulator.basis.T @ emulator.discrepancy["G"] @ emulator.basis
    expected = np.sqrt(np.diag(covariance) + emulator.truncation["G"])
    np.testing.assert_allclose(emulator_uncertainty(emulator, "G"), expected)


def test_examples_are_the_middle_stars_of_the_bins():
    teff = np.array([9000.0, 3000.0, 5000.0, 3500.0, 5100.0, 4900.0, 3900.0])
    assert example_rows(teff) == [3, 2, 0]


# Figures and targets


def test_every_figure_can_be_drawn_and_is_the_same_each_time(tmp_path, sample, emulator):
    candidates = {"G": sample.candidates(emulator, LABELS, 20)}
    errors = grouping_errors(candidates, 8, 2, 0.98, "published", 1)
    counts = prior_counts(emulator, LABELS)
    comparison = FluxComparison()
    comparison.add(emulator, LIBRARY, np.arange(40))
    trial = trial_positions(24, 5)
    fits = trial_fits(emulator, sample, LABELS, [1, 8], trial, GRADIENT, 1, "G").assign(
        spectral_type="G"
    )
    model = emulator.spectra(LABELS[:1])[0]
    example = {"title": "a star", "flux": LIBRARY.flux[0, emulator.pixels].astype(float)}
    example |= {"in_sample": model, "held_out": model, "sigma": emulator_uncertainty(emulator, "G")}
    wave = 3800.0 + np.flatnonzero(emulator.pixels)
    bounds = bounds_table(emulator, {"G": sample}, LABELS, [10, 30], [5], 2, 0.98, 1)
    matches = matches_table(emulator, {"G": sample}, LABELS, [10, 50], 8, 1, 0.98, "centred", 1)

    def draw():
        table = prior_counts_table(LABELS[:, 0], counts)
        yield figures.prior_counts(LABELS[:, 0], counts, table)
        yield figures.bounds(bounds)
        yield figures.matches(matches)
        yield figures.grouping(errors, ("teff", "logg", "feh"))
        yield figures.group_size(group_size_table(fits, "survey", None), 11_473_644)
        in_sample = comparison.table("in sample")
        yield figures.reproduction({"in sample": comparison.counts}, in_sample)
        yield figures.examples(wave, [example])

    written = []
    for turn in range(2):
        for number, figure in enumerate(draw()):
            path = tmp_path / f"{turn}-{number}.png"
            save(figure, path)
            written.append(path.read_bytes())
    assert len(set(written[:7])) == 7
    assert written[:7] == written[7:]


def test_figures_without_stars_say_so():
    for figure in (
        figures.bounds(bounds_table(None, {}, LABELS, [5], [5], 1, 0.98, 1)),
        figures.matches(matches_table(None, {}, LABELS, [5], 5, 1, 0.98, "published", 1)),
        figures.grouping(grouping_errors({}, 5, 1, 0.98, "published", 1), ("teff",)),
        figures.examples(np.arange(3.0), []),
    ):
        assert len(figure.axes[0].texts) == 1


@pytest.fixture(scope="module")
def planned(project, tmp_path_factory):
    """Rules that Snakemake would run, by the target asked for, in a folder without results."""
    folder = tmp_path_factory.mktemp("plan")
    settings = yaml.safe_load((project / "config/demo.yaml").read_text())
    settings["run"] = {"results": str(folder / "results")}
    settings["networks"] = {"training_sets": None}
    (folder / "plan.yaml").write_text(yaml.safe_dump(settings))

    def plan(*targets):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "snakemake", "-n", "--quiet", "host", "--nolock", *targets),
                *("--snakefile", str(project / "Snakefile"), "--directory", str(folder)),
                *("--configfile", str(folder / "plan.yaml")),
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return (done.stdout + done.stderr).split()

    return plan


def test_one_target_makes_all_experiments_and_the_catalogue_none(planned, project):
    names = {
        f"experiment_{name}"
        for name in ("prior_counts", "bounds", "group_size", "reproduction", "grouping", "matches")
    }
    assert all((project / "workflow_scripts" / f"{name}.py").exists() for name in names)
    assert names <= set(planned("experiments"))
    assert not names & set(planned())
