"""The scripts of photometry and distance on a simulated sky: from catalogue files to distances."""

import importlib.util
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from dust_map import write_map

from lamostvac.catalog.files import read_fields, read_rows, write_rows
from lamostvac.catalog.registry import NetworkLabel, load_registry
from lamostvac.configuration.root import Configuration
from lamostvac.core.vocabulary import BANDS
from lamostvac.distance import type_distances
from lamostvac.distance.bayestar import ebv_at_distance
from lamostvac.distance.schema import load_photometry
from lamostvac.simulate import counterparts, measurement, population
from lamostvac.simulate import photometry as simulated

pytestmark = pytest.mark.slow

LABELS = [
    {
        "label": f"abs_mag_{band}",
        "unit": "mag",
        "ucd": "phys.magAbs",
        "description": f"M of {band}",
        "set": "x",
    }
    for band in BANDS
]
REGISTRY = load_registry([NetworkLabel(**label) for label in LABELS])
N_CLEAN, N_DUSTY = 900, 300
MAGNITUDE_ERROR = 0.2


def script(project, name):
    spec = importlib.util.spec_from_file_location(
        f"{name}_script", project / "workflow_scripts" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """G stars: high above the plane almost without dust, and reddened ones; catalogue files, labels with noise."""
    folder = tmp_path_factory.mktemp("sky")
    rng = np.random.default_rng(21)
    stars = population.draw(rng, {"G": N_CLEAN + N_DUSTY})
    n = N_CLEAN + N_DUSTY
    # The Galactic pole is at 192.9, +27.1; the others' place does not matter.
    stars.ra[:N_CLEAN], stars.dec[:N_CLEAN] = (
        rng.uniform(170, 215, N_CLEAN),
        rng.uniform(8, 46, N_CLEAN),
    )
    stars.ra[N_CLEAN:], stars.dec[N_CLEAN:] = (
        rng.uniform(70, 100, N_DUSTY),
        rng.uniform(20, 40, N_DUSTY),
    )
    stars.ebv[:] = np.where(np.arange(n) < N_CLEAN, 0.01, rng.uniform(0.1, 0.8, n))
    stars.distance[:] = rng.uniform(200, 1500, n)
    counterparts.write_catalogues(folder / "catalogs", stars, seed=4)
    rows = REGISTRY.empty(n)
    rows["spectrum_id"] = [f"1-P-1-{i}".encode() for i in range(n)]
    rows["ra"], rows["dec"], rows["snrg"], rows["fit_status"] = stars.ra, stars.dec, 80.0, 0
    for label, error in (("teff", 50.0), ("logg", 0.08), ("feh", 0.05)):
        rows[f"{label}_rec"] = getattr(stars, label) + error * rng.normal(size=n)
        rows[f"{label}_rec_err"] = error
    common = rng.normal(size=n)
    truth = simulated.primary_magnitudes(stars)
    for band in BANDS:
        name = f"abs_mag_{band}"
        rows[name] = truth[name] + MAGNITUDE_ERROR * (0.95 * common + 0.31 * rng.normal(size=n))
        rows[f"{name}_err"], rows[f"{name}_spread"] = MAGNITUDE_ERROR, 0.05
        rows[f"flag_{name}"] = rows[f"flag_cloud_{name}"] = 0
    # Four stars whose labels are not to be used, one without any Ks.
    for band in BANDS:
        rows[f"flag_abs_mag_{band}"][-3:] = 1
    rows["flag_cloud_abs_mag_ks"][-4] = 1
    write_rows(folder / "G.fits", rows, REGISTRY, {})
    return folder, stars


def run(project, folder, output, table="G.fits", labels=LABELS, dust=(), **changes):
    """Both scripts on the table; the result."""
    configuration = Configuration.model_validate(changes)
    present, _ = load_photometry(project / "config" / "photometry.yaml").present(
        folder / "catalogs"
    )
    common = {"network_labels": labels, "emulators": [], "repeat_radius": 1.0, "columns": ""}
    joined = output.with_name(f"{output.stem}_photometry.parquet")
    script(project, "photometry").main(
        SimpleNamespace(
            input=SimpleNamespace(collected=folder / table, dust=list(dust)), output=[joined],
            log=[output.with_suffix(".log")],
            params=SimpleNamespace(
                **common, tables=present.model_dump(mode="json", by_alias=True), root=folder / "catalogs",
                bayestar_scale=configuration.photometry.bayestar_scale,
            ),
        )
    )  # fmt: skip
    script(project, "distance").main(
        SimpleNamespace(
            input=SimpleNamespace(recommended=folder / table, photometry=joined, left_out=[]),
            output=[output], log=[output.with_suffix(".log")],
            params=SimpleNamespace(
                **common, snr_band="snrg", bands=list(BANDS), members=5,
                extinction=configuration.extinction_used.model_dump(mode="json"),
                star_pairs=configuration.star_pairs.model_dump(mode="json"),
                distance=configuration.distance.model_dump(mode="json"),
            ),
        )
    )  # fmt: skip
    return pd.read_parquet(output)


@pytest.fixture(scope="module")
def result(project, sky, tmp_path_factory):
    folder, _ = sky
    return run(
        project, folder, tmp_path_factory.mktemp("out") / "G.parquet", distance={"correlation": 0.9}
    )


def robust(values):
    values = np.asarray(values)[np.isfinite(values)]
    return 1.4826 * np.median(np.abs(values - np.median(values)))


def test_rows_are_those_of_the_table_with_columns_that_the_registry_knows(sky, result):
    folder, _ = sky
    wanted = read_fields(folder / "G.fits", REGISTRY, ["spectrum_id"])["spectrum_id"].astype(str)
    assert result["spectrum_id"].tolist() == wanted.tolist()
    extra = set(result.columns) - set(REGISTRY.names)
    assert extra == {"ebv_map_err", "ebv_n_colours", "dist_n_bands"}
    assert result["b"][:N_CLEAN].min() > 60


def test_reddening_and_distances_are_the_injected_ones(sky, result):
    _, stars = sky
    dusty = np.arange(len(result)) >= N_CLEAN
    difference = (result["ebv"] - stars.ebv)[dusty]
    assert difference.notna().mean() > 0.9
    assert abs(difference.median()) < 0.006
    assert robust(difference) < 0.025
    assert 0.8 < robust(difference / result["ebv_err"][dusty]) < 1.2
    for name in ("dist", "dist_ks"):
        ratio = np.log(result[name] / (stars.distance / 1000))
        assert abs(ratio.median()) < 0.02
        assert 0.9 < robust(ratio / (result[f"{name}_err"] / result[name])) < 1.1
    assert robust(result["dist"] / stars.distance) < robust(result["dist_ks"] / stars.distance)
    here = np.hypot(
        np.hypot(result["x_galcen"] + 8.122, result["y_galcen"]), result["z_galcen"] - 0.0208
    )
    np.testing.assert_allclose(here[result["dist"].notna()], result["dist"].dropna(), atol=1e-4)


def test_flagged_labels_give_no_distance(result):
    assert result["dist"].iloc[-3:].isna().all()
    assert np.isnan(result["dist_ks"].iloc[-4])
    assert np.isfinite(result["dist"].iloc[-4])
    assert result["ebv"].iloc[-4:].notna().any()


def test_the_map_of_dust_is_read_at_the_geometric_distance(project, sky, tmp_path):
    folder, _ = sky
    path = write_map(tmp_path / "bayestar2019.h5")
    found = run(project, folder, tmp_path / "G.parquet", dust=[path])
    known = found["r_geo"].notna() & (found["b"] > 45)
    assert known.sum() > 100
    expected = ebv_at_distance(path, found["l"], found["b"], found["r_geo"], 0.884)
    # Coordinates and distances are written in single precision.
    np.testing.assert_allclose(found["ebv_bayes19"], expected, rtol=1e-5)
    assert (found["ebv_bayes19"][known] > 0).all()
    assert found["ebv_bayes19"][found["r_geo"].isna()].isna().all()


def test_positions_from_ks_and_flagged_magnitudes_as_published(project, sky, result, tmp_path):
    folder, _ = sky
    published = {"correlation": 0.9, "positions": "ks", "flagged": "use"}
    found = run(project, folder, tmp_path / "G.parquet", distance=published)
    here = np.hypot(
        np.hypot(found["x_galcen"] + 8.122, found["y_galcen"]), found["z_galcen"] - 0.0208
    )
    known = found["dist_ks"].notna()
    np.testing.assert_allclose(here[known], found["dist_ks"][known], atol=1e-4)
    assert not np.allclose(found["dist_ks"][known], found["dist"][known], rtol=0.01)
    assert (known[-4:] == found["ebv"].iloc[-4:].notna()).all()
    assert known[-4:].any()
    assert result["dist_ks"].iloc[-4:].isna().all()


def test_the_same_bytes_again(project, sky, result, tmp_path):
    folder, _ = sky
    paths = [tmp_path / name for name in ("one.parquet", "two.parquet")]
    for path in paths:
        run(project, folder, path, distance={"correlation": 0.9})
    assert paths[0].read_bytes() == paths[1].read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(paths[0]), result)


