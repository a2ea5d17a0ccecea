"""Stars unlike those that a source learned from are found, and their errors cover what it may miss."""

from dataclasses import replace

import numpy as np
import pytest

from lamostvac.recommend.combine import apply, combine, fit_all
from lamostvac.recommend.definitions import Definition, result_columns
from lamostvac.recommend.files import load, save
from lamostvac.recommend.known import (
    ENOUGH,
    NEIGHBOURS,
    STEPS,
    Kinds,
    KnownStars,
    places_of,
)
from lamostvac.recommend.learned import LeftOut
from lamostvac.recommend.settings import Recommended, Settings

pytestmark = pytest.mark.numeric
SETTINGS = Settings(snr_band="snrr", **Recommended().model_dump(exclude={"definitions"}))
NOBODY = np.full(1, -1)


def one_star(teff=5040.0, logg=4.0, feh=0.0):
    return {"teff": np.array([teff]), "logg": np.array([logg]), "feh": np.array([feh])}


def known_at(feh, star=None):
    """Stars of one Teff and log g, with these [Fe/H]."""
    feh = np.asarray(feh, float)
    columns = {"teff": np.full(len(feh), 5040.0), "logg": np.full(len(feh), 4.0), "feh": feh}
    return KnownStars.of(columns, "feh", np.arange(len(feh)) if star is None else np.array(star))


@pytest.mark.parametrize(
    ("change", "few"),
    [
        ({}, False),
        ({"feh": -0.29}, False),
        ({"feh": -0.31}, True),
        ({"logg": 3.51}, False),
        ({"logg": 3.49}, True),
        ({"teff": 5040 / 1.09}, False),
        ({"teff": 5040 / 1.11}, True),
        ({"logg": 3.6, "feh": -0.2}, True),
        ({"teff": np.nan}, True),
    ],
)
def test_stars_are_alike_within_one_step_in_all_labels_together(change, few):
    known = known_at(np.zeros(ENOUGH))
    assert known.few(places_of(one_star(**change)), NOBODY).tolist() == [few]


def test_a_star_is_not_its_own_company_nor_do_its_spectra_count_twice():
    known, place = known_at(np.zeros(ENOUGH)), places_of(one_star())
    assert known.few(place, np.array([ENOUGH - 1])).tolist() == [True]
    assert known.few(place, np.array([ENOUGH])).tolist() == [False]
    often = known_at(np.zeros(ENOUGH + 3), star=[0, 1, 2, 3, 3, 3, 3, 3])
    assert len(often.star) == ENOUGH - 1
    assert often.few(place, NOBODY).tolist() == [True]


def test_the_error_covers_the_way_to_the_nearest_known_stars():
    columns = one_star(feh=-3.0)
    known = known_at([*np.full(ENOUGH, -2.0), *np.full(50, 0.0)])
    found = Kinds(columns).support(columns["feh"], known, NOBODY)
    assert found.few.tolist() == [True]
    assert found.correlation[0] == pytest.approx(np.exp(-0.5 * (1.0 / 0.3 - 1.0) ** 2))
    assert found.missing[0] == pytest.approx(np.sqrt((1.0 - found.correlation[0] ** 2) / 3))
    near = one_star(feh=-2.1)
    found = Kinds(near).support(near["feh"], known, NOBODY)
    assert (found.correlation.tolist(), found.missing.tolist()) == ([1.0], [0.0])
    # The only stars that there are; the star itself is not one of them.
    few = Kinds(columns).support(columns["feh"], known_at([-2.0, -3.0]), np.array([1]))
    assert few.missing[0] == pytest.approx(1.0 / np.sqrt(3))
    assert few.correlation.tolist() == [0.0]
    none = Kinds(columns).support(columns["feh"], known_at([]), NOBODY)
    assert (none.correlation.tolist(), none.missing.tolist()) == ([0.0], [0.0])


