"""Weights learned on left-out stars: wrong errors become right, and nothing is learned from nothing."""

import numpy as np
import pytest

from lamostvac.recommend.combine import apply, combine, fit_all
from lamostvac.recommend.correlations import Correlation
from lamostvac.recommend.definitions import Definition
from lamostvac.recommend.files import in_words, load, save
from lamostvac.recommend.learned import LeftOut, correlation_of, fit_scale, learn, with_left_out
from lamostvac.recommend.relations import LabelRelations, identity
from lamostvac.recommend.scales import ErrorScale, place
from lamostvac.recommend.settings import Recommended, Settings

pytestmark = pytest.mark.numeric
SETTINGS = Settings(snr_band="snrr", **Recommended().model_dump(exclude={"definitions"}))
LABEL = Definition.model_validate(
    {
        "label": "a",
        "scale": ["e"],
        "prior": 100.0,
        "sources": [
            {"column": "e", "system": "emulator", "bit": 0},
            {"column": "s", "system": "survey", "bit": 6},
            {"column": "w", "system": "networks", "bit": 2},
        ],
    }
)
PLAIN = LabelRelations(
    "a", "e", {name: identity() for name in "esw"},
    {(a, b): Correlation(0.0, (1.0, 1.0), 1000) for a, b in ("es", "ew", "sw")},
)  # fmt: skip


def width(pulls):
    return 1.4826 * np.median(np.abs(pulls - np.median(pulls)))


def three_systems(seed=1, n=20_000, rho=0.5):
    """Truth, columns: stated errors of 1, of which 0.5, 1.5 and a function of S/N are true."""
    rng = np.random.default_rng(seed)
    truth, snr, teff = rng.normal(0, 5, n), 10 ** rng.uniform(1, 2, n), rng.uniform(4500, 7000, n)
    noise = rng.normal(size=(3, n))
    noise[2] = rho * noise[1] + np.sqrt(1 - rho**2) * noise[2]
    true = np.array([np.full(n, 0.5), np.full(n, 1.5), 0.6 * np.sqrt(40 / snr)])
    columns = {"snrr": snr, "teff": teff, "feh": rng.normal(-0.5, 0.5, n), "logg": np.full(n, 4.4)}
    for name, error, own in zip("esw", true, noise, strict=True):
        columns |= {name: truth + error * own, f"{name}_err": np.ones(n)}
    return truth, columns | {"a": columns["e"]}, true


def left_out_of(truth, columns, rows):
    return {"w": LeftOut(rows, columns["w"][rows], truth[rows], np.full(len(rows), np.nan), rows)}


def test_wrong_errors_become_right_and_the_mean_better_than_any_system():
    truth, columns, true = three_systems()
    known = left_out_of(truth, columns, np.arange(4000))
    learned = learn(columns, LABEL, PLAIN, known, SETTINGS)
    at = place(columns, "snrr")
    for name, error in zip("esw", true, strict=True):
        inside = (columns["snrr"] > 12) & (columns["snrr"] < 90)
        np.testing.assert_allclose(
            learned.scales[name].factor(at)[inside], error[inside], rtol=0.12
        )
    assert learned.correlation("s", "w") == pytest.approx(0.5, abs=0.06)
    assert learned.correlation("w", "e") == pytest.approx(0.0, abs=0.06)
    others = np.arange(4000, len(truth))
    value, error, source, *_ = combine(columns, LABEL, learned, 3.0, "snrr")
    assert width((value - truth)[others] / error[others]) == pytest.approx(1.0, abs=0.06)
    stated = combine(columns, LABEL, PLAIN)[0]
    got, best = width((value - truth)[others]), width((columns["w"] - truth)[others])
    assert got < 0.95 * best < 0.95 * width((stated - truth)[others])
    assert set(source) <= {0b101, 0b100, 0b1, 0b1000101, 0b1000100}


