"""The grouped search: groups, candidates, the reduction of their labels, and both searches."""

from dataclasses import replace

import numpy as np
import pytest
from toy import BUILD, toy_library, toy_spectra

from lamostvac.core.vocabulary import spectral_type_of
from lamostvac.emulator.distil import distil
from lamostvac.emulator.model import build_emulator
from lamostvac.emulator.settings import DistilSettings
from lamostvac.fit import refine
from lamostvac.grouped import search as grouped
from lamostvac.grouped.candidates import candidate_rows
from lamostvac.grouped.cfi import correlation
from lamostvac.grouped.components import project
from lamostvac.grouped.search import (
    fit_group,
    group_order,
    group_seed,
    group_slices,
    label_limits,
    misfits,
    normal_equations,
    reduce_labels,
)
from lamostvac.grouped.settings import GroupedSettings
from lamostvac.grouped.steps import Posterior

pytestmark = pytest.mark.numeric

LIBRARY = toy_library(150)
FORMS = ("published", "centred", "scaled")
PUBLISHED = GroupedSettings(form="published", max_extrapolation=0.05)
QUICK = PUBLISHED.changed(matches=20, random_points=4, max_iterations=3)
SETTINGS = {
    "published": QUICK,
    "centred": QUICK.changed(form="centred"),
    "scaled": QUICK.changed(form="scaled"),
    "gradient": QUICK.changed(form="scaled", search="gradient"),
}


@pytest.fixture(scope="module")
def emulator():
    return build_emulator(LIBRARY, [], BUILD)


def stars(emulator, n=12, matches=20):
    """Fluxes, components, residuals and candidate labels of n toy stars of about the same kind."""
    rng = np.random.default_rng([3, n])
    truth = rng.uniform([5500, 3.5, -0.6], [6000, 4.5, -0.1], (n, 3))
    flux = toy_spectra(truth) + rng.normal(0, 0.01, (n, 4901))
    ivar = np.full(flux.shape, 1e4)
    components, residual = project(emulator, flux, ivar)
    similar = correlation(flux[:, emulator.pixels], ivar > 0, LIBRARY.flux[:, emulator.pixels])
    labels = LIBRARY.label_array()
    return flux, components, residual, labels[candidate_rows(emulator, similar, labels, matches)]


# Groups


def test_stars_are_sorted_by_first_guess_and_ties_by_name_whatever_order_they_came_in():
    rng = np.random.default_rng(0)
    guess = rng.choice([4000.0, 5000.0, 6000.0], (50, 1)) + rng.choice([0.0, 1.0], (50, 2)) * [0, 1]
    names = np.array([f"s{i:02d}" for i in range(50)])
    order = group_order(guess, names)
    expected = sorted(range(50), key=lambda i: (*guess[i], names[i]))
    assert order.tolist() == expected
    mixed = rng.permutation(50)
    assert (names[mixed][group_order(guess[mixed], names[mixed])] == names[order]).all()


def test_groups_cover_all_stars_and_only_the_last_is_short():
    assert [len(range(*part.indices(7))) for part in group_slices(7, 3)] == [3, 3, 1]
    assert [len(range(*part.indices(6))) for part in group_slices(6, 3)] == [3, 3]
    assert group_slices(0, 3) == []


# Candidates


def brute_candidates(similarity, labels, t):
    """L24 section 2.2 step 4, word for word."""
    ranking = sorted(range(len(labels)), key=lambda i: (-similarity[i], i))
    first = labels[ranking[0]]
    half = [1000.0 if first[0] < 10000 else 5000.0, 1.0, 0.5]
    inside = [
        i
        for i in ranking[:t]
        if all(abs(labels[i][j] - first[j]) <= half[j] + 1e-9 for j in range(3))
    ]
    rest = sorted(ranking[t:], key=lambda i: (abs(labels[i][0] - first[0]), i))
    return inside + rest[: t - len(inside)]