def test_stars_that_labels_share_are_searched_once(monkeypatch):
    near, asked = KnownStars._near, []
    monkeypatch.setattr(
        KnownStars, "_near", lambda self, *given: asked.append(self) or near(self, *given)
    )
    columns = one_star(feh=-5.0)
    known = known_at([*np.full(ENOUGH, -2.0), *np.full(3, 0.0)])
    logg = replace(known, labels=known.labels + 6.0)
    kinds = Kinds(columns)
    of_feh = kinds.support(columns["feh"], known, NOBODY)
    searches = len(asked)
    of_logg = kinds.support(columns["logg"], logg, NOBODY)
    assert len(asked) == searches
    assert of_feh.missing[0] == pytest.approx(3.0 / np.sqrt(3))
    assert of_logg.missing[0] == pytest.approx(0.0, abs=1e-12)
    # The star is one of them, or they are others: another search.
    found = kinds.support(columns["feh"], known, np.array([2]))
    assert found.missing[0] == pytest.approx(np.sqrt((4 * 9.0 + 3 * 25.0) / 7 / 3))
    found = kinds.support(columns["feh"], known_at(np.full(ENOUGH, -5.0)), NOBODY)
    assert found.few.tolist() == [False]


def survey(n=3000, seed=1):
    """Two systems of which the networks learned from stars above -1, and answer -1 below."""
    rng = np.random.default_rng(seed)
    feh = rng.uniform(-3, 0.5, n)
    columns = {"snrr": np.full(n, 50.0), "teff": rng.normal(5500, 100, n), "logg": np.full(n, 4.4)}
    columns |= {"feh": feh + rng.normal(0, 0.3, n), "feh_err": np.full(n, 0.3)}
    columns |= {
        "feh_w": np.maximum(feh, -1.0) + rng.normal(0, 0.1, n),
        "feh_w_err": np.full(n, 0.1),
    }
    for name in result_columns("feh"):
        columns[name] = np.zeros(n, np.uint8 if "source" in name or "flag" in name else float)
    rows = np.empty(n, [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    some = np.flatnonzero(feh > -1)[:600]
    left_out = LeftOut(some, rows["feh_w"][some], feh[some], np.full(600, np.nan), some)
    return feh, rows, {"feh_w": left_out}


LIBRARY = np.column_stack([np.full(400, 5500.0), np.full(400, 4.4), np.linspace(-4, 1.5, 400)])


def definition(scale):
    sources = [
        {"column": "feh", "system": "emulator", "bit": 0},
        {"column": "feh_w", "system": "networks", "bit": 2},
    ]
    entry = {"label": "feh", "scale": [scale], "prior": 1.0, "sources": sources}
    return Definition.model_validate(entry)


@pytest.mark.parametrize("scale", ["feh_w", "feh"])
def test_beyond_the_training_stars_the_value_follows_the_system_that_knows(scale, tmp_path):
    """The networks say -1 with an error of 0.1, the emulator is right with one of 0.3."""
    feh, rows, left_out = survey()
    fitted = fit_all(rows, [definition(scale)], SETTINGS, None, left_out, LIBRARY)
    apply(rows, fitted, [definition(scale)], SETTINGS, left_out, LIBRARY)
    # By the label that the stars' kind is told by.
    beyond, among = rows["feh"] < -2.5, (feh > -0.5) & (feh < 0)
    off = np.abs(rows["feh_rec"] - feh)
    assert not rows["flag_feh_extrapolated"][among].any()
    assert rows["flag_feh_extrapolated"][beyond].mean() < 0.05
    assert off[among].mean() < 0.12
    assert (off / rows["feh_rec_err"])[beyond].mean() < 1.5
    # Without what is known of the training stars.
    before = survey()[1]
    apply(before, [replace(fitted[0], known={})], [definition(scale)], SETTINGS, left_out)
    assert off[beyond].mean() < 0.6 * np.abs(before["feh_rec"] - feh)[beyond].mean()
    save(tmp_path / "relations.h5", fitted)
    again = survey()[1]
    apply(again, load(tmp_path / "relations.h5"), [definition(scale)], SETTINGS, left_out, LIBRARY)
    assert again.tobytes() == rows.tobytes()


@pytest.mark.parametrize("scale", ["feh_w", "feh"])
def test_where_only_the_networks_count_beyond_their_stars_the_value_is_flagged(scale):
    """Emulator errors that say nothing leave the networks, whose error covers what they miss."""
    feh, rows, left_out = survey()
    rows["feh_err"] = 30.0
    stated = SETTINGS.changed(weights="stated")
    fitted = fit_all(rows, [definition(scale)], stated, None, left_out, LIBRARY)
    apply(rows, fitted, [definition(scale)], stated, left_out, LIBRARY)
    beyond = feh < -2.2
    assert rows["flag_feh_extrapolated"][beyond].mean() > 0.95
    assert not rows["flag_feh_extrapolated"][(feh > -0.5) & (feh < 0)].any()
    # They are off by the whole way to their stars, of which all parts are taken as equally likely.
    # The stated error of 0.1 is the one of stars among those.
    assert np.median(rows["feh_rec_err"][beyond]) > 0.4
    pulls = np.abs(rows["feh_rec"] - feh)[beyond] / rows["feh_rec_err"][beyond]
    assert 1.0 < np.median(pulls) < 3.5


def half_related(n=4000, seed=2):
    """The emulator is 0.4 below the networks' scale where these have training stars, above -1, and
    on it below -2.2, where the networks answer at random. Truth, columns, left-out stars.
    """
    rng = np.random.default_rng(seed)
    feh = np.where(rng.random(n) < 0.7, rng.uniform(-1, 0.5, n), rng.uniform(-3, -2.2, n))
    known = feh > -1
    columns = {"snrr": np.full(n, 50.0), "teff": np.full(n, 5500.0), "logg": np.full(n, 4.4)}
    columns |= {"feh": feh - 0.4 * known + rng.normal(0, 0.05, n), "feh_err": np.full(n, 0.05)}
    answers = np.where(known, feh, rng.uniform(-1, 0.5, n)) + rng.normal(0, 0.05, n)
    columns |= {"feh_w": answers, "feh_w_err": np.full(n, 0.05)}
    some = np.flatnonzero(known)[:800]
    left_out = LeftOut(some, answers[some], feh[some], np.full(800, np.nan), some)
    return feh, columns, {"feh_w": left_out}


def test_a_relation_is_not_applied_where_the_scale_has_no_known_stars():
    feh, columns, left_out = half_related()
    label = definition("feh_w")
    (fitted,) = fit_all(columns, [label], SETTINGS, None, left_out, LIBRARY)
    relation = fitted.relations["feh"]
    assert fitted.scale == "feh_w"
    # The random answers have no part in it.
    assert relation.n == pytest.approx((feh > -1).sum(), rel=0.02)
    assert relation.shift == pytest.approx(0.4, abs=0.02)
    alone = columns | {"feh_w": np.full(len(feh), np.nan)}
    found = combine(alone, label, fitted, 3.0, "snrr", None, LIBRARY)
    value, error, extrapolated = found[0], found[1], found[4]
    among, beyond = (feh > -0.8) & (feh < 0.3), feh < -2.6
    assert np.median((value - feh)[among]) == pytest.approx(0.0, abs=0.02)
    assert np.median((value - feh)[beyond]) == pytest.approx(0.0, abs=0.02)
    assert np.median(error[among]) < 0.08
    # Nothing says that the scales do not differ by as much as elsewhere.
    assert np.median(error[beyond]) == pytest.approx(np.hypot(0.4, 0.05), rel=0.1)
    assert not extrapolated.any()
    # Relations know nothing of this without the training stars.
    (blind,) = fit_all(columns, [label], SETTINGS)
    off = combine(alone, label, blind, 3.0, "snrr")[0] - feh
    assert np.abs(np.median(off[beyond])) > 0.2


def test_a_relation_fades_without_a_step():
    _, columns, left_out = half_related()
    label = definition("feh_w")
    (fitted,) = fit_all(columns, [label], SETTINGS, None, left_out, LIBRARY)
    n = 20_001
    grid = {name: np.full(n, values[0]) for name, values in columns.items()}
    grid |= {"feh": np.linspace(-3, 0.4, n), "feh_w": np.full(n, np.nan)}
    value, error, *_ = combine(grid, label, fitted, 3.0, "snrr", None, LIBRARY)
    correction = value - grid["feh"]
    assert correction[0] == pytest.approx(0.0, abs=1e-4)
    assert correction[-1] == pytest.approx(0.4, abs=0.03)
    # exp(-d^2 / 2) is nowhere steeper than 0.61 a step of 0.3, each point 0.00017 from the next.
    assert np.abs(np.diff(correction)).max() < 0.4 * 0.61 / 0.3 * 0.00017 * 1.5
    # The error's square root rises more steeply where it begins, but by no jump.
    assert np.abs(np.diff(error)).max() < 0.002


def test_the_scale_is_one_that_knows_the_types_stars():
    _, columns, left_out = half_related()
    label = definition("feh_w").model_copy(update={"scale": ["feh_w", "feh"]})
    assert fit_all(columns, [label], SETTINGS, None, left_out)[0].scale == "feh_w"
    few = left_out["feh_w"].chosen(left_out["feh_w"].reference > 0.3)
    (fitted,) = fit_all(columns, [label], SETTINGS, None, {"feh_w": few})
    assert fitted.scale == "feh"
    # And a library may have too few as well.
    library = np.array([[5500.0, 4.4, -2.9]] * 10)
    (fitted,) = fit_all(columns, [label], SETTINGS, None, left_out, library)
    assert fitted.scale == "feh_w"
    assert fitted.relations["feh"].is_identity


def test_a_value_that_rests_on_the_emulator_alone_is_no_extrapolation_of_networks():
    _, rows, left_out = survey()
    rows["feh_w_err"] = np.nan
    (fitted,) = fit_all(rows, [definition("feh")], SETTINGS, None, left_out)
    assert not combine(rows, definition("feh"), fitted, snr_band="snrr")[4].any()


def test_a_run_that_trained_nothing_flags_nothing():
    _, rows, _ = survey()
    (fitted,) = fit_all(rows, [definition("feh")], SETTINGS)
    assert not combine(rows, definition("feh"), fitted, snr_band="snrr")[4].any()


def test_a_value_of_the_emulator_rests_on_the_stars_of_its_library():
    """The flag is set where the library has few stars, and the error grows away from them."""
    _, rows, _ = survey()
    rows["feh_w_err"] = np.nan
    (fitted,) = fit_all(rows, [definition("feh")], SETTINGS)
    library = np.column_stack([np.full(400, 5500.0), np.full(400, 4.4), np.linspace(-1, 0.5, 400)])
    apply(rows, [fitted], [definition("feh")], SETTINGS, None, library)
    near = (rows["feh"] > -1.2) & (rows["feh"] < 0.7)
    flagged = rows["flag_feh_extrapolated"] == 1
    assert flagged[rows["feh"] < -1.35].all()
    assert flagged[near].mean() < 0.05
    assert (rows["feh_rec_err"][~flagged] == np.float32(0.3)).all()
    far = rows["feh"] < -2.5
    covered = (-1 - rows["feh"][far]) / np.sqrt(3)
    np.testing.assert_allclose(rows["feh_rec_err"][far], np.hypot(0.3, covered), rtol=0.02)


def test_the_steps_are_those_of_the_documents():
    assert (*STEPS, ENOUGH, NEIGHBOURS) == (0.1, 0.5, 0.3, 5, 7)


def test_as_many_neighbours_with_their_weights_count_like_enough_with_equal_ones():
    places = np.random.default_rng(3).uniform(-20, 20, (64_000, 3))  # one in a unit's cube
    known = KnownStars(places, np.zeros(len(places)), np.arange(len(places)))
    asked = np.random.default_rng(4).uniform(-10, 10, (2000, 3))
    near, weight, distance = known.nearest(asked, np.full(2000, -1))
    assert near.shape == (2000, NEIGHBOURS)
    assert ((weight > 0) & (weight < 1)).all()
    assert (np.diff(weight, axis=1) < 0).all()
    counts = weight.sum(axis=1) ** 2 / (weight**2).sum(axis=1)
    assert counts.mean() == pytest.approx(ENOUGH, abs=0.3)
    off = np.linalg.norm(places[near] - asked[:, None], axis=2)
    np.testing.assert_allclose(off[:, ENOUGH - 1], distance)
