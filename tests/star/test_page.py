"""One star's page says what the catalogue and the spectrum say, and why each flag is set."""

from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from html_checks import check_page
from toy import BUILD, toy_labels, toy_library, toy_spectra

from lamostvac.catalog.flags import set_flags
from lamostvac.catalog.lookup import find_star, repeats_of, require_star, sample_of, spectrum_path
from lamostvac.catalog.registry import EmulatorLabels, load_registry, network_labels
from lamostvac.core.exceptions import UserError
from lamostvac.core.rejection import SpectrumRejected
from lamostvac.emulator.model import build_emulator, write_emulator
from lamostvac.external.match import group_stars
from lamostvac.fit.fitter import StarFitter
from lamostvac.fit.settings import FitSettings
from lamostvac.library.library import write_library
from lamostvac.simulate import release
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.settings import Prepare
from lamostvac.star import page, sections
from lamostvac.star.anomaly import read_anomaly
from lamostvac.star.flags import disagreement_flags, extrapolation_flags, network_flags, star_flags
from lamostvac.star.page import StarFiles, StarSettings, flag_facts, write_star_page

N = 300
CLEAN, REPEAT, HOT, PILOT, LOST, UNFIT = 10, 11, 20, 30, 40, 61  # rows
LABEL = {
    "label": "teff_pastel",
    "set": "pastel",
    "unit": "K",
    "ucd": "phys.temperature",
    "description": "Teff",
}
SOURCES = {"teff": [("teff", "emulator", 0), ("teff_pastel", "networks", 2)]}
NAME = """J<b>&"'{{1}}"""
COSMIC = 5000.0  # A, at rest
Z = 2e-4


def spectrum(labels, snr=100.0):
    """Wavelengths, flux, ivar, masks of a star as the survey would release it."""
    rest = 10 ** (np.log10(3690.0) + 1e-4 * np.arange(3909))
    flux = 1000.0 * np.interp(rest, GRID, toy_spectra(labels[None])[0]) * (rest / 6000.0) ** -0.5
    flux = flux + np.random.default_rng(1).normal(0, 1000.0 / snr, len(rest))
    flux[np.abs(rest - COSMIC) < 3] += 500.0
    ivar = np.full(len(rest), (snr / 1000.0) ** 2)
    ivar[1000:1003] = 0.0
    ormask, andmask = np.zeros((2, len(rest)))
    ormask[2000:2010] = 4
    return rest * (1 + Z), flux, ivar, andmask, ormask


