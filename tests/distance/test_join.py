"""Other surveys' magnitudes reach the spectra of the right stars."""

import numpy as np
import pandas as pd
import pytest
import yaml

from lamostvac.core.exceptions import UserError
from lamostvac.core.vocabulary import BANDS
from lamostvac.distance import join as photometry
from lamostvac.distance import schema
from lamostvac.simulate import counterparts, measurement, population
from lamostvac.simulate import photometry as simulated

SECOND = 1 / 3600


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    """Sixty simulated stars in the official formats, and a spectrum or two of each."""
    folder = tmp_path_factory.mktemp("catalogs")
    rng = np.random.default_rng(5)
    stars = population.draw(rng, {"F": 20, "G": 20, "K": 20})
    stars.sample[:] = "field"
    counterparts.write_catalogues(folder, stars, seed=3)
    n = len(stars.teff)
    which = np.concatenate([np.arange(n), np.arange(0, n, 3)])
    spectra = {
        "ra": stars.ra[which],
        "dec": stars.dec[which] + rng.normal(0, 0.2, len(which)) * SECOND,
        "gaia_source_id": np.full(len(which), -1),
    }
    return folder, stars, which, spectra


@pytest.fixture(scope="module")
def shipped(project):
    return schema.load_photometry(project / "config" / "photometry.yaml")


@pytest.fixture(scope="module")
def joined(sky, shipped):
    folder, _, _, spectra = sky
    present, skipped = shipped.present(folder)
    assert skipped == [
        f"photometry: map: skipped, there is no file {folder / 'extinction/ebv_map.csv'}"
    ]
    return photometry.join_photometry(spectra, present, folder)


def test_magnitudes_are_those_of_the_star_within_their_errors(sky, joined):
    _, stars, which, _ = sky
    table, found = joined
    assert table.columns.tolist() == list(schema.COLUMNS)
    assert len(table) == len(which)
    assert found["catalogue"] == len(which)
    assert (table["gaia_source_id"] == measurement.source_id(which)).all()
    truth = simulated.apparent_magnitudes(stars)
    for band in BANDS:
        pull = (table[f"mag_{band}"] - truth[f"abs_mag_{band}"][which]) / table[f"mag_{band}_err"]
        assert pull.notna().sum() > 0.3 * len(which), band
        assert np.abs(pull).max() < 5, band
    assert table["r_geo_lo"].lt(table["r_geo"]).all()
    assert np.abs(np.log(table["r_geo"] / stars.distance[which])).median() < 0.1


def test_repeated_spectra_share_their_star(sky, joined):
    _, _, which, _ = sky
    table, _ = joined
    first = table.iloc[which[60:]].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, table.iloc[60:].reset_index(drop=True))


def test_order_of_spectra_and_of_the_files_rows_does_not_matter(sky, shipped, joined, tmp_path):
    folder, _, which, spectra = sky
    for path in folder.rglob("*.csv"):
        target = tmp_path / path.relative_to(folder)
        target.parent.mkdir(exist_ok=True)
        pd.read_csv(path, dtype=str).iloc[::-1].to_csv(target, index=False)
    (tmp_path / "apass").mkdir()
    (tmp_path / "apass/apass_dr9.tsv").write_bytes((folder / "apass/apass_dr9.tsv").read_bytes())
    present, _ = shipped.present(tmp_path)
    order = np.random.default_rng(1).permutation(len(which))
    shuffled = {name: values[order] for name, values in spectra.items()}
    found, _ = photometry.join_photometry(shuffled, present, tmp_path)
    pd.testing.assert_frame_equal(found, joined[0].iloc[order].reset_index(drop=True))


