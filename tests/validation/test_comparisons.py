"""Comparisons with other catalogues: what an entry can say, which spectra match, and what comes out."""

import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.table import Table

from lamostvac.catalog.registry import NetworkLabel, load_registry
from lamostvac.core.exceptions import UserError
from lamostvac.core.paths import COLUMNS_PATH
from lamostvac.training.load import load_training_sets
from lamostvac.validation import comparisons, match, schema, subsets


def networks(training_sets):
    """The labels of a shipped file of training sets."""
    return [
        NetworkLabel(label.name, label.unit, label.ucd, label.description, entry.name)
        for entry in load_training_sets(COLUMNS_PATH.parent / training_sets)
        for label in entry.labels
    ]


NETWORKS = networks("training_sets.yaml")
REGISTRY, PLAIN = load_registry(NETWORKS), load_registry()
SHIPPED = COLUMNS_PATH.parent / "comparisons.yaml"


def catalogue(path, n=40, seed=3, registry=PLAIN, **columns):
    """A small catalogue as Parquet, and its rows; stars are 0.1 degrees apart, row groups hold 20 rows."""
    rng = np.random.default_rng(seed)
    rows = registry.empty(n)
    rows["spectrum_id"] = [f"58000-HD1-01-{i:03d}" for i in range(n)]
    rows["designation"] = [f"LAMOST J{i:06d}" for i in range(n)]
    rows["obsid"], rows["lmjd"], rows["planid"], rows["spid"] = np.arange(n) + 100, 58000, b"HD1", 1
    rows["fiberid"], rows["spectral_type"] = np.arange(n), np.where(np.arange(n) % 2, b"G", b"K")
    rows["ra"], rows["dec"] = 150 + 0.1 * np.arange(n), 20.0
    rows["gaia_source_id"] = 4_000_000_000_000_000_000 + np.arange(n)
    for band in "ugriz":
        rows[f"snr{band}"] = rng.uniform(15, 120, n)
    for label, value, error in (
        ("teff", 5500, 80),
        ("logg", 4.3, 0.1),
        ("feh", -0.2, 0.1),
        ("alpha_fe", 0.1, 0.05),
    ):
        rows[label] = value + rng.normal(0, 3 * error, n)
        rows[f"{label}_err"] = error
    rows["flags"], rows["chi2"] = 0, 1
    for flag in registry.flags:
        rows[flag] = 0
    for name, values in columns.items():
        rows[name] = values
    table = registry.to_arrow(rows)
    pq.write_table(table, path, row_group_size=max(n // 2, 1))
    return table.to_pandas()


def entry(**changes):
    plain = {
        "name": "other",
        "title": "Another catalogue",
        "file": "other.csv",
        "key": "obsid",
        "reference_key": "id",
        "labels": {"teff": "T", "feh": "m"},
    }
    plain |= changes
    return {key: value for key, value in plain.items() if value is not ...}


def load(tmp_path, *entries, registry=PLAIN):
    path = tmp_path / "comparisons.yaml"
    path.write_text(yaml.safe_dump({"comparisons": list(entries)}))
    return schema.load_comparisons(path, registry)


def matched(tmp_path, registry=PLAIN, **changes):
    found = load(tmp_path, entry(**changes), registry=registry)[0]
    files = schema.available([found], [tmp_path])[0]
    path, other = files.get("other", ""), files.get("other.other", "")
    return match.match(tmp_path / "c.parquet", found, path, registry, other), found


# ---------------------------------------------------------------- the file


def test_shipped_comparisons_are_valid_with_networks_and_without():
    full = schema.load_comparisons(SHIPPED, REGISTRY)
    names = {comparison.name for comparison in full}
    papers = {
        "apogee",
        "gaia_eso",
        "pastel",
        "lasp",
        "laspm",
        "hotpayne",
        "asteroseismic",
        "vmp_li2018",
        "vmp_highres",
    }
    papers |= {"gaia_distances"}
    assert names >= papers | {"photometric_magnitudes", "open_clusters", "gaia_benchmark"}
    plain = {comparison.name: comparison for comparison in schema.load_comparisons(SHIPPED, PLAIN)}
    # Absolute magnitudes are labels of networks alone.
    assert names - set(plain) == {"photometric_magnitudes"}
    assert not any(comparison.network_labels for comparison in plain.values())
    clusters = next(comparison for comparison in full if comparison.name == "open_clusters")
    assert set(clusters.group_names.values()) == {
        "Melotte 20",
        "Melotte 22",
        "NGC 2632",
        "NGC 2682",
        "M 35",
    }


def test_the_word_default_stands_for_the_shipped_comparisons(tmp_path):
    mine = {"name": "mine", "title": "mine", "file": "a.csv", "key": "obsid", "reference_key": "o"}
    (tmp_path / "c.yaml").write_text(
        yaml.safe_dump({"comparisons": [mine | {"labels": {"teff": "T"}}, "default"]})
    )
    found = schema.load_comparisons(tmp_path / "c.yaml", PLAIN)
    assert found[0].name == "mine"
    assert found[1:] == schema.load_comparisons(SHIPPED, PLAIN)


@pytest.mark.parametrize(
    "training_sets",
    sorted(path.name for path in COLUMNS_PATH.parent.glob("training_sets*.yaml")),
)
def test_no_name_of_a_shipped_comparison_is_that_of_a_shipped_networks_label(training_sets):
    assert schema.load_comparisons(SHIPPED, load_registry(networks(training_sets)))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"title": ...}, "entry other: title: this key is missing"),
        ({"name": "X Y"}, "entry X Y: name"),
        ({"lables": {}}, "lables: there is no such key; did you mean labels"),
        ({"key": "position"}, "key: Input should be 'obsid'"),
        ({"reference_key": ...}, "reference_key: this key is missing"),
        ({"file": ...}, "file: this key is missing"),
        ({"key": "sky", "columns": {"ra": "RA"}}, "columns: key sky needs dec"),
        ({"key": "sky", "sky": {"radios": 2}}, "radios: there is no such key; did you mean radius"),
        ({"key": "sky", "sky": {"radius": -2}}, "sky.radius: Input should be greater than 0"),
        ({"labels": {"tef": "T"}}, "labels: this run has no label tef; did you mean teff"),
        ({"labels": {"spectral_type": "T"}}, "labels: this run has no label spectral_type"),
        ({"labels": {}}, "labels: name one label at least"),
        ({"labels": {"feh": None}}, "labels: feh has no column; without one, the entry needs `group`"),
        ({"columns": {"feh": "m"}}, "labels: feh is also a column"),
        ({"units": {"tef": "kK"}}, "units: there is no column or label tef; did you mean teff"),
        ({"units": {"teff": "kiloK"}}, "units.teff: 'kiloK' is no unit"),
        ({"errors": {"logg": "e"}}, "errors: there is no column or label logg"),
        ({"cuts": ["snr > 3"]}, "cuts: 'snr > 3': there is no column snr"),
        ({"cuts": ["teff >"]}, "cuts.0.cut: 'teff >' is no expression"),
        ({"catalogue_cuts": ["snrq > 3"]}, "catalogue_cuts: 'snrq > 3': there is no column snrq; did you mean snr"),
        ({"subsets": {"x": "ref_tef > 3"}}, "subsets.x: 'ref_tef > 3': there is no column ref_tef; did you mean ref_t"),
        ({"derived": {"a": "b + 1"}}, "derived.a: 'b \\+ 1': there is no column b"),
        ({"catalogue_derived": {"a": "teff + tefff"}}, "catalogue_derived.a: the catalogue has no column tefff"),
        ({"catalogue_derived": {"teff": "logg"}}, "catalogue_derived: teff is a column of the catalogue"),
        ({"group": "cluster"}, "group: there is no column cluster"),
        ({"key": "catalogue", "reference_key": ...}, "file: an entry with key catalogue"),
        ({"key": "catalogue", "file": ..., "labels": {"dist": "r_goe"}}, "labels.dist: 'r_goe': there is no column"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_answered_by_a_sentence_with_its_name_and_the_key(
    tmp_path, changes, complaint
):
    with pytest.raises(UserError, match=complaint) as raised:
        load(tmp_path, entry(**changes))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["nothing: 1", "[", "comparisons: 3"])