def test_a_source_without_left_out_stars_keeps_its_stated_error():
    truth, columns, _ = three_systems(n=3000)
    assert learn(columns, LABEL, PLAIN, {}, SETTINGS) is PLAIN
    columns["s"][:] = np.nan
    learned = learn(columns, LABEL, PLAIN, left_out_of(truth, columns, np.arange(3000)), SETTINGS)
    assert learned.scales["s"].n == 0
    assert (learned.scales["s"].factor(place(columns, "snrr")) == 1).all()
    assert learned.learned[("e", "s")] == 0.0


def test_errors_grow_with_the_distance_from_the_stars_that_a_source_learned_from():
    rng = np.random.default_rng(9)
    truth, columns, _ = three_systems(n=8000)
    columns["d"] = 10 ** rng.uniform(-1, 0.2, len(truth))
    columns["s"] = truth + columns["d"] * rng.normal(size=len(truth))
    sources = [LABEL.sources[0], LABEL.sources[1].model_copy(update={"distance": "d"})]
    label = LABEL.model_copy(update={"sources": [*sources, LABEL.sources[2]]})
    known = left_out_of(truth, columns, np.arange(8000))
    scale = learn(columns, label, PLAIN, known, SETTINGS).scales["s"]
    columns["d"][:5] = 0.2, 0.5, 1.0, 2.5, np.nan
    found = scale.factor(place(columns, "snrr", "d"))
    # 2.5 is farther than any star that was known; where nothing is known it is as at the median.
    np.testing.assert_allclose(found[:4], [1 / 3, 0.5, 1.0, 2.5], rtol=0.15)
    assert found[4] == pytest.approx(10**-0.4, rel=0.15)
    learned = learn(columns, label, PLAIN, known, SETTINGS)
    value, error, *_ = combine(columns, label, learned, 3.0, "snrr")
    assert np.isfinite(value).all()
    assert (error > 0).all()


def test_few_stars_change_little():
    truth, columns, _ = three_systems()
    known = left_out_of(truth, columns, np.arange(4))
    scale = learn(columns, LABEL, PLAIN, known, SETTINGS).scales["s"]
    assert 0.8 < scale.factor(place(columns, "snrr")[:100]).min() < 1.3


def test_factors_are_bounded_also_far_from_the_stars():
    steep = np.array([3.0, 5.0, -5.0, 1.0])
    scale = ErrorScale(steep, np.zeros(3), np.array([[-1.0, 1.0]] * 3), 100)
    at = np.array([[1e9, 0, 0], [-1e9, 1e9, 1e9], [np.nan] * 3, [0, 0, 0]])
    factor = scale.factor(at)
    assert ((factor > 0.333) & (factor < 3.001)).all()
    assert factor[2] == factor[3]


def test_the_errors_of_the_reference_are_not_the_sources():
    rng = np.random.default_rng(7)
    n, own, reference = 20_000, 1.0, 1.5
    blunder = rng.normal(0, reference, n)
    residuals = [rng.normal(0, own, n) - blunder for _ in range(2)]
    at = rng.normal(size=(n, 3))
    for residual in residuals:
        scale = fit_scale(residual, np.ones(n), np.full(n, reference), at, 30)
        assert np.exp(scale.coefficients[0]) == pytest.approx(own, rel=0.07)
    rho = correlation_of(*residuals, np.full(n, reference**2), 0.0)
    assert rho == pytest.approx(0.0, abs=0.12)


@pytest.mark.parametrize(("prior", "rho"), [(0.3, 0.3), (0.3, 0.45)])
def test_a_correlation_of_few_stars_is_nearer_the_truth_than_what_they_say(prior, rho):
    """And of many it is what they say."""
    rng = np.random.default_rng(12)
    cholesky = np.linalg.cholesky([[1, rho], [rho, 1]])

    def found(n, times):
        pairs = cholesky @ rng.normal(size=(times, 2, n))
        return np.array([correlation_of(a, b, np.zeros(n), prior) for a, b in pairs])

    few = found(25, 400)
    alone = 1 / np.sqrt(0.37 * 25)  # how well 25 stars know it, by medians
    assert np.sqrt(np.mean((few - rho) ** 2)) < 0.7 * alone
    assert found(40_000, 3) == pytest.approx(rho, abs=0.03)


