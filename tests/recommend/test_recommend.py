"""Recommended values: relations with the true slope, weights that know the correlation, errors that hold."""

import dataclasses

import h5py
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from registries import PROJECT, REGISTRY, shipped_registry

from lamostvac.catalog.registry import load_registry
from lamostvac.core.exceptions import UserError
from lamostvac.recommend import combine as recommend_combine
from lamostvac.recommend.combine import apply, combine, fit_all
from lamostvac.recommend.correlations import Correlation, fit_correlation
from lamostvac.recommend.definitions import (
    Definition,
    Source,
    load_definitions,
    ramp,
    validity,
)
from lamostvac.recommend.files import load, save
from lamostvac.recommend.relations import (
    LabelRelations,
    Relation,
    fit_label,
    fit_relation,
    identity,
)
from lamostvac.recommend.settings import Recommended, Settings

pytestmark = pytest.mark.numeric
DEFINITIONS = PROJECT / "config" / "recommended.yaml"
SETTINGS = Settings(snr_band="snrr", **Recommended().model_dump(exclude={"definitions"}))


def two_sources(**change):
    """A label `a` with one source from each system, valid where `where` says."""
    return Definition.model_validate(
        {
            "label": "a",
            "scale": ["e"],
            "prior": 100.0,
            "sources": [
                {"column": "e", "system": "emulator", "bit": 0},
                {"column": "w", "system": "networks", "bit": 2} | change,
            ],
        }
    )


def relations(rho=0.0, shares=(1.0, 1.0), relation=None):
    return LabelRelations(
        "a",
        "e",
        {"e": identity(), "w": relation or identity()},
        {("e", "w"): Correlation(rho, shares, 1000)},
    )


def noise(rng, n, e1, e2, rho):
    first = rng.normal(size=n)
    second = rho * first + np.sqrt(1 - rho**2) * rng.normal(size=n)
    return e1 * first, e2 * second


def width(pulls):
    return 1.4826 * np.median(np.abs(pulls - np.median(pulls)))


# ---------------------------------------------------------------- ranges


@given(st.floats(-10, 10), st.floats(1e-6, 1e-3))
def test_a_range_has_no_steps(x, step):
    low, high = (ramp(np.array([value]), (-1.0, 2.0, 0.5))[0] for value in (x, x + step))
    # 3 t^2 - 2 t^3 is nowhere steeper than 1.5 per taper.
    assert abs(high - low) <= 1.5 * step / 0.5 * (1 + 1e-6)
    assert 0 <= low <= 1


def test_a_range_is_full_inside_and_nothing_outside():
    x = np.array([-1.0, -0.5, 0.0, 1.5, 2.0, 5.0, np.nan, np.inf])
    assert ramp(x, (-1.0, 2.0, 0.5)).tolist() == [0, 1, 1, 1, 0, 0, 0, 0]
    assert ramp(x, (None, 0.0, 0.0)).tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


# ---------------------------------------------------------------- relations


@pytest.mark.parametrize("rho", [0.0, 0.6])
@pytest.mark.parametrize("slope", [0.8, 1.0, 1.25])
def test_the_relation_has_the_slope_of_the_true_values(rho, slope):
    """Errors as large as half the range of the stars; y on x is off by a fifth."""
    rng = np.random.default_rng(5)
    n = 40_000
    truth = rng.normal(0, 1, n)
    e1, e2 = rng.uniform(0.3, 0.7, n), rng.uniform(0.2, 0.5, n)
    dx, dy = noise(rng, n, e1, e2, rho)
    x, y = truth + dx, 0.3 + slope * truth + dy
    relation = fit_relation(x, e1, y, e2, correlation=rho, prior=10.0)
    at = np.array([-1.0, 1.0])
    value, gradient, *_ = relation.apply(at, [])
    assert (value[1] - value[0]) / 2 == pytest.approx(slope, abs=0.02)
    assert gradient == pytest.approx([slope, slope], abs=0.02)
    assert value.mean() == pytest.approx(0.3, abs=0.02)
    assert relation.scatter < 0.15
    naive = np.polyfit(x, y, 1)[0]
    assert abs(naive - slope) > 0.05


def test_the_relations_error_covers_what_it_gets_wrong():
    pulls = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        truth = rng.uniform(-1, 1, 150)
        x, y = truth + rng.normal(0, 0.2, 150), 0.1 + 0.9 * truth + rng.normal(0, 0.2, 150)
        relation = fit_relation(x, np.full(150, 0.2), y, np.full(150, 0.2), prior=10.0)
        value, _, variance, _ = dataclasses.replace(relation, scatter=0.0).apply(
            np.array([0.5]), []
        )
        pulls.append((value[0] - 0.55) / np.sqrt(variance[0]))
    assert 0.8 < np.std(pulls) < 1.2
    assert abs(np.mean(pulls)) < 0.25


