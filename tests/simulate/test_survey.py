"""The simulated files are what a LAMOST release and MaStar are, and the noise is what they say."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table
from preparation import masking
from pydantic import ValidationError

from lamostvac.core.exceptions import UserError
from lamostvac.core.rejection import REASONS, SpectrumRejected
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.simulate import broken, instrument, mastar, population, release
from lamostvac.simulate.observing_plan import n_spectra
from lamostvac.simulate.settings import SimulationSettings
from lamostvac.simulate.survey import simulate_release, simulate_survey
from lamostvac.spectra.identity import check_identity
from lamostvac.spectra.normalise import prepare_spectrum
from lamostvac.spectra.reader import read_spectrum
from lamostvac.survey.catalogue import read_catalogue
from lamostvac.survey.selection import STEPS, select
from lamostvac.survey.settings import Survey

SETTINGS = SimulationSettings(
    n_stars={"OB": 6, "A": 8, "F": 10, "G": 12, "K": 10, "M": 8},
    n_training={"pastel": 3, "apogee": 3, "lgmwas": 3},
    repeat_fraction=0.4,
    binary_fraction=0.2,
    emission_fraction=0.1,
    n_other=6,
    n_low_snr=3,
    n_broken=28,
    stars_per_plate=20,
    n_library=40,
    library_bad_fraction=0.2,
)


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    return folder, simulate_survey(folder, SETTINGS, seed=3)


@pytest.fixture(scope="module")
def catalogue(sky):
    return pd.read_csv(
        sky[0] / "lamost/catalogue.csv", sep="|", dtype={"fiberid": str}, keep_default_na=False
    )


def path_of(folder: Path, row) -> Path:
    return folder / "lamost" / release.file_name(dict(row, obsdate=row["obsdate"]))


def good_rows(sky, catalogue):
    folder, truth = sky
    good = set(truth.loc[truth["expected_reason"] == "", "spectrum_id"])
    rows = [row for row in catalogue.to_dict("records") if release.spectrum_id(row) in good]
    return [(path_of(folder, row), row) for row in rows]


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path):
    small = SETTINGS.model_copy(
        update={"n_stars": {"A": 2, "G": 2, "M": 2}, "n_library": 4, "n_broken": 2, "n_other": 3}
    )
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        simulate_survey(tmp_path / name, small, seed=seed)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest(tmp_path / "a") != digest(tmp_path / "c")


def test_catalogue_has_the_official_columns_and_separator(sky, catalogue):
    first = (sky[0] / "lamost/catalogue.csv").read_text().splitlines()[0]
    assert first.split("|") == list(release.CATALOGUE_COLUMNS)
    for column in (
        "obsid",
        "designation",
        "obsdate",
        "lmjd",
        "planid",
        "spid",
        "fiberid",
        "ra",
        "dec",
        "snrg",
    ):
        assert column in catalogue
    assert catalogue["obsdate"].str.fullmatch(r"\d{4}-\d\d-\d\d").all()
    assert {"STAR", "GALAXY", "QSO", "Unknown"} == set(catalogue["class"])


def test_every_type_is_there_with_the_number_asked_for(sky):
    truth = sky[1]
    stars = truth[~truth["low_snr"] & (truth["sample"] == "field")].drop_duplicates("star_id")
    counts = stars[stars["star_id"] >= 0]["spectral_type"].value_counts().to_dict()
    assert counts == SETTINGS.n_stars


def test_truth_file_catalogue_and_headers_agree(sky, catalogue):
    folder, truth = sky
    on_disk = Table.read(folder / "truth.fits", character_as_bytes=False).to_pandas()
    assert list(on_disk["spectrum_id"]) == list(truth["spectrum_id"])
    assert on_disk["spectrum_id"].is_unique
    by_id = truth.set_index("spectrum_id")
    rows = good_rows(sky, catalogue)
    assert len(rows) > 30
    for path, row in rows:
        header = fits.getheader(path)
        star = by_id.loc[release.spectrum_id(row)]
        assert header["OBSID"] == row["obsid"] == star["obsid"]
        assert (header["LMJD"], header["PLANID"]) == (row["lmjd"], row["planid"])
        assert (header["SPID"], header["FIBERID"]) == (row["spid"], int(row["fiberid"]))
        assert header["SUBCLASS"] == row["subclass"]
        assert header["Z"] == pytest.approx(float(row["z"]), abs=1e-8)
        # the redshift is the star's velocity with an error that z_err tells
        assert abs(float(row["z"]) * 299792.458 - star["rv"]) < 6 * float(row["z_err"]) * 299792.458


def test_repeats_are_other_nights_of_the_same_star(sky):
    truth = sky[1]
    stars = truth[truth["star_id"] >= 0]
    groups = stars.groupby("star_id")
    repeated = [group for _, group in groups if len(group) > 1]
    assert len(repeated) >= 5
    for group in repeated:
        assert group["lmjd"].is_unique
        for label in ("teff", "logg", "feh", "ra", "dec"):
            assert group[label].nunique() == 1


def test_files_are_the_two_official_layouts(sky, catalogue):
    layouts = {"image": 0, "table": 0}
    sizes = set()
    for path, _ in good_rows(sky, catalogue):
        with fits.open(path) as hdus:
            header = hdus[0].header
            if header["NAXIS"]:
                layouts["image"] += 1
                hdus.verify("exception")
                assert len(hdus) == 1
                assert header["EXTEN0"].split(", ") == [
                    "Flux",
                    "Inverse",
                    "Wavelength",
                    "Andmask",
                    "Ormask",
                ]
                assert hdus[0].data.dtype == np.dtype(">f4")
                flux, ivar, wave, andmask, ormask = hdus[0].data
            else:
                # the releases' primaries keep NAXIS1 and NAXIS2 beside NAXIS = 0, which is not standard
                layouts["table"] += 1
                assert (header["NAXIS1"], header["NAXIS2"]) == (len(hdus[1].data["FLUX"][0]), 5)
                hdus[1].verify("exception")
                assert hdus[1].name == "COADD"
                row = hdus[1].data
                assert len(row) == 1
                assert row.names == [
                    "FLUX",
                    "IVAR",
                    "WAVELENGTH",
                    "ANDMASK",
                    "ORMASK",
                    "NORMALIZATION",
                ]
                flux, ivar, wave, andmask, ormask = (row[name][0] for name in row.names[:5])
            expected = 10 ** (header["COEFF0"] + header["COEFF1"] * np.arange(wave.size))
            np.testing.assert_allclose(wave, expected, atol=0.003)
            assert header["VACUUM"] is True
            assert header["HELIO"] is True
            sizes.add(wave.size)
            dead = ivar <= 0
            assert np.all(ormask[dead] > 0)
            assert np.all(andmask[~dead] == 0)
            assert np.isfinite(flux).all()
    assert min(layouts.values()) > 5
    assert sizes <= set(range(3899, 3910))
    assert len(sizes) > 2


def test_our_reader_reads_every_good_file(sky, catalogue):
    for path, _ in good_rows(sky, catalogue):
        spectrum = read_spectrum(path)
        assert spectrum.layout in ("image", "table")


def test_snr_in_the_catalogue_is_that_of_the_pixels(sky, catalogue):
    for path, row in good_rows(sky, catalogue)[:15]:
        spectrum = read_spectrum(path)
        low, high = instrument.SNR_BANDS["g"]
        inside = (spectrum.wave > low) & (spectrum.wave < high) & (spectrum.ivar > 0)
        measured = np.median(spectrum.flux[inside] * np.sqrt(spectrum.ivar[inside]))
        assert measured == pytest.approx(float(row["snrg"]), rel=0.02, abs=0.1)


@pytest.mark.parametrize("snr", [3.0, 15.0, 120.0])
def test_noise_is_what_ivar_says(snr):
    wave = instrument.LAMOST_WAVE
    flux = 1 + 0.3 * np.sin(wave / 300)
    pulls, achieved = [], []
    for seed in range(8):
        seen = instrument.observe(
            np.random.default_rng(seed), wave, flux, snr, sigma=70.0, moon=0.2, velocity=5.0,
            calibration_error=0.08, cosmic_rays=0.0, dead_pixels=8.0,
        )  # fmt: skip
        clean = (seen.ormask == 0) & (seen.ivar > 0) & (wave > 4450) & (wave < 5400)
        pulls.append(((seen.flux - seen.expected) * np.sqrt(seen.ivar))[clean])
        achieved.append(seen.snr["g"])
    pulls = np.concatenate(pulls)
    assert abs(pulls.mean()) < 0.1
    assert pulls.std() == pytest.approx(1.0, abs=0.06)
    assert np.mean(achieved) == pytest.approx(snr, rel=0.1)


def test_unrecorded_cosmic_rays_are_there():
    wave = instrument.LAMOST_WAVE
    keywords = dict(sigma=70.0, moon=0.2, velocity=5.0, calibration_error=0.0, dead_pixels=0.0)
    seen = instrument.observe(
        np.random.default_rng(1), wave, np.ones_like(wave), 50.0, cosmic_rays=8.0, **keywords
    )
    high = (seen.flux - seen.expected) * np.sqrt(seen.ivar) > 5.5
    assert seen.n_cosmic > 2
    assert high[seen.ormask == 0].sum() >= seen.n_cosmic - 1


def test_extinction_law():
    law = instrument.extinction(np.array([4400.0, 5500.0, 9000.0]))
    assert law[1] == pytest.approx(1.0, abs=0.02)
    assert law[0] == pytest.approx(1.33, abs=0.04)
    assert law[2] == pytest.approx(0.48, abs=0.04)


def test_library_files(sky):
    folder, _ = sky
    with fits.open(folder / "mastar" / mastar.SPECTRA_NAME) as hdus:
        spectra = hdus[1].data
        assert {
            "MANGAID",
            "PLATE",
            "IFUDESIGN",
            "MJD",
            "WAVE",
            "FLUX",
            "IVAR",
            "MASK",
            "MJDQUAL",
        } <= set(spectra.names)
        assert spectra["FLUX"].shape[1] == 4563
        wave = spectra["WAVE"][0]
        assert wave[0] == pytest.approx(3622, abs=1)
        assert wave[-1] == pytest.approx(10354, abs=1)
        np.testing.assert_allclose(np.diff(np.log10(wave)), 1e-4, rtol=1e-6)
        quality = {
            (a, int(b), c, int(d)): q
            for a, b, c, d, q in zip(
                *(spectra[name] for name in ("MANGAID", "PLATE", "IFUDESIGN", "MJD", "MJDQUAL")),
                strict=True,
            )
        }
    with fits.open(folder / "mastar" / mastar.PARAMETERS_NAME) as hdus:
        labels = hdus[1].data
        names = labels.names
        keys = [
            (a, int(b), c, int(d))
            for a, b, c, d in zip(
                *(labels[n] for n in ("MANGAID", "PLATE", "IFUDESIGN", "MJD")), strict=True
            )
        ]
        for name in (
            "TEFF_MED",
            "LOGG_MED",
            "FEH_MED",
            "FEH_CAL_MED",
            "ALPHA_MED",
            "TEFF_MED_ERR",
            "LOGG_JI",
            "LOGG_ERR_JI",
            "VALID_YC",
        ):
            assert name in names
        empty = labels["NGROUPS"] == 0
        assert np.all(labels["TEFF_MED"][empty] == mastar.MISSING)
        assert np.all(labels["TEFF_MED"][~empty] > 2500)
        assert empty.any()
    assert set(keys) == set(quality)
    assert len(keys) == len(set(keys)) > SETTINGS.n_library
    assert any(quality.values())


def test_library_labels_are_the_truth_when_asked(tmp_path):
    settings = SimulationSettings(
        n_library=10, library_label_error_scale=0.0, library_bad_fraction=0.0
    )
    truth = mastar.write_library(tmp_path, settings, seed=2)
    with fits.open(tmp_path / mastar.PARAMETERS_NAME) as hdus:
        labels = hdus[1].data
        np.testing.assert_allclose(np.sort(labels["TEFF_MED"]), np.sort(truth["teff"]), rtol=1e-5)
        np.testing.assert_allclose(np.sort(labels["FEH_CAL_MED"]), np.sort(truth["feh"]), atol=1e-5)


def test_library_noise_is_what_ivar_says(tmp_path):
    settings = SimulationSettings(
        n_library=6, library_bad_fraction=0.0, library_repeat_fraction=0.0
    )
    mastar.write_library(tmp_path, settings, seed=4)
    with fits.open(tmp_path / mastar.SPECTRA_NAME) as hdus:
        flux, ivar = hdus[1].data["FLUX"].astype(float), hdus[1].data["IVAR"].astype(float)
    # third differences of neighbours see noise and hardly any spectrum in the red of hot stars
    part = slice(2900, 3000)
    third = np.diff(flux[0, part], n=3)
    expected = np.sqrt(20 / np.median(ivar[0, part]))
    assert third.std() == pytest.approx(expected, rel=0.35)


def read_and_prepare(path, row):
    found = read_spectrum(path)
    check_identity(
        found.header, row["lmjd"], row["planid"], row["spid"], row["fiberid"], row["obsid"]
    )
    return prepare_spectrum(found.wave, found.flux, found.ivar, float(row["z"]), masking())


def test_broken_kinds_are_at_least_fifteen_and_have_known_reasons():
    assert len(broken.KINDS) >= 15
    assert {kind.reason for kind in broken.KINDS} <= set(REASONS)
    assert len({kind.name for kind in broken.KINDS}) == len(broken.KINDS)


@pytest.mark.parametrize("kind", [k for k in broken.KINDS if k.file], ids=lambda kind: kind.name)
@pytest.mark.parametrize("layout", ["image", "table"])
def test_broken_files_are_rejected_for_the_stated_reason(kind, layout, sky, catalogue, tmp_path):
    path, row = next(
        (p, r) for p, r in good_rows(sky, catalogue) if read_spectrum(p).layout == layout
    )
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    row = dict(row, fiberid=int(row["fiberid"]), tfrom="x")
    broken.break_file(copy, row, kind)
    with pytest.raises(SpectrumRejected) as rejection:
        read_and_prepare(copy, row)
    assert rejection.value.reason == kind.reason


def test_broken_release_names_the_reasons(sky, catalogue):
    truth = sky[1]
    reasons = set(truth["expected_reason"]) - {"", "not_a_star"}
    assert len(reasons) >= 15
    ids = catalogue[["lmjd", "planid", "spid", "fiberid"]].astype(str).agg("-".join, axis=1)
    assert ids.duplicated().sum() == 1
    by_reason = truth.set_index("expected_reason")
    assert not path_of(
        sky[0], {**by_reason.loc["missing_file"], "obsdate": _night(catalogue, by_reason)}
    ).exists()


def _night(catalogue, by_reason):
    row = by_reason.loc["missing_file"]
    return catalogue.loc[catalogue["obsid"] == row["obsid"], "obsdate"].iloc[0]


def test_gzip_headers_carry_no_time(sky, catalogue):
    path = good_rows(sky, catalogue)[0][0]
    assert path.read_bytes()[4:8] == bytes(4)
    assert gzip.decompress(path.read_bytes()).startswith(b"SIMPLE")


def test_population_is_believable():
    stars = population.draw(np.random.default_rng(0), {name: 300 for name in TYPE_ORDER})
    assert np.all((stars.logg > 0) & (stars.logg < 5.5))
    sun = population.main_sequence(np.array([5772.0]))
    assert sun[0][0] == pytest.approx(4.44, abs=0.06)
    assert sun[1][0] == pytest.approx(1.0, abs=0.03)
    giants = (stars.spectral_type == "K") & (stars.logg < 3.3)
    assert 80 < giants.sum() < 220
    assert (stars.feh < -1.0).sum() > 50
    assert np.corrcoef(stars.feh, stars.alpha_fe)[0, 1] < -0.3
    # Stefan-Boltzmann: L = R^2 T^4
    np.testing.assert_allclose(
        stars.luminosity, stars.radius**2 * (stars.teff / 5772) ** 4, rtol=1e-6
    )
    # magnitudes and distances belong together
    modulus = stars.g_mag - population.R_G * stars.ebv - stars.abs_mag_g
    np.testing.assert_allclose(modulus, 5 * np.log10(stars.distance) - 5, atol=1e-6)


def test_subclass_is_a_noisy_classifier():
    teff = np.array([35000.0, 20000, 9600, 7800, 6500, 5700, 4500, 3600, 3600])
    logg = np.array([4.0, 4, 4, 4, 4.2, 4.4, 4.6, 4.9, 1.0])
    labels = population.subclass(np.random.default_rng(0), teff, logg)
    assert [label.lstrip("dg")[0] for label in labels] == list("OBAAFGKMM")
    assert labels[7].startswith("dM")
    assert labels[8].startswith("gM")


def test_designation():
    assert release.designation(242.456941, -1.145012) == "LAMOST J160949.66-010842.0"


def test_settings_refuse_what_cannot_be():
    with pytest.raises(ValidationError):
        SimulationSettings(n_stars={"X": 3})
    with pytest.raises(ValidationError):
        SimulationSettings(snr_min=300.0)
    with pytest.raises(ValidationError):
        SimulationSettings(stars=3)


def test_nothing_to_simulate_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="n_stars"):
        simulate_survey(tmp_path, SimulationSettings(n_stars={"G": 0}))


def test_progress_counts_about_all_spectra(tmp_path):
    settings = SETTINGS.model_copy(
        update={"n_stars": {"F": 3}, "n_training": {}, "n_other": 0, "n_broken": 0}
    )
    counts = []
    simulate_release(tmp_path, settings, seed=1, progress=counts.append)
    assert sum(counts) == pytest.approx(n_spectra(settings), abs=5)


def test_the_selection_rejects_broken_catalogue_rows_for_the_stated_reasons(sky):
    folder, truth = sky
    table = read_catalogue(folder / "lamost/catalogue.csv")
    selection = select(table, Survey())
    reasons = [STEPS[step] if step >= 0 else "" for step in selection.steps]
    seen = {}
    for obsid, reason in zip(table["obsid"].to_pylist(), reasons, strict=True):
        seen.setdefault(obsid, []).append(reason)
    by_catalogue = {kind.reason for kind in broken.KINDS if kind.row} | {"not_a_star"}
    for _, star in truth.iterrows():
        if star["expected_reason"] in by_catalogue:
            assert star["expected_reason"] in seen[star["obsid"]]
        elif star["expected_reason"] == "":
            assert "" in seen[star["obsid"]]
    assert reasons.count("duplicate_obsid") == 1