def test_coefficients_on_one_scale_and_of_zhang_and_yuan(project, sky, result, tmp_path):
    """The same colours: E(B-V) of another scale, and a distance that hardly feels it."""
    folder, _ = sky
    corrected = run(
        project,
        folder,
        tmp_path / "corrected.parquet",
        distance={"correlation": 0.9},
        extinction={"scale": "corrected"},
    )
    sfd = run(
        project,
        folder,
        tmp_path / "sfd.parquet",
        distance={"correlation": 0.9},
        extinction={"scale": "sfd"},
    )
    dusty = slice(N_CLEAN, None)
    zero = 0.01
    ratio = (corrected["ebv"] - zero)[dusty] / (sfd["ebv"] - zero)[dusty]
    assert ratio.median() == pytest.approx(0.86, abs=0.01)
    assert abs(np.log(corrected["dist"] / sfd["dist"]).median()) < 0.01
    variable = run(
        project, folder, tmp_path / "zy.parquet",
        distance={"correlation": 0.9}, extinction={"scale": "sfd", "coefficients": "zhang_yuan_2022"},
    )  # fmt: skip
    assert (variable["ebv"] / result["ebv"])[dusty].median() == pytest.approx(1.1, abs=0.2)
    assert not np.allclose(variable["ebv"][dusty], sfd["ebv"][dusty], equal_nan=True)