def catalogue_rows(registry, library_labels):
    rows = registry.empty(N)
    labels = toy_labels(N, seed=5)
    rng = np.random.default_rng(6)
    rows["obsid"] = 1000 + np.arange(N)
    rows["lmjd"] = 56000 + np.arange(N)
    rows["spectrum_id"] = [f"{56000 + i}-P{i}-1-{i % 250}" for i in range(N)]
    rows["planid"] = [f"P{i}" for i in range(N)]
    rows["spid"], rows["fiberid"] = 1, np.arange(N) % 250
    rows["ra"], rows["dec"] = rng.uniform(0, 360, N), rng.uniform(-10, 60, N)
    # The clean star was observed three times, the third time 2 arcsec from the second and 4 from the first.
    for row, shift in ((REPEAT, 2.0), (REPEAT + 1, 4.0)):
        rows["ra"][row], rows["dec"][row] = rows["ra"][CLEAN], rows["dec"][CLEAN] + shift / 3600
    rows["designation"] = NAME.encode()
    rows["spectral_type"], rows["lamost_class"], rows["subclass"] = b"G", b"STAR", b"G5"
    rows["redshift"], rows["snrr"] = Z, rng.uniform(5, 100, N)
    for column, name in enumerate(("teff", "logg", "feh")):
        rows[name] = labels[:, column]
        rows[f"{name}_err"], rows[f"{name}_err_random"] = (
            (50, 30) if name == "teff" else (0.1, 0.06)
        )
    rows["chi2"] = 1 + 0.3 * labels[:, 2] + rng.normal(0, 0.2, N)
    rows["chi2_first"], rows["n_pixels"], rows["n_iterations"] = 2.0, 3800, 7
    rows["outlier_fraction"], rows["n_outliers"] = 0.001, 4
    rows["fit_status"] = 0
    rows["fit_status"][[50, 51]] = 1, 2
    rows["outlier_fraction"][52], rows["n_outliers"][52] = 0.05, 190
    rows["teff"][53], rows["logg"][53] = 12000, 0.0
    rows["teff"][50] = 99000
    rows["snrr"][54] = 6.2
    rows["snrr"][[CLEAN, PILOT, LOST]] = 90.0
    rows["chi2"][CLEAN] = 0.1
    rows["teff_pastel"], rows["teff_pastel_err"], rows["teff_pastel_err_random"] = (
        rows["teff"] + 40,
        80,
        40,
    )
    rows["flag_teff_pastel"], rows["flag_cloud_teff_pastel"] = 0, 0
    rows["flag_teff_pastel"][HOT], rows["teff_pastel"][HOT] = 1, 9999
    rows["flag_cloud_teff_pastel"][HOT] = 1
    rows["teff_rec"], rows["teff_rec_err"], rows["teff_rec_source"] = rows["teff"], 40, 5
    rows["flag_teff_disagree"], rows["flag_teff_extrapolated"] = 0, 0
    rows["flag_teff_disagree"][HOT] = 1
    rows["obsid"][PILOT] = -1
    for name in registry.names:
        of_fit = name.startswith(("teff", "logg", "feh", "chi2")) and "pastel" not in name
        if of_fit and rows[name].dtype.kind == "f":
            rows[name][UNFIT] = np.nan
    rows["fit_status"][UNFIT], rows["teff_rec_source"][UNFIT] = 3, 0
    rows["flag_no_fit_coverage"][UNFIT] = 1
    for name in ("n_pixels", "n_outliers", "n_iterations"):
        rows[name][UNFIT] = -1
    set_flags(rows, registry, library_labels, "snrr", 8.0, 9.0, 7000.0, 0.02)
    return rows


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny finished run: catalogue of three row groups, two stars' files, emulator, library, network."""
    folder = tmp_path_factory.mktemp("run")
    registry = load_registry(network_labels([LABEL]))
    library = toy_library()
    emulator = build_emulator(library, [], BUILD)
    write_library(library, folder / "library.h5")
    write_emulator(emulator, folder / "emulator.h5", {})
    known = np.column_stack([library.label_array(), np.full(len(library.ids), np.nan)])
    rows = catalogue_rows(registry, known)
    pq.write_table(
        registry.to_arrow(rows, {"creator": "lamost-vac <test>"}),
        folder / "recommended.parquet",
        row_group_size=128,
    )
    with h5py.File(folder / "teff_pastel.h5", "w") as handle:
        handle.attrs["label_range"] = (4000.0, 8000.0)
        handle.attrs["training_spectral_types"] = "A F G K"
    (folder / "rejected.csv").write_text(
        "spectrum_id,obsid,stage,reason\n55000-X-1-1,77,survey,not_a_star\n55000-X-1-2,-1,prepare,missing_file\n"
    )
    manifest, chunks = [], folder / "chunks/G"
    chunks.mkdir(parents=True)
    for number, part in enumerate(np.array_split(np.arange(N), 3)):
        table = pd.DataFrame({"spectrum_id": rows["spectrum_id"][part].astype(str)})
        table["path"] = [str(folder / "spectra" / f"{row}.fits") for row in part]
        table.to_parquet(chunks / f"{number:04d}.parquet")
        plates = [f"{rows['lmjd'][i]}-P{i}" for i in (part[0], part[-1])]
        manifest.append(("G", f"{number:04d}", len(part), len(part), *plates))
    columns = ["type", "chunk", "n_spectra", "n_plates", "first_plate", "last_plate"]
    pd.DataFrame(manifest, columns=columns).to_csv(folder / "manifest.csv", index=False)
    (folder / "spectra").mkdir()
    base = {
        "obsdate": "2012-03-04", "mjd": 1, "ra_obs": 1, "dec_obs": 1, "designation": "J", "tsource": "x", "tfrom": "x",
        "fibermask": 0, "class": "STAR", "subclass": "G5", "z_err": 1e-5, "helio_rv": 3.0,
        **{f"mag_ps_{band}": 14.0 for band in "grizy"}, **{f"snr{band}": 30.0 for band in "ugriz"},
    }  # fmt: skip
    for row in (CLEAN, PILOT):
        labels = np.array([rows[name][row] for name in ("teff", "logg", "feh")], dtype=float)
        own = {
            name: rows[name][row].item()
            for name in ("obsid", "lmjd", "spid", "fiberid", "ra", "dec")
        }
        own["z"] = rows["redshift"][row].item()
        data = release.spectrum_bytes(
            base | own | {"planid": f"P{row}"}, "table", *(x.astype("f4") for x in spectrum(labels))
        )
        (folder / "spectra" / f"{row}.fits").write_bytes(data)
    files = StarFiles(
        str(folder / "recommended.parquet"), str(folder / "rejected.csv"), str(folder / "manifest.csv"),
        str(folder / "chunks/{type}/{chunk}.parquet"),
        str(folder / "emulator.h5"), str(folder / "library.h5"), {"teff_pastel": str(folder / "teff_pastel.h5")},
    )  # fmt: skip
    settings = StarSettings(
        preparation=Prepare(),
        fit=FitSettings(),
        snr_band="snrr",
        snr_thresholds={"G": (8.0, 9.0)},
        alpha_max_teff=7000.0,
        outlier_fraction=0.02,
        disagreement=3.0,
        network_labels={"teff_pastel": LABEL},
        grids={"teff_pastel": {"logg_pastel": (0.0, 5.0)}},
        sources=SOURCES,
    )
    return SimpleNamespace(
        folder=folder, files=files, settings=settings, rows=rows, emulator=emulator
    )