def test_a_file_that_is_no_list_is_explained(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match="list `comparisons:`"):
        schema.load_comparisons(tmp_path / "c.yaml", PLAIN)
    with pytest.raises(UserError, match="cannot be read"):
        schema.load_comparisons(tmp_path / "none.yaml", PLAIN)


def test_two_entries_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="two entries are called other"):
        load(tmp_path, entry(), entry())


def test_labels_of_networks_that_the_run_lacks_are_left_out(tmp_path):
    both = entry(network_labels={"logg_apogee": "g"}, errors={"logg_apogee": "e", "teff": "t"})
    assert set(load(tmp_path, both, registry=REGISTRY)[0].all_labels) == {
        "teff",
        "feh",
        "logg_apogee",
    }
    without = load(tmp_path, both)[0]
    assert set(without.all_labels) == {"teff", "feh"}
    assert without.errors == {"teff": "t"}
    assert load(tmp_path, entry(labels={}, network_labels={"logg_apogee": "g"})) == []


def test_files_are_found_in_either_folder_and_absent_ones_are_named(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
    (tmp_path / "b" / "other.csv").write_text("")
    entries = load(
        tmp_path,
        entry(),
        entry(name="gone", file="gone.csv"),
        entry(name="later", file="later.csv"),
        entry(name="own", key="catalogue", file=..., labels={"dist": "r_geo / 1000"}),
    )
    roots = [tmp_path / "a", tmp_path / "b"]
    files, skipped = schema.available(entries, roots, produced=[str(tmp_path / "b/later.csv")])
    assert files == {
        "other": str(tmp_path / "b/other.csv"),
        "later": str(tmp_path / "b/later.csv"),
        "own": "",
    }
    assert len(skipped) == 1
    assert re.search(
        "comparison gone: skipped, there is no .*a/gone.csv nor .*b/gone.csv", skipped[0]
    )


def test_shipped_entries_read_the_real_files(real_data):
    entries = schema.load_comparisons(SHIPPED, PLAIN)
    files, _ = schema.available(entries, [real_data])
    read = {
        found.name: match.read_reference(found, files[found.name], PLAIN)
        for found in entries
        if files.get(found.name)
    }
    real = {"lasp_dr10", "lasp_pilot", "pylasp_adam", "pylasp_curvefit", "mdwarfs", "mdwarfs_slam"}
    assert set(read) >= {*real, "gaia_benchmark", "open_clusters_gaia_dr2"}
    assert len(read["pylasp_adam"]) == 25
    assert read["lasp_dr10"]["ref_teff"].between(3000, 20_000).mean() > 0.99
    assert read["gaia_benchmark"][["ra", "dec"]].notna().all(axis=None)
    assert {"Pleiades", "Praesepe", "NGC2682"} <= set(read["open_clusters_gaia_dr2"]["ref_cluster"])


@pytest.mark.parametrize("name", ["apogee_m", "apogee_fgk"])
def test_apogee_of_liang_has_neither_aspcapflag_nor_starflag(tmp_path, name):
    found = next(one for one in schema.load_comparisons(SHIPPED, PLAIN) if one.name == name)
    columns = {*found.columns.values(), *found.labels.values(), "ALPHA_M_ERR"}
    table = Table({column: np.full(4, 5000.0) for column in columns})
    for column in ("ASPCAPFLAG", "STARFLAG", "EXTRATARG"):
        table[column] = np.zeros(4, np.int64)
    table["RA"], table["DEC"] = [10.0, 20, 30, 40], 20.0
    table["ASPCAPFLAG"][1], table["STARFLAG"][2] = 1, 8
    table.write(tmp_path / "apogee.fits")
    read = match.read_reference(found, str(tmp_path / "apogee.fits"), PLAIN)
    assert sorted(read["ra"]) == [10, 40]


def test_a_subset_of_every_comparison_cannot_be_defined_anew(tmp_path):
    with pytest.raises(UserError, match=r"subsets\.recommended: every comparison has a subset"):
        load(tmp_path, entry(subsets={"recommended": "flags == 0"}))


# ---------------------------------------------------------------- another catalogue in our place

LASPM = {
    "name": "laspm",
    "title": "LASPM",
    "file": "laspm.csv",
    "key": "obsid",
    "reference_key": "id",
    "missing": [-9999],
    "columns": {"teff": "t", "teff_err": "e"},
}


def test_another_catalogue_is_compared_in_the_place_of_ours(tmp_path):
    catalogue(tmp_path / "c.parquet", flag_edge=1, recommended=1)
    pd.DataFrame({"id": [101, 103, 105], "T": [5000.0, 5100.0, 5200.0]}).to_csv(
        tmp_path / "other.csv", index=False
    )
    pd.DataFrame(
        {"id": [101, 103, 101, 139], "t": [5010.0, -9999, 1, 2], "e": [40.0, 1, 1, 1]}
    ).to_csv(tmp_path / "laspm.csv", index=False)
    table, found = matched(
        tmp_path,
        other=LASPM,
        labels={"teff_laspm": "T"},
        subsets={"cool": "ref_teff_laspm < 5050 and teff_laspm > 5000"},
    )
    assert found.ours == "LASPM"
    assert table["obsid"].tolist() == [101, 103]
    rows = {row["subset"]: row for row in comparisons.compare(table, found)}
    assert rows["all"]["n"] == rows["cool"]["n"] == rows["recommended"]["n"] == 1
    assert rows["all"]["offset"] == pytest.approx(10)
    # A flag of our fit says nothing of another's label.
    drawn = comparisons.pairs("other", table, ["teff_laspm"], other="laspm")
    assert not drawn["fit_flagged"].any()
    assert drawn["error"][0] == 40
    assert drawn["teff"][0] == 5010


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"other": LASPM}, "labels: this run has no label teff_lasp; did you mean teff_laspm"),
        ({"other": LASPM | {"name": "err"}}, "other.name: teff_err is a column of the catalogue"),
        ({"other": LASPM | {"key": "sky"}}, "other.key: Input should be 'obsid'"),
        ({"labels": {"feh": "m"}, "colour_teff": ["A"]}, "colour_teff: the figure needs the label teff"),
        ({"colour_teff": ["X"]}, "colour_teff.0: Input should be 'OB'"),
    ],
)  # fmt: skip
def test_a_wrong_other_catalogue_or_colour_is_answered_by_a_sentence(tmp_path, changes, complaint):
    labels = {"labels": {"teff_lasp": "T"}} if "other" in changes else {}
    with pytest.raises(UserError, match=complaint):
        load(tmp_path, entry(**labels | changes))