def test_candidates_are_those_of_the_paper(emulator):
    rng = np.random.default_rng(5)
    labels = LIBRARY.label_array()
    similarity = rng.uniform(-1, 1, (8, len(labels)))
    similarity[:, 10] = similarity[:, 40] = 1.5  # ties go by row
    similarity[1] = similarity[1].round(1)
    rows = candidate_rows(emulator, similarity, labels, 30)
    for star in range(8):
        assert rows[star].tolist() == brute_candidates(similarity[star], labels, 30)
    assert (rows[:, 0] == 10).all()


def test_a_library_with_fewer_stars_than_candidates_gives_each_once(emulator):
    labels = LIBRARY.label_array()
    similarity = np.random.default_rng(6).uniform(0, 1, (4, len(labels)))
    for matches in (len(labels) - 5, len(labels), 1000):
        rows = candidate_rows(emulator, similarity, labels, matches)
        assert rows.shape == (4, min(matches, len(labels)))
        assert all(len(set(row)) == rows.shape[1] for row in rows.tolist())
        assert (rows[:, 0] == similarity.argmax(axis=1)).all()


@pytest.mark.parametrize("step", [0.001, 10.0, 250.0, 1e5])
def test_the_closest_in_teff_are_found_whichever_of_them_are_equally_close(emulator, step):
    rng = np.random.default_rng(7)
    labels = LIBRARY.label_array().copy()
    labels[:, 0] = np.maximum(np.round(labels[:, 0] / step) * step, 3000.0)
    similarity = rng.uniform(-1, 1, (6, len(labels)))
    rows = candidate_rows(emulator, similarity, labels, 40)
    for star in range(6):
        assert rows[star].tolist() == brute_candidates(similarity[star], labels, 40)


# Reduction


