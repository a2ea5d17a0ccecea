"""Libraries of every format come out in one form: at rest, in vacuum, at the survey's resolution."""

import gzip
import shutil

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from preparation import masking

from lamostvac.core.exceptions import UserError
from lamostvac.library.formats.mastar import read_mastar
from lamostvac.library.formats.miles import ASSUMED_SNR, read_miles
from lamostvac.library.formats.table import read_table_library
from lamostvac.library.library import (
    RawLibrary,
    label_table,
    prepare_library,
    read_library,
    write_library,
)
from lamostvac.library.resolution import constant_fwhm
from lamostvac.spectra.grid import GRID, vacuum_to_air
from lamostvac.spectra.normalise import prepare_spectrum

PLAIN = masking()
LINES = np.array([4862.69, 5185.05, 6564.61])  # A, vacuum


def absorption(wave, lines=LINES, fwhm=2.5):
    depth = np.exp(-0.5 * ((wave[:, None] - lines) / (fwhm / 2.3548)) ** 2).sum(axis=1)
    return 1 - 0.5 * 2.5 / fwhm * depth


def raw_library(wave, flux, in_air=False, fwhm=2.5, labels=None, snr=100.0):
    flux = np.atleast_2d(flux)
    n = len(flux)
    labels = labels or {"teff": np.full(n, 5000.0), "logg": np.full(n, 4.0), "feh": np.zeros(n)}
    return RawLibrary(
        ids=np.array([f"star{i}" for i in range(n)]),
        wave=wave,
        flux=flux,
        ivar=np.full(flux.shape, snr**2),
        labels=label_table(labels, n),
        in_air=in_air,
        fwhm=constant_fwhm(fwhm),
    )


def prepared(raw, names=("teff", "logg", "feh"), survey_fwhm=None, **keywords):
    return prepare_library(raw, "test", names, PLAIN, survey_fwhm, **keywords)


def centroid(flux, line):
    near = np.abs(GRID - line) < 12
    depth = 1 - flux[near]
    return (GRID[near] * depth).sum() / depth.sum()


def test_a_library_in_air_is_moved_to_vacuum():
    wave = np.arange(3700.0, 9000.0, 0.9)
    in_air = prepared(raw_library(wave, absorption(wave, vacuum_to_air(LINES)), in_air=True))
    in_vacuum = prepared(raw_library(wave, absorption(wave)))
    for line in LINES:
        assert centroid(in_air.flux[0], line) == pytest.approx(line, abs=0.05)
        assert centroid(in_vacuum.flux[0], line) == pytest.approx(line, abs=0.05)


def test_a_sharp_library_is_smoothed_to_the_survey_and_a_blunt_one_is_left_alone():
    wave = np.arange(3700.0, 9000.0, 0.9)
    sharp = prepared(raw_library(wave, absorption(wave, fwhm=2.5)), survey_fwhm=constant_fwhm(4.0))
    blunt = raw_library(wave, absorption(wave, fwhm=4.0), fwhm=4.0)
    np.testing.assert_allclose(sharp.flux, prepared(blunt).flux, atol=0.01)
    same = prepared(blunt, survey_fwhm=constant_fwhm(3.0))
    np.testing.assert_array_equal(same.flux, prepared(blunt).flux)


def test_a_bad_pixel_is_bridged_before_smoothing_and_stays_bad():
    wave = np.arange(3700.0, 9000.0, 0.9)
    raw = raw_library(wave, absorption(wave))
    raw.flux[0, 2000:2003], raw.ivar[0, 2000:2003] = np.nan, 0
    library = prepared(raw, survey_fwhm=constant_fwhm(5.0))
    clean = prepared(raw_library(wave, absorption(wave)), survey_fwhm=constant_fwhm(5.0))
    np.testing.assert_allclose(library.flux, clean.flux, atol=1e-3)
    hit = (GRID > wave[2000]) & (GRID < wave[2002])
    assert (library.ivar[0, hit] == 0).all()
    assert (library.ivar[0] > 0).sum() >= len(GRID) - 5