def test_an_entry_without_the_file_of_its_other_catalogue_is_skipped(tmp_path):
    entries = load(tmp_path, entry(other=LASPM, labels={"teff_laspm": "T"}))
    (tmp_path / "other.csv").write_text("")
    files, skipped = schema.available(entries, [tmp_path])
    assert files == {}
    assert "there is no" in skipped[0]
    assert "laspm.csv" in skipped[0]
    (tmp_path / "laspm.csv").write_text("")
    files, skipped = schema.available(entries, [tmp_path])
    assert set(files) == {"other", "other.other"}
    assert not skipped


# ---------------------------------------------------------------- matching


def test_match_by_obsid(tmp_path):
    frame = catalogue(tmp_path / "c.parquet")
    pd.DataFrame(
        {"id": [101, 139, 999, 101], "T": [5000.0, 5100.0, 1.0, 7.0], "m": [0.1, np.nan, 0, 0]}
    ).to_csv(tmp_path / "other.csv", index=False)
    table, found = matched(tmp_path, subsets={"odd": "spectral_type == 'G' and ref_teff < 5050"})
    assert table["obsid"].tolist() == [101, 139]
    assert table["ref_teff"].tolist() == [5000.0, 5100.0]
    rows = {(row["subset"], row["label"]): row for row in comparisons.compare(table, found)}
    assert rows["all", "feh"]["n"] == 1
    assert rows["odd", "teff"]["offset"] == pytest.approx(frame["teff"][1] - 5000.0)