def test_curve_covariate_and_scatter_are_found_among_outliers():
    rng = np.random.default_rng(2)
    n = 20_000
    truth, teff = rng.uniform(0, 5, n), rng.uniform(4000, 6000, n)
    error = np.full(n, 0.1)
    x = truth + rng.normal(0, 0.1, n)
    y = (
        truth
        + 0.04 * (truth - 2.5) ** 2
        + 1e-4 * (teff - 5000)
        + rng.normal(0, np.hypot(0.1, 0.15), n)
    )
    y[::20] += 3.0
    relation = fit_relation(x, error, y, error, [teff], order=2, prior=1.0)
    for t, g in [(1.0, 4500.0), (2.5, 5500.0), (4.0, 5000.0)]:
        value = relation.apply(np.array([t]), [np.array([g])])[0][0]
        assert value == pytest.approx(t + 0.04 * (t - 2.5) ** 2 + 1e-4 * (g - 5000), abs=0.04)
    assert relation.scatter == pytest.approx(0.15, abs=0.03)


def test_outside_its_stars_the_correction_stays():
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 1, 500)
    relation = fit_relation(x, np.full(500, 0.01), 1.2 * x, np.full(500, 0.01), prior=10.0)
    value, slope, *_ = relation.apply(np.array([3.0, 9.0]), [])
    assert value[1] - value[0] == pytest.approx(6.0)
    assert slope.tolist() == [1.0, 1.0]
    assert value[0] - 3.0 == pytest.approx(0.2, abs=0.02)


def test_at_the_limits_of_the_correction_its_slope_goes_over_within_an_error():
    limits = np.array([[0.0, 1.0]])
    relation = Relation(1, np.array([0.0, 0.2]), np.zeros((2, 2)), limits, n=100)
    x, error = np.array([0.5, 0.9, 1.0, 1.05, 1.2]), np.full(5, 0.1)
    slope = relation.apply(x, [], error=error)[1]
    np.testing.assert_allclose(slope, [1.4, 1.4, 1.2, 1.1, 1.0])
    np.testing.assert_allclose(relation.apply(x[:2], [])[1], 1.4)
    half = relation.apply(x, [], np.full(5, 0.5), error)[1]
    np.testing.assert_allclose(half - 1.0, 0.5 * (slope - 1.0))


def test_few_stars_change_little():
    """The prior holds a correction that two stars would ask for."""
    x = np.array([1.0, 2.0])
    relation = fit_relation(x, np.ones(2), x + 5.0, np.ones(2), prior=0.1)
    assert np.abs(relation.coefficients).max() < 0.2


def shrunk(rng, truth, error):
    """The mean of what the truth can be, given a measurement with an error, and the scatter of the truth about it."""
    a = truth.var() / (truth.var() + error**2)
    return truth.mean() + a * (truth + rng.normal(0, error, len(truth)) - truth.mean()), np.sqrt(
        a
    ) * error


@pytest.mark.parametrize("kind", [True, False])
def test_shrunk_values_and_plain_ones_both_get_the_true_relation(kind):
    """Networks draw values to the mean: what is right for one kind is wrong for the other."""
    rng = np.random.default_rng(12)
    n = 40_000
    truth = rng.normal(0, 1, n)
    if kind:
        (e, e_err), (w, w_err) = shrunk(rng, 0.1 + 1.2 * truth, 0.3), shrunk(rng, truth, 0.5)
    else:
        e, e_err = 0.1 + 1.2 * truth + rng.normal(0, 0.3, n), 0.3
        w, w_err = truth + rng.normal(0, 0.5, n), 0.5
    rows = {
        "e": e,
        "e_err": np.full(n, e_err),
        "w": w,
        "w_err": np.full(n, w_err),
        "snrr": np.full(n, 50.0),
    }

    def slope(assumed):
        definition = two_sources(shrunk=assumed)
        sources = [source.model_copy(update={"shrunk": assumed}) for source in definition.sources]
        found = fit_label(
            rows, definition.model_copy(update={"sources": sources}), SETTINGS
        ).relations["w"]
        value = found.apply(np.array([-1.0, 1.0]), [])[0]
        return (value[1] - value[0]) / 2

    assert slope(kind) == pytest.approx(1.2, abs=0.03)
    assert abs(slope(not kind) - 1.2) > 0.08
    if kind:
        # What a shrunk value predicts is the truth's mean on the scale, by definition.
        assert np.polyfit(w, 0.1 + 1.2 * truth, 1)[0] == pytest.approx(1.2, abs=0.02)


