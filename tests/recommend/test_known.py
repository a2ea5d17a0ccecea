"""Stars unlike those that a source learned from are found, and their errors cover what it may miss."""

from dataclasses import replace

import numpy as np
import pytest

from lamostvac.recommend.combine import apply, combine, fit_all
from lamostvac.recommend.definitions import Definition, result_columns
from lamostvac.recommend.files import load, save
from lamostvac.recommend.known import ENOUGH, STEPS, Kinds, KnownStars, places_of
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
    few, missing = Kinds(columns).spread(columns["feh"], known, NOBODY)
    assert few.tolist() == [True]
    assert missing[0] == pytest.approx(1.0 / np.sqrt(3))
    near = one_star(feh=-2.1)
    assert Kinds(near).spread(near["feh"], known, NOBODY)[1].tolist() == [0.0]
    # The only stars that there are; the star itself is not one of them.
    few, missing = Kinds(columns).spread(columns["feh"], known_at([-2.0, -3.0]), np.array([1]))
    assert missing[0] == pytest.approx(1.0 / np.sqrt(3))
    assert Kinds(columns).spread(columns["feh"], known_at([]), NOBODY)[1].tolist() == [0.0]


def test_stars_that_labels_share_are_searched_once(monkeypatch):
    near, asked = KnownStars._near, []
    monkeypatch.setattr(
        KnownStars, "_near", lambda self, *given: asked.append(self) or near(self, *given)
    )
    columns = one_star(feh=-3.0)
    known = known_at([*np.full(ENOUGH, -2.0), 0.0])
    logg = replace(known, labels=known.labels + 6.0)
    kinds = Kinds(columns)
    _, of_feh = kinds.spread(columns["feh"], known, NOBODY)
    searches = len(asked)
    _, of_logg = kinds.spread(columns["logg"], logg, NOBODY)
    assert len(asked) == searches
    assert of_feh[0] == pytest.approx(1.0 / np.sqrt(3))
    assert of_logg[0] == pytest.approx(0.0, abs=1e-12)
    # The star is one of them, or they are others: another search.
    few, missing = kinds.spread(columns["feh"], known, np.array([2]))
    assert missing[0] == pytest.approx(np.sqrt((4 * 1.0 + 9.0) / 5 / 3))
    few, _ = kinds.spread(columns["feh"], known_at(np.full(ENOUGH, -3.0)), NOBODY)
    assert few.tolist() == [False]


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


def definition(scale):
    sources = [
        {"column": "feh", "system": "emulator", "bit": 0},
        {"column": "feh_w", "system": "networks", "bit": 2},
    ]
    entry = {"label": "feh", "scale": [scale], "prior": 1.0, "sources": sources}
    return Definition.model_validate(entry)


@pytest.mark.parametrize("scale", ["feh_w", "feh"])
def test_values_beyond_the_training_stars_are_flagged_and_their_errors_grow(scale, tmp_path):
    feh, rows, left_out = survey()
    fitted = fit_all(rows, [definition(scale)], SETTINGS, None, left_out)
    apply(rows, fitted, [definition(scale)], SETTINGS, left_out)
    flagged = rows["flag_feh_extrapolated"] == 1
    assert flagged[feh < -2.2].mean() > 0.95
    assert flagged[(feh > -0.5) & (feh < 0)].mean() < 0.05
    before = survey()[1]
    apply(before, [replace(fitted[0], known={})], [definition(scale)], SETTINGS, left_out)
    assert (before["feh_rec"] == rows["feh_rec"]).all()
    wider = rows["feh_rec_err"] / before["feh_rec_err"]
    assert (wider[~flagged] == 1).all()
    assert np.median(wider[flagged & (feh < -2.2)]) > 2
    save(tmp_path / "relations.h5", fitted)
    again = survey()[1]
    apply(again, load(tmp_path / "relations.h5"), [definition(scale)], SETTINGS, left_out)
    assert again.tobytes() == rows.tobytes()


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
    """The flag is set where the library has few stars, and the emulator's error stays its own."""
    _, rows, _ = survey()
    rows["feh_w_err"] = np.nan
    (fitted,) = fit_all(rows, [definition("feh")], SETTINGS)
    library = np.column_stack([np.full(400, 5500.0), np.full(400, 4.4), np.linspace(-1, 0.5, 400)])
    apply(rows, [fitted], [definition("feh")], SETTINGS, None, library)
    near = (rows["feh"] > -1.2) & (rows["feh"] < 0.7)
    flagged = rows["flag_feh_extrapolated"] == 1
    assert flagged[rows["feh"] < -1.35].all()
    assert flagged[near].mean() < 0.05
    assert (rows["feh_rec_err"] == np.float32(0.3)).all()


def test_the_steps_are_those_of_the_documents():
    assert (*STEPS, ENOUGH) == (0.1, 0.5, 0.3, 5)