def test_half_a_median_window_is_given_up_where_the_library_ends_inside_the_grid():
    """There its running median would differ from the survey's, whose window is whole."""
    wave = np.arange(3540.5, 7400.0, 0.9)
    slope = 1 + (wave - 3500) / 2000
    library = prepared(raw_library(wave, absorption(wave) * slope))
    assert library.attributes["coverage_low"] == GRID[0]
    assert wave[-1] - 201 < library.attributes["coverage_high"] <= wave[-1] - 200
    assert not library.ivar[0, wave[-1] - 200 < GRID].any()
    longer = np.arange(3540.5, 9000.0, 0.9)
    flux = absorption(longer) * (1 + (longer - 3500) / 2000)
    whole, _ = prepare_spectrum(longer, flux, np.ones_like(flux), 0.0, PLAIN)
    kept = library.ivar[0] > 0
    np.testing.assert_allclose(library.flux[0, kept], whole[kept], atol=1e-6)


def test_stars_without_a_label_low_in_signal_or_useless_are_left_out():
    wave = np.arange(3700.0, 9000.0, 0.9)
    labels = {
        "teff": np.array([5000.0, np.nan, 5000, 5000, 5000, 99999]),
        "logg": np.full(6, 4.0),
        "feh": np.array([0.0, 0, -9999, 0, 0, 0]),
        "alpha_fe": np.full(6, np.nan),
    }
    raw = raw_library(wave, np.tile(absorption(wave), (6, 1)), labels=labels)
    raw.ivar[3] = 25.0  # S/N 5
    raw.ivar[4] = 0.0
    library = prepared(raw, min_snr=20.0)
    assert list(library.ids) == ["star0"]
    assert list(prepared(raw).ids) == ["star0", "star3"]
    assert list(prepared(raw, names=("logg",)).ids) == ["star0", "star1", "star2", "star3", "star5"]
    assert library.label_array().tolist() == [[5000.0, 4.0, 0.0]]
    with pytest.raises(
        UserError, match=r"none of the 6 spectra of test has .* lower library.min_snr"
    ):
        prepared(raw, names=("teff", "alpha_fe"))


def test_a_library_without_any_overlap_or_with_unordered_pixels_is_the_users_mistake():
    wave = np.arange(9000.0, 10000.0)
    with pytest.raises(UserError, match="do not reach the survey's"):
        prepared(raw_library(wave, np.ones(len(wave))))
    wave = np.arange(9000.0, 3500.0, -0.9)
    with pytest.raises(UserError, match="do not increase"):
        prepared(raw_library(wave, np.ones(len(wave))))


def test_the_raw_library_stays_as_it_was_and_progress_counts_every_spectrum():
    wave = np.arange(3700.0, 9000.0, 0.9)
    raw = raw_library(wave, np.tile(absorption(wave), (3, 1)))
    raw.ivar[1] = 0
    copies = raw.flux.copy(), raw.ivar.copy()
    seen = []
    prepared(raw, survey_fwhm=constant_fwhm(4.0), progress=seen.append)
    np.testing.assert_array_equal(raw.flux, copies[0])
    np.testing.assert_array_equal(raw.ivar, copies[1])
    assert sum(seen) == 3


def test_a_library_is_read_as_it_was_written_and_same_library_same_bytes(tmp_path):
    wave = np.arange(3700.0, 9000.0, 0.9)
    library = prepared(raw_library(wave, np.tile(absorption(wave), (3, 1))))
    for name in ("a.h5", "b.h5"):
        write_library(library, tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    again = read_library(tmp_path / "a.h5")
    assert (again.name, again.label_names) == (library.name, library.label_names)
    assert list(again.ids) == list(library.ids)
    np.testing.assert_array_equal(again.flux, library.flux)
    np.testing.assert_array_equal(again.ivar, library.ivar)
    np.testing.assert_array_equal(again.label_array(), library.label_array())
    assert again.labels["alpha_fe"].isna().all()
    assert again.attributes == library.attributes


MASTAR_WAVE = 10 ** (3.5589 + 1e-4 * np.arange(4563))


def write_table(path, columns, header=None):
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column(name, form, array=np.asarray(values))
            for name, form, values in columns
            if values is not None
        ]
    )
    hdu.header.update(header or {})
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return path