def test_the_recommended_rows_of_a_label_have_none_of_its_own_flags(tmp_path):
    n = 8
    own = {"flag_alpha_fe": [0, 1, *[0] * 6], "flag_teff_pastel": [*[0] * 4, 1, 0, 0, 0]}
    own["flag_cloud_teff_pastel"] = [*[0] * 5, 1, 0, 0]
    catalogue(
        tmp_path / "c.parquet", registry=REGISTRY, n=n, recommended=[1, 1, 0, 1, 1, 1, 1, 1],
        teff_pastel=5500, teff_pastel_err=80, **own,
    )  # fmt: skip
    pd.DataFrame({"id": 100 + np.arange(n), "T": 5400.0, "a": 0.1}).to_csv(
        tmp_path / "other.csv", index=False
    )
    (found,) = load(
        tmp_path,
        entry(labels={"teff": "T", "alpha_fe": "a"}, network_labels={"teff_pastel": "T"}),
        registry=REGISTRY,
    )
    table = match.match(tmp_path / "c.parquet", found, tmp_path / "other.csv", REGISTRY)
    counted = {
        row["label"]: row["n"]
        for row in comparisons.compare(table, found)
        if row["subset"] == "recommended"
    }
    assert counted == {"teff": 7, "alpha_fe": 6, "teff_pastel": 5}