def test_few_stars_with_a_reference_no_better_than_the_label_change_little():
    """With errors of the reference 13 % too large, these would make the label's own 0.76 of theirs."""
    rng = np.random.default_rng(11)
    found = []
    for _ in range(20):
        residual = rng.normal(0, np.hypot(1.0, 1.24), 130)
        at = rng.normal(size=(130, 3))
        scale = fit_scale(residual, np.ones(130), np.full(130, 1.4), at, 30)
        found.append(scale.factor(np.zeros((1, 3)))[0])
    assert 0.88 < np.median(found) < 1.05


def test_a_tenth_of_blunders_does_not_move_a_factor():
    rng = np.random.default_rng(8)
    residual, at = rng.normal(0, 2.0, 4000), rng.normal(size=(4000, 3))
    residual[::10] = 1000.0
    factor = np.exp(fit_scale(residual, np.ones(4000), np.zeros(4000), at, 30).coefficients[0])
    assert 2.0 <= factor < 2.4


def test_a_training_star_gets_what_the_network_says_without_it():
    """What the network learned by heart is neither in the value nor in the factors."""
    truth, columns, _ = three_systems(n=2000)
    honest = columns["w"].copy()
    columns["w"] = truth.copy()
    rows = np.arange(0, 2000, 2)
    known = {"w": LeftOut(rows, honest[rows], truth[rows], np.full(1000, np.nan), rows)}
    seen = with_left_out(columns, {"w", "e"}, known)
    assert (seen["w"][rows] == honest[rows]).all()
    assert (seen["w"][1::2] == truth[1::2]).all()
    assert (columns["w"] == truth).all()


def as_rows(columns):
    """A table of the columns, with those of the recommended label."""
    columns = columns | {
        f"a_{end}": np.zeros(len(columns["e"])) for end in ("rec", "rec_err", "rec_err_random")
    }
    columns |= {f"{name}_err_random": columns[f"{name}_err"] / 2 for name in "esw"}
    columns |= {"a_rec_source": np.zeros(len(columns["e"]), np.uint8)}
    flags = ("flag_a_disagree", "flag_a_extrapolated")
    columns |= {name: np.zeros(len(columns["e"]), np.uint8) for name in flags}
    rows = np.empty(len(columns["e"]), [(name, v.dtype) for name, v in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    return rows


def test_the_table_is_filled_the_same_in_any_blocks_and_with_a_file_between(tmp_path, monkeypatch):
    truth, columns, _ = three_systems(n=3000)
    known = left_out_of(truth, columns, np.random.default_rng(2).permutation(3000)[:1500])
    known = {"w": known["w"].chosen(np.argsort(known["w"].rows))}
    rows = as_rows(columns)
    fitted = fit_all(rows, [LABEL], SETTINGS, None, known)
    apply(rows, fitted, [LABEL], SETTINGS, known)
    save(tmp_path / "relations.h5", fitted)
    again = as_rows(columns)
    monkeypatch.setattr("lamostvac.recommend.combine._BLOCK", 700)
    apply(again, load(tmp_path / "relations.h5"), [LABEL], SETTINGS, known)
    assert again.tobytes() == rows.tobytes()
    # Half of each stated error of 1 is random, by the relation's slope, whatever factors and weights.
    np.testing.assert_allclose(rows["a_rec_err_random"], 0.5, rtol=0.01)
    assert width((rows["a_rec"] - truth) / rows["a_rec_err"]) == pytest.approx(1.0, abs=0.1)
    text = "\n".join(in_words(fitted))
    assert "errors of e times 0." in text
    assert "1500 left-out stars" in text


def test_stated_weights_learn_nothing():
    truth, columns, _ = three_systems(n=1000)
    known = left_out_of(truth, columns, np.arange(1000))
    stated = SETTINGS.changed(weights="stated")
    (fitted,) = fit_all(as_rows(columns), [LABEL], stated, None, known)
    assert not fitted.scales
    assert not fitted.learned
