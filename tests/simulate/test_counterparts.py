"""The simulated surveys beside LAMOST: magnitudes, samples, catalogues and what their cuts must remove."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import ascii as table_reader
from astropy.io import fits
from astropy.table import Table
from pydantic import ValidationError

from lamostvac.simulate import (
    counterparts,
    measurement,
    photometry,
    population,
    samples,
    spectroscopic_surveys,
    spectrum,
)
from lamostvac.simulate import gaia as simulate_gaia
from lamostvac.simulate.observing_plan import plan
from lamostvac.simulate.settings import SimulationSettings
from lamostvac.simulate.survey import simulate_survey

SEED = 11
SETTINGS = SimulationSettings(
    n_stars={"OB": 20, "A": 60, "F": 100, "G": 120, "K": 100, "M": 50},
    n_training={"pastel": 150, "apogee": 250, "lgmwas": 250},
    n_low_snr=4,
    stars_per_plate=60,
)


def read_tsv(path):
    """asu-tsv: names, units, dashes after the comments."""
    table = pd.read_csv(
        path, sep="\t", comment="#", skip_blank_lines=True, dtype=str, keep_default_na=False
    )
    return table.iloc[2:].reset_index(drop=True)


def number(column):
    return pd.to_numeric(column.replace("", np.nan)).to_numpy()


@pytest.fixture(scope="module")
def stars_and_visits():
    return plan(np.random.default_rng([SEED, 1]), SETTINGS)


@pytest.fixture(scope="module")
def stars(stars_and_visits):
    return stars_and_visits[0]


@pytest.fixture(scope="module")
def folder(stars, tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalogs")
    counterparts.write_catalogues(folder, stars, SEED)
    return folder


@pytest.fixture(scope="module")
def truth(stars):
    table = stars.table()
    for name, value in photometry.apparent_magnitudes(stars).items():
        table[name.replace("abs_mag", "m")] = value
    return table


@pytest.fixture(scope="module")
def gaia(folder, stars):
    return pd.read_csv(folder / counterparts.GAIA).iloc[: stars.teff.size]


@pytest.fixture(scope="module")
def apogee(folder, stars):
    table = Table.read(folder / counterparts.APOGEE, hdu=1, character_as_bytes=False).to_pandas()
    sky = SkyCoord(table["RA"].to_numpy(), table["DEC"].to_numpy(), unit="deg")
    star, separation, _ = sky.match_to_catalog_sky(SkyCoord(stars.ra, stars.dec, unit="deg"))
    assert separation.arcsec.max() < 1
    return table.assign(star=star)


@pytest.fixture(scope="module")
def sdss(folder):
    table = pd.read_csv(folder / counterparts.SDSS)
    return table.assign(star=(table["objid"] - 1_237_650_000_000_000_000) // 65_537)


def matched(path, stars, names, epoch):
    """Rows of a table of the stars by position, and the star of each row."""
    ra, dec = measurement.positions(stars, epoch)
    found = SkyCoord(
        number(path[names[0]].astype(str)), number(path[names[1]].astype(str)), unit="deg"
    )
    star, separation, _ = found.match_to_catalog_sky(SkyCoord(ra, dec, unit="deg"))
    assert separation.arcsec.max() < 2
    return star


# --- magnitudes ----------------------------------------------------------------------------------


def of(teff, logg, feh=0.0, luminosity=1.0):
    arrays = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(x, float)) for x in (teff, logg, feh, luminosity))
    )
    return photometry.absolute_magnitudes(*arrays)


def test_the_sun():
    sun = {name: value[0] for name, value in of(5772, 4.438).items()}
    known = {  # Willmer (2018), Gaia from Casagrande & VandenBerg (2018)
        "abs_mag_g_gaia": 4.67, "abs_mag_v_apass": 4.81, "abs_mag_b_apass": 5.44, "abs_mag_ks": 3.27,
        "abs_mag_h": 3.32, "abs_mag_j": 3.67, "abs_mag_g_sdss": 5.11,
        "abs_mag_r_sdss": 4.65, "abs_mag_i_sdss": 4.53,
    }  # fmt: skip
    for name, value in known.items():
        assert sun[name] == pytest.approx(value, abs=0.06), name
    assert sun["abs_mag_bp"] - sun["abs_mag_rp"] == pytest.approx(0.82, abs=0.02)
    assert sun["abs_mag_j"] - sun["abs_mag_ks"] == pytest.approx(0.36, abs=0.03)


def test_vega_has_no_colours():
    vega = {name: value[0] for name, value in of(9600, 4.0, -0.5, 47.0).items()}
    for blue, red in (("b_apass", "v_apass"), ("bp", "rp"), ("v_apass", "ks"), ("j", "ks")):
        assert vega[f"abs_mag_{blue}"] - vega[f"abs_mag_{red}"] == pytest.approx(0, abs=0.08)


@pytest.mark.parametrize("feh", [0.0, -2.0])
@pytest.mark.parametrize("colour", ["bp_rp", "v_ks", "b_v", "g_r", "r_i"])
def test_dwarfs_get_bluer_with_temperature(colour, feh):
    teff = np.arange(3000.0, 35000.0, 20.0)
    value = photometry.colours(teff, np.full(teff.size, 4.4), np.full(teff.size, feh))[colour]
    assert np.all(np.diff(value) < 1e-3)
    assert value[0] > value[-1] + 1.0
    # no steps
    assert np.abs(np.diff(value)).max() < 0.12


def test_giants_have_redder_j_minus_h_than_dwarfs():
    teff = np.array([3500.0, 3800.0, 4300.0, 4800.0])
    giant = photometry.colours(teff, np.full(4, 1.5), np.zeros(4))
    dwarf = photometry.colours(teff, np.full(4, 4.6), np.zeros(4))
    excess = giant["j_h"] - dwarf["j_h"]
    assert np.all(np.diff(excess) < 0)
    assert excess[1] == pytest.approx(0.22, abs=0.05)
    # K5 III: V-K 3.60, J-H 0.79 (Bessell & Brett 1988)
    k5 = photometry.colours(np.array([3950.0]), np.array([1.7]), np.zeros(1))
    assert k5["v_ks"][0] == pytest.approx(3.6, abs=0.15)
    assert k5["j_h"][0] == pytest.approx(0.79, abs=0.04)


def test_metal_poor_stars_are_bluer_in_the_blue():
    poor = photometry.colours(np.array([5500.0]), np.array([4.4]), np.array([-2.0]))
    rich = photometry.colours(np.array([5500.0]), np.array([4.4]), np.array([0.0]))
    change = {name: poor[name][0] - rich[name][0] for name in poor}
    assert -0.25 < change["b_v"] < -0.08
    assert change["b_v"] < change["bp_rp"] < 0
    assert abs(change["v_ks"]) < 0.05


def test_magnitudes_go_with_those_of_the_population(stars):
    single = photometry.primary_magnitudes(stars)
    assert tuple(single) == photometry.BANDS
    np.testing.assert_allclose(single["abs_mag_g_gaia"], stars.abs_mag_g)
    assert photometry.EXTINCTION["abs_mag_g_gaia"][0] == population.R_G
    alone = np.isnan(stars.secondary_teff)
    np.testing.assert_allclose(
        photometry.apparent_magnitudes(stars)["abs_mag_g_gaia"][alone], stars.g_mag[alone]
    )


def test_binaries_lie_up_to_three_quarters_of_a_magnitude_above(stars):
    single, system = photometry.primary_magnitudes(stars), photometry.system_magnitudes(stars)
    pair = np.isfinite(stars.secondary_teff)
    assert pair.sum() > 50
    excess = single["abs_mag_g_gaia"] - system["abs_mag_g_gaia"]
    assert np.all(excess[~pair] == 0)
    assert np.all(excess[pair] > 0)
    main = pair & (stars.logg > 4.0) & (stars.feh > -0.8)
    assert np.quantile(excess[main], 0.97) < 0.8
    assert np.quantile(excess[main], 0.9) > 0.3
    # every band gets the companion's light once
    for name in photometry.BANDS:
        assert np.all(single[name][main] - system[name][main] < 1.2), name
        assert np.all(system[name] <= single[name])
    np.testing.assert_array_equal(system["abs_mag_r_apass"], system["abs_mag_r_sdss"])
    brighter = {
        name: np.median((single[name] - system[name])[main])
        for name in ("abs_mag_v_apass", "abs_mag_r_sdss", "abs_mag_ks")
    }
    assert brighter["abs_mag_v_apass"] < brighter["abs_mag_r_sdss"] < brighter["abs_mag_ks"]
    # companions are redder
    redder = (system["abs_mag_v_apass"] - system["abs_mag_ks"]) - (
        single["abs_mag_v_apass"] - single["abs_mag_ks"]
    )
    assert np.median(redder[main]) > 0.005


# --- samples -------------------------------------------------------------------------------------


def test_settings_know_the_training_sets():
    with pytest.raises(ValidationError, match="n_training"):
        SimulationSettings(n_training={"galah": 3})
    with pytest.raises(ValidationError, match="cannot be negative"):
        SimulationSettings(n_training={"pastel": -1})
    stars, _ = plan(np.random.default_rng(0), SETTINGS.model_copy(update={"n_training": {}}))
    assert set(stars.sample) == {"field"}


def test_samples_are_what_the_paper_describes(stars_and_visits):
    stars, visits = stars_and_visits
    snr = visits.loc[visits["visit"] == 0, "snr"].to_numpy()
    for name, count in SETTINGS.n_training.items():
        assert np.sum(stars.sample == name) == count
    pastel = stars.sample == "pastel"
    assert stars.teff[pastel].min() > 3500
    assert stars.teff[pastel].max() < 10000
    assert np.mean(stars.feh[pastel] < -1) >= 0.2
    assert stars.feh[pastel].min() < -3.6
    poor = pastel & (stars.feh < -2)
    assert np.all((stars.teff[poor] > 4450) & (stars.teff[poor] < 6550))
    assert 0.1 < np.mean((snr[pastel] > 20) & (snr[pastel] < 50)) < 0.4
    apogee = stars.sample == "apogee"
    assert np.all((stars.teff[apogee] > 3800) & (stars.teff[apogee] < 6500))
    assert stars.feh[apogee].min() > -2.3
    assert 0.4 < np.mean(stars.logg[apogee] < 3.6) < 0.9
    assert np.mean(snr[apogee] > 80) > 0.9
    lgmwas = stars.sample == "lgmwas"
    latitude = np.abs(SkyCoord(stars.ra, stars.dec, unit="deg").galactic.b.deg)
    fine = lgmwas & (stars.fault == "")
    assert stars.distance[fine].max() < 2000
    assert latitude[fine].min() > 30
    assert np.mean(stars.ebv[fine] < 0.02) > 0.95
    assert np.all(snr[fine] > 100)
    assert set(stars.spectral_type[lgmwas]) == {"A", "F", "G", "K", "M"}
    assert np.sum(stars.logg[fine] < 3.0) > 15
    assert not np.any(stars.fault[stars.sample == "field"])


def test_every_cut_has_a_star(stars):
    for sample, faults in samples.FAULTS.items():
        found = stars.fault[stars.sample == sample]
        assert set(faults) | {""} == set(found)
        assert np.mean(found == "") > 0.5


def test_small_samples_keep_half_of_their_stars():
    for sample in samples.SAMPLES:
        drawn, snr = samples.draw(
            np.random.default_rng(1), sample, 7, binary_fraction=0.1, ebv_scale=0.1, snr_max=200
        )
        assert drawn.teff.size == snr.size == 7
        assert np.sum(drawn.fault == "") >= 3


def test_extremely_metal_poor_spectra_are_sound():
    wave = np.arange(3850.0, 8800.0)
    feh = np.array([-2.0, -3.0, -3.5, -4.0])
    flux = spectrum.synthesize(
        wave, np.full(4, 6000.0), np.full(4, 4.2), feh, np.full(4, 0.3), 0.0, 0.0
    )
    assert np.isfinite(flux).all()
    assert np.all(flux > 0)
    core = flux[:, np.abs(wave - 3934.8) < 3].mean(axis=1) / np.median(
        flux[:, (wave > 4000) & (wave < 4060)], axis=1
    )
    assert np.all(np.diff(core) > 0.02)


# --- files ---------------------------------------------------------------------------------------


def test_same_seed_same_bytes(folder, stars, tmp_path):
    def digest(root):
        return [
            hashlib.sha256((root / name).read_bytes()).hexdigest() for name in counterparts.NAMES
        ]

    counterparts.write_catalogues(tmp_path / "again", stars, SEED)
    assert digest(folder) == digest(tmp_path / "again")
    counterparts.write_catalogues(tmp_path / "other", stars, SEED + 1)
    assert not set(digest(folder)) & set(digest(tmp_path / "other"))


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        (
            counterparts.GAIA,
            "source_id ref_epoch ra dec parallax parallax_error pmra pmdec phot_g_mean_mag phot_g_mean_flux_over_error "
            "phot_bp_mean_mag phot_bp_mean_flux_over_error phot_rp_mean_mag phot_rp_mean_flux_over_error ruwe",
        ),
        (
            counterparts.DISTANCES,
            "source_id r_med_geo r_lo_geo r_hi_geo r_med_photogeo r_lo_photogeo r_hi_photogeo flag",
        ),
        (
            counterparts.TWOMASS,
            "designation ra dec j_m j_msigcom h_m h_msigcom k_m k_msigcom ph_qual",
        ),
        (counterparts.WISE, "designation ra dec w1mpro w1sigmpro w2mpro w2sigmpro cc_flags"),
        (
            counterparts.SDSS,
            "objid ra dec type psfMag_g psfMagErr_g psfMag_r psfMagErr_r psfMag_i psfMagErr_i",
        ),
        (counterparts.EXTINCTION, "source_id ebv ebv_err"),
    ],
)
def test_columns_of_the_csv_files(folder, name, columns):
    table = pd.read_csv(folder / name)
    assert set(columns.split()) <= set(table.columns)
    assert table.iloc[:, 0].is_unique or name == counterparts.TWOMASS
    for key in ("source_id", "objid"):
        if key in table:
            assert table[key].dtype == np.int64
    # the other reader
    assert len(table_reader.read(folder / name, format="csv")) == len(table)


def test_designations_are_positions(folder):
    twomass = pd.read_csv(folder / counterparts.TWOMASS, dtype={"designation": str})
    assert twomass["designation"].str.fullmatch(r"\d{8}[+-]\d{7}").all()
    assert twomass["ph_qual"].str.fullmatch("[A-FUX]{3}").all()
    wise = pd.read_csv(folder / counterparts.WISE)
    assert wise["designation"].str.fullmatch(r"J\d{6}\.\d{2}[+-]\d{6}\.\d").all()
    name = twomass["designation"].iloc[0]
    hours = int(name[:2]) + int(name[2:4]) / 60 + int(name[4:8]) / 360000
    assert 15 * hours == pytest.approx(twomass["ra"].iloc[0], abs=1e-4)


def test_vizier_files(folder):
    pastel = read_tsv(folder / counterparts.PASTEL)
    names = "_RAJ2000 _DEJ2000 ID Bmag Vmag Jmag Hmag Ksmag Teff e_Teff logg e_logg [Fe/H] e_[Fe/H] Author bibcode"
    assert list(pastel.columns) == names.split()
    assert pastel["bibcode"].str.len().eq(19).all()
    lines = (folder / counterparts.PASTEL).read_text().splitlines()
    head = next(k for k, line in enumerate(lines) if line.startswith("_RAJ2000"))
    assert lines[head + 1].startswith("deg\tdeg\t")
    assert set(lines[head + 2]) == {"-", "\t"}
    # blanks for what is missing, and one to six measurements a star
    assert (pastel["[Fe/H]"] == "").any()
    assert (pastel["e_Teff"] == "").any()
    assert pastel.groupby("ID").size().between(1, 6).all()
    assert pastel["bibcode"].nunique() == spectroscopic_surveys.N_REFERENCES
    apass = read_tsv(folder / counterparts.APASS)
    assert list(apass.columns) == [
        "RAJ2000", "DEJ2000", "Bmag", "e_Bmag", "Vmag", "e_Vmag", "g'mag", "e_g'mag", "r'mag", "e_r'mag", "i'mag",
        "e_i'mag",
    ]  # fmt: skip
    assert (apass["Bmag"] == "").any()
    for name in apass:
        assert number(apass[name]).dtype == float


def test_allstar_is_like_dr16(folder, apogee):
    with fits.open(folder / counterparts.APOGEE) as hdus:
        hdus.verify("exception")
        assert hdus[0].data is None
        formats = dict(zip(hdus[1].columns.names, hdus[1].columns.formats, strict=True))
    assert formats["APOGEE_ID"] == "18A"
    assert formats["GAIA_SOURCE_ID"] == formats["ASPCAPFLAG"] == "K"
    wanted = {"RA", "DEC", "SNR", "NVISITS", "STARFLAG", "EXTRATARG", "J", "H", "K"}
    parameters = ("TEFF", "LOGG", "M_H", "ALPHA_M", "FE_H", "C_FE", "N_FE")
    assert {*wanted, *parameters, *(f"{name}_ERR" for name in parameters)} <= set(formats)
    assert (apogee["TEFF"] == -9999).any()
    assert apogee["APOGEE_ID"].str.startswith("2M").all()


# --- the truth comes back ------------------------------------------------------------------------


def assert_unit_normal(pull, n=100, tolerance=0.15):
    pull = np.asarray(pull)[np.isfinite(pull)]
    assert pull.size > n
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)
    assert pull.std() == pytest.approx(1, abs=tolerance)


def test_gaia_pulls(gaia, truth):
    assert_unit_normal((gaia["parallax"] - 1000 / truth["distance"]) / gaia["parallax_error"])
    for band in ("g", "bp", "rp"):
        error = 1.0857362 / gaia[f"phot_{band}_mean_flux_over_error"]
        name = "m_g_gaia" if band == "g" else f"m_{band}"
        assert_unit_normal((gaia[f"phot_{band}_mean_mag"] - truth[name]) / error)
    assert list(gaia["source_id"]) == [measurement.source_id(i) for i in range(len(gaia))]


def test_distances_are_asymmetric_and_right(folder, gaia, truth):
    table = pd.read_csv(folder / counterparts.DISTANCES)
    assert len(table) > len(gaia)
    table = table.iloc[: len(gaia)]
    for kind in ("geo", "photogeo"):
        low, middle, high = (table[f"r_{part}_{kind}"].to_numpy() for part in ("lo", "med", "hi"))
        known = np.isfinite(middle)
        assert np.all((low < middle)[known] & (middle < high)[known])
        relative = (high - low) / 2 / middle
        good = known & (relative < 0.1)
        distance = truth["distance"].to_numpy()
        error = np.where(distance > middle, high - middle, middle - low)
        assert_unit_normal(((distance - middle) / error)[good])
    low, middle, high = (table[f"r_{part}_geo"] for part in ("lo", "med", "hi"))
    poor = (high - low) / 2 / middle > 0.08
    assert np.mean((high - middle)[poor] > (middle - low)[poor]) > 0.9
    # a posterior without information falls back on the prior: r^2 exp(-r / L) has its median at 2.67 L
    (middle,), _, _ = simulate_gaia._posterior(np.array([0.3]), np.array([50.0]))
    assert middle == pytest.approx(2.674 * 1350, rel=0.05)


def test_photometry_pulls(folder, stars, truth, sdss):
    twomass = pd.read_csv(folder / counterparts.TWOMASS)
    for band, name in (("j", "m_j"), ("h", "m_h"), ("k", "m_ks")):
        assert_unit_normal((twomass[f"{band}_m"] - truth[name]) / twomass[f"{band}_msigcom"])
    wise = pd.read_csv(folder / counterparts.WISE)
    star = matched(wise, stars, ("ra", "dec"), measurement.EPOCH["wise"])
    assert 0.95 < len(wise) / len(truth) < 1
    for band in ("w1", "w2"):
        assert_unit_normal(
            (wise[f"{band}mpro"] - truth[f"m_{band}"].to_numpy()[star]) / wise[f"{band}sigmpro"]
        )
    apass = read_tsv(folder / counterparts.APASS)
    star = matched(apass, stars, ("RAJ2000", "DEJ2000"), 2011.0)
    for band, name in (("B", "m_b_apass"), ("V", "m_v_apass"), ("r'", "m_r_apass")):
        difference = number(apass[f"{band}mag"]) - truth[name].to_numpy()[star]
        assert_unit_normal(difference / number(apass[f"e_{band}mag"]))
    assert truth["m_v_apass"].to_numpy()[star].min() > 10
    for band in "gri":
        faint = sdss[truth["m_g_sdss"].to_numpy()[sdss["star"]] > 14]
        true = truth[f"m_{band}_sdss"].to_numpy()[faint["star"]]
        assert_unit_normal((faint[f"psfMag_{band}"] - true) / faint[f"psfMagErr_{band}"])
    ebv = pd.read_csv(folder / counterparts.EXTINCTION)
    star = (ebv["source_id"] - measurement.source_id(0)) // 4_567_891
    assert_unit_normal((ebv["ebv"] - truth["ebv"].to_numpy()[star]) / ebv["ebv_err"])


def test_apogee_pulls_and_growth_of_errors(apogee, truth):
    names = {
        "TEFF": "teff", "LOGG": "logg", "M_H": "feh", "FE_H": "feh", "ALPHA_M": "alpha_fe", "C_FE": "c_fe",
        "N_FE": "n_fe",
    }  # fmt: skip
    for name, label in names.items():
        there = apogee[name] > -9000
        pull = (apogee[name] - truth[label].to_numpy()[apogee["star"]]) / apogee[f"{name}_ERR"]
        assert_unit_normal(pull[there])
    kept = apogee[(truth["fault"].to_numpy()[apogee["star"]] == "") & (apogee["FE_H"] > -0.5)]
    low, high = kept["SNR"] < 110, kept["SNR"] > 250
    assert kept.loc[low, "FE_H_ERR"].median() > 1.15 * kept.loc[high, "FE_H_ERR"].median()


def test_pastel_offsets_of_references(folder, truth, stars):
    pastel = read_tsv(folder / counterparts.PASTEL)
    star = matched(pastel, stars, ("_RAJ2000", "_DEJ2000"), 2000.0)
    literature = spectroscopic_surveys.references(SEED).set_index("bibcode")
    for name, label, size in (
        ("Teff", "teff", 60.0),
        ("logg", "logg", 0.1),
        ("[Fe/H]", "feh", 0.06),
    ):
        offset = literature[name].loc[pastel["bibcode"]].to_numpy()
        difference = number(pastel[name]) - truth[label].to_numpy()[star]
        assert_unit_normal((difference - offset) / number(pastel[f"e_{name}"]))
        assert literature[name].std() == pytest.approx(size, rel=0.4)
        # without the correction there is more than the errors say
        assert np.nanstd(difference / number(pastel[f"e_{name}"])) > 1.08
    assert {"pastel", "field"} <= set(stars.sample[star])


# --- what cuts remove ----------------------------------------------------------------------------


def test_apogee_victims(apogee, stars):
    fault = np.where(stars.sample[apogee["star"]] == "apogee", stars.fault[apogee["star"]], "")
    one = {name: apogee[fault == name] for name in samples.FAULTS["apogee"]}
    assert all(len(rows) for rows in one.values())
    assert (one["apogee_snr"]["SNR"] < 70).all()
    assert (one["star_warn"]["ASPCAPFLAG"] & (1 << 7) > 0).all()
    assert (one["star_bad"]["ASPCAPFLAG"] & (1 << 23) > 0).all()
    limits = {"teff": 150, "logg": 0.15, "fe_h": 0.1, "alpha_m": 0.03, "c_fe": 0.2, "n_fe": 0.2}
    for name, limit in limits.items():
        assert (one[f"{name}_err"][f"{name.upper()}_ERR"] > limit).all()
    assert one["c_fe_label"]["C_FE_ERR"].between(0.05, 0.2).all()
    assert one["n_fe_label"]["N_FE_ERR"].between(0.08, 0.2).all()
    assert (one["missing"][["TEFF", "FE_H", "C_FE", "TEFF_ERR"]] == -9999).all(axis=None)
    # flags are bits: good stars have other bits, and values that look like the numbers of the bad ones
    good = apogee[(fault == "") & (apogee["TEFF"] > 0)]
    assert {256, 65536, 7, 23} <= set(good["ASPCAPFLAG"])
    # no other star of the sample fails
    own = good[(stars.sample[good["star"]] == "apogee") & (good["EXTRATARG"] & 16 == 0)]
    passed = (own["SNR"] > 70) & (own["ASPCAPFLAG"] & (1 << 7 | 1 << 23) == 0)
    for name, limit in limits.items():
        passed &= own[f"{name.upper()}_ERR"] < limit
    assert passed.mean() > 0.85


def test_apogee_duplicates(apogee):
    again = apogee[apogee["EXTRATARG"] & 16 > 0]
    assert len(again) >= 3
    assert set(again["APOGEE_ID"]) <= set(apogee.loc[apogee["EXTRATARG"] & 16 == 0, "APOGEE_ID"])
    assert apogee.loc[apogee["EXTRATARG"] & 16 == 0, "APOGEE_ID"].is_unique


def test_lgmwas_victims(folder, stars, gaia, sdss, stars_and_visits):
    n = stars.teff.size
    names = ("b_apass", "v_apass", "r_apass", "w1", "w2", "g_sdss", "r_sdss", "i_sdss", "type")
    columns = {name: np.full(n, np.nan) for name in names}
    for band, name in (("g", "g_gaia"), ("bp", "bp"), ("rp", "rp")):
        columns[name] = 1.0857362 / gaia[f"phot_{band}_mean_flux_over_error"].to_numpy()
    twomass = pd.read_csv(folder / counterparts.TWOMASS)
    for band, name in (("j", "j"), ("h", "h"), ("k", "ks")):
        columns[name] = twomass[f"{band}_msigcom"].to_numpy()
    wise = pd.read_csv(folder / counterparts.WISE)
    star = matched(wise, stars, ("ra", "dec"), measurement.EPOCH["wise"])
    for band in ("w1", "w2"):
        columns[band][star] = wise[f"{band}sigmpro"]
    apass = read_tsv(folder / counterparts.APASS)
    star = matched(apass, stars, ("RAJ2000", "DEJ2000"), 2011.0)
    for band, name in (("B", "b_apass"), ("V", "v_apass"), ("r'", "r_apass")):
        columns[name][star] = number(apass[f"e_{band}mag"])
    for band in "gri":
        columns[f"{band}_sdss"][sdss["star"]] = sdss[f"psfMagErr_{band}"]
    columns["type"][sdss["star"]] = sdss["type"]
    distances = pd.read_csv(folder / counterparts.DISTANCES).iloc[:n]
    columns["distance"] = distances["r_med_geo"].to_numpy()
    columns["distance_err"] = (
        (distances["r_hi_geo"] - distances["r_lo_geo"]) / 2 / distances["r_med_geo"]
    ).to_numpy()
    columns["latitude"] = np.abs(SkyCoord(stars.ra, stars.dec, unit="deg").galactic.b.deg)
    visits = stars_and_visits[1]
    columns["snr"] = visits.loc[visits["visit"] == 0, "snr"].to_numpy()
    ebv = pd.read_csv(folder / counterparts.EXTINCTION)
    columns["ebv"] = np.full(n, np.nan)
    columns["ebv"][(ebv["source_id"] - measurement.source_id(0)) // 4_567_891] = ebv["ebv"]

    limits = {
        **dict.fromkeys(("g_gaia", "bp", "rp", "g_sdss", "r_sdss", "i_sdss"), 0.01),
        **dict.fromkeys(("j", "h", "ks"), 0.03),
        **dict.fromkeys(("w1", "w2", "b_apass", "v_apass", "r_apass"), 0.035),
    }
    sample = stars.sample == "lgmwas"
    for name, limit in limits.items():
        victims = columns[name][sample & (stars.fault == f"err_{name}")]
        # APASS and SDSS do not have the brightest
        victims = victims[np.isfinite(victims)]
        assert victims.size
        assert np.all(victims > limit), name
    with_fault = {name: sample & (stars.fault == name) for name in samples.FAULTS["lgmwas"]}
    assert np.all(columns["distance"][with_fault["distance"]] > 2000)
    assert np.all(columns["distance_err"][with_fault["distance_err"]] > 0.15)
    assert np.all(columns["latitude"][with_fault["latitude"]] < 30)
    assert np.isfinite(columns["g_sdss"][with_fault["latitude"]]).any()
    assert np.all(columns["ebv"][with_fault["ebv"]] > 0.02)
    assert np.all(np.isnan(columns["ebv"][with_fault["no_ebv"]]))
    assert np.all(columns["type"][with_fault["galaxy"]] == 3)
    assert np.all(columns["snr"][with_fault["lamost_snr"]] < 100)
    for name, column in (
        ("no_bp", "bp"),
        ("no_ks", "ks"),
        ("no_wise", "w1"),
        ("no_b_apass", "b_apass"),
    ):
        assert np.all(np.isnan(columns[column][with_fault[name]])), name
    assert np.all(np.isnan(columns["g_sdss"][with_fault["no_sdss"]]))
    assert (twomass.loc[with_fault["no_ks"], "ph_qual"].str[2] == "U").all()
    # most of the others pass everything
    passed = sample & (stars.fault == "")
    n_fine = passed.sum()
    for name, limit in limits.items():
        passed &= columns[name] < limit
    passed &= (
        (columns["distance"] < 2000) & (columns["distance_err"] < 0.15) & (columns["latitude"] > 30)
    )
    passed &= (columns["ebv"] < 0.02) & (columns["type"] == 6) & (columns["snr"] > 100)
    assert 0.6 < passed.sum() / n_fine <= 1
    # binaries are among them, for the cut that goes by the magnitude itself
    assert np.isfinite(stars.secondary_teff[passed]).sum() > 5


def test_pastel_victims(folder, stars, stars_and_visits):
    pastel = read_tsv(folder / counterparts.PASTEL)
    star = matched(pastel, stars, ("_RAJ2000", "_DEJ2000"), 2000.0)
    bare = pastel[stars.fault[star] == "teff_only"]
    assert len(bare)
    assert (bare[["logg", "[Fe/H]"]] == "").all(axis=None)
    assert (bare["Teff"] != "").all()
    visits = stars_and_visits[1]
    snr = visits.loc[visits["visit"] == 0, "snr"].to_numpy()
    assert np.all(snr[(stars.sample == "pastel") & (stars.fault == "lamost_snr")] < 20)


# --- positions -----------------------------------------------------------------------------------


def test_a_match_needs_epochs_and_the_right_neighbour(folder, stars, gaia):
    everything = pd.read_csv(folder / counterparts.GAIA)
    lamost = SkyCoord(stars.ra, stars.dec, unit="deg")
    fast = np.hypot(stars.pmra, stars.pmdec) > 250
    assert fast.sum() >= 5
    assert np.hypot(stars.pmra, stars.pmdec)[fast].max() < 2001
    # all found in 2000 by going back sixteen years
    cos = np.cos(np.radians(everything["dec"]))
    back = SkyCoord(
        everything["ra"] - everything["pmra"] * 16 / 3.6e6 / cos,
        everything["dec"] - everything["pmdec"] * 16 / 3.6e6,
        unit="deg",
    )
    index, separation, _ = lamost.match_to_catalog_sky(back)
    assert separation.arcsec.max() < 0.1
    assert np.array_equal(index, np.arange(stars.teff.size))
    # without, the fast ones are lost or mistaken for a neighbour
    now = SkyCoord(everything["ra"], everything["dec"], unit="deg")
    index, separation, _ = lamost.match_to_catalog_sky(now)
    right = (index == np.arange(stars.teff.size)) & (separation.arcsec < 3)
    assert not right[fast].any()
    assert np.any(fast & (index >= stars.teff.size) & (separation.arcsec < 5))
    neighbours = everything.iloc[stars.teff.size :]
    assert 0.06 < len(neighbours) / stars.teff.size < 0.2
    close, separation, _ = SkyCoord(
        neighbours["ra"], neighbours["dec"], unit="deg"
    ).match_to_catalog_sky(lamost)
    assert np.all((separation.arcsec > 0.9) & (separation.arcsec < 5.1))
    assert np.all(
        neighbours["phot_g_mean_mag"].to_numpy() > gaia["phot_g_mean_mag"].to_numpy()[close] + 0.5
    )


def test_catalogues_have_their_epochs(folder, stars):
    fast = np.flatnonzero(np.hypot(stars.pmra, stars.pmdec) > 250)
    twomass = pd.read_csv(folder / counterparts.TWOMASS)
    lamost = SkyCoord(stars.ra, stars.dec, unit="deg")
    there = SkyCoord(twomass["ra"], twomass["dec"], unit="deg")
    assert lamost.separation(there).arcsec.max() < 0.6
    wise = pd.read_csv(folder / counterparts.WISE)
    at_2010 = matched(wise, stars, ("ra", "dec"), 2010.6)
    rows = np.flatnonzero(np.isin(at_2010, fast))
    moved = (
        SkyCoord(wise["ra"], wise["dec"], unit="deg")[rows].separation(lamost[at_2010[rows]]).arcsec
    )
    expected = 10.6 * np.hypot(stars.pmra, stars.pmdec)[at_2010[rows]] / 1000
    np.testing.assert_allclose(moved, expected, atol=0.5)


# --- the whole -----------------------------------------------------------------------------------


def test_training_stars_are_ordinary_spectra_of_the_release(tmp_path):
    settings = SimulationSettings(
        n_stars={"G": 4, "K": 3}, n_training={"pastel": 6, "apogee": 5, "lgmwas": 8}, n_library=0, n_other=3,
        n_low_snr=1, stars_per_plate=8, binary_fraction=0.5,
    )  # fmt: skip
    truth = simulate_survey(tmp_path, settings, seed=2)
    stars = truth[truth["star_id"] >= 0].drop_duplicates("star_id")
    assert stars["sample"].value_counts().to_dict() == {
        "field": 8,
        "pastel": 6,
        "apogee": 5,
        "lgmwas": 8,
    }
    assert (truth.loc[truth["star_id"] < 0, "sample"] == "").all()
    assert all((tmp_path / "catalogs" / name).exists() for name in counterparts.NAMES)
    np.testing.assert_allclose(stars["abs_mag_g_gaia"], stars["abs_mag_g"])
    on_disk = Table.read(tmp_path / "truth.fits")
    assert set(photometry.BANDS) <= set(on_disk.colnames)
    assert str(on_disk["abs_mag_ks"].unit) == "mag"
    catalogue = pd.read_csv(tmp_path / "lamost/catalogue.csv", sep="|")
    gaia = pd.read_csv(tmp_path / "catalogs" / counterparts.GAIA)
    both = catalogue.merge(gaia, left_on="gaia_source_id", right_on="source_id")
    assert both["gaia_source_id"].nunique() == len(stars)
    # the release quotes the same magnitude: companion included
    assert (both["gaia_g_mean_mag"] - both["phot_g_mean_mag"]).abs().max() < 0.15
