"""Stars of the library are labelled by emulators that have not seen them, all others by the whole one."""

import numpy as np
import pytest
from toy import BUILD, toy_library

from lamostvac.core.exceptions import UserError
from lamostvac.emulator.model import build_emulator, write_emulator
from lamostvac.fit.crossvalidation import cross_validate
from lamostvac.fit.fitter import StarFitter
from lamostvac.fit.left_out import fold_by_star, left_out_fitter, library_folds
from lamostvac.fit.settings import FitSettings
from lamostvac.library.library import write_library

pytestmark = pytest.mark.numeric

SETTINGS = FitSettings(flux_floor=0.003, calibration_scale=0.0, prior="none")
MASKED = [(4800.5, 8700.0)]
ARCSEC = 1 / 3600
N = 90


def test_a_spectrum_has_the_fold_of_the_nearest_star_within_the_radius():
    ra = 10.0 + ARCSEC * np.array([0.0, 2.9, 6.5, 7.5])
    star_ra, dec = 10.0 + ARCSEC * np.array([0.0, 4.0]), np.zeros(4)
    # The second is 2.9 arcsec from one star of the library and 1.1 from the other.
    assert fold_by_star(ra, dec, star_ra, dec[:2], [3, 1]).tolist() == [3, 1, 1, -1]
    assert fold_by_star(ra, dec, star_ra, dec[:2], [3, 1], radius=1.0).tolist() == [3, -1, -1, -1]
    # across right ascension 0
    assert fold_by_star([0.0004], [0.0], [359.9999], [0.0], [4]).tolist() == [4]
    assert fold_by_star([np.nan], [0.0], [10.0], [0.0], [4]).tolist() == [-1]
    assert fold_by_star([], [], star_ra, dec[:2], [3, 1]).tolist() == []


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A library whose stars have places, its whole emulator and those without each of three folds."""
    folder = tmp_path_factory.mktemp("left_out")
    library = toy_library(N, snr=100.0)
    library.labels["ra"], library.labels["dec"] = np.arange(N) * 0.1, np.full(N, 20.0)
    paths = {fold: folder / f"{fold}.h5" for fold in range(3)}
    table = cross_validate(
        library, MASKED, BUILD, 3, 1, SETTINGS,
        keep=lambda fold, emulator: write_emulator(emulator, paths[fold], {}),
    )  # fmt: skip
    write_library(library, folder / "library.h5")
    table.to_csv(folder / "crossvalidation.csv", index=False)
    write_emulator(build_emulator(library, MASKED, BUILD), folder / "whole.h5", {})
    stars = (folder / "library.h5", folder / "crossvalidation.csv")
    return library, table, folder / "whole.h5", list(paths.values()), stars


def test_folds_of_a_library_are_those_of_its_crossvalidation(files):
    library, table, _, _, stars = files
    found = library_folds(stars)
    assert found["ra"].tolist() == library.labels["ra"].tolist()
    assert found["fold"].tolist() == table["fold"].tolist()


def test_a_star_of_the_library_has_the_labels_of_its_crossvalidation(files):
    """Its spectra, wherever in the survey's order, are never fitted by an emulator that knows them."""
    library, table, whole, without, stars = files
    fitter = left_out_fitter(whole, without, library_folds(stars), SETTINGS)
    order = np.random.default_rng(3).permutation(N)[:60]
    other = toy_library(20, snr=100.0, seed=5)
    flux = np.concatenate([library.flux[order], other.flux])
    ivar = np.concatenate([library.ivar[order], other.ivar])
    ra = np.concatenate([library.labels["ra"].to_numpy()[order], np.full(20, 200.0)])
    fold = fitter.folds(ra, np.full(80, 20.0))
    assert (fold[:60] == table["fold"].to_numpy()[order]).all()
    assert (fold[60:] == -1).all()
    done = []
    # One type for all, as in a chunk; the cross-validation has each star's own.
    fits = fitter.fit(flux, ivar, "G", fold, done.append)
    assert sum(done) == 80
    g_stars = table["spectral_type"].to_numpy()[order] == "G"
    assert g_stars.sum() > 5
    expected = table[["teff", "logg", "feh"]].to_numpy()[order]
    errors = table[["teff_err", "logg_err", "feh_err"]].to_numpy()[order]
    left_out = np.abs(fits.labels[:60] - expected)[g_stars] / errors[g_stars]
    assert left_out.max() < 1e-3
    knows_them = StarFitter(fitter.whole.emulator, SETTINGS)
    seen = knows_them.fit(flux, ivar, "G")
    np.testing.assert_allclose(fits.labels[60:], seen.labels[60:], rtol=1e-6)
    assert (np.abs(fits.labels[:60] - seen.labels[:60]) > 1e-3 * fits.errors[:60]).any(axis=1).all()


def test_without_folds_every_star_is_fitted_by_the_whole_emulator(files):
    library, _, whole, _, _ = files
    fitter = left_out_fitter(whole, [], library_folds([]), SETTINGS)
    fold = fitter.folds(library.labels["ra"], library.labels["dec"])
    assert (fold == -1).all()
    found = fitter.fit(library.flux[:8], library.ivar[:8], "F", fold[:8])
    expected = fitter.whole.fit(library.flux[:8], library.ivar[:8], "F")
    assert found.labels.tobytes() == expected.labels.tobytes()
    assert fitter.fit(library.flux[:0], library.ivar[:0], "F", fold[:0]).labels.shape == (0, 3)


def test_an_emulator_of_a_fold_that_is_gone_is_named(files, tmp_path):
    library, _, whole, without, stars = files
    fitter = left_out_fitter(
        whole, [tmp_path / "gone.h5", *without[1:]], library_folds(stars), SETTINGS
    )
    with pytest.raises((UserError, FileNotFoundError), match=r"gone\.h5"):
        fitter.fit(library.flux[:2], library.ivar[:2], "G", np.array([0, -1]))
