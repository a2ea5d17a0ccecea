"""Library stars are fitted by emulators that have not seen them, nor another visit to them."""

import numpy as np
import pytest
from toy import BUILD, toy_library

from lamostvac.fit import crossvalidation
from lamostvac.fit.crossvalidation import cross_validate, folds_by_star
from lamostvac.fit.settings import FitSettings

pytestmark = pytest.mark.numeric

SETTINGS = FitSettings(flux_floor=0.003, calibration_scale=0.0, prior="none")


def run(library, folds=3, seed=1, **keywords):
    return cross_validate(
        library, [(4800.5, 8700.0)], BUILD, folds=folds, seed=seed, fit=SETTINGS, **keywords
    )


def visits(n):
    """Names of n visits, every third a second visit of the star before."""
    return [f"7-{i - (i % 3 == 2)}_{i}_101_57000" for i in range(n)]


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_visits_of_one_star_share_a_fold_and_folds_are_even(folds):
    ids = np.array(visits(90))
    fold = folds_by_star(ids, folds, seed=3)
    stars = np.array([name.split("_")[0] for name in ids])
    assert len(np.unique(stars)) == 60
    for star in np.unique(stars):
        assert len(np.unique(fold[stars == star])) == 1
    counts = np.bincount([fold[stars == star][0] for star in np.unique(stars)], minlength=folds)
    assert counts.max() - counts.min() <= 1


def test_folds_depend_on_the_seed_and_on_nothing_else():
    ids = np.array(visits(60))
    few = np.array(["a_1", "a_2", "b_1", "c_1", "d_1", "e_1", "e_2"])
    assert folds_by_star(few, 3, 1).tolist() == [1, 1, 2, 0, 1, 0, 0]
    assert (folds_by_star(ids, 5, 1) != folds_by_star(ids, 5, 2)).any()
    # the order of the library does not matter
    np.testing.assert_array_equal(folds_by_star(ids[::-1], 5, 1), folds_by_star(ids, 5, 1)[::-1])


@pytest.fixture(scope="module")
def table():
    seen = []
    library = toy_library(150, ids=visits(150))
    result = run(library, progress=seen.append)
    assert sum(seen) == 150
    return library, result


def test_every_spectrum_has_one_row_in_the_librarys_order(table):
    library, result = table
    assert list(result["id"]) == list(library.ids)
    for name in ("teff", "logg", "feh"):
        np.testing.assert_array_equal(result[f"{name}_true"], library.labels[name])
        assert {name, f"{name}_err", f"{name}_first"} <= set(result.columns)
    np.testing.assert_array_equal(result["fold"], folds_by_star(library.ids, 3, 1))
    assert set(result["spectral_type"]) == {"K", "G", "F"}


def test_the_labels_of_unseen_stars_come_back(table):
    _, result = table
    for name, tolerance in (("teff", 60), ("logg", 0.12), ("feh", 0.08)):
        difference = result[name] - result[f"{name}_true"]
        first = result[f"{name}_first"] - result[f"{name}_true"]
        assert difference.abs().median() < tolerance
        assert (
            difference.abs().median() < 0.5 * first.abs().median()
        )  # much better than the first guess
        pull = difference / result[f"{name}_err"]
        assert 0.5 < 1.4826 * pull.abs().median() < 1.7


def test_no_emulator_sees_a_star_of_its_own_fold(monkeypatch):
    library = toy_library(90, ids=visits(90))
    stars = np.array([name.split("_")[0] for name in library.ids])
    trained, build = [], crossvalidation.build_emulator

    def spy(*arguments, rows, **keywords):
        trained.append(set(rows))
        return build(*arguments, rows=rows, **keywords)

    monkeypatch.setattr(crossvalidation, "build_emulator", spy)
    result = run(library, folds=2)
    assert len(trained) == 2
    for number, rows in enumerate(trained):
        fitted = set(stars[result["fold"] == number])
        assert not fitted & set(stars[sorted(rows)])


def test_the_library_stays_as_it_was_and_a_second_run_is_the_same():
    library = toy_library(90, ids=visits(90))
    flux, ivar, labels = library.flux.copy(), library.ivar.copy(), library.labels.copy()
    first, second = run(library, folds=2), run(library, folds=2)
    assert first.equals(second)
    np.testing.assert_array_equal(library.flux, flux)
    np.testing.assert_array_equal(library.ivar, ivar)
    assert library.labels.equals(labels)