def test_what_priors_did_is_no_difference_of_scales():
    """Scales that differ and values that are drawn, in many surveys: errors cover what cannot be told apart."""
    rng = np.random.default_rng(21)
    prior, drawn, pulls, naive = 0.3, 0.4, [], []
    for _ in range(150):
        scales, drawn_by = rng.normal(0, prior), rng.normal(0, drawn)
        truth = rng.uniform(-1, 1, 400)
        x, y = truth + rng.normal(0, 0.1, 400), truth + scales + drawn_by + rng.normal(0, 0.1, 400)
        e = np.full(400, 0.1)
        found = fit_relation(x, e, y, e, order=0, prior=prior, drawn=drawn)
        value, _, variance, common = found.apply(np.zeros(1), [])
        pulls.append((value[0] - scales) / np.sqrt(variance[0] + common[0]))
        as_before = fit_relation(x, e, y, e, order=0, prior=prior)
        naive.append((as_before.apply(np.zeros(1), [])[0][0] - scales) / 0.1)
    assert 0.85 < np.std(pulls) < 1.15
    assert np.std(naive) > 3


def test_a_system_drawn_to_other_stars_does_not_take_the_others_with_it():
    """Hot stars: the emulator hardly sees the label and has its library's mean, 0.8 below that of these stars."""
    rng = np.random.default_rng(22)
    n = 4000
    truth = rng.normal(0, 0.3, n)

    def drawn(error, mean, spread):
        share = spread**2 / (spread**2 + error**2)
        return mean + share * (truth + rng.normal(0, error, n) - mean), np.sqrt(share) * error

    def rows(error):
        (e, e_err), (w, w_err) = drawn(error, -0.8, 0.6), drawn(0.15, 0.0, 0.3)
        errors = {"e_err": np.full(n, e_err), "w_err": np.full(n, w_err)}
        return {"e": e, "w": w, "snrr": np.full(n, 50.0)} | errors

    definition, wrong = two_sources().model_copy(update={"prior": 0.3}), rows(0.6)
    fitted = fit_label(wrong, definition, SETTINGS)
    value, error, *_ = combine(wrong, definition, fitted)
    assert np.median(wrong["e"] - truth) < -0.35
    assert abs(np.median(value - truth)) < 0.6 * abs(np.median(wrong["e"] - truth))
    assert np.mean(np.abs(value - truth) > 3 * error) < 0.01
    # Where both see the label, a difference is one of scales, and is applied.
    right = rows(0.05)
    right["e"] += 0.2
    fitted = fit_label(right, definition, SETTINGS)
    assert fitted.relations["w"].common < 0.1
    value, *_ = combine(right, definition, fitted)
    assert np.median(value - truth) == pytest.approx(0.2, abs=0.03)


def test_a_slope_that_hangs_on_the_errors_is_not_fitted():
    rng = np.random.default_rng(13)
    truth = rng.normal(0, 1, 4000)
    rows = {
        "e": 0.5 + 1.5 * truth + rng.normal(0, 0.1, 4000), "e_err": np.full(4000, 0.1),
        "w": truth + rng.normal(0, 1, 4000), "w_err": np.ones(4000), "snrr": np.full(4000, 50.0),
    }  # fmt: skip
    relation = fit_label(rows, two_sources(), SETTINGS).relations["w"]
    assert len(relation.coefficients) == 1
    assert relation.coefficients[0] == pytest.approx(0.5, abs=0.06)


def test_a_scale_that_few_stars_have_is_not_the_types():
    rng = np.random.default_rng(14)
    n = 1000
    rows = {"snrr": np.full(n, 50.0), "t": np.linspace(0, 1, n)}
    for name in ("e", "w"):
        rows |= {name: rng.normal(0, 1, n), f"{name}_err": np.full(n, 0.1)}
    for share, scale in [(0.6, "w"), (0.4, "e")]:
        definition = two_sources(within={"t": [None, share, 0]}).model_copy(
            update={"scale": ["w", "e"]}
        )
        assert fit_label(rows, definition, SETTINGS).scale == scale


# ---------------------------------------------------------------- correlation


@pytest.mark.parametrize("rho", [-0.3, 0.0, 0.7])
def test_correlation_and_random_share_come_from_repeats(rho):
    rng = np.random.default_rng(8)
    d1, d2 = noise(rng, 20_000, 0.8, 0.5, rho)
    d1[:200] += 30.0
    found = fit_correlation(d1, d2)
    assert found.rho == pytest.approx(rho, abs=0.04)
    assert found.shares == pytest.approx((0.8, 0.5), abs=0.03)
    assert found.total == pytest.approx(rho * 0.4, abs=0.03)