def row_of(run, row):
    return dict(find_star(run.files.catalogue, run.rows["spectrum_id"][row].decode())[1])


def facts_of(run, row):
    sample = sample_of(
        run.files.catalogue, ["teff", "logg", "feh", "alpha_fe", "chi2", "snrr"], 10**6
    )
    return flag_facts(row, run.files, run.settings, run.emulator, sample)


def test_the_page_of_a_star(run, tmp_path):
    write_star_page(tmp_path / "a.html", "1010", run.files, run.settings)
    write_star_page(tmp_path / "b.html", "1010", run.files, run.settings)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    said = check_page(tmp_path / "a.html")
    assert said.count(NAME) == 2  # title and heading
    row = run.rows[CLEAN]
    for number in (
        f"{row['teff']:.0f} ± 50",
        f"{row['teff_pastel']:.0f}",
        f"{row['logg']:.3f}",
        "obsid 1010",
    ):
        assert number.removesuffix(" ± 50") in said
    assert "S/N in r is 90.0, above 8" in said or "S/N in r is 90.0, above 9" in said
    assert "2 within 3 arcsec" in said
    assert "1011" in said
    assert "1012" in said
    assert "lamost-vac <test>" in said
    assert (tmp_path / "a.html").read_text().count("data:image/svg+xml") == 4


def test_flags_of_single_labels_stand_at_the_head_too(run, tmp_path):
    """They have no bit in `flags`, so that a star with none of these may have one of them."""
    said = {}
    for row in (CLEAN, HOT):
        write_star_page(tmp_path / "star.html", str(1000 + row), run.files, run.settings)
        said[row] = check_page(tmp_path / "star.html")
    assert "Flags of single labels that are set: flag_teff_disagree." in said[HOT]
    assert "Flags of single labels" not in said[CLEAN]


def test_a_pilot_spectrum_is_found_by_its_spectrum_id(run, tmp_path):
    name = run.rows["spectrum_id"][PILOT].decode()
    write_star_page(tmp_path / "a.html", name, run.files, run.settings)
    assert f"LAMOST {name}" in check_page(tmp_path / "a.html")


def test_a_spectrum_that_networks_alone_label_has_a_page_that_says_why(run, tmp_path):
    write_star_page(tmp_path / "a.html", str(1000 + UNFIT), run.files, run.settings)
    said = check_page(tmp_path / "a.html")
    assert "the emulator cannot label the spectrum: the spectrum does not cover" in said
    assert "There is no fit." in said
    assert f"{run.rows['teff_pastel'][UNFIT]:.0f}" in said
    assert "nan" not in said.lower().replace("nanometre", "")
    assert "Nearest stars of the library" not in said