def test_without_gaia_the_other_tables_are_joined_by_the_surveys_positions(sky, shipped):
    folder, stars, which, spectra = sky
    content = yaml.safe_load(shipped.model_dump_json(by_alias=True))
    content["catalogue"]["file"] = "gaia/none.csv"
    settings, skipped = schema.PhotometryFile.model_validate(content).present(folder)
    assert "gaia/none.csv" in skipped[0]
    known = dict(spectra, gaia_source_id=measurement.source_id(which))
    table, found = photometry.join_photometry(known, settings, folder)
    assert table["mag_g_gaia"].isna().all()
    slow = np.hypot(stars.pmra, stars.pmdec)[which] < 100
    assert table.loc[slow, "mag_ks"].notna().mean() > 0.9
    assert found["distance"] == len(which)
    assert (table["gaia_source_id"] == measurement.source_id(which)).all()


def test_the_surveys_identifier_is_not_taken_for_the_matched_stars(sky, shipped):
    folder, _, which, spectra = sky
    present, _ = shipped.present(folder)
    theirs = measurement.source_id(which)
    assert theirs.min() > 2**53  # a float would change them
    # Of another data release, and two spectra where Gaia has no star.
    moved = spectra["dec"].copy()
    moved[[0, 5]] = -80.0 - np.arange(2)
    of_release = dict(spectra, dec=moved, gaia_source_id=theirs + 1_234_567)
    table, _ = photometry.join_photometry(of_release, present, folder)
    assert table["gaia_source_id"].dtype == np.int64
    expected = theirs.copy()
    expected[[0, 5]] = -1
    np.testing.assert_array_equal(table["gaia_source_id"], expected)


def test_a_map_is_joined_by_identifier_or_by_position(sky, shipped, tmp_path):
    folder, stars, which, spectra = sky
    n = len(stars.teff)
    identifiers = measurement.source_id(np.arange(n))
    pd.DataFrame({"source_id": identifiers, "ebv": np.arange(n) / 100, "ebv_err": 0.02}).to_csv(
        tmp_path / "map.csv", index=False
    )
    entry = next(join for join in shipped.join if join.name == "map")
    by_id = entry.model_copy(update={"file": str(tmp_path / "map.csv")})
    settings = shipped.model_copy(update={"join": [by_id]})
    table, _ = photometry.join_photometry(spectra, settings, folder)
    assert table["ebv_map"].tolist() == pytest.approx((which / 100).tolist())
    pd.DataFrame({"ra": stars.ra, "dec": stars.dec, "ebv": np.arange(n) / 100}).to_csv(
        tmp_path / "sky.csv", index=False
    )
    by_sky = schema.PhotometryFile.model_validate(
        {"join": [{"name": "map", "file": str(tmp_path / "sky.csv"), "match": {"by": "sky"},
                   "columns": {"ra": "ra", "dec": "dec", "ebv_map": "ebv"}}]}
    )  # fmt: skip
    table, _ = photometry.join_photometry(spectra, by_sky, folder)
    assert table["ebv_map"].tolist() == pytest.approx((which / 100).tolist())
    assert table["ebv_map_err"].isna().all()


def test_no_spectra_and_no_tables(sky, shipped):
    folder, _, _, spectra = sky
    present, _ = shipped.present(folder)
    none = {name: values[:0] for name, values in spectra.items()}
    table, found = photometry.join_photometry(none, present, folder)
    assert len(table) == 0
    assert set(found.values()) == {0}
    table, found = photometry.join_photometry(spectra, schema.PhotometryFile(), folder)
    assert table.drop(columns="gaia_source_id").isna().all(axis=None)
    assert found == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "join: [{name: x, file: f, match: {by: gaia_id}, columns: {gaia_source_id: s, mag_jj: j}}]",
            "mag_j",
        ),
        (
            "join: [{name: x, file: f, match: {by: sky}, columns: {gaia_source_id: s}}]",
            "needs the column ra",
        ),
        (
            "join: [{name: x, file: f, match: {by: obsid}, columns: {obsid: s}}]",
            "obsid finds no photometry",
        ),
        ("joins: []", "joins: there is no such key"),
        ("catalogue: {file: f, columns: {ra: ra, dec: dec}}", "catalogue and match go together"),
        ("a: [", "is no YAML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, sentence):
    path = tmp_path / "photometry.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        schema.load_photometry(path)
    with pytest.raises(UserError, match="cannot be read"):
        schema.load_photometry(tmp_path / "absent.yaml")