def test_without_pairs_the_map_gives_the_reddening_of_distances(project, sky, result, tmp_path):
    folder, stars = sky
    shutil.copytree(folder, tmp_path / "sky")
    (tmp_path / "sky/catalogs/extinction").mkdir(exist_ok=True)
    n = len(stars.ebv)
    given = pd.DataFrame(
        {"source_id": measurement.source_id(np.arange(n)), "ebv": stars.ebv, "ebv_err": 0.01}
    )
    # One in seven without an error: of no use for a distance.
    given.loc[::7, "ebv_err"] = np.nan
    given.to_csv(tmp_path / "sky/catalogs/extinction/ebv_map.csv", index=False)
    same = {"distance": {"correlation": 0.9}}
    found = run(
        project, tmp_path / "sky", tmp_path / "one.parquet", star_pairs={"min_snr": 1000}, **same
    )
    assert found["ebv"].isna().all()
    usable = np.arange(n) % 7 != 0
    assert found["dist"].iloc[:-3].notna().tolist() == usable[:-3].tolist()
    assert abs(np.log(found["dist"] * 1000 / stars.distance).median()) < 0.02
    both = run(project, tmp_path / "sky", tmp_path / "two.parquet", **same)
    assert abs((both["ebv"] - stars.ebv).median()) < 0.004
    assert 0.8 < robust((both["ebv"] - stars.ebv)[N_CLEAN:] / both["ebv_err"][N_CLEAN:]) < 1.2