@pytest.mark.parametrize(
    ("key", "values", "extra"),
    [
        ("file_name", ["spec-58000-HD1_sp01-001.fits", "spec-58000-HD1_sp01-003.fits"], {}),
        ("obsid", ["101.fits", "103.fits"], {"key_pattern": r"(\d+)\.fits"}),
        ("designation", ["J000001", " J000003"], {"key_prefix": "LAMOST "}),
        ("spectrum_id", ["58000-HD1-01-001", "58000-HD1-01-003"], {}),
        ("gaia_id", [4_000_000_000_000_000_001, 4_000_000_000_000_000_003], {}),
    ],
)
def test_match_by_other_keys(tmp_path, key, values, extra):
    catalogue(tmp_path / "c.parquet")
    pd.DataFrame({"id": values, "T": [1, 2], "m": [3, 4]}).to_csv(
        tmp_path / "other.csv", index=False
    )
    assert matched(tmp_path, key=key, **extra)[0]["obsid"].tolist() == [101, 103]


def test_missing_identifiers_do_not_match_each_other():
    keys = match.catalogue_key(pd.DataFrame({"obsid": [-1, -28762, 5]}), "obsid")
    assert keys.isna().tolist() == [True, False, False]
    keys = match.catalogue_key(pd.DataFrame({"gaia_source_id": [-1, 5]}), "gaia_id")
    assert keys.isna().tolist() == [True, False]


SKY = {
    "key": "sky",
    "reference_key": ...,
    "columns": {"ra": "r", "dec": "d", "pmra": "pr", "pmdec": "pd"},
}


def test_match_by_position_with_proper_motion_and_radius(tmp_path):
    frame = catalogue(tmp_path / "c.parquet")
    years = 16.0
    arcsec = 1 / 3600
    sky = pd.DataFrame(
        {"r": frame["ra"], "d": frame["dec"], "pr": 0.0, "pd": 0.0, "T": 5000.0, "m": 0.0}
    )
    # Star 1 moved 20 arcsec since 2000, star 2 stands 2.5 arcsec away, star 3 3.5; star 30 is in the second row group.
    sky.loc[1, ["d", "pd"]] = [20 + 20 * arcsec, 20_000 / years]
    sky.loc[2, "d"] += 2.5 * arcsec
    sky.loc[3, "d"] += 3.5 * arcsec
    sky.loc[[1, 2, 3, 30]].to_csv(tmp_path / "other.csv", index=False)
    table, _ = matched(tmp_path, **SKY, sky={"epoch": 2016})
    assert table["obsid"].tolist() == [101, 102, 130]
    assert table["separation"].to_numpy() == pytest.approx([0, 2.5, 0], abs=1e-3)
    assert matched(tmp_path, **SKY, sky={"epoch": 2016, "radius": 2})[0]["obsid"].tolist() == [
        101,
        130,
    ]
    assert matched(tmp_path, **SKY, sky={"epoch": 2000})[0]["obsid"].tolist() == [102, 130]