def test_the_parts_that_repeats_do_not_show_have_a_correlation_of_their_own():
    assert Correlation(0.5, (1.0, 1.0), 9, 0.3).total == pytest.approx(0.5)
    assert Correlation(0.5, (0.6, 0.8), 9, 0.3).total == pytest.approx(0.5 * 0.48 + 0.3 * 0.8 * 0.6)


def test_without_repeats_the_correlation_is_the_configured_one():
    assert fit_correlation(np.zeros(0), np.zeros(0), known=0.4) == Correlation(0.4, (1.0, 1.0), 0)
    d = np.random.default_rng(1).normal(size=(2, 30))
    assert 0.1 < fit_correlation(*d, known=0.4).rho < 0.3


# ---------------------------------------------------------------- combination


@pytest.mark.parametrize("rho", [-0.4, 0.0, 0.5, 0.9])
def test_pulls_are_one_and_the_mean_beats_both(rho):
    rng = np.random.default_rng(4)
    n = 50_000
    e1, e2 = rng.uniform(0.5, 1.5, n), rng.uniform(0.5, 1.5, n)
    d1, d2 = noise(rng, n, e1, e2, rho)
    columns = {"e": d1, "e_err": e1, "w": d2, "w_err": e2}
    value, error, source, disagree, *_ = combine(columns, two_sources(), relations(rho))
    assert width(value / error) == pytest.approx(1.0, abs=0.02)
    assert value.std() < min(d1.std(), d2.std())
    assert disagree.mean() == pytest.approx(0.0027, abs=0.001)
    if rho == 0:
        assert set(source) == {5}
        naive = (d1 / e1**2 + d2 / e2**2) / (1 / e1**2 + 1 / e2**2)
        agree = np.abs(d1 - d2) < np.hypot(e1, e2)
        np.testing.assert_allclose(value, naive, atol=1e-6)
        np.testing.assert_allclose(error[agree], ((e1**-2 + e2**-2) ** -0.5)[agree], rtol=1e-6)