def mastar_files(folder, spectra=None, labels=None):
    """Six visits of five stars; `spectra` and `labels` replace columns, None takes one away."""
    n, p = 6, len(MASTAR_WAVE)
    stars = ["7-1", "7-1", "7-2", "7-3", "7-4", "7-5"]
    visits = {
        "MANGAID": ("12A", stars),
        "PLATE": ("J", [1, 2, 1, 1, 1, 1]),
        "IFUDESIGN": ("6A", ["101"] * n),
        "MJD": ("J", [57000 + i for i in range(n)]),
    }
    flux = np.tile(absorption(MASTAR_WAVE), (n, 1)) * np.arange(1, n + 1)[:, None]
    mask = np.zeros((n, p), dtype="i4")
    mask[0, 100] = 8
    made = visits | {
        "WAVE": (f"{p}D", np.tile(MASTAR_WAVE, (n, 1))),
        "FLUX": (f"{p}E", flux),
        "IVAR": (f"{p}E", np.ones((n, p))),
        "MASK": (f"{p}J", mask),
        "MJDQUAL": ("J", [0, 0, 64, 0, 0, 0]),
    }
    order = [5, 2, 0, 1, 4]  # the table of labels has its own order and lacks the fourth visit

    def reorder(values):
        return [values[i] for i in order]

    numbers = {
        "NGROUPS": ("J", [4, 3, 4, 4, 0, 2]),
        "TEFF_MED": ("E", [5000, 5010, 6000, 7000, 8000, 9000]),
        "TEFF_MED_ERR": ("E", [50, 51, 60, 70, 80, -999]),
        "LOGG_MED": ("E", [4.0, 4.1, 4.2, 4.3, 4.4, 4.5]),
        "LOGG_JI": ("E", [3.0, 3.1, 3.2, 3.3, 3.4, -999]),
        "FEH_MED": ("E", [-9.0] * n),
        "FEH_CAL_MED": ("E", [-0.1, -0.2, -0.3, -0.4, -0.5, -0.6]),
        "ALPHA_MED": ("E", [0.1, 0.1, 0.1, 0.1, 0.1, -999]),
    }
    parameters = {
        name: (form, reorder(values)) for name, (form, values) in (visits | numbers).items()
    }
    made |= spectra or {}
    parameters |= labels or {}
    return (
        write_table(folder / "goodspec.fits", [(k, *v) for k, v in made.items() if v]),
        write_table(folder / "goodvisits.fits", [(k, *v) for k, v in parameters.items() if v]),
    )


def test_mastar_visits_are_matched_with_their_own_labels_and_the_bad_ones_left_out(tmp_path):
    """Left out are MJDQUAL = 64 (third), no row in the table of labels (fourth), NGROUPS = 0 (fifth)."""
    raw = read_mastar(*mastar_files(tmp_path))
    assert list(raw.ids) == ["7-1_1_101_57000", "7-1_2_101_57001", "7-5_1_101_57005"]
    assert raw.labels["teff"].tolist() == [5000, 5010, 9000]
    np.testing.assert_allclose(
        raw.labels["feh"], [-0.1, -0.2, -0.6], rtol=1e-6
    )  # the calibrated one
    np.testing.assert_allclose(raw.labels["logg"], [4.0, 4.1, 4.5], rtol=1e-6)
    np.testing.assert_allclose(raw.flux[:, 0], [1, 2, 6])
    assert raw.ivar[0, 100] == 0  # masked
    assert raw.ivar[1, 100] == 1
    assert not raw.in_air
    np.testing.assert_allclose(raw.fwhm(np.array([5400.0])), 3.0)


def test_minus_999_is_a_missing_label(tmp_path):
    raw = read_mastar(*mastar_files(tmp_path))
    assert np.isnan(raw.labels["alpha_fe"].iloc[2])
    assert np.isnan(raw.labels["teff_err"].iloc[2])
    assert raw.labels["teff_err"].iloc[:2].tolist() == [50, 51]
    assert raw.labels["logg_err"].isna().all()  # the table has no such column


