"""The scale of residuals: injected scales come back, with the uncertainty that is claimed."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamostvac.numerics.kernel import rbf
from lamostvac.uncertainty.scale_process import (
    COARSE,
    Bases,
    ScaleProcess,
    _likelihood,
    read_process,
    scaling_of,
    train,
    write_process,
)

pytestmark = pytest.mark.numeric

NAMES = ("teff", "logg")


def stars(n, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.column_stack([rng.uniform(4500, 6500, n), rng.uniform(1, 5, n)])
    return labels, np.exp(rng.uniform(np.log(8), np.log(200), n)), rng


def true_scale(labels, snr):
    return (0.02 + 2.0 / snr) * np.exp(0.25 * (3.0 - labels[:, 1]))


@pytest.mark.parametrize("predicted", [False, True], ids=["errors", "corrections"])
def test_an_injected_scale_comes_back(predicted):
    labels, snr, rng = stars(4000)
    scale = true_scale(labels, snr)
    residual = rng.normal(0, scale)
    base = 0.02 + 2.0 / snr if predicted else None
    process = train(scaling_of(labels, NAMES, snr), labels, residual, snr, base)
    new, new_snr, _ = stars(2000, seed=1)
    found = process.factor_of_error(new, new_snr) * (0.02 + 2.0 / new_snr if predicted else 1.0)
    ratio = found / true_scale(new, new_snr)
    assert np.median(ratio) == pytest.approx(1, abs=0.04)
    assert np.quantile(np.abs(np.log(ratio)), 0.9) < 0.25


def test_coarse_errors_of_giants_and_dwarfs_come_apart_from_few_stars():
    """As absolute magnitudes of K stars: the same error predicted, four times the scatter."""
    rng = np.random.default_rng(5)
    giant = rng.random(180) < 0.4
    labels = np.column_stack([rng.uniform(4000, 5200, 180), np.where(giant, 2.5, 4.6)])
    labels[:, 1] += 0.2 * rng.normal(size=180)
    residual = np.where(giant, 0.48, 0.12) * rng.normal(size=180)
    scaling, base = scaling_of(labels, NAMES), np.full(180, 0.25)
    apart = []
    for amplitudes in (COARSE, None):
        process = train(scaling, labels, residual, base=base, amplitudes=amplitudes)
        factor = process.factor_of_error(np.array([[4600.0, 2.5], [4600.0, 4.6]]))
        apart.append(factor[0] / factor[1])
    assert 2.8 < apart[0] < 5.5
    assert apart[1] < 0.8 * apart[0]


def test_what_is_known_besides_is_taken_off():
    labels, _, rng = stars(4000)
    residual = np.hypot(0.1, 0.15) * rng.normal(size=4000)
    process = train(scaling_of(labels, NAMES), labels, residual, known=np.full(4000, 0.15))
    assert np.median(process.factor_of_error(labels)) == pytest.approx(0.1, rel=0.08)


def test_errors_that_are_right_stay_and_a_few_wild_residuals_hardly_matter():
    labels, _, rng = stars(3000)
    base = rng.uniform(0.5, 2, 3000)
    residual = base * rng.normal(size=3000)
    scaling = scaling_of(labels, NAMES)
    factor = train(scaling, labels, residual, base=base).factor_of_error(labels)
    np.testing.assert_allclose(factor, 1, atol=0.08)
    residual[::50] *= 30
    wild = train(scaling, labels, residual, base=base).factor_of_error(labels)
    assert np.median(wild / factor) < 1.08


def test_without_residuals_predicted_errors_stay():
    labels, _, _ = stars(50)
    process = train(scaling_of(labels, NAMES), labels[:0], np.empty(0), base=np.empty(0))
    mean, deviation = process.evaluate(labels)
    np.testing.assert_array_equal(mean, 0)
    assert (deviation > 0.3).all()  # nobody knows
    assert process.n == 0


def test_the_claimed_uncertainty_of_the_scale_is_its_scatter():
    """f of many draws of 300 residuals scatters about the truth as each of them says."""
    labels, _, _ = stars(300)
    pulls = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        process = train(scaling_of(labels, NAMES), labels, rng.normal(size=300), base=np.ones(300))
        mean, deviation = process.evaluate(np.array([[5500.0, 3.0]]))
        pulls.append(mean[0] / deviation[0])
    assert 0.5 < np.std(pulls) < 1.3
    assert abs(np.mean(pulls)) < 0.5


def test_the_order_of_stars_and_weights_of_half_say_the_same():
    labels, snr, rng = stars(500)
    residual = rng.normal(0, true_scale(labels, snr))
    scaling = scaling_of(labels, NAMES, snr)
    once = train(scaling, labels, residual, snr)
    twice = train(
        scaling,
        np.repeat(labels, 2, axis=0),
        np.repeat(residual, 2),
        np.repeat(snr, 2),
        weight=np.full(1000, 0.5),
    )
    np.testing.assert_allclose(
        once.factor_of_error(labels, snr), twice.factor_of_error(labels, snr), rtol=1e-5
    )
    order = rng.permutation(500)
    other = train(scaling, labels[order], residual[order], snr[order])
    np.testing.assert_allclose(
        once.factor_of_error(labels, snr), other.factor_of_error(labels, snr), rtol=5e-3
    )


def test_the_curvature_without_known_errors_is_the_one_of_vanishing_known_errors():
    """Nothing known: one curvature for all steps. Something known: one for each step."""
    labels, snr, rng = stars(800)
    residual, scaling = rng.normal(0, true_scale(labels, snr)), scaling_of(labels, NAMES, snr)
    weight = rng.choice([0.5, 1.0], 800)
    some, none = (
        train(scaling, labels, residual, snr, known=np.full(800, known), weight=weight)
        for known in (1e-12, 0.0)
    )
    assert some.amplitude == none.amplitude
    np.testing.assert_allclose(none.mean, some.mean, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(none.root, some.root, rtol=1e-6, atol=1e-9)


def test_labels_that_learn_from_the_same_stars_find_the_points_that_represent_them():
    labels, snr, rng = stars(600)
    bases, scaling = Bases(), scaling_of(labels, NAMES, snr)
    again = scaling_of(labels[:300], NAMES, snr[:300])
    for _ in range(3):  # by turns, as random and systematic parts
        for n, scale in ((600, scaling), (300, again)):
            residual = rng.normal(0, true_scale(labels, snr))[:n]
            shared = train(scale, labels[:n], residual, snr[:n], bases=bases)
            alone = train(scale, labels[:n], residual, snr[:n])
            for name in ("points", "factor", "mean", "root"):
                np.testing.assert_array_equal(getattr(shared, name), getattr(alone, name))
    assert bases.made == 4  # two length scales of either


def test_mean_and_deviation_are_those_of_the_features():
    """More stars than are taken at once; f's features are written out."""
    labels, snr, rng = stars(3000)
    process = train(
        scaling_of(labels, NAMES, snr), labels, rng.normal(0, true_scale(labels, snr)), snr
    )
    mean, deviation = process.evaluate(labels, snr)
    kernel = rbf(
        process.scaling(labels, snr), process.points, process.amplitude, process.length_scale
    )
    features = np.linalg.solve(process.factor, kernel.T).T
    with_constant = np.column_stack([np.ones(len(labels)), features])
    np.testing.assert_allclose(mean, with_constant @ process.mean, rtol=1e-9)
    covariance = process.root @ process.root.T
    missed = process.amplitude**2 - (features**2).sum(axis=1)
    variance = np.einsum("ij,jk,ik->i", with_constant, covariance, with_constant) + missed
    np.testing.assert_allclose(deviation, np.sqrt(variance), rtol=1e-6)