@pytest.mark.parametrize("form", FORMS)
def test_with_all_variance_every_candidate_is_reached(form, emulator):
    candidates = stars(emulator, 5)[3].swapaxes(0, 1)
    reduced = reduce_labels(candidates, 1.0, form)
    # The coordinates of the candidates, from labels alone: least squares on the basis.
    flat = reduced.basis.reshape(len(reduced.basis), -1)
    target = (candidates - reduced.offset).reshape(len(candidates), -1)
    d = np.linalg.lstsq(flat.T, target.T, rcond=None)[0].T
    for row, coordinates in zip(candidates, d, strict=True):
        np.testing.assert_allclose(reduced.labels(coordinates), row, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(d.min(axis=0), reduced.low, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(d.max(axis=0), reduced.high, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(d[0], reduced.first, rtol=1e-5, atol=1e-5)


def test_published_form_has_one_dominant_component_and_no_mean_term(emulator):
    candidates = stars(emulator, 12)[3].swapaxes(0, 1)
    published = reduce_labels(candidates, 0.98, "published")
    assert published.basis.shape == (1, 12, 3)
    np.testing.assert_array_equal(published.offset, 0.0)
    # Every star gets a multiple of the mean of its own candidates, the more similar ones to speak of.
    at_mean = published.labels(np.array([(published.low[0] + published.high[0]) / 2]))
    np.testing.assert_allclose(at_mean[:, 0], candidates[:, :, 0].mean(axis=0), rtol=0.1)
    _, s, vt = np.linalg.svd(candidates.reshape(len(candidates), -1), full_matrices=False)
    np.testing.assert_allclose(np.abs(published.basis.reshape(-1)), np.abs(vt[0]), rtol=1e-6)
    assert s[0] ** 2 / (s**2).sum() >= 0.98
    assert all(
        len(reduce_labels(candidates, 0.98, form).basis) > 5 for form in ("centred", "scaled")
    )


@pytest.mark.parametrize("form", ["centred", "scaled"])
def test_the_first_match_is_a_point_of_the_centred_search(form, emulator):
    candidates = stars(emulator)[3].swapaxes(0, 1)
    reduced = reduce_labels(candidates, 0.9, form)
    np.testing.assert_allclose(reduced.labels(reduced.first), candidates[0], rtol=1e-10)


def test_scaling_makes_the_units_of_a_label_irrelevant(emulator):
    candidates = stars(emulator)[3].swapaxes(0, 1)
    units = np.array([1e-3, 1.0, 50.0])
    plain, other = (
        reduce_labels(candidates, 0.98, "scaled"),
        reduce_labels(candidates * units, 0.98, "scaled"),
    )
    np.testing.assert_allclose(plain.low, other.low, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(plain.basis * units, other.basis, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("matches", [1, 7])
def test_candidates_that_agree_leave_nothing_to_search(form, matches, emulator):
    _, components, residual, candidates = stars(emulator, 3)
    same = np.repeat(candidates[:, :1], matches, axis=1)
    for search in ("bayesian", "gradient"):
        fit = fit_group(
            emulator, components, residual, same, QUICK.changed(form=form, search=search), 1
        )
        np.testing.assert_allclose(fit.labels, same[:, 0], rtol=1e-6)
    if form != "published":
        assert fit.n_dimensions == 0


# Misfit


def test_misfit_is_the_sum_over_pixels_star_by_star(emulator):
    flux, components, residual, candidates = stars(emulator, 300)
    labels = candidates[:, 0]
    chi2 = misfits(emulator, components, residual, labels)
    model = emulator.process.predict(emulator.to_scaled(labels))
    # From components here, from pixels in `starfit`.
    rows = np.arange(0, 300, 29)
    difference = flux[rows][:, emulator.pixels] - emulator.mean - model[rows] @ emulator.basis
    expected = (difference**2).sum(axis=1)
    np.testing.assert_allclose(chi2[rows], expected, rtol=1e-8)
    alone = [
        misfits(emulator, components[i : i + 1], residual[i : i + 1], labels[i : i + 1])[0]
        for i in rows
    ]
    np.testing.assert_allclose(chi2[rows], alone, rtol=1e-9)


def test_normal_equations_are_the_derivatives_of_the_mean_misfit(emulator):
    _, components, residual, candidates = stars(emulator, 5)
    reduced = reduce_labels(candidates.swapaxes(0, 1), 0.98, "scaled")
    moving = np.ones((5, 3), dtype=bool)
    moving[2, 1] = False
    held = reduced.basis * moving
    d = reduced.first.copy()
    d[:3] += 0.1 * (reduced.high - reduced.low)[:3]

    def labels(point):
        return reduced.offset + np.tensordot(point, held, axes=1)

    chi2, hessian, gradient = normal_equations(
        emulator, components, residual, labels(d), moving, reduced.basis
    )
    np.testing.assert_allclose(chi2, misfits(emulator, components, residual, labels(d)))
    for axis in range(len(d)):
        step = np.zeros_like(d)
        step[axis] = 1e-4 * (reduced.high - reduced.low)[axis]
        change = [
            misfits(emulator, components, residual, labels(d + sign * step)).mean()
            for sign in (1, -1)
        ]
        numeric = -0.5 * (change[0] - change[1]) / (2 * step[axis])
        assert gradient[axis] == pytest.approx(numeric, rel=1e-4, abs=1e-6)
    # Half the Hessian from the stacked Jacobian itself.
    scaled = emulator.to_scaled(labels(d))
    jacobian = (
        emulator.process.predict_with_jacobian(scaled)[1]
        / emulator.label_derivative(scaled)[:, :, None]
    )
    stacked = np.einsum("mnl,nlk->mnk", held, jacobian).reshape(len(d), -1)
    np.testing.assert_allclose(hessian, stacked @ stacked.T / 5, rtol=1e-8, atol=1e-12)


# Searches


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("n", [1, 5, 12])
def test_bounds_are_respected_and_nothing_is_worse_than_the_first_match(name, n, emulator):
    _, components, residual, candidates = stars(emulator, n)
    settings = SETTINGS[name]
    fit = fit_group(emulator, components, residual, candidates, settings, 4)
    reduced = reduce_labels(candidates.swapaxes(0, 1), settings.variance, settings.form)
    assert fit.n_dimensions == len(reduced.first)
    assert (fit.coordinates >= reduced.low).all()
    assert (fit.coordinates <= reduced.high).all()
    low, high = label_limits(emulator, settings.max_extrapolation)
    assert (fit.labels >= low).all()
    assert (fit.labels <= high).all()
    np.testing.assert_allclose(fit.chi2, misfits(emulator, components, residual, fit.labels))
    np.testing.assert_allclose(
        fit.chi2_first, misfits(emulator, components, residual, candidates[:, 0])
    )
    first = np.clip(reduced.labels(reduced.first), low, high)
    assert fit.chi2.mean() <= misfits(emulator, components, residual, first).mean() * (1 + 1e-12)
    if settings.form != "published":
        assert fit.chi2.mean() <= fit.chi2_first.mean() * (1 + 1e-9)
    assert fit.history[-1] == pytest.approx(fit.chi2.mean())
    assert (np.diff(fit.history) <= 0).all()
    assert fit.n_evaluations <= settings.random_points + 1 + settings.max_iterations


def test_a_search_with_one_coordinate_finds_its_minimum(emulator):
    """The published form has one number; the best of a fine grid of it is the answer."""
    _, components, residual, candidates = stars(emulator)
    reduced = reduce_labels(candidates.swapaxes(0, 1), 0.98, "published")
    low, high = label_limits(emulator, QUICK.max_extrapolation)

    def mean_misfit(d):
        return misfits(emulator, components, residual, np.clip(reduced.labels(d), low, high)).mean()

    best = min(
        mean_misfit(np.array([d])) for d in np.linspace(reduced.low[0], reduced.high[0], 400)
    )
    for search in ("bayesian", "gradient"):
        settings = QUICK.changed(search=search, max_iterations=25)
        fit = fit_group(emulator, components, residual, candidates, settings, 2)
        assert fit.chi2.mean() == pytest.approx(best, rel=0.02)


def test_truth_among_the_candidates_is_recovered_by_the_gradient_and_not_by_the_published_form(
    emulator,
):
    """A truth that the reduction can express: one weighted mean of candidates, the same for all stars."""
    rng = np.random.default_rng(9)
    _, _, _, candidates = stars(emulator, 20)
    weights = rng.dirichlet(np.full(candidates.shape[1], 0.5))
    truth = np.einsum("t,ntl->nl", weights, candidates)
    components, residual = project(emulator, noisy(emulator, truth, rng), np.ones((20, 4901)))
    errors = {}
    for name in ("published", "gradient"):
        settings = SETTINGS[name].changed(
            variance=1.0 if name == "gradient" else 0.98, max_iterations=40
        )
        fit = fit_group(emulator, components, residual, candidates, settings, 1)
        errors[name] = np.abs(fit.labels - truth).mean(axis=0) / [100.0, 0.2, 0.1]
    assert (errors["gradient"] < 0.2).all()
    assert errors["published"].max() > 3 * errors["gradient"].max()


def noisy(emulator, labels, rng):
    """Spectra of the emulator itself with noise of 0.5 %."""
    flux = np.ones((len(labels), 4901))
    flux[:, emulator.pixels] = emulator.spectra(labels)
    return flux + rng.normal(0, 0.005, flux.shape)


def test_a_group_of_one_star_is_fitted_like_a_star(emulator):
    """Alone, a star has all directions of its labels: the minimum is the star's own."""
    rng = np.random.default_rng(4)
    _, _, _, candidates = stars(emulator, 1)
    truth = candidates[:, :6].mean(axis=1)
    components, residual = project(emulator, noisy(emulator, truth, rng), np.ones((1, 4901)))
    fit = fit_group(
        emulator, components, residual, candidates, SETTINGS["gradient"].changed(variance=1.0), 1
    )
    assert fit.n_dimensions == 3
    assert fit.settled
    assert (np.abs(fit.labels - truth)[0] < [10.0, 0.03, 0.02]).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_same_seed_same_result_and_nothing_is_changed(name, emulator):
    _, components, residual, candidates = stars(emulator)
    copies = components.copy(), residual.copy(), candidates.copy()
    one = fit_group(emulator, components, residual, candidates, SETTINGS[name], 7)
    fit_group(emulator, components[:2], residual[:2], candidates[:2], SETTINGS[name], 8)  # company
    two = fit_group(emulator, components, residual, candidates, SETTINGS[name], 7)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.history, two.history)
    for before, after in zip(copies, (components, residual, candidates), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_order_in_which_stars_come_does_not_matter(emulator):
    _, components, residual, candidates = stars(emulator, 11)
    names = np.array([f"s{i:02d}" for i in range(11)])
    settings = QUICK.changed(max_iterations=4)

    def labels_by_name(rows):
        order = rows[group_order(candidates[rows, 0], names[rows])]
        result = {}
        for number, part in enumerate(group_slices(len(order), 4)):
            members = order[part]
            seed = group_seed(1, "G", number)
            fit = fit_group(
                emulator,
                components[members],
                residual[members],
                candidates[members],
                settings,
                seed,
            )
            result |= dict(zip(names[members], fit.labels.tolist(), strict=True))
        return result

    assert labels_by_name(np.arange(11)) == labels_by_name(np.random.default_rng(3).permutation(11))


def test_seeds_differ_between_groups_and_types_and_know_nothing_else():
    seeds = {group_seed(s, t, g) for s in (1, 2) for t in ("OB", "A", "F") for g in range(5)}
    assert len(seeds) == 30
    assert (group_seed(1, "OB", 3), group_seed(2, "M", 0)) == (97881661, 426946283)


def test_the_search_ends_after_five_iterations_without_a_smaller_misfit():
    """On a flat objective nothing improves: ten random points, the first match, five iterations."""
    seen = []

    def flat(d):
        seen.append(d)
        return 1.0

    low, high, first = np.array([10.0, -1.0]), np.array([20.0, 3.0]), np.array([12.0, 0.5])
    found = grouped.search_bayesian(flat, low, high, first, PUBLISHED, 1)
    assert len(seen) == found.n_evaluations == 16
    assert found.settled
    np.testing.assert_allclose(seen[10], first)
    assert all((low <= d).all() and (d <= high).all() for d in seen)
    capped = grouped.search_bayesian(flat, low, high, first, PUBLISHED.changed(max_iterations=2), 1)
    assert capped.n_evaluations == 13
    assert not capped.settled


def test_labels_beyond_the_library_are_set_to_its_limits(emulator):
    low, high = label_limits(emulator, 0.0)
    np.testing.assert_allclose(emulator.to_scaled(low[None]), refine.box(emulator, 0.0)[0][None])
    labels = LIBRARY.label_array()
    np.testing.assert_allclose(low, labels.min(axis=0), rtol=1e-6)
    np.testing.assert_allclose(high, labels.max(axis=0), rtol=1e-6)


# The form steps


def posterior(emulator, candidates=None, n=12):
    """That of toy stars, with given candidates instead of their own."""
    _, components, residual, own = stars(emulator, n)
    chosen = own if candidates is None else candidates
    return Posterior(emulator, components, residual, chosen, label_limits(emulator, 0.05)), own


def test_first_match_and_mean_of_ten_are_points_of_the_search(emulator):
    of, candidates = posterior(emulator)
    reduced = of.step_labels()
    np.testing.assert_allclose(reduced.labels(reduced.first), candidates[:, 0])
    np.testing.assert_allclose(reduced.labels(np.zeros(2)), candidates[:, :10].mean(axis=1))
    assert (reduced.low <= reduced.first).all()
    assert (reduced.first <= reduced.high).all()


def test_a_whole_step_of_each_star_lowers_what_is_minimised_and_stays_within_the_limits(emulator):
    of, _ = posterior(emulator)
    limits, reduced = label_limits(emulator, 0.05), of.step_labels()
    mean, moved = reduced.labels(np.zeros(2)), reduced.labels(np.array([1.0, 0.0]))
    assert (of.values(moved) < of.values(mean)).mean() > 0.8
    assert (moved >= limits[0] - 1e-9).all()
    assert (moved <= limits[1] + 1e-9).all()


def test_without_scatter_among_the_candidates_no_star_moves(emulator):
    same = np.repeat(stars(emulator)[3][:, :1], 20, axis=1)
    reduced = posterior(emulator, same)[0].step_labels()
    moved = emulator.to_scaled(reduced.labels(np.array([1.0, 0.0])))
    np.testing.assert_allclose(moved, emulator.to_scaled(same[:, 0]), atol=1e-4)


def test_what_is_minimised_is_the_misfit_in_units_of_its_errors_and_the_distance_from_the_candidates(
    emulator,
):
    of, candidates = posterior(emulator, n=5)
    _, components, residual, _ = stars(emulator, n=5)
    labels = candidates[:, 3]
    scaled = emulator.to_scaled(candidates[:, :10].reshape(-1, 3)).reshape(5, 10, 3)
    scatter = np.array([np.cov(own.T, bias=True) for own in scaled])
    scatter = 0.8 * scatter + 0.2 * scatter.mean(axis=0) + 1e-8 * np.eye(3)
    noise = residual / (emulator.basis.shape[1] - components.shape[1])
    error = emulator.discrepancy["G"] + noise[:, None, None] * np.eye(components.shape[1])
    difference = components - emulator.process.predict(emulator.to_scaled(labels))
    away = emulator.to_scaled(labels) - emulator.to_scaled(candidates[:, :10].mean(axis=1))
    expected = [
        d @ np.linalg.solve(e, d) + a @ np.linalg.solve(s, a)
        for d, e, a, s in zip(difference, error, away, scatter, strict=True)
    ]
    chosen = spectral_type_of(candidates[:, 0, 0]) == "G"
    assert chosen.any()
    np.testing.assert_allclose(of.values(labels)[chosen], np.array(expected)[chosen], rtol=1e-6)


def test_each_star_is_weighed_with_the_errors_of_its_own_type(emulator):
    _, _, _, candidates = stars(emulator)
    warm = candidates.copy()
    warm[:6, :, 0] += 1000.0  # F stars, beside G stars
    types = spectral_type_of(warm[:, 0, 0])
    assert len(set(types)) == 2
    both = posterior(emulator, warm)[0].values(warm[:, 1])
    for name in set(types):
        alike = replace(emulator, discrepancy=dict.fromkeys("FG", emulator.discrepancy[name]))
        alone = posterior(alike, warm)[0].values(warm[:, 1])
        np.testing.assert_allclose(both[types == name], alone[types == name], rtol=1e-9)
        assert not np.allclose(both[types != name], alone[types != name], rtol=1e-3)


def test_derivatives_of_what_is_minimised_are_those_of_its_differences(emulator):
    of, candidates = posterior(emulator)
    reduced, moving = of.step_labels(), np.ones(candidates[:, 0].shape, dtype=bool)
    d = np.array([0.6, 0.3])
    _, _, gradient = of.equations(reduced.labels(d), moving, reduced.basis)
    for axis in np.eye(2):
        up, down = (of.values(reduced.labels(d + s * axis)).mean() for s in (1e-5, -1e-5))
        assert -(up - down) / 2e-5 / 2 == pytest.approx(gradient @ axis, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("search", ["bayesian", "gradient"])
def test_the_search_is_nearer_to_the_truth_than_the_first_match_and_the_published_form(
    emulator, search
):
    flux, components, residual, candidates = stars(emulator, n=30)
    settings = QUICK.changed(form="steps", search=search)
    found = fit_group(emulator, components, residual, candidates, settings, seed=1)
    published = QUICK.changed(form="published")
    theirs = fit_group(emulator, components, residual, candidates, published, seed=1)
    truth = np.random.default_rng([3, 30]).uniform([5500, 3.5, -0.6], [6000, 4.5, -0.1], (30, 3))
    error, first, other = (
        np.abs(labels - truth).mean(axis=0)
        for labels in (found.labels, candidates[:, 0], theirs.labels)
    )
    assert (error < first).all()
    assert (error < other).all()
    assert found.chi2.mean() <= found.chi2_first.mean()
    assert found.n_dimensions == 2
    # The distilled emulator, in fewer components, finds about the same labels.
    small, _ = distil(emulator, DistilSettings())
    again = fit_group(
        small, *project(small, flux, np.full(flux.shape, 1e4)), candidates, settings, seed=1
    )
    scatter = candidates.std(axis=1).mean(axis=0)
    assert (np.abs(again.labels - found.labels).mean(axis=0) < 0.2 * scatter).all()