def test_the_log_g_of_one_team_can_be_asked_for(tmp_path):
    raw = read_mastar(*mastar_files(tmp_path), label_columns={"logg": "LOGG_JI"})
    np.testing.assert_allclose(raw.labels["logg"], [3.0, 3.1, np.nan], rtol=1e-6)
    assert raw.labels["teff"].tolist() == [5000, 5010, 9000]


def test_labels_of_one_team_have_its_errors_and_its_word_that_they_are_valid(tmp_path):
    # In the order of the table of labels, whose third row is that of the first visit and whose fourth of the second.
    own = {"VALID_JI": ("I", [1, 1, 1, 0, 1]), "LOGG_ERR_JI": ("E", [0.5, 0.3, 0.1, 0.2, 0.4])}
    raw = read_mastar(*mastar_files(tmp_path, labels=own), label_columns={"logg": "LOGG_JI"})
    np.testing.assert_allclose(raw.labels["logg"], [3.0, np.nan, np.nan], rtol=1e-6)
    np.testing.assert_allclose(raw.labels["logg_err"], [0.1, np.nan, 0.5], rtol=1e-6)
    assert raw.labels["teff_err"].iloc[:2].tolist() == [50, 51]


def test_labels_of_stars_serve_all_their_visits(tmp_path):
    no_visits = dict.fromkeys(("PLATE", "IFUDESIGN", "MJD"))
    raw = read_mastar(*mastar_files(tmp_path, labels=no_visits))
    # the star's first row in the table of labels is that of its first visit
    assert raw.labels["teff"].tolist() == [5000, 5000, 9000]
    assert list(raw.ids) == ["7-1_1_101_57000", "7-1_2_101_57001", "7-5_1_101_57005"]


def mistakes(folder):
    """Each mistake with MaStar files and what its sentence must name."""
    n, p = 6, len(MASTAR_WAVE)
    shifted = np.tile(MASTAR_WAVE, (n, 1))
    shifted[1] += 1
    yield (
        "labels of another release",
        mastar_files(folder, labels={"MANGAID": ("12A", ["3-9"] * 5)}),
        "same MaStar",
    )
    yield (
        "no label vouched for",
        mastar_files(folder, labels={"NGROUPS": ("J", [0] * 5)}),
        "labels_file",
    )
    yield "no FLUX", mastar_files(folder, spectra={"FLUX": None}), "has no column FLUX"
    yield (
        "no MANGAID",
        mastar_files(folder, labels={"MANGAID": None}),
        "labels_file: .* has no column MANGAID",
    )
    yield (
        "two grids",
        mastar_files(folder, spectra={"WAVE": (f"{p}D", shifted)}),
        "one wavelength grid",
    )


def test_each_mistake_with_mastar_files_is_one_sentence(tmp_path):
    for name, files, sentence in mistakes(tmp_path):
        with pytest.raises(UserError, match=sentence) as mistake:
            read_mastar(*files)
        assert "\n" not in str(mistake.value), name
    spectra, labels = mastar_files(tmp_path)
    with pytest.raises(
        UserError, match=r"library.label_columns.logg: .* no column LOGG_XX; it has MANGAID"
    ):
        read_mastar(spectra, labels, {"logg": "LOGG_XX"})
    with pytest.raises(UserError, match=r"library.labels_file: .*none.fits"):
        read_mastar(spectra, tmp_path / "none.fits")