def test_runs_without_networks_or_without_stars(project, sky, tmp_path):
    folder, _ = sky
    plain = load_registry()
    fields = read_fields(
        folder / "G.fits", REGISTRY, [name for name in plain.names if name in REGISTRY.names]
    )
    rows = plain.empty(len(fields["ra"]))
    for name, values in fields.items():
        rows[name] = values
    write_rows(folder / "plain.fits", rows, plain, {})
    found = run(project, folder, tmp_path / "plain.parquet", "plain.fits", [])
    assert found["ebv"].notna().mean() > 0.9
    assert found[["dist", "dist_ks", "x_galcen"]].isna().all(axis=None)
    write_rows(folder / "none.fits", REGISTRY.empty(0), REGISTRY, {})
    empty = run(project, folder, tmp_path / "none.parquet", "none.fits")
    assert len(empty) == 0
    assert empty.columns.tolist() == found.columns.tolist()


def test_correlation_from_stars_left_out_of_training(sky):
    """Residuals of single networks, which scatter about their mean as `_spread` says."""
    folder, _ = sky
    rng = np.random.default_rng(22)
    n, spread, members = 2000, 0.05, 5
    common = 0.12 * rng.normal(size=n)
    left_out = {}
    for band in BANDS:
        own = 0.03 * rng.normal(size=n)
        single = common + own + spread * rng.normal(size=n)
        table = pd.DataFrame(
            {"spectrum_id": [f"s{i}" for i in range(n)], "snr": 60.0, "reference": 1.0}
        )
        table["left_out"] = np.where(rng.random(n) < 0.5, 1 + single, np.nan)
        # The order of rows does not matter.
        left_out[band] = table.sample(frac=1, random_state=1)
    lines = []
    log = SimpleNamespace(info=lambda text, *values: lines.append(text % values))
    columns = read_fields(
        folder / "G.fits", REGISTRY, type_distances.magnitude_columns(REGISTRY.names, ["_spread"])
    )
    columns["snrg"] = np.full(N_CLEAN + N_DUSTY, 80.0)
    bands = {f"abs_mag_{band}": "snrg" for band in BANDS}
    found = type_distances.left_out_correlation(left_out, columns, members, bands, log)
    mean = 0.12**2 + 0.03**2 + spread**2 / members
    expected = 0.98 * 0.12**2 / mean
    above = found[np.triu_indices(14, 1)]
    assert above == pytest.approx(expected, abs=0.08)
    assert above.mean() == pytest.approx(expected, abs=0.015)
    assert "2000 stars" in lines[0]
    fixed = type_distances.equal_correlation(0.7)
    assert fixed[0].tolist() == pytest.approx([1.0] + [0.7] * 13)
    pretrained = type_distances.equal_correlation(None)
    assert pretrained[0, 1] == pytest.approx(0.95)


def test_the_catalogue_has_the_identifier_of_the_matched_star_beside_that_of_the_release(
    project, sky, tmp_path
):
    folder, _ = sky
    rows = read_rows(folder / "G.fits", REGISTRY)
    theirs = measurement.source_id(np.arange(len(rows)))
    rows["gaia_source_id_release"], rows["gaia_release"] = theirs + 7, b"DR2"
    rows["gaia_source_id_release"][3] = -1
    rows["dec"][0] = -80.0  # where Gaia has no star
    write_rows(folder / "released.fits", rows, REGISTRY, {})
    run(
        project,
        folder,
        tmp_path / "G.parquet",
        table="released.fits",
        distance={"correlation": 0.9},
    )
    inputs = {"recommended": folder / "released.fits", "distance": tmp_path / "G.parquet"}
    provenance = {"config_hash": "0" * 64, "library": "mastar"}
    script(project, "catalog").main(
        SimpleNamespace(
            input=SimpleNamespace(**inputs), output=SimpleNamespace(table=tmp_path / "G.fits"),
            log=[tmp_path / "G.log"], wildcards=SimpleNamespace(type="G"),
            params=SimpleNamespace(
                provenance=provenance, columns="", network_labels=LABELS, emulators=[]
            ),
        )
    )  # fmt: skip
    found = read_rows(tmp_path / "G.fits", REGISTRY)
    np.testing.assert_array_equal(found["gaia_source_id"][1:], theirs[1:])
    assert found["gaia_source_id"][0] == -1
    np.testing.assert_array_equal(found["gaia_source_id_release"], rows["gaia_source_id_release"])
    assert set(found["gaia_release"]) == {b"DR2"}