def test_a_spectrum_whose_file_is_gone_still_has_a_page(run, tmp_path):
    write_star_page(tmp_path / "a.html", str(1000 + LOST), run.files, run.settings)
    said = check_page(tmp_path / "a.html")
    assert "cannot be read any more: missing_file" in said
    assert "Nearest stars of the library" in said


@pytest.mark.parametrize(("name", "reason"), [("dec", "position"), ("redshift", "redshift")])
def test_a_file_that_contradicts_the_catalogue_is_refused(run, name, reason):
    row = dict(row_of(run, CLEAN))
    row[name] = float(row[name]) + 0.01
    with pytest.raises(SpectrumRejected, match=f"wrong_{reason}"):
        page.read_star(
            run.folder / "spectra" / f"{CLEAN}.fits", row, run.settings.preparation, run.emulator,
            FitSettings(), page.label_vector(run.emulator, row), "G",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("star", "sentence"),
    [
        ("77", "the stage survey rejected it as not_a_star (CLASS in the catalogue is not one of"),
        (
            "55000-X-1-2",
            "the stage prepare rejected it as missing_file (the spectrum's file does not exist)",
        ),
        ("78", "no spectrum of this run, accepted or rejected, has the obsid 78"),
        ("55000-X-1-9", "has the spectrum_id 55000-X-1-9"),
        ("-1", "has the spectrum_id -1"),
        ("0", "has the obsid 0"),
    ],
)
def test_a_spectrum_that_is_not_in_the_catalogue_gives_one_sentence(run, tmp_path, star, sentence):
    with pytest.raises(UserError) as error:
        write_star_page(tmp_path / "a.html", star, run.files, run.settings)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "a.html").exists()


@pytest.mark.parametrize(
    ("flag", "row", "sentence"),
    [
        ("flag_snr", 54, "S/N in r is 6.2, not above "),
        ("flag_edge", 50, "teff 9.9e+04 at its upper limit"),
        ("flag_no_convergence", 51, "after 7 steps"),
        ("flag_outliers", 52, "190 pixels, 5.0 %, are unlike any star, more than 2 %"),
        ("flag_outside_library", 53, "away in scaled labels, farther than"),
        ("flag_alpha_fe", 53, "Teff is 12000 K, above 7000 K"),
        ("flag_alpha_fe", CLEAN, "has no [alpha/Fe]"),
    ],
)
def test_why_a_flag_is_set(run, flag, row, sentence):
    assert run.rows[flag][row] == 1
    row = row_of(run, row)
    reason = next(r for r in star_flags(row, facts_of(run, row)) if r.flag == flag)
    assert reason.is_set
    assert sentence in reason.why


def test_what_decided_about_flags_is_found_again_as_it_was(run):
    for number in [*range(0, N, 15), 50, 53]:
        row = row_of(run, number)
        facts = facts_of(run, row)
        assert (row["chi2"] > facts.expected_chi2) == bool(row["flag_chi2"])
        assert (facts.library_distance > facts.library_limit) == bool(row["flag_outside_library"])
        reason = next(r for r in star_flags(row, facts) if r.flag == "flag_chi2")
        assert f"{row['chi2']:.3f}" in reason.why
        assert f"{facts.expected_chi2:.3f}" in reason.why


def test_flags_of_networks_and_of_recommended_labels(run):
    row = row_of(run, HOT)
    facts = facts_of(run, row)
    beyond, cloud = network_flags(row, ["teff_pastel"], facts)
    assert beyond.is_set
    assert "teff_pastel is 9999, not in 4000 to 8000" in beyond.why
    assert cloud.is_set
    assert "unlike those" in cloud.why
    other = network_flags(row | {"spectral_type": "M"}, ["teff_pastel"], facts)[1]
    assert "types A, F, G, K only, not M" in other.why
    (apart,) = disagreement_flags(row, SOURCES, facts)
    assert apart.is_set
    assert "more than 3 sigma" in apart.why
    assert "teff_pastel 9999 +- 80" in apart.why
    (alike,) = disagreement_flags(row_of(run, CLEAN), SOURCES, facts)
    assert not alike.is_set
    assert alike.why == "the systems agree"
    (known,) = extrapolation_flags(row, SOURCES)
    assert not known.is_set
    (unknown,) = extrapolation_flags(row | {"flag_teff_extrapolated": 1}, SOURCES)
    assert unknown.is_set
    assert unknown.why.startswith("fewer than 5 training or library stars are like the star")