def test_all_spectra_of_a_star_match_by_position_and_have_one_number(tmp_path):
    ra = 150 + 0.1 * (np.arange(40) // 4)
    catalogue(tmp_path / "c.parquet", ra=ra, gaia_source_id=-1)
    pd.DataFrame({"r": [150.0, 150.9], "d": 20.0, "pr": 0, "pd": 0, "T": 5000.0, "m": 0.0}).to_csv(
        tmp_path / "other.csv", index=False
    )
    table, found = matched(tmp_path, **SKY)
    assert table["obsid"].tolist() == [100, 101, 102, 103, 136, 137, 138, 139]
    assert table["star"].nunique() == 2
    row = comparisons.compare(table, found)[0]
    assert (row["n"], row["n_stars"]) == (8, 2)


def test_units_missing_values_bits_formulas_and_cuts_on_both_sides(tmp_path):
    frame = catalogue(tmp_path / "c.parquet")
    Table(
        {
            "id": np.arange(100, 106),
            "T": [5.0, 5.1, -9999, 5.3, 5.4, 5.5],
            "m": [0.5] * 6,
            "e": [0.05] * 6,
            "f": [0, 8, 0, 7, 0, 0],
        }
    ).write(tmp_path / "other.fits")
    table, _ = matched(
        tmp_path,
        file="other.fits",
        units={"teff": "kK"},
        missing=[-9999],
        columns={"m": "m", "flag": "f"},
        derived={"twice": "2 * m"},
        labels={"teff": "T", "feh": "twice"},
        errors={"teff": "e"},
        cuts=["not bit(flag, 3)", "not teff > 5450"],
        catalogue_cuts=["spectral_type == 'K'"],
    )
    # 1 has bit 3 set, 3 and 1 are no K stars, 5 is too hot; of 2 Teff is missing, which no comparison fulfils.
    assert table["obsid"].tolist() == [100, 102, 104]
    assert table["ref_teff"].tolist()[::2] == [5000.0, 5400.0]
    assert np.isnan(table["ref_teff"][1])
    assert table["ref_teff_err"].tolist() == [50.0] * 3
    assert table["ref_feh"].tolist() == [1.0] * 3
    assert table["ref_flag"].tolist() == [0] * 3
    assert frame["teff"][4] == table["teff"][2]


def test_columns_of_the_catalogue_itself_are_a_reference(tmp_path):
    r_geo = np.where(np.arange(40) < 30, 1000.0 + np.arange(40), np.nan)
    catalogue(
        tmp_path / "c.parquet", dist=2.0, r_geo=r_geo, r_geo_lo=r_geo - 100, r_geo_hi=r_geo + 100
    )
    table, found = matched(
        tmp_path,
        key="catalogue",
        file=...,
        reference_key=...,
        derived={"kpc": "r_geo / 1000"},
        labels={"dist": "kpc"},
        errors={"dist": "(r_geo_hi - r_geo_lo) / 2000"},
        subsets={"near": "ref_dist < 1.01"},
    )
    assert len(table) == 30
    rows = {row["subset"]: row for row in comparisons.compare(table, found)}
    # Relative: 2 kpc over 1 to 1.03 kpc.
    assert rows["all"]["offset"] == pytest.approx(np.median(2 / (r_geo[:30] / 1000) - 1))
    assert rows["near"]["n"] == 10
    assert table["ref_dist_err"].to_numpy() == pytest.approx(0.1)


def test_large_catalogues_and_files_are_thinned_evenly(tmp_path, monkeypatch):
    catalogue(tmp_path / "c.parquet", dist=1.0, r_geo=1000.0)
    pd.DataFrame({"id": np.arange(100, 140), "T": 1.0, "m": 0.0}).to_csv(
        tmp_path / "other.csv", index=False
    )
    monkeypatch.setattr(match, "MOST_MATCHES", 14)
    own = {
        "key": "catalogue",
        "file": ...,
        "reference_key": ...,
        "labels": {"dist": "r_geo / 1000"},
    }
    # Every third row, over both row groups of 20.
    assert matched(tmp_path, **own)[0]["obsid"].tolist() == list(range(100, 140, 3))
    kept = matched(tmp_path)[0]["obsid"].to_numpy()
    assert len(kept) == 14
    assert set(np.diff(kept)) == {3}


def test_an_absent_column_is_named(tmp_path):
    catalogue(tmp_path / "c.parquet")
    (tmp_path / "other.csv").write_text("id,T\n1,2\n")
    with pytest.raises(UserError, match=r"comparison other: .* has no column m"):
        matched(tmp_path)


@pytest.mark.parametrize("changes", [{}, SKY])
def test_a_catalogue_without_rows_matches_nothing(tmp_path, changes):
    catalogue(tmp_path / "c.parquet", n=0)
    (tmp_path / "other.csv").write_text("id,T,m,r,d,pr,pd\n1,2,3,4,5,0,0\n")
    table, found = matched(tmp_path, **changes)
    assert len(table) == 0
    assert {row["n"] for row in comparisons.compare(table, found)} == {0}


def test_networks_are_judged_on_spectra_that_they_did_not_learn_from():
    table = pd.DataFrame({"spectrum_id": list("abcd")})
    trained = {"pastel": ["a"], "apogee": ["b", "c"]}
    set_of = {"feh_apogee": "apogee", "teff_pastel": "pastel"}

    def kept(label):
        return "".join(comparisons.without_training(table, label, set_of, trained)["spectrum_id"])

    found = {
        label: kept(label) for label in ("teff", "feh_apogee", "teff_pastel", "teff_rec", "dist")
    }
    assert found == {
        "teff": "abcd",
        "feh_apogee": "ad",
        "teff_pastel": "bcd",
        "teff_rec": "abcd",
        "dist": "d",
    }


# ---------------------------------------------------------------- clusters


def test_members_are_compared_with_the_median_of_their_cluster_by_star(tmp_path):
    # Cluster A: star 0 has ten spectra at 1.0, stars 1 to 4 one at 0.0; B: five stars at 0.5.
    ra = np.concatenate([np.full(10, 150.0), 150.1 + 0.1 * np.arange(9)])
    feh = np.concatenate([np.full(10, 1.0), np.zeros(4), np.full(5, 0.5)])
    catalogue(tmp_path / "c.parquet", n=19, ra=ra, feh=feh, gaia_source_id=-1)
    members = pd.DataFrame(
        {"r": np.unique(ra), "d": 20.0, "c": ["A"] * 5 + ["B"] * 4 + ["C"], "pr": 0.0, "pd": 0.0}
    )
    members.to_csv(tmp_path / "other.csv", index=False)
    table, found = matched(
        tmp_path,
        **(SKY | {"columns": {"ra": "r", "dec": "d", "cluster": "c"}}),
        labels={"feh": None},
        group="cluster",
        group_names={"A": "Alpha", "B": "Beta"},
    )
    assert len(table) == 18
    assert table.groupby("ref_cluster")["ref_feh"].first().to_dict() == {"Alpha": 0.0, "Beta": 0.5}
    rows = {row["subset"]: row for row in comparisons.compare(table, found)}
    assert (rows["Alpha"]["n"], rows["Alpha"]["n_stars"], rows["Alpha"]["offset"]) == (14, 5, 1.0)
    assert rows["Beta"]["sigma"] == 0


def test_a_formula_of_network_labels_bears_their_warnings(tmp_path):
    cloud = np.zeros(40, np.uint8)
    cloud[3] = 1
    frame = catalogue(
        tmp_path / "c.parquet",
        registry=REGISTRY,
        c_fe_apogee=0.1,
        n_fe_apogee=0.3,
        c_fe_apogee_err=0.03,
        n_fe_apogee_err=0.04,
        flag_cloud_n_fe_apogee=cloud,
    )
    pd.DataFrame({"id": frame["obsid"], "cn": -0.1}).to_csv(tmp_path / "other.csv", index=False)
    table, found = matched(
        tmp_path,
        registry=REGISTRY,
        labels={},
        network_labels={"c_n": "cn"},
        catalogue_derived={
            "c_n": "c_fe_apogee - n_fe_apogee",
            "c_n_err": "sqrt(c_fe_apogee_err ** 2 + n_fe_apogee_err ** 2)",
        },
    )
    assert subsets.warned(table, "c_n").to_numpy().nonzero()[0].tolist() == [3]
    assert table["c_n_err"].to_numpy() == pytest.approx(0.05)
    assert comparisons.compare(table, found)[0]["offset"] == pytest.approx(-0.1)


# ---------------------------------------------------------------- the document


def test_the_example_of_the_document_works_as_it_is_written(project, tmp_path):
    text = (project / "docs/comparisons.md").read_text()

    def block(language):
        return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/stars.csv").write_text(block("text")[0])
    (tmp_path / "mine.yaml").write_text(block("yaml")[0])
    frame = catalogue(tmp_path / "c.parquet", n=10)
    found = schema.load_comparisons(tmp_path / "mine.yaml", PLAIN)
    files, skipped = schema.available(found, [tmp_path])
    assert not skipped
    table = match.match(tmp_path / "c.parquet", found[0], files["mine"], PLAIN)
    # As the document says: d is cut, c is found by its motion.
    assert table["obsid"].tolist() == [100, 101, 102, 104]
    assert table["ref_logg"].to_numpy() == pytest.approx([4.3, 4.4, 4.1, 4.2])
    rows = {(row["subset"], row["label"]): row for row in comparisons.compare(table, found[0])}
    expected = np.median(frame["teff"][[0, 1, 2, 4]] - [5500, 5600, 5700, 5300])
    assert rows["all", "teff"]["offset"] == pytest.approx(expected, abs=1e-3)
    assert rows["metal-poor", "feh"]["n"] == 2


# ---------------------------------------------------------------- patterns of the user


def test_the_key_is_the_one_group_of_the_pattern():
    keys = pd.Series(
        ["101.fits", "spec-12.fits.gz", "none", None], dtype="string", index=[3, 1, 4, 2]
    )
    found = match.part_of(keys, r"(\d+)\.fits")
    assert found.fillna("").tolist() == ["101", "12", "", ""]
    assert found.index.tolist() == [3, 1, 4, 2]


def test_a_pattern_that_python_would_search_for_ever_ends():
    keys = pd.Series(["a" * 5000 + "!"], dtype="string")
    # Twice the group: the outer one has none of its own.
    assert match.part_of(keys, "(?:a+)+(b)$").isna().all()


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("(", "is no regular expression"),
        (r"\d+", "has 0 groups"),
        (r"(\d)(\d)", "has 2 groups"),
        (r"(\d+)(?=\.fits)", "looks ahead"),
        (r"(\d)\1", "looks ahead, behind or back"),
    ],
)
def test_a_pattern_that_is_none_is_told_when_the_file_is_read(tmp_path, pattern, told):
    entry = {
        "name": "mine", "title": "Mine", "file": "a.csv", "key": "obsid", "reference_key": "file",
        "key_pattern": pattern, "labels": {"teff": "teff"},
    }  # fmt: skip
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"comparisons": [entry]}))
    with pytest.raises(UserError, match=told):
        schema.load_comparisons(path, load_registry())