def test_everything_together_has_honest_errors():
    """Random and systematic parts, another scale with a slope, and a correlation from repeats: pulls of 1."""
    rng = np.random.default_rng(6)
    n = 8_000
    truth = np.repeat(rng.uniform(4000, 6500, n // 2), 2)
    snr = rng.uniform(20, 100, n)
    random1, random2 = noise(rng, n, 2000 / snr, 3000 / snr, 0.6)
    fixed1, fixed2 = (np.repeat(rng.normal(0, s, n // 2), 2) for s in (40, 50))
    rows = {
        "snrr": snr,
        "e": truth + random1 + fixed1,
        "e_err": np.hypot(2000 / snr, 40),
        "w": 5000 + 1.15 * (truth + random2 + fixed2 - 5100),
        "w_err": 1.15 * np.hypot(3000 / snr, 50),
    }
    pairs = np.arange(0, n, 2), np.arange(1, n, 2)
    fitted = fit_label(rows, two_sources(), SETTINGS.changed(systematic_correlation=0.0), pairs)
    correlation = fitted.correlations[("e", "w")]
    assert correlation.rho == pytest.approx(0.6, abs=0.06)
    value, error, *_ = combine(rows, two_sources(), fitted)
    assert width((value - truth) / error) == pytest.approx(1.0, abs=0.05)
    assert width(value - truth) < 0.95 * min(width(rows["e"] - truth), width(rows["w"] - truth))


def test_a_worse_source_of_correlated_error_gets_no_negative_weight():
    columns = {"e": np.zeros(1), "e_err": np.ones(1), "w": np.ones(1), "w_err": np.full(1, 3.0)}
    value, error, source, *_ = combine(columns, two_sources(), relations(0.9))
    assert (value[0], error[0], source[0]) == (0.0, 1.0, 1)


def test_disagreement_is_flagged_and_the_error_covers_both():
    columns = {
        "e": np.zeros(5),
        "e_err": np.ones(5),
        "w": np.array([1.4, 4.2, 3.0 * np.sqrt(2.0) * (1 + 1e-9), 5.7, 40.0]),
        "w_err": np.ones(5),
    }
    value, error, _, disagree, *_ = combine(columns, two_sources(), relations())
    assert disagree.tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_allclose(value, columns["w"] / 2, rtol=1e-6)
    # Birge: sqrt(1/2) |d| / sqrt(2); at the limit of 3 sigma as likely as not.
    assert error[0] == pytest.approx(np.sqrt(0.5))
    assert error[2] == pytest.approx(np.sqrt(0.5) * (1.0 + 0.5 * (3.0 - 1.0)))
    np.testing.assert_allclose(error[3:], [5.7 / 2, 20.0], rtol=0.03)
    np.testing.assert_allclose(error[4], 20.0, rtol=1e-6)


def test_a_limit_beyond_all_differences_switches_disagreement_off():
    columns = {"e": np.zeros(1), "e_err": np.ones(1), "w": np.array([40.0]), "w_err": np.ones(1)}
    _, error, _, disagree, *_ = combine(columns, two_sources(), relations(), disagreement=1e9)
    assert disagree[0] == 0
    assert error[0] == pytest.approx(np.sqrt(0.5))


def test_correlated_systems_disagree_sooner():
    columns = {"e": np.zeros(1), "e_err": np.ones(1), "w": np.full(1, 2.5), "w_err": np.ones(1)}
    assert combine(columns, two_sources(), relations(0.0))[3][0] == 0
    assert combine(columns, two_sources(), relations(0.8))[3][0] == 1


def test_no_valid_source_is_no_value():
    columns = {
        "e": np.array([np.nan, 1.0, 1.0]),
        "e_err": np.array([1.0, 0.0, np.nan]),
        "w": np.ones(3),
        "w_err": np.ones(3),
        "flag_w": np.array([1, 1, 0]),
    }
    value, error, source, disagree, *_ = combine(
        columns, two_sources(unless=["flag_w"]), relations()
    )
    assert np.isnan(value).tolist() == [True, True, False]
    assert np.isnan(error).tolist() == [True, True, False]
    assert source.tolist() == [0, 0, 4]
    assert not disagree.any()


@pytest.mark.parametrize("errors", [(1.0, 1.0), (1.0, 20.0), (20.0, 1.0)])
@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_no_star_jumps_at_the_border_of_a_range(errors, rho):
    """Also where the clipped weight is 0 or 1 inside, and where either system is the one that ends."""
    t = np.linspace(-2, 6, 8001)
    columns = {
        "e": np.zeros_like(t), "e_err": np.full_like(t, errors[0]), "t": t,
        "w": np.full_like(t, 2.0), "w_err": np.full_like(t, errors[1]),
    }  # fmt: skip
    one = two_sources(within={"t": [0, 4, 1]})
    other = one.model_copy(
        update={
            "sources": [
                one.sources[0].model_copy(update={"within": {"t": (None, 3.0, 1.0)}}),
                one.sources[1].model_copy(update={"within": {"t": (0.0, None, 1.0)}}),
            ]
        }
    )
    for definition in (one, other):
        value, error, source, *_ = combine(columns, definition, relations(rho))
        assert np.isfinite(value).all()
        # Of the step 2 from one to the other at most 1.5 per taper, in a thousandth of it; twice for rounding.
        assert np.abs(np.diff(value)).max() < 2 * 2 * 1.5e-3
        assert np.abs(np.diff(error)).max() < 2 * max(errors) * 3e-3
        assert source[0] == 1


def test_the_next_source_of_a_system_takes_over_smoothly():
    t = np.linspace(0, 10, 4001)
    definition = Definition.model_validate(
        {
            "label": "a",
            "scale": ["e"],
            "prior": 1.0,
            "sources": [
                {"column": "e", "system": "networks", "bit": 0, "within": {"t": [None, 6, 2]}},
                {"column": "w", "system": "networks", "bit": 2},
            ],
        }
    )
    ones = np.ones_like(t)
    value, error, source, disagree, *_ = combine(
        {"e": ones, "e_err": ones, "w": 3 * ones, "w_err": 2 * ones, "t": t},
        definition,
        relations(),
    )
    assert set(value[t <= 4]) == {1.0}
    assert set(value[t >= 6]) == {3.0}
    assert np.abs(np.diff(value)).max() < 2 * 2 * 1.5 * 0.0025 / 2
    np.testing.assert_allclose(error, (value + 1) / 2, rtol=1e-6)
    assert set(source[(t > 4.01) & (t < 5.99)]) == {5}
    assert not disagree.any()


NUMBERS = st.floats(width=32) | st.floats(-10, 10, width=32)


@settings(deadline=None, max_examples=200)
@given(
    arrays(np.float32, (5, 20), elements=NUMBERS),
    st.floats(-0.95, 0.95),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_wild_inputs_give_a_value_with_an_error_or_neither(numbers, rho, slope):
    e, e_err, w, w_err, t = numbers
    columns = {"e": e, "e_err": e_err, "w": w, "w_err": w_err, "t": t}
    mapped = Relation(
        1, np.array([0.1, slope - 1]), np.eye(2) * 1e-4, np.array([[-1.0, 1.0]]), scatter=0.1, n=100
    )
    value, error, source, disagree, *_ = combine(
        columns, two_sources(within={"t": [-5, 5, 1]}), relations(rho, relation=mapped)
    )
    assert (np.isfinite(value) == np.isfinite(error)).all()
    assert (np.isfinite(value) == (source > 0)).all()
    assert (error[np.isfinite(error)] > 0).all()
    assert not disagree[source == 0].any()
    with np.errstate(all="ignore"):
        on_scale = mapped.apply(w.astype(np.float64), [])[0]
    low, high = np.fmin(e, on_scale), np.fmax(e, on_scale)
    used = np.isfinite(value)
    slack = 1e-6 * np.maximum(np.abs(low), np.abs(high))[used] + 1e-30
    assert (value[used] >= low[used] - slack).all()
    assert (value[used] <= high[used] + slack).all()


# ---------------------------------------------------------------- the catalogue


def survey(n=3000, registry=REGISTRY, seed=1):
    """Rows with all labels of both systems about a truth, the networks' on another scale; and pairs of repeats."""
    rng = np.random.default_rng(seed)
    rows = registry.empty(n)
    truth = {
        "teff": np.repeat(rng.uniform(3600, 9000, n // 2), 2),
        "logg": np.repeat(rng.uniform(1, 5, n // 2), 2),
        "feh": np.repeat(rng.uniform(-2.2, 0.4, n // 2), 2),
        "alpha_fe": np.repeat(rng.uniform(-0.1, 0.35, n // 2), 2),
    }
    size = {"teff": 60.0, "logg": 0.1, "feh": 0.08, "alpha_fe": 0.03}
    names = {"alpha_m_apogee": "alpha_fe"}
    for column in registry.names:
        label = names.get(column, column.split("_")[0])
        label = "alpha_fe" if column == "alpha_fe" else label
        known = (
            column in ("teff", "logg", "feh", "alpha_fe")
            or f"flag_cloud_{column}" in registry.names
        )
        if label in size and known:
            rows[column] = truth[label] + rng.normal(0, size[label], n)
            rows[f"{column}_err"] = size[label]
            if column != label:
                rows[column] += 0.5 * size[label]
    if "feh_vmp" in registry.names:
        rows["feh_vmp"][~((rows["feh_pastel"] < -1.5) & (rows["teff_pastel"] < 6500))] = np.nan
    rows["snrr"] = rng.uniform(10, 100, n)
    rows["flag_edge"] = rng.random(n) < 0.05
    rows["flag_alpha_fe"] = rows["teff"] > 7000
    return rows, truth, (np.arange(0, n, 2), np.arange(1, n, 2))


def test_the_shipped_definitions_follow_the_papers():
    rows, truth, pairs = survey()
    definitions = load_definitions(DEFINITIONS, REGISTRY.names)
    apply(rows, fit_all(rows, definitions, SETTINGS, pairs), definitions, SETTINGS)
    good = rows["flag_edge"] == 0
    hot, cool = truth["teff"] > 7400, truth["teff"] < 6000
    assert (rows["alpha_fe_rec_source"][hot] == 0).all()
    assert np.isnan(rows["alpha_fe_rec"][hot]).all()
    # Below 4500 K PASTEL's [Fe/H] has no part, below 3500 K none of its labels.
    assert not (rows["feh_rec_source"][truth["teff"] < 4200] & 4).any()
    poor = cool & (truth["feh"] < -2.1) & (truth["teff"] > 4600)
    assert (rows["feh_rec_source"][poor & good] == 17).mean() > 0.8
    middle = good & cool & (truth["teff"] > 4800)
    assert (rows["logg_rec_source"][middle] == 9).mean() > 0.9
    assert (rows["logg_rec_source"][hot & good & (truth["teff"] < 8500)] == 5).mean() > 0.9
    # Where the fit has failed the networks stand alone.
    assert (rows["teff_rec_source"][~good] == 4).mean() > 0.8
    # Fewer than half of these stars are in APOGEE's range, so that the scale of log g is the emulator's, too.
    for label in ("teff", "logg", "feh", "alpha_fe"):
        pull = (rows[f"{label}_rec"] - truth[label]) / rows[f"{label}_rec_err"]
        pull = pull[np.isfinite(pull) & middle]
        assert abs(np.median(pull)) < 0.15
        assert width(pull) == pytest.approx(1.0, abs=0.1)


def test_without_networks_the_value_is_the_emulators():
    registry = load_registry()
    rows, _, pairs = survey(registry=registry)
    definitions = load_definitions(DEFINITIONS, registry.names)
    apply(rows, fit_all(rows, definitions, SETTINGS, pairs), definitions, SETTINGS)
    good = rows["flag_edge"] == 0
    np.testing.assert_array_equal(rows["teff_rec"][good], rows["teff"][good])
    np.testing.assert_array_equal(rows["logg_rec_err"][good], rows["logg_err"][good])
    assert np.isnan(rows["teff_rec"][~good]).all()
    assert set(rows["feh_rec_source"]) == {0, 1}
    assert not rows["flag_teff_disagree"].any()


def test_cool_giants_take_the_log_g_of_the_second_emulator():
    rows, truth, pairs = survey()
    rows["logg_imig"], rows["logg_imig_err"] = truth["logg"] + 0.35, 0.1
    definitions = load_definitions(DEFINITIONS, REGISTRY.names)
    apply(rows, fit_all(rows, definitions, SETTINGS, pairs), definitions, SETTINGS)
    good = rows["flag_edge"] == 0
    giant, dwarf = truth["logg"] < 3, truth["logg"] > 4.2
    cool, warm = (truth["teff"] > 3700) & (truth["teff"] < 4200), truth["teff"] > 5400
    source = rows["logg_rec_source"]
    assert ((source[good & giant & cool] & 3) == 2).mean() > 0.95
    assert ((source[good & giant & warm] & 3) == 1).all()
    assert ((source[good & dwarf] & 3) == 1).all()


def test_other_networks_take_their_place():
    """The set of LASP's labels, as `make real` has it."""
    registry = shipped_registry("training_sets_real.yaml")
    rows, truth, pairs = survey(registry=registry)
    definitions = load_definitions(DEFINITIONS, registry.names)
    apply(rows, fit_all(rows, definitions, SETTINGS, pairs), definitions, SETTINGS)
    middle = (truth["teff"] < 6900) & (rows["flag_edge"] == 0)
    assert set(rows["logg_rec_source"][middle]) == {33}
    assert set(rows["alpha_fe_rec_source"][middle]) <= {0, 1}


def test_the_order_of_rows_does_not_matter():
    rows, _, (first, second) = survey()
    definitions = load_definitions(DEFINITIONS, REGISTRY.names)
    order = np.random.default_rng(3).permutation(len(rows))
    where = np.argsort(order)
    shuffled = rows[order].copy()
    turned = where[second][::-1], where[first][::-1]
    one, two = (
        fit_all(rows, definitions, SETTINGS, (first, second)),
        fit_all(shuffled, definitions, SETTINGS, turned),
    )
    apply(rows, one, definitions, SETTINGS)
    apply(shuffled, two, definitions, SETTINGS)
    assert rows[order].tobytes() == shuffled.tobytes()


def test_blocks_do_not_matter(monkeypatch):
    rows, _, pairs = survey(1000)
    definitions = load_definitions(DEFINITIONS, REGISTRY.names)
    fitted = fit_all(rows, definitions, SETTINGS, pairs)
    other = rows.copy()
    apply(rows, fitted, definitions, SETTINGS)
    monkeypatch.setattr(recommend_combine, "_BLOCK", 7)
    apply(other, fitted, definitions, SETTINGS)
    assert rows.tobytes() == other.tobytes()


def test_relations_survive_a_file_and_files_are_equal(tmp_path):
    rows, _, pairs = survey()
    definitions = load_definitions(DEFINITIONS, REGISTRY.names)
    fitted = fit_all(rows, definitions, SETTINGS, pairs)
    save(tmp_path / "one.h5", fitted)
    found = load(tmp_path / "one.h5")
    save(tmp_path / "two.h5", found[::-1])
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    other = rows.copy()
    apply(rows, fitted, definitions, SETTINGS)
    apply(other, found, definitions, SETTINGS)
    assert rows.tobytes() == other.tobytes()


def test_relations_of_an_earlier_pack_stay_as_they_were(tmp_path):
    """They do not say what stars have in common of their errors."""
    rows, _, pairs = survey()
    fitted = fit_all(rows, load_definitions(DEFINITIONS, REGISTRY.names), SETTINGS, pairs)
    assert any(r.common > 0 for item in fitted for r in item.relations.values())
    save(tmp_path / "relations.h5", fitted)
    with h5py.File(tmp_path / "relations.h5", "a") as handle:
        for group in handle.values():
            for part in group["relations"].values():
                del part.attrs["common"]
    for before, after in zip(
        sorted(fitted, key=lambda item: item.label), load(tmp_path / "relations.h5"), strict=True
    ):
        for name, relation in before.relations.items():
            assert after.relations[name].common == 0
            np.testing.assert_array_equal(after.relations[name].coefficients, relation.coefficients)


def test_with_few_stars_sources_are_taken_as_they_stand():
    rows, _, pairs = survey(60)
    definitions = load_definitions(DEFINITIONS, REGISTRY.names)
    for item in fit_all(rows, definitions, SETTINGS, (pairs[0][:0], pairs[1][:0])):
        assert all(relation.is_identity for relation in item.relations.values())


def test_no_rows_are_no_trouble():
    definitions = load_definitions(DEFINITIONS, REGISTRY.names)
    rows = REGISTRY.empty(0)
    fitted = fit_all(rows, definitions, SETTINGS)
    assert [item.label for item in fitted] == [item.label for item in definitions]
    assert all(r.is_identity for item in fitted for r in item.relations.values())
    apply(rows, fitted, definitions, SETTINGS)
    assert len(rows) == 0


# ---------------------------------------------------------------- definitions


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda e: e.update(scale=["teff_pastle"]),
            "there is no source teff_pastle; did you mean teff_pastel",
        ),
        (lambda e: e.update(label="mass"), "no column mass_rec"),
        (lambda e: e.update(colour="red"), "colour"),
        (lambda e: e["sources"][0].update(bit=2), "column or bit 2"),
        (
            lambda e: e["sources"][0].update(unless=["flag_edgy"]),
            "no column flag_edgy; did you mean flag_edge",
        ),
        (lambda e: e["sources"][0].update(where="teff <"), "is no expression"),
        (lambda e: e["sources"][0].update(distance="distance_x"), "no column distance_x"),
        (lambda e: e["sources"][1].update(within={"teff": [1, 2, 1]}), "two tapers wide"),
        (lambda e: e.update(covariates=["loggg"]), "no column loggg"),
    ],
)
def test_a_mistake_is_named(tmp_path, change, complaint):
    content = yaml.safe_load(DEFINITIONS.read_text())
    change(content["recommended"][0])
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=complaint):
        load_definitions(tmp_path / "r.yaml", REGISTRY.names)


def test_a_file_that_is_missing_or_empty_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_definitions(tmp_path / "no.yaml", REGISTRY.names)
    (tmp_path / "r.yaml").write_text("labels: []")
    with pytest.raises(UserError, match="a list `recommended:`"):
        load_definitions(tmp_path / "r.yaml", REGISTRY.names)


def test_a_condition_keeps_a_source_to_its_stars():
    definition = two_sources(where="t > 1 and s == 'K'")
    ones = np.ones(3)
    columns = {
        "e": 0 * ones, "e_err": ones, "w": ones, "w_err": ones,
        "t": np.array([0.0, 2.0, 2.0]), "s": np.array(["K", "K", "M"], object),
    }  # fmt: skip
    assert combine(columns, definition, relations())[2].tolist() == [1, 5, 1]
    assert set(Source.model_validate(definition.sources[1].model_dump()).names) >= {"t", "s"}


def test_stars_of_the_real_run_follow_lasp_only_where_lasp_has_their_kind_and_is_right():
    """Validity of both systems that learn from LASP for single stars, by hand."""
    stars = {
        # MILES, its [Fe/H], distance from LASP's stars, survey emulator, networks; who counts beside MILES
        "F star": (6000, -0.2, 0.1, 6010, 6020, True, True),
        "metal-poor dwarf": (5700, -1.8, 0.6, 5710, 5690, True, True),
        "metal-poor giant, of which LASP's library has two": (
            5270,
            -2.3,
            2.1,
            5730,
            5410,
            False,
            True,
        ),
        "A7 star, MILES within its error above 7500 K": (7600, -0.2, 0.1, 7420, 7400, True, False),
        "A star on LASP's branch": (8900, -0.3, 2.2, 8780, 7400, True, False),
        "late B star of the disc": (10_300, 0.0, 0.3, 11_400, 11_300, True, True),
        "horizontal branch of the halo": (7600, -1.4, 1.5, 10_800, 10_200, False, False),
        "B star that LASP has not": (15_000, 0.0, 2.5, 12_000, 12_100, False, False),
    }
    teff, feh, distance, survey, networks, by_survey, by_networks = map(
        np.array, zip(*stars.values(), strict=True)
    )
    text = (PROJECT / "config" / "recommended_real.yaml").read_text()
    for entry in yaml.safe_load(text)["recommended"]:
        definition = Definition.model_validate(entry)
        columns = {name: np.zeros(len(stars)) for s in definition.sources for name in s.names}
        columns |= {f"{s.column}": np.ones(len(stars)) for s in definition.sources}
        columns |= {f"{s.column}_err": np.ones(len(stars)) for s in definition.sources}
        columns |= {"teff": teff, "feh": feh, "teff_survey_lasp": survey, "teff_lasp": networks}
        columns |= {"distance_survey_lasp": distance}
        valid = {s.system: validity(s, columns) > 0.5 for s in definition.sources}
        np.testing.assert_array_equal(valid["emulator"], True)
        np.testing.assert_array_equal(valid["survey"], by_survey)
        if definition.label == "teff":
            np.testing.assert_array_equal(valid["networks"], by_networks)