def test_a_row_is_found_in_any_row_group(run):
    for row in (0, 127, 128, 299):
        number, found = find_star(run.files.catalogue, str(1000 + row))
        assert number == row
        assert found["spectrum_id"] == run.rows["spectrum_id"][row].decode()
        assert list(found.index) == list(run.rows.dtype.names)
    assert find_star(run.files.catalogue, "999") is None
    number, _ = require_star(
        run.files.catalogue, run.files.rejected, run.rows["spectrum_id"][200].decode()
    )
    assert number == 200


def test_repeats_are_those_of_the_whole_catalogue_grouped(run):
    groups = group_stars(run.rows["ra"].astype(float), run.rows["dec"].astype(float), 3.0)
    for row in (CLEAN, REPEAT, 100):
        found = repeats_of(
            run.files.catalogue, row, *(float(run.rows[name][row]) for name in ("ra", "dec"))
        )
        expected = np.flatnonzero((groups == groups[row]) & (np.arange(N) != row))
        assert found["obsid"].tolist() == (1000 + expected).tolist()
    found = repeats_of(
        run.files.catalogue, CLEAN, *(float(run.rows[name][CLEAN]) for name in ("ra", "dec"))
    )
    np.testing.assert_allclose(found["separation"], [2.0, 4.0], atol=1e-3)


