"""ELODIE and STELIB: folders with one FITS file per spectrum. ELODIE's files here are simulated."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from preparation import masking

from lamostvac.core.exceptions import UserError
from lamostvac.fit.crossvalidation import folds_by_star
from lamostvac.library.formats.elodie import ASSUMED_SNR, read_elodie
from lamostvac.library.formats.folder import on_one_grid, read_spectrum
from lamostvac.library.formats.miles import read_miles
from lamostvac.library.formats.stelib import read_stelib
from lamostvac.library.library import prepare_library
from lamostvac.library.resolution import constant_fwhm, resolving_power_fwhm
from lamostvac.library.source import folder_state, source_sha256
from lamostvac.simulate import elodie, spectrum
from lamostvac.spectra.grid import GRID, vacuum_to_air

LINES = np.array([4400.0, 4862.69, 5185.05, 6564.61])  # A, vacuum
LABELS = ("teff", "logg", "feh")
CARDS = {"OBJECT": "HD 1", "I_TEFF": 5777.0, "I_LOGG": 4.44, "I_FE_H": 0.02}


def absorption(wave_air, fwhm, depth=0.5):
    shapes = np.exp(-0.5 * ((wave_air[:, None] - vacuum_to_air(LINES)) / (fwhm / 2.3548)) ** 2)
    return 1 - depth * shapes.sum(axis=1)


def prepared(raw, survey_fwhm=None, labels=LABELS):
    return prepare_library(raw, "elodie", labels, masking(), survey_fwhm)


def width_and_centre(flux, line):
    """FWHM and centre of an isolated line on the grid, from its moments."""
    near = np.abs(GRID - line) < 12
    wave, depth = GRID[near], 1 - flux[near]
    centre = (wave * depth).sum() / depth.sum()
    return 2.3548 * np.sqrt(((wave - centre) ** 2 * depth).sum() / depth.sum()), centre


def test_labels_names_and_flags_come_back_as_they_were_simulated(tmp_path):
    truth = elodie.write_library(tmp_path, 40, seed=3)
    raw = read_elodie(tmp_path)
    n = len(truth["file"])
    assert n > 40
    assert [name.split("_")[1] for name in raw.ids] == truth["file"].tolist()
    np.testing.assert_allclose(raw.labels["teff"], truth["teff_stated"], atol=0.001)
    np.testing.assert_allclose(raw.labels["logg"], truth["logg_stated"], atol=0.001)
    unknown = truth["feh_unknown"]
    assert 0 < unknown.sum() < n / 2
    assert raw.labels["feh"].isna().tolist() == unknown.tolist()
    np.testing.assert_allclose(
        raw.labels["feh"][~unknown], truth["feh_stated"][~unknown], atol=0.001
    )
    assert raw.labels["alpha_fe"].isna().all()
    assert len(prepared(raw).ids) == n - unknown.sum()

    trusted = read_elodie(tmp_path, quality_columns=elodie.QUALITY, min_quality=1)
    for name in LABELS:
        missing = (truth[f"{name}_quality"] < 1) | (unknown if name == "feh" else False)
        assert trusted.labels[name].isna().tolist() == missing.tolist()
    good = truth["teff_quality"] >= 1
    error = np.abs(truth["teff_stated"] / truth["teff"] - 1)
    assert error[good].max() < 0.05 < error[~good].max()  # the flag is worth heeding


def test_spectra_of_one_star_are_in_one_fold(tmp_path):
    truth = elodie.write_library(tmp_path, 30, seed=4, repeat_fraction=1.0)
    fold = folds_by_star(read_elodie(tmp_path).ids, 5, seed=1)
    table = pd.DataFrame({"star": truth["star"], "fold": fold})
    assert (table.groupby("star")["fold"].nunique() == 1).all()
    assert (table.groupby("star").size() == 2).all()
    assert table["fold"].nunique() == 5


def test_same_seed_same_bytes(tmp_path):
    for name in ("a", "b"):
        elodie.write_library(tmp_path / name, 8, seed=5)
    assert source_sha256(str(tmp_path / "a")) == source_sha256(str(tmp_path / "b"))
    state, size = folder_state(str(tmp_path / "a"))
    assert size == pytest.approx(
        sum(path.stat().st_size for path in (tmp_path / "a").iterdir()) / 1e6
    )
    assert folder_state(str(tmp_path / "a" / "00001.fits")) == folder_state("nowhere") == ("", 0)
    with fits.open(tmp_path / "a/00001.fits", mode="update") as hdus:
        hdus[0].header["I_TEFF"] = 1.0
    assert source_sha256(str(tmp_path / "a")) != source_sha256(str(tmp_path / "b"))
    assert folder_state(str(tmp_path / "a"))[0] != state


@pytest.mark.parametrize(
    ("wave", "fwhm"),
    [(elodie.WAVE, 0.55), (4000.0 + 0.05 * np.arange(56001), 5200 / 42000)],
    ids=["R = 10,000", "R = 42,000"],
)
def test_lines_are_at_their_vacuum_wavelengths_and_as_wide_as_the_surveys(tmp_path, wave, fwhm):
    for survey in (2.9, 4.0):
        elodie.write_spectrum(
            tmp_path / "00001.fits", wave, absorption(wave, fwhm), np.full(len(wave), 0.01), CARDS
        )
        library = prepared(read_elodie(tmp_path), constant_fwhm(survey))
        expected = absorption(vacuum_to_air(GRID), survey, 0.5 * fwhm / survey)
        for line in LINES[:3]:  # the last lies in half a window of the running median from the end
            width, centre = width_and_centre(library.flux[0], line)
            assert centre == pytest.approx(line, abs=0.03)
            assert width == pytest.approx(survey, rel=0.03)
            near = np.abs(GRID - line) < 12
            np.testing.assert_allclose(library.flux[0][near], expected[near], atol=0.01 * fwhm)


def test_a_smoothed_star_is_the_star_synthesised_at_the_surveys_resolution(tmp_path):
    labels = np.array([[5800.0, 4.4, 0.0], [4500.0, 2.0, -0.5], [9000.0, 4.0, 0.1]])
    sharp = spectrum.synthesize(
        elodie.air_to_vacuum(elodie.WAVE), *labels.T, resolution=elodie.RESOLVING_POWER
    )
    for number, (flux, values) in enumerate(zip(sharp / sharp.max(), labels, strict=True)):
        cards = {"I_TEFF": values[0], "I_LOGG": values[1], "I_FE_H": values[2]}
        elodie.write_spectrum(
            tmp_path / f"{number:05d}.fits", elodie.WAVE, flux, 0.01 * flux, cards
        )
    # The simulator's lines are not as sharp as ELODIE's, so the reader is told how sharp these are.
    raw = replace(read_elodie(tmp_path), fwhm=resolving_power_fwhm(elodie.RESOLVING_POWER))
    smoothed = prepared(raw, resolving_power_fwhm(1800.0))
    wave = 3900.0 + 0.2 * np.arange(14501)
    direct = replace(
        raw,
        wave=wave,
        flux=spectrum.synthesize(wave, *labels.T, resolution=1800.0),
        ivar=np.full((3, len(wave)), 1e4),
        in_air=False,
    )
    expected = prepared(direct)
    inside = (
        (GRID > 4150)
        & (GRID < 6500)
        & (smoothed.ivar > 0).all(axis=0)
        & (expected.ivar > 0).all(axis=0)
    )
    difference = smoothed.flux[:, inside] - expected.flux[:, inside]
    unsmoothed = prepared(raw).flux[:, inside] - expected.flux[:, inside]
    assert np.abs(difference).max() < 0.02
    assert difference.std() < 0.15 * unsmoothed.std()


def test_masked_pixels_noise_and_assumed_noise(tmp_path):
    flux = absorption(elodie.WAVE, 0.55)
    flux[100] = np.nan
    noise = np.full(len(flux), 0.02)
    noise[[5, 6, 7]] = 0, -1, np.nan
    elodie.write_spectrum(tmp_path / "1.fits", elodie.WAVE, flux, noise, CARDS)
    elodie.write_spectrum(tmp_path / "2.fits", elodie.WAVE, flux, None, CARDS)
    raw = read_elodie(tmp_path)
    assert np.flatnonzero(raw.ivar[0] == 0).tolist() == [5, 6, 7, 100]
    assert np.flatnonzero(raw.ivar[1] == 0).tolist() == [100]
    np.testing.assert_allclose(raw.ivar[0][8:100], 2500, rtol=1e-5)
    np.testing.assert_allclose((raw.flux * np.sqrt(raw.ivar))[1][:100], ASSUMED_SNR, rtol=1e-5)
    assert raw.in_air
    np.testing.assert_allclose(raw.fwhm(raw.wave), 0.55)
    np.testing.assert_allclose(read_elodie(tmp_path, fwhm=0.6).fwhm(raw.wave), 0.6)


def test_older_headers_with_a_hierarch_card_are_understood(tmp_path):
    """Versions 1 and 2: TEFF, LOGG and [Fe/H] as text (sdss/idlspec2d, elodie_best.pro)."""
    cards = {"OBJECT": "HD2", "TEFF": 6000, "LOGG": "4.10 (2)", "HIERARCH [Fe/H]": "-0.35"}
    wave = 4100.0 + 0.2 * np.arange(13501)
    elodie.write_spectrum(tmp_path / "00002.fits", wave, absorption(wave, 0.55), None, cards)
    raw = read_elodie(tmp_path)
    assert raw.labels[list(LABELS)].to_numpy().tolist() == [[6000.0, 4.1, -0.35]]


def test_a_table_of_labels_replaces_the_headers(tmp_path):
    folder = tmp_path / "L"
    elodie.write_library(folder, 12, seed=6, repeat_fraction=0.0)
    (tmp_path / "labels.csv").write_text(
        "num,Teff,logg,[Fe/H],q\n3,5000,4.0,-0.1,4\n1,6000,4.1,,0\n99,1,1,1,1\n"
    )
    raw = read_elodie(folder, tmp_path / "labels.csv", {"feh": "[Fe/H]"}, {"logg": "q"}, 1)
    assert raw.labels["teff"].dropna().to_dict() == {0: 6000.0, 2: 5000.0}
    assert raw.labels["feh"].dropna().to_dict() == {2: -0.1}
    assert raw.labels["logg"].dropna().to_dict() == {2: 4.0}
    (tmp_path / "names.csv").write_text("file,teff,logg,feh\n00002.fits,5000,4.0,-0.1\n")
    assert read_elodie(folder, tmp_path / "names.csv").labels["teff"].dropna().to_dict() == {
        1: 5000.0
    }


def bad_files(folder):
    """One file of each kind that cannot be used, and what the log must say of it."""
    wave, flux = elodie.WAVE, np.ones(len(elodie.WAVE))
    whole = elodie.write_spectrum(folder / "cut.fits", wave, flux, flux, CARDS)
    whole.write_bytes(whole.read_bytes()[:20000])
    (folder / "page.fits").write_text("<html>")
    fits.PrimaryHDU(np.ones((3, 4))).writeto(folder / "image.fits")
    fits.PrimaryHDU().writeto(folder / "empty.fits")
    elodie.write_spectrum(folder / "noise.fits", wave, flux, np.ones(7), CARDS)
    fits.PrimaryHDU(flux).writeto(folder / "nowave.fits")
    elodie.write_spectrum(folder / "nm.fits", wave / 10, flux, None, CARDS)
    elodie.write_spectrum(folder / "down.fits", wave[::-1], flux, None, CARDS)
    return {
        "cut": "cannot be read", "page": "cannot be read", "image": "one-dimensional", "empty": "one-dimensional",
        "noise": "7 values in NOISE", "nowave": "CRVAL1", "nm": "390", "down": "-0.2",
    }  # fmt: skip


def test_files_that_cannot_be_used_are_left_out_by_name(tmp_path, caplog):
    expected = bad_files(tmp_path)
    with pytest.raises(UserError, match=r"library.spectra: no file in .* could be used; .*fits"):
        read_elodie(tmp_path)
    elodie.write_spectrum(
        tmp_path / "good.fits", elodie.WAVE, absorption(elodie.WAVE, 0.55), None, CARDS
    )
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        raw = read_elodie(tmp_path)
    assert raw.ids.tolist() == ["HD1_good"]
    assert len(caplog.messages) == len(expected)
    for name, why in expected.items():
        assert any(f"{name}.fits" in line and why in line for line in caplog.messages), name
    assert all("\n" not in line for line in caplog.messages)


def test_each_mistake_with_a_folder_is_one_sentence(tmp_path):
    folder = tmp_path / "L"
    with pytest.raises(UserError, match=r"library.spectra: .*L is not a folder"):
        read_elodie(folder)
    folder.mkdir()
    (folder / "ReadMe").write_text("")
    with pytest.raises(UserError, match=r"has no FITS file in it, but ReadMe"):
        read_elodie(folder)
    wave = elodie.WAVE
    elodie.write_spectrum(folder / "00001.fits", wave, absorption(wave, 0.55), None, CARDS)
    with pytest.raises(
        UserError, match=r"library.quality_columns.teff: no file has the keyword QT .*00001 has"
    ):
        read_elodie(folder, quality_columns={"teff": "QT"})
    with pytest.raises(
        UserError, match=r"library.label_columns.logg: no file has the keyword GRAV"
    ):
        read_elodie(folder, label_columns={"logg": "GRAV"})
    table = tmp_path / "t.csv"
    table.write_text("num,teff,logg\n1,2,3\n")
    with pytest.raises(UserError, match=r"library.labels_file: .*t.csv has no column feh"):
        read_elodie(folder, table)
    table.write_text("star,teff,logg,feh\n1,2,3,4\n")
    with pytest.raises(UserError, match=r"library.labels_file: .*t.csv has no column"):
        read_elodie(folder, table)
    table.write_text("num,teff,logg,feh\n7,2,3,4\n")
    with pytest.raises(UserError, match=r"no row of .*t.csv has the number .* called like 00001"):
        read_elodie(folder, table)


def test_spectra_with_pixels_of_their_own_come_onto_one_grid(tmp_path):
    """A smooth spectrum on other pixels is the same spectrum; what it does not cover is bad, and so are gaps."""
    paths = []
    for number, (start, step, n) in enumerate([(4000.0, 1.0, 2000), (4100.37, 1.003, 1500)]):
        wave = start + step * np.arange(n)
        flux = absorption(wave, 6.0)
        flux[700:705] = 0.0
        paths.append(elodie.write_spectrum(tmp_path / f"{number}.fits", wave, flux, None, CARDS))
    spectra = [read_spectrum(path) for path in paths]
    wave, flux, ivar = on_one_grid(spectra, 50.0)
    assert (wave[0], wave[-1]) == (4000.0, 5999.0)
    for row, own in enumerate(spectra):
        good = ivar[row] > 0
        np.testing.assert_allclose(flux[row][good], absorption(wave, 6.0)[good], atol=0.002)
        np.testing.assert_allclose((flux * np.sqrt(ivar))[row][good], 50, rtol=0.03)
        outside = (wave < own.wave[0]) | (wave > own.wave[-1])
        gap = (wave > own.wave[699]) & (wave < own.wave[705])
        assert not good[outside | gap].any()
        assert good.sum() >= (~(outside | gap)).sum() - 2


def test_the_real_stelib(real_data):
    """255 files; 203 with all labels; lines where MILES has them, so air and rest are right."""
    folder = real_data / "libraries/stelib/spectra"
    if not folder.is_dir():
        pytest.skip(f"no STELIB at {folder}")
    raw = read_stelib(folder)
    assert len(raw.ids) == len(set(raw.ids)) == 255
    assert raw.labels[list(LABELS)].notna().all(axis=1).sum() == 203
    vega = raw.ids.tolist().index("HR7001_STELIB_v3.2_HD172167")
    assert raw.labels.loc[vega, list(LABELS)].tolist() == [9520, 3.97, -0.55]
    library = prepared(raw)
    assert len(library.ids) == 180  # the others lack more than half of the pixels
    miles = prepared(read_miles(real_data / "libraries/miles/miles_v9.1_stack.fits.gz"))
    scaled = [
        np.column_stack(
            [one.labels["teff"] / 200, one.labels["logg"] / 0.3, one.labels["feh"] / 0.2]
        )
        for one in (library, miles)
    ]
    distance = ((scaled[0][:, None] - scaled[1]) ** 2).sum(axis=2)
    alike = np.flatnonzero(distance.min(axis=1) < 1)
    assert len(alike) > 80
    inside = (GRID > 4200) & (GRID < 5600)
    trials = np.arange(-2.0, 2.05, 0.1)
    best = []
    for row in alike:
        reference = miles.flux[distance[row].argmin()]
        moved = [np.interp(GRID[inside] - shift, GRID, reference) for shift in trials]
        used = library.ivar[row, inside] > 0
        best.append(
            trials[np.argmin([((library.flux[row, inside] - m)[used] ** 2).sum() for m in moved])]
        )
    assert (
        abs(np.median(best)) < 0.2
    )  # A; air for vacuum would be 1.3, not at rest more than that for most
    assert 1.4826 * np.median(np.abs(best - np.median(best))) < 0.5


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("NAXIS", "2147483648"), ("BITPIX", "'x'"), ("CRVAL1", "(1.0, 2.0"), ("NAXIS1", "-5")],
)
def test_a_file_with_impossible_cards_is_left_out_with_a_sentence(tmp_path, caplog, keyword, value):
    """With NAXIS = 2147483648 astropy had no end."""
    elodie.write_library(tmp_path, 2, seed=3)
    (path, *_) = sorted(tmp_path.glob("*.fits"))
    data = path.read_bytes()
    at = data.index(f"{keyword:<8}= ".encode())
    card = f"{keyword:<8}= {value:>20}".ljust(80).encode()
    path.write_bytes(data[:at] + card + data[at + 80 :])
    with caplog.at_level(logging.WARNING):
        read_elodie(tmp_path)
    assert f"left out: {path}" in caplog.text