def test_slope_and_curvature_are_derivatives_of_the_likelihood():
    rng = np.random.default_rng(0)
    f, residual, base, known = (
        rng.normal(0, 0.5, 9),
        rng.normal(0, 2, 9),
        rng.uniform(0.5, 2, 9),
        rng.uniform(0, 1, 9),
    )
    step = 1e-5
    ahead, behind = (_likelihood(f + sign * step, residual, base, known)[0] for sign in (1, -1))
    np.testing.assert_allclose(
        (ahead - behind) / (2 * step), _likelihood(f, residual, base, known)[1], rtol=1e-6
    )


def test_a_process_comes_back_from_its_file(tmp_path):
    labels, snr, rng = stars(200)
    process = train(scaling_of(labels, NAMES, snr), labels, rng.normal(size=200), snr)
    with h5py.File(tmp_path / "p.h5", "w") as handle:
        write_process(handle.create_group("p"), process)
    with h5py.File(tmp_path / "p.h5") as handle:
        again = read_process(handle["p"])
    assert isinstance(again, ScaleProcess)
    np.testing.assert_array_equal(
        again.factor_of_error(labels, snr), process.factor_of_error(labels, snr)
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=True, allow_infinity=True),
            st.floats(allow_nan=True, allow_infinity=True),
            st.floats(allow_nan=True, allow_infinity=True),
            st.floats(allow_nan=True, allow_infinity=True),
        ),
        max_size=12,
    )
)
def test_wild_rows_are_left_out_and_never_spoil_the_others(wild):
    labels, snr, rng = stars(60)
    residual = rng.normal(size=60)
    scaling = scaling_of(labels, NAMES, snr)
    rows = np.array(wild, np.float64).reshape(-1, 4)
    rows[np.abs(rows[:, 3]) < 1e30, 3] = np.nan  # a residual that is finite counts, however large
    process = train(
        scaling,
        np.concatenate([labels, rows[:, :2]]),
        np.concatenate([residual, rows[:, 3]]),
        np.concatenate([snr, np.abs(rows[:, 2])]),
    )
    assert np.isfinite(process.factor_of_error(labels, snr)).all()


@pytest.mark.parametrize("amplitude", [0.0, -0.3])
def test_a_file_with_an_amplitude_that_is_not_positive_is_refused(tmp_path, amplitude):
    labels, snr, rng = stars(50)
    process = train(scaling_of(labels, NAMES, snr), labels, rng.normal(size=50), snr)
    with h5py.File(tmp_path / "p.h5", "w") as handle:
        write_process(handle.create_group("p"), process)
        handle["p/amplitude"][()] = amplitude
        with pytest.raises(ValueError, match="amplitude has values outside"):
            read_process(handle["p"])