@pytest.mark.parametrize("most", [1, 7, 128, 299, 300, 10**6])
def test_a_sample_is_evenly_spaced_over_row_groups(run, most):
    found = sample_of(run.files.catalogue, ["obsid", "no_such_column"], most)["obsid"].to_numpy()
    step = -(-N // most)
    np.testing.assert_array_equal(found, run.rows["obsid"][::step])
    assert len(found) <= most


def test_the_spectrum_is_found_through_the_manifest(run):
    for row in (0, 99, 100, 299):
        path = spectrum_path(
            run.files.manifest,
            run.files.chunks,
            "G",
            int(run.rows["lmjd"][row]),
            run.rows["spectrum_id"][row].decode(),
        )
        assert path.name == f"{row}.fits"
    assert spectrum_path(run.files.manifest, run.files.chunks, "K", 56000, "56000-P0-1-0") is None
    assert spectrum_path(run.files.manifest, run.files.chunks, "G", 56000, "other") is None


def test_masks_say_what_is_left_out(run):
    row = row_of(run, CLEAN)
    labels = page.label_vector(run.emulator, row)
    path = run.folder / "spectra" / f"{CLEAN}.fits"
    star = page.read_star(
        path, row, run.settings.preparation, run.emulator, FitSettings(), labels, "G"
    )
    masks = {mask.name: mask for mask in star.masks}
    assert masks["no data"].where.sum() == 3
    assert masks["ORMASK"].where.sum() == 10
    assert not masks["ORMASK"].used
    assert not masks["ANDMASK"].where.any()
    out = GRID[masks["outliers"].where]
    assert ((out > COSMIC - 6) & (out < COSMIC + 6)).any()
    assert (star.ivar[masks["telluric"].where] == 0).all()
    assert masks["telluric"].where.any()
    # Every pixel that the fit does not use has a reason among the masks that are used.
    named = np.interp(GRID, masks["no data"].wave, masks["no data"].where.astype(float)) > 0
    for mask in star.masks:
        if mask.used and mask.wave is GRID:
            named |= mask.where
    assert (star.used | named).all()
    assert not (star.used & masks["outliers"].where).any()


def test_neighbours_are_those_of_a_brute_force_search(run):
    labels = np.array([5700.0, 3.0, -0.4])
    near = page.neighbours_of(run.files.library, run.emulator, labels, 5)
    library = toy_library()
    offsets = run.emulator.to_scaled(library.label_array()) - run.emulator.to_scaled(labels[None])
    order = np.argsort((offsets**2).sum(axis=1))[:5]
    assert near.names == [library.ids[i] for i in order]
    np.testing.assert_array_equal(near.flux, library.flux[order])
    np.testing.assert_allclose(near.distance, np.sqrt((offsets[order] ** 2).sum(axis=1)))


def test_residuals_at_the_fit_are_those_of_the_fit(run):
    rng = np.random.default_rng(3)
    truth = (toy_labels(6, 8) - [5750, 3.0, -0.5]) * 0.6 + [5750, 3.0, -0.5]
    flux = toy_spectra(truth) + rng.normal(0, 0.01, (6, len(GRID)))
    flux[2, 700:706] += 0.6
    ivar = np.full(flux.shape, 1e4)
    ivar[:, 100:150] = 0.0
    fitter = StarFitter(run.emulator, FitSettings().changed(outlier_rounds=6))
    fits = fitter.fit(flux, ivar, "G")
    found = fitter.residuals(flux, ivar, fits.labels, "G")
    np.testing.assert_array_equal(found.left_out.sum(axis=1), fits.n_outliers)
    assert found.left_out[2, 700:706].all()
    used = np.isfinite(found.sigma) & ~found.left_out
    chi2 = np.where(used, (flux - found.model) ** 2, 0).sum(axis=1)
    np.testing.assert_allclose(chi2, fits.chi2, rtol=1e-4)
    assert (found.sigma[used] >= 0.01).all()
    assert np.isnan(found.sigma[:, 100:150]).all()


def test_an_anomalous_spectrum_is_read_again_with_what_the_fit_left_out(run):
    def read(row):
        name = run.rows["spectrum_id"][row].decode()
        places = run.files.catalogue, run.files.manifest, run.files.chunks
        return read_anomaly(name, *places, Prepare(), run.emulator, FitSettings())

    found = read(CLEAN)
    assert "obsid 1010" in found["title"]
    left_out = GRID[found["left_out"]]
    assert len(left_out)
    assert (np.abs(left_out - COSMIC) < 10).all()
    assert len(found["wave"]) == len(found["raw"]) == len(found["good"])
    assert found["masked"].any()
    assert not found["masked"].all()
    assert "obsid" not in read(PILOT)["title"]
    # Its file is gone; it has no labels of the emulator.
    assert read(LOST) is None
    assert read(UNFIT) is None


def test_labels_of_every_system_stand_beside_the_recommended_value(run):
    emulator = EmulatorLabels("mine", ("teff", "logg"))
    row = {"teff_rec": 5000.0, "teff_rec_err": 40.0, "teff_rec_source": 1, "teff": 4950.0}
    row |= {"teff_mine": 5030.0, "teff_mine_err": 60.0, "flag_mine": 1}
    row |= {"n_pixels": 1, "n_outliers": 0, "n_iterations": 1, "chi2": 1.0, "chi2_first": 2.0}
    found = sections.labels(row, {}, SOURCES, [], [emulator])["rows"]
    assert [(line[1], line[2], line[7], line[8]) for line in found] == [
        ("teff_rec", "recommended", "", "from teff"),
        ("teff", "emulator", "+50", ""),
        ("teff_mine", "emulator mine", "-30", "flag_mine"),
    ]


def test_other_spectra_that_differ_by_more_than_their_errors_are_named():
    row = {"teff": 5000.0, "teff_err_random": 30.0}
    other = {"obsid": 7, "obsdate": "", "separation": 0.1, "snrg": 50.0, "flags": 0}
    values = {"near": 5080.0, "far": 4800.0, "unknown": np.nan}
    others = pd.DataFrame(
        [
            other | {"spectrum_id": name, "teff": v, "teff_err_random": 40.0}
            for name, v in values.items()
        ]
    )
    found = sections.repeats(row, others, [], "snrg")
    assert found["far"] == ["teff of far (-4.0 sigma)"]
    assert [line[-1] for line in found["rows"][:2]] == ["5080 (+1.6)", "4800 (-4.0)"]
