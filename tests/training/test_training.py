"""Training sets made from catalogues whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from lamostvac.core.exceptions import UserError
from lamostvac.core.files import sha256
from lamostvac.external import joins
from lamostvac.external.entries import Catalogue, Cut, Join
from lamostvac.external.match import canonical_order
from lamostvac.training import accounting as training_accounting
from lamostvac.training import candidates as training_candidates
from lamostvac.training import files
from lamostvac.training import measurements as training_measurements
from lamostvac.training import split as training_split
from lamostvac.training.schema import AbsoluteMagnitudes, Combine, Label, Split, TrainingSet

pytestmark = pytest.mark.numeric

SECOND = 1 / 3600
COLUMNS = {
    "ra": "RA",
    "dec": "DEC",
    "name": "NAME",
    "teff": "TEFF",
    "e_teff": "ERR",
    "flag": "FLAG",
}


def entry(**changes):
    fields = {
        "name": "x",
        "title": "X",
        "catalogue": {"file": "x.csv", "columns": COLUMNS, "identifier": "name"},
        "match": {"by": "sky"},
        "split": {"train_fraction": 0.5},
        "labels": [
            {
                "name": "teff_x",
                "column": "teff",
                "error": "e_teff",
                "unit": "K",
                "description": "temperature",
            }
        ],
    }
    return TrainingSet.model_validate(fields | changes)


def survey_rows(n, **columns):
    rows = {
        "spectrum_id": [f"1-P-1-{i}" for i in range(n)],
        "obsid": np.arange(n),
        "designation": "",
        "lmjd": 1,
        "planid": "P",
        "spid": 1,
        "fiberid": np.arange(n),
        "ra": np.arange(n) * 0.1,
        "dec": 0.0,
        **{band: np.full(n, 50.0) for band in ("snru", "snrg", "snrr", "snri", "snrz")},
        "lamost_class": "STAR",
        "subclass": "G2",
        "spectral_type": "G",
        "redshift": 0.0,
        "path": "x.fits",
    }
    return pd.DataFrame(rows | columns)


def candidates(n=100, **columns):
    """Candidates of `entry()`: one spectrum per star unless `star` says otherwise."""
    table = survey_rows(n).assign(
        snr=50.0, l=0.0, b=60.0, separation=0.1, star=np.arange(n), identifier=[f"s{i}" for i in range(n)],
        name="", teff=np.linspace(4000, 7000, n), e_teff=50.0, flag=0,
    )  # fmt: skip
    return table.assign(**columns)


# ---------------------------------------------------------------- combining


def test_means_by_weight_with_their_errors():
    values = np.array([10.0, 20.0, np.nan, 5.0, 7.0])
    errors = np.array([1.0, 2.0, 1.0, np.nan, np.nan])
    mean, error, number = training_measurements.weighted_means(
        values, errors, np.array([0, 0, 0, 1, 2]), 4
    )
    assert mean[:3] == pytest.approx([12.0, 5.0, 7.0])
    assert np.isnan(mean[3])
    assert number.tolist() == [2, 1, 1, 0]
    scatter = np.sqrt((4 / 5 * 2**2 + 1 / 5 * 8**2) / 1)
    assert error[0] == pytest.approx(max(np.sqrt(1 / 1.25), scatter))
    assert error[1] == pytest.approx(1.5)  # the median error of the others
    mean, error, _ = training_measurements.weighted_means(
        values, None, np.array([0, 0, 0, 1, 2]), 4
    )
    assert mean[0] == 15.0
    assert np.isnan(error[1])


def test_a_floor_keeps_one_measurement_from_deciding():
    values, errors = np.array([0.0, 1.0]), np.array([1e-6, 0.1])
    assert training_measurements.weighted_means(values, errors, np.zeros(2, int), 1)[0][
        0
    ] == pytest.approx(0, abs=1e-6)
    assert training_measurements.weighted_means(values, errors, np.zeros(2, int), 1, floor=10.0)[0][
        0
    ] == pytest.approx(0.5, abs=1e-3)


def measurements(seed=0, n_stars=300, offsets=(40.0, -60.0, 0.0, 100.0, 25.0), noise=10.0):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(4000, 7000, n_stars)
    rows = [
        (f"star{i}", f"ref{r}", truth[i] + offsets[r] + rng.normal(0, noise))
        for i in range(n_stars)
        for r in rng.choice(len(offsets), rng.integers(1, 4), replace=False)
    ]
    return truth, pd.DataFrame(rows, columns=["id", "ref", "teff"])


def solve(table, **options):
    stars = pd.factorize(table["id"], sort=True)[0]
    references = pd.factorize(table["ref"], sort=True)[0]
    return training_measurements.reference_offsets(
        table["teff"].to_numpy(), stars, references, **options
    )


def test_injected_offsets_are_found_despite_wild_values():
    injected = np.array([40.0, -60.0, 0.0, 100.0, 25.0])
    _, table = measurements()
    wild = np.random.default_rng(5).choice(len(table), len(table) // 20, replace=False)
    table.loc[wild, "teff"] += 1500
    found = solve(table)
    assert found - found.mean() == pytest.approx(injected - injected.mean(), abs=4)
    # Relative to their mean, weighted by the measurements that count.
    table["n"] = table.groupby("id")["ref"].transform("nunique")
    counts = table[table["n"] > 1].groupby("ref").size()
    assert found @ counts == pytest.approx(0, abs=1e-6 * counts.sum())


def test_references_with_few_common_stars_keep_their_scale():
    _, table = measurements()
    few = pd.DataFrame({"id": [f"star{i}" for i in range(4)], "ref": "ref9", "teff": 9000.0})
    lonely = pd.DataFrame({"id": [f"other{i}" for i in range(50)], "ref": "ref99", "teff": 9000.0})
    found = solve(pd.concat([table, few, lonely], ignore_index=True))
    assert found[5:].tolist() == [0.0, 0.0]
    assert found[:5] == pytest.approx(solve(table))
    assert solve(table.iloc[:3]).tolist() == [0.0] * table.iloc[:3]["ref"].nunique()
    assert solve(table.assign(teff=np.nan)).tolist() == [0.0] * 5


def test_offsets_of_unlinked_references_are_zero_on_average_each():
    _, first = measurements(1)
    _, second = measurements(2)
    second = second.assign(
        id="b" + second["id"], ref="z" + second["ref"], teff=second["teff"] + 1000
    )
    found = solve(pd.concat([first, second], ignore_index=True))
    assert found[:5] == pytest.approx(solve(first), abs=1)
    assert found[5:] == pytest.approx(solve(second), abs=1)


@pytest.mark.parametrize("recalibration", ["none", "offsets", "offsets.csv"])
def test_combined_stars_do_not_depend_on_order(tmp_path, recalibration):
    truth, table = measurements(noise=1.0)
    table = table.assign(e_teff=5.0, mag=np.where(table["ref"] == "ref1", np.nan, 11.0))
    pd.DataFrame(
        {"reference": ["ref0", "ref1", "ref3", "ref4"], "teff": [40.0, -60, 100, 25]}
    ).to_csv(tmp_path / "offsets.csv", index=False)
    how = Combine.model_validate(
        {
            "by": "id",
            "labels": {"teff": {"error": "e_teff"}},
            "reference": "ref",
            "recalibration": recalibration,
        }
    )

    def combined(rows):
        return training_measurements.combine_measurements(
            rows.iloc[canonical_order(rows)].reset_index(drop=True), how, tmp_path
        )

    found = combined(table)
    pd.testing.assert_frame_equal(found, combined(table.sample(frac=1, random_state=3)))
    assert list(found) == ["id", "mag", "teff", "teff_err", "teff_n"]
    order = [int(name.removeprefix("star")) for name in found["id"]]
    residual = found["teff"] - truth[order]
    scatter = residual.std()
    assert scatter > 30 if recalibration == "none" else scatter < 3
    several = table.groupby("id")["mag"].transform(lambda mag: mag.notna().any())
    assert found["mag"].notna().sum() == table[several]["id"].nunique()


def test_a_reference_that_stands_twice(tmp_path):
    (tmp_path / "o.csv").write_text("reference,teff\na,1\na,2\n")
    how = Combine.model_validate(
        {"by": "id", "labels": {"teff": {}}, "reference": "ref", "recalibration": "o.csv"}
    )
    with pytest.raises(UserError, match="the reference a stands twice"):
        training_measurements.combine_measurements(
            pd.DataFrame({"id": ["s"], "ref": ["a"], "teff": [1.0]}), how, tmp_path
        )


# ---------------------------------------------------------------- joining


def test_joins_follow_proper_motion_to_the_tables_epoch():
    gaia = Catalogue.model_validate(
        {"file": "g", "epoch": 2016, "columns": {n: n for n in ("ra", "dec", "pmra", "pmdec")}}
    )
    wise = Join.model_validate(
        {"name": "wise", "file": "w", "epoch": 2010, "columns": {"ra": "ra", "dec": "dec", "w1": "w1", "q": "q"},
         "match": {"by": "sky", "radius": 1}}
    )  # fmt: skip
    stars = pd.DataFrame(
        {"ra": [10.0, 20.0], "dec": [0.0, 0.0], "pmra": [1000.0, np.nan], "pmdec": [0.0, np.nan]}
    )
    # In 2010 the first star was 6 arcsec to the west, where it stands in 2016 is another one.
    other = pd.DataFrame(
        {
            "ra": [10.0, 10.0 - 6 * SECOND, 50.0],
            "dec": 0.0,
            "w1": [9.0, 8.0, 7.0],
            "q": ["a", "b", "c"],
        }
    )
    found = joins.join_table(stars, gaia, other, wise)
    assert found["w1"].tolist()[0] == 8.0
    assert np.isnan(found["w1"][1])
    assert found["q"].tolist() == ["b", ""]
    assert found["wise_separation"].notna().tolist() == [True, False]


def test_joins_by_identifier():
    gaia = Catalogue.model_validate({"file": "g", "columns": {"gaia_source_id": "source_id"}})
    ebv = Join.model_validate(
        {
            "name": "ebv",
            "file": "e",
            "columns": {"gaia_source_id": "s", "ebv": "ebv", "n": "n"},
            "match": {"by": "gaia_id"},
        }
    )
    stars = pd.DataFrame({"gaia_source_id": [2**60 + 1, 2**60 + 2, -1]})
    other = pd.DataFrame({"gaia_source_id": [2**60 + 2, -1], "ebv": [0.3, 0.9], "n": [4, 5]})
    found = joins.join_table(stars, gaia, other, ebv)
    assert found["ebv"].isna().tolist() == [True, False, True]
    assert found["ebv"][1] == 0.3
    assert found["n"][1] == 4


def test_absolute_magnitudes_and_their_errors():
    settings = AbsoluteMagnitudes.model_validate(
        {"distance": "d", "distance_error": "e_d", "ebv": "ebv", "ebv_error": "e_ebv",
         "bands": {"m_g": {"magnitude": "g", "error": "e_g", "coefficient": 2.5, "scale": "true"}}}
    )  # fmt: skip
    table = pd.DataFrame(
        {"d": [100.0, 1000.0, -1.0], "e_d": [0.0, 100.0, 1.0], "ebv": [0.0, 0.1, 0.0], "e_ebv": [0.0, 0.02, 0.0],
         "g": [10.0, 12.0, 11.0], "e_g": [0.01, 0.02, 0.01]}
    )  # fmt: skip
    found = training_measurements.absolute_magnitudes(table, settings)
    assert found["m_g"].tolist()[:2] == pytest.approx([5.0, 1.75])
    expected = np.sqrt(0.02**2 + (5 / np.log(10) * 0.1) ** 2 + 0.05**2)
    assert found["m_g_err"].tolist()[:2] == pytest.approx([0.01, expected])
    assert np.isnan(found["m_g"][2])


# ---------------------------------------------------------------- from files to candidates


@pytest.fixture
def matched(tmp_path):
    """Forty stars in a file, each observed once or twice, a neighbour beside some."""
    rng = np.random.default_rng(4)
    n = 40
    ra, dec = rng.uniform(0, 360, n), rng.uniform(-60, 60, n)
    frame = pd.DataFrame(
        {
            "RA": ra,
            "DEC": dec,
            "NAME": [f"s{i}" for i in range(n)],
            "TEFF": 5000.0 + np.arange(n),
            "ERR": 10.0,
            "FLAG": 0,
        }
    )
    frame.loc[3, "TEFF"] = -9999
    which = np.concatenate([np.arange(n), np.arange(0, n, 2)])
    spectra = survey_rows(
        len(which),
        ra=ra[which],
        dec=dec[which] + rng.normal(0, 0.2, len(which)) * SECOND,
        fiberid=which,
    )
    return frame, spectra, which, tmp_path


def make(frame, spectra, folder, order):
    frame.iloc[order].to_csv(folder / "x.csv", index=False)
    settings = entry(
        catalogue={"file": "x.csv", "columns": COLUMNS, "identifier": "name", "missing": [-9999],
                   "cuts": ["flag == 0"], "derived": {"relative": "e_teff / teff"}}
    )  # fmt: skip
    accounting = training_accounting.Accounting("x")
    stars = joins.read_source(settings.catalogue, folder, accounting)
    survey = {name: spectra[name].to_numpy() for name in ("ra", "dec", "obsid")}
    row, separation = training_candidates.match_survey(survey, stars, settings)
    found = row >= 0
    return training_candidates.candidates(
        spectra[found], stars, row[found], separation[found], settings
    ), accounting


def test_candidates_are_the_stars_that_were_put_there(matched):
    frame, spectra, which, folder = matched
    table, accounting = make(frame, spectra, folder, np.arange(len(frame)))
    assert len(table) == len(which)
    truth = dict(zip(spectra["spectrum_id"], which, strict=True))
    for row in table.itertuples():
        assert row.identifier == f"s{truth[row.spectrum_id]}"
        assert row.teff == 5000 + truth[row.spectrum_id] or (
            np.isnan(row.teff) and row.identifier == "s3"
        )
    assert table.groupby("identifier")["star"].nunique().eq(1).all()
    assert table["star"].nunique() == 40
    assert table["relative"].iloc[0] == pytest.approx(10 / table["teff"].iloc[0])
    assert accounting.table()["n_stars"].tolist() == [40, 40]


def test_candidates_do_not_depend_on_order(matched):
    frame, spectra, _, folder = matched
    rng = np.random.default_rng(6)
    table, _ = make(frame, spectra, folder, np.arange(len(frame)))
    again, _ = make(
        frame, spectra.iloc[rng.permutation(len(spectra))], folder, rng.permutation(len(frame))
    )
    key = ["lmjd", "planid", "spid", "fiberid", "spectrum_id"]
    pd.testing.assert_frame_equal(
        table.sort_values(key).reset_index(drop=True), again.sort_values(key).reset_index(drop=True)
    )


def test_identifiers_that_the_survey_lacks():
    settings = entry(
        catalogue={"file": "x.csv", "columns": {**COLUMNS, "gaia_source_id": "id"}},
        match={"by": "gaia_id"},
    )
    with pytest.raises(UserError, match="the survey's catalogue has no gaia_source_id"):
        training_candidates.match_survey(
            {"gaia_source_id": np.array([-1])}, pd.DataFrame({"gaia_source_id": [1]}), settings
        )


# ---------------------------------------------------------------- choosing


def test_each_cut_removes_its_victims_and_is_counted():
    table = candidates(10)
    table.loc[2, "snr"] = 10.0
    table.loc[3, "flag"] = 1 << 23
    table.loc[4, "flag"] = 23  # the value 23 is not the bit 23
    table.loc[5, "e_teff"] = np.nan
    cuts = [Cut(cut="snr > 20", text="S/N"), Cut(cut="not bit(flag, 23)"), Cut(cut="e_teff < 100")]
    accounting = training_accounting.Accounting("x")
    found = training_candidates.apply_cuts(table, cuts, "x", accounting)
    assert sorted(set(range(10)) - set(found["obsid"])) == [2, 3, 5]
    assert accounting.table()["n_spectra"].tolist() == [9, 8, 7]
    assert accounting.table()["step"].tolist() == ["S/N", "cut", "cut"]


def test_a_labels_own_cut_concerns_that_label_alone():
    table = candidates(4, e_teff=[10.0, 200.0, 10.0, 10.0])
    table.loc[2, "teff"] = np.nan
    labels = [
        Label(
            name="a", column="teff", error="e_teff", description="", cuts=[Cut(cut="e_teff < 100")]
        ),
        Label(name="b", column="teff", description=""),
    ]
    found = training_split.label_values(table, labels, "x")
    assert found["a"].notna().tolist() == [True, False, False, True]
    assert found["a_err"].notna().tolist() == [True, False, False, True]
    assert found["b"].notna().tolist() == [True, True, False, True]
    assert found["b_err"].isna().all()


def test_spectra_are_ranked_by_quality_within_their_star():
    table = candidates(5, star=[0, 1, 0, 1, 0], snr=[10.0, 5.0, 30.0, 5.0, 20.0])
    assert training_split.by_quality(table).tolist() == [2, 0, 0, 1, 1]


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5884, 1.0])
def test_split_by_fraction(fraction):
    table = candidates(1000)
    split = training_split.split_stars(table, Split(train_fraction=fraction), 1, "x")
    assert (split == "train").sum() == round(1000 * fraction)
    assert set(split) <= {"train", "test"}


def test_split_belongs_to_star_and_seed_not_to_order():
    table = candidates(300, star=np.arange(300) // 2, identifier=[f"s{i // 2}" for i in range(300)])
    split = training_split.split_stars(table, Split(train_fraction=0.6), 1, "x")
    rows = np.random.default_rng(0).permutation(300)
    assert np.array_equal(
        training_split.split_stars(table.iloc[rows], Split(train_fraction=0.6), 1, "x"), split[rows]
    )
    assert not np.array_equal(
        training_split.split_stars(table, Split(train_fraction=0.6), 2, "x"), split
    )
    sides = pd.Series(split).groupby(table["star"]).nunique()
    assert sides.eq(1).all()


def test_preferred_stars_all_train():
    table = candidates(200)
    split = training_split.split_stars(
        table, Split(train_fraction=0.5, prefer=["teff < 4500"]), 1, "x"
    )
    assert (split[table["teff"] < 4500] == "train").all()
    assert (split == "train").sum() == 100
    split = training_split.split_stars(
        table, Split(train_fraction=0.1, prefer=["teff < 4500"]), 1, "x"
    )
    assert np.array_equal(split == "train", table["teff"] < 4500)


def test_split_by_condition_keeps_stars_on_one_side():
    table = candidates(4, star=[0, 0, 1, 2], snr=[60.0, 30.0, 30.0, 70.0])
    assert training_split.split_stars(table, Split(train="snr > 50"), 1, "x").tolist() == [
        "train",
        "",
        "test",
        "train",
    ]


# ---------------------------------------------------------------- file and children


def training_table(settings, n=6):
    table = candidates(n)
    accounting = training_accounting.Accounting("x")
    chosen, labels = training_split.choose(table, settings, accounting)
    split = training_split.split_stars(chosen, settings.split, 1, "x")
    return training_split.training_table(chosen, labels, split, settings), accounting


def test_the_file_is_read_as_written_and_has_the_same_bytes(tmp_path):
    settings = entry()
    table, _ = training_table(settings)
    cards = [("FILE1", "x.csv", "input")]
    files.write_training(tmp_path / "a.fits", table, settings, cards)
    files.write_training(tmp_path / "b.fits", table, settings, cards)
    assert sha256(tmp_path / "a.fits") == sha256(tmp_path / "b.fits")
    pd.testing.assert_frame_equal(
        files.read_training(tmp_path / "a.fits"), table, check_dtype=False
    )
    from astropy.io import fits

    header = fits.getheader(tmp_path / "a.fits", 1)
    assert header["TRAINSET"] == "x"
    assert header["FILE1"] == "x.csv"
    assert "K" in [header.get(f"TUNIT{i}") for i in range(1, 12)]
    files.write_training(tmp_path / "empty.fits", table.iloc[:0], settings)
    assert len(files.read_training(tmp_path / "empty.fits")) == 0


def test_spectra_are_read_for_the_table_that_they_belong_to_alone(tmp_path):
    table = survey_rows(5)
    flux = np.arange(10, dtype=np.float32).reshape(5, 2)
    files.write_spectra(tmp_path / "s.h5", table["spectrum_id"], flux, flux + 1)
    rows = np.array([1, 4])
    for found, expected in zip(
        files.read_spectra(tmp_path / "s.h5", table, rows), (flux, flux + 1), strict=True
    ):
        np.testing.assert_array_equal(found, expected[rows])
    assert len(files.read_spectra(tmp_path / "s.h5", table, rows[:0])[0]) == 0
    for other in (table.iloc[::-1], table.iloc[:4], pd.concat([table, table])):
        with pytest.raises(UserError, match="has other spectra than the table beside it"):
            files.read_spectra(tmp_path / "s.h5", other.reset_index(drop=True), rows[:1])


def test_accounting_survives_its_file(tmp_path):
    accounting = training_accounting.Accounting("x")
    accounting.add("rows", "", None, 7)
    accounting.count("cut", "a, b > 1", candidates(3))
    accounting.write(tmp_path / "steps.csv")
    assert training_accounting.Accounting.read("x", tmp_path / "steps.csv").rows == accounting.rows


def test_children_take_rows_and_split_from_their_parent():
    settings = entry()
    table, _ = training_table(settings, 20)
    child = TrainingSet.model_validate(
        {
            "name": "cool",
            "title": "",
            "parent": "x",
            "cuts": ["teff_x <= 5000"],
            "labels": [
                {"name": "teff_cool", "column": "teff_x", "error": "teff_x_err", "description": ""}
            ],
        }
    )
    accounting = training_accounting.Accounting("cool")
    found, rows = training_split.child_table(table, child, accounting)
    assert np.array_equal(rows, np.flatnonzero(table["teff_x"] <= 5000))
    assert found["teff_cool"].tolist() == table["teff_x"].iloc[rows].tolist()
    assert found["split"].tolist() == table["split"].iloc[rows].tolist()
    counted = accounting.table()
    assert counted["n_spectra"].iloc[0] == 20
    assert counted.tail(2)["n_spectra"].sum() == len(rows)