@pytest.mark.parametrize(
    "reader", [read_miles, read_table_library, lambda path: read_mastar(path, path)]
)
def test_a_file_that_is_no_fits_or_has_been_cut_is_the_users_mistake(tmp_path, reader):
    path = tmp_path / "library.fits.gz"
    spectra, _ = mastar_files(tmp_path)
    whole = spectra.read_bytes()
    packed = gzip.compress(whole, mtime=0)
    image_only = tmp_path / "image.fits"
    fits.PrimaryHDU(np.ones((3, 4))).writeto(image_only)
    for content in (
        b"",
        b"<html>",
        whole[: len(whole) // 2],
        packed[: len(packed) // 2],
        image_only.read_bytes(),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"library.spectra: .*library\.fits\.gz") as mistake:
            reader(path)
        assert "\n" not in str(mistake.value)
    path.unlink()
    with pytest.raises(UserError, match=r"library\.spectra"):
        reader(path)


def miles_file(path, **change):
    n, p = 3, 4300
    flux = np.tile(absorption(3540.5 + 0.9 * np.arange(p), vacuum_to_air(LINES)), (n, 1)).astype(
        "f4"
    )
    flux[2, :5] = np.nan, 0, -1, 1, 1
    image = fits.PrimaryHDU(flux)
    image.header.update({"CRVAL1": 3540.5, "CDELT1": 0.9} | change)
    stars = fits.BinTableHDU.from_columns(
        [
            fits.Column("miles_id", "5A", array=["m0001", "m0002", "m0003"]),
            fits.Column("teff", "E", array=[5000, np.nan, 6000]),
            fits.Column("logg", "E", array=[4, 4, 2]),
            fits.Column("feh", "E", array=[0, 0, -1]),
        ],
        name="STARS",
    )
    fits.HDUList([image, stars]).writeto(path)
    return path


def test_miles_is_in_air_with_constant_width_and_an_assumed_noise(tmp_path):
    raw = read_miles(miles_file(tmp_path / "miles.fits"))
    assert raw.in_air
    np.testing.assert_array_equal(raw.fwhm(raw.wave), 2.5)
    np.testing.assert_allclose(raw.wave[[0, 1, -1]], [3540.5, 3541.4, 3540.5 + 0.9 * 4299])
    np.testing.assert_allclose(raw.flux[0] * np.sqrt(raw.ivar[0]), ASSUMED_SNR, rtol=1e-5)
    assert (raw.ivar[2, :3] == 0).all()  # NaN, zero and negative flux
    library = prepared(raw)
    assert list(library.ids) == ["m0001", "m0003"]
    for line in LINES:
        assert centroid(library.flux[0], line) == pytest.approx(line, abs=0.05)


def test_single_stars_of_miles_take_labels_from_a_file(tmp_path):
    path = miles_file(tmp_path / "miles.fits")
    own = read_miles(path).labels
    file = tmp_path / "labels.csv"
    file.write_text("miles_id,teff,logg,feh,name\nm0002,3845,4.66,0.12,GJ 205\nm0003,,,0.3,b\n")
    labels = read_miles(path, labels_file=file).labels
    np.testing.assert_array_equal(labels.loc[1, ["teff", "logg", "feh"]], [3845, 4.66, 0.12])
    np.testing.assert_array_equal(labels.loc[2, ["teff", "logg", "feh"]], [6000, 2, 0.3])
    pd.testing.assert_series_equal(labels.loc[0], own.loc[0])
    file.write_text("miles_id,teff,logg,feh\nm0009,3845,4.66,0.12\n")
    with pytest.raises(UserError, match=r"library\.labels_file: .*m0009.*not"):
        read_miles(path, labels_file=file)
    file.write_text("star,teff\nm0001,3845\n")
    with pytest.raises(UserError, match=r"library\.labels_file: .*miles_id"):
        read_miles(path, labels_file=file)


def test_a_miles_stack_without_its_wavelengths_or_stars_is_the_users_mistake(tmp_path):
    path = miles_file(tmp_path / "miles.fits")
    with fits.open(path, mode="update") as hdus:
        del hdus[0].header["CDELT1"]
    with pytest.raises(UserError, match=r"is not a MILES stack .* CDELT1"):
        read_miles(path)
    with fits.open(miles_file(tmp_path / "other.fits")) as hdus:
        hdus[0].writeto(path, overwrite=True)
    with pytest.raises(UserError, match="is not a MILES stack"):
        read_miles(path)


def test_the_real_miles_stack(real_data, tmp_path):
    source = real_data / "libraries/miles/miles_v9.1_stack.fits.gz"
    if not source.exists():
        pytest.skip(f"no MILES stack at {source}")
    raw = read_miles(shutil.copy(source, tmp_path))
    assert raw.flux.shape == (985, 4300)
    assert raw.labels[["teff", "logg", "feh"]].notna().all(axis=1).sum() >= 940
    assert raw.labels["teff"].between(2500, 50000).sum() >= 940


def table_file(path, header=None, **change):
    wave = np.arange(3700.0, 9000.0, 0.9)
    p = len(wave)
    columns = {
        "ID": ("4A", ["a", "b"]),
        "WAVE": (f"{p}D", np.tile(wave, (2, 1))),
        "FLUX": (f"{p}E", np.tile(absorption(wave), (2, 1))),
        "IVAR": (f"{p}E", np.full((2, p), 1e4)),
        "TEFF": ("E", [5000, 6000]),
        "TEFF_ERR": ("E", [50, 60]),
        "FEH": ("E", [0.0, -1.0]),
        "MY_LOGG": ("E", [4.0, 4.5]),
    } | change
    return write_table(
        path, [(k, *v) for k, v in columns.items() if v], header or {"VACUUM": True, "FWHM": 2.8}
    )


def test_a_table_of_the_users_own_with_the_documented_columns(tmp_path):
    raw = read_table_library(table_file(tmp_path / "own.fits"))
    assert list(raw.ids) == ["a", "b"]
    assert raw.labels["teff"].tolist() == [5000, 6000]
    assert raw.labels["teff_err"].tolist() == [50, 60]
    assert raw.labels["logg"].isna().all()
    assert not raw.in_air
    np.testing.assert_allclose(raw.fwhm(raw.wave), 2.8)
    assert list(prepared(raw, names=("teff", "feh")).ids) == ["a", "b"]


def test_width_air_and_column_names_can_be_told(tmp_path):
    path = table_file(tmp_path / "own.fits", {"VACUUM": False, "RESOLVE": 2000.0})
    raw = read_table_library(path, {"logg": "my_logg"})
    assert raw.in_air
    np.testing.assert_allclose(raw.fwhm(raw.wave), raw.wave / 2000)
    assert raw.labels["logg"].tolist() == [4.0, 4.5]
    np.testing.assert_allclose(read_table_library(path, fwhm=3.3).fwhm(raw.wave), 3.3)


@pytest.mark.parametrize(
    ("sentence", "header", "change", "label_columns"),
    [
        ("does not say VACUUM", {"FWHM": 2.5}, {}, None),
        ("does not say VACUUM", {"VACUUM": "F", "FWHM": 2.5}, {}, None),
        ("library.resolution.library_fwhm is not set", {"VACUUM": True}, {}, None),
        ("has no column ID, IVAR", None, {"ID": None, "IVAR": None}, None),
        ("one wavelength grid", None, {"WAVE": ("2D", [[1.0, 2], [1, 3]])}, None),
        ("one wavelength grid", None, {"WAVE": ("D", [1.0, 2.0])}, None),
        ("library.label_columns.logg: .* has no column GRAVITY", None, {}, {"logg": "gravity"}),
    ],
)
def test_each_mistake_in_a_table_is_one_sentence(tmp_path, sentence, header, change, label_columns):
    path = table_file(tmp_path / "own.fits", header, **change)
    with pytest.raises(UserError, match=sentence) as mistake:
        read_table_library(path, label_columns)
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize(
    ("sentence", "header", "change"),
    [
        ("the line width of test is no positive number", {"VACUUM": True, "FWHM": "nan"}, {}),
        ("the line width of test is no positive number", {"VACUUM": True, "RESOLVE": 0.0}, {}),
        ("the line width of test is no positive number", {"VACUUM": True, "FWHM": -2.0}, {}),
        (r"its fluxes have the shape \(2,\)", None, {"FLUX": ("E", [1.0, 2.0])}),
        (r"its inverse variances have the shape \(2, 3\)", None, {"IVAR": ("3E", np.ones((2, 3)))}),
    ],
)
def test_what_cannot_be_spectra_is_one_sentence_for_every_format(
    tmp_path, sentence, header, change
):
    raw = read_table_library(table_file(tmp_path / "own.fits", header, **change))
    with pytest.raises(UserError, match=sentence) as mistake:
        prepared(raw, names=("teff", "feh"))
    assert "\n" not in str(mistake.value)
