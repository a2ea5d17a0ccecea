"""Emulators beside the first: columns, rows, errors, flags and comparisons of their labels."""

import numpy as np
import pandas as pd
import pytest
import yaml
from catalogue_chunks import fitted, rejections, spectra, write_chunk

from lamostvac.catalog.flags import flag_further, outside_library
from lamostvac.catalog.registry import EmulatorLabels, NetworkLabel, emulator_labels, load_registry
from lamostvac.catalog.rows import apply_errors, assemble, read_chunk
from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import atomic_hdf5, write_columns
from lamostvac.core.vocabulary import CONVERGED, EDGE, NO_FIT
from lamostvac.uncertainty.repeats import Alike
from lamostvac.uncertainty.type_errors import TypeErrors, read_type_errors, write_type_errors
from lamostvac.validation.schema import load_comparisons
from lamostvac.validation.subsets import emulator_flag, label_columns, recommended, warned

MINE = EmulatorLabels("survey_mine", ("teff", "feh"), survey=True)
OTHER = EmulatorLabels("stelib", ("teff", "logg", "feh"))
REGISTRY = load_registry(emulators=[MINE, OTHER])


def test_each_has_columns_of_its_own_between_the_first_emulators_and_the_networks():
    plain, names = load_registry().names, REGISTRY.names
    added = [name for name in names if name not in plain]
    assert [name for name in names if name in plain] == plain
    parts = ("", "_err", "_err_random")
    expected = []
    for one in (MINE, OTHER):
        expected += [f"{column}{part}" for column in one.columns.values() for part in parts]
        starts = ("chi2", "fit_status", "in_library", "flag", "distance")
        expected += [f"{start}_{one.name}" for start in starts]
    assert added == expected
    assert names.index("fit_status") < names.index(added[0]) < names.index("mag_g_gaia")
    assert REGISTRY["teff_survey_mine"].unit == "K"
    assert REGISTRY["feh_stelib_err"].ucd == "stat.error;phys.abund.Fe"
    assert "flag_stelib" not in REGISTRY.flag_bits
    assert emulator_labels(
        [{"name": "survey_mine", "labels": ["teff", "feh"], "survey": True}]
    ) == [MINE]


def test_a_name_that_makes_a_column_twice_is_an_error_that_names_the_emulator():
    with pytest.raises(
        UserError, match="emulators: rec: column 'teff_rec' stands twice; choose another name"
    ):
        load_registry(emulators=[EmulatorLabels("rec", ("teff",))])


@pytest.fixture
def chunk(tmp_path):
    """A chunk of six spectra; the first emulator rejects one, the further one another."""
    table = spectra(6)
    paths = write_chunk(tmp_path, table, [0, 0, 1, 0, 2, 0], unseen=np.zeros(6, bool))
    predicted = tmp_path / "predicted.h5"
    seen = table.drop(index=2)
    with atomic_hdf5(predicted) as handle:
        labels = {
            f"teff_net{part}": np.full(5, 5.0) for part in ("", "_err", "_err_random", "_spread")
        }
        labels |= {f"{start}_teff_net": np.zeros(5) for start in ("flag", "cloud")}
        write_columns(
            handle.create_group("labels"), {"spectrum_id": seen["spectrum_id"].to_numpy()} | labels
        )
    own = fitted(seen.drop(index=1).iloc[::-1])
    own = own.assign(
        teff=own["obsid"] * 1.0, teff_err_random=7.0, feh_err_random=0.1, in_library=True
    )
    further = tmp_path / "further.h5"
    with atomic_hdf5(further) as handle:
        for name in ("stelib", "survey_mine"):
            group = handle.create_group(name)
            write_columns(group.create_group("fit"), own.assign(logg_err_random=0.2))
            refused = rejections(seen.loc[[1]], "fit", "fit_failed")
            write_columns(group.create_group("rejected"), refused)
    return table, paths, predicted, further


def test_labels_come_by_spectrum_also_where_the_first_emulator_has_none(chunk):
    table, paths, predicted, further = chunk
    networks = [NetworkLabel("teff_net", "K", "phys.temperature.effective", "Teff", "net")]
    accepted, rejected = read_chunk(
        *paths, predicted, networks, further_fit=further, emulators=[MINE, OTHER]
    )
    assert rejected["spectrum_id"].tolist() == [table["spectrum_id"][2]]
    registry = load_registry(networks, emulators=[MINE, OTHER])
    rows, _ = assemble("G", 6, [(accepted, rejected)], registry, "mine")
    by_name = {row["spectrum_id"].decode(): row for row in rows}
    for number, name in enumerate(table["spectrum_id"].drop(2)):
        row = by_name[name]
        if name == table["spectrum_id"][1]:
            assert np.isnan(row["teff_survey_mine"])
            assert row["fit_status_survey_mine"] == NO_FIT
            assert row["in_library_survey_mine"] == 0
        else:
            assert row["teff_survey_mine"] == row["obsid"] == row["teff_stelib"], number
            assert row["teff_stelib_err_random"] == 7.0
            assert row["fit_status_stelib"] == CONVERGED
            assert row["in_library_stelib"] == 1
        assert row["in_library"] == 0
    without_first = by_name[table["spectrum_id"][4]]
    assert without_first["fit_status"] == NO_FIT
    assert without_first["fit_status_survey_mine"] == CONVERGED


def test_a_file_without_an_emulator_or_a_spectrum_is_named(chunk):
    _, paths, _, further = chunk
    gone = EmulatorLabels("gone", ("teff",))
    with pytest.raises(UserError, match=r"further\.h5 lacks gone; delete the file"):
        read_chunk(*paths, further_fit=further, emulators=[gone])
    with atomic_hdf5(further) as handle:
        group = handle.create_group("stelib")
        for name in ("fit", "rejected"):
            write_columns(group.create_group(name), fitted(spectra(0)))
    with pytest.raises(UserError, match=r"further\.h5 does not account for its spectra"):
        read_chunk(*paths, further_fit=further, emulators=[OTHER])


def test_the_flag_is_set_without_a_fit_on_the_edge_and_far_from_the_library():
    library = np.random.default_rng(1).uniform([4000, -1], [6000, 0], (200, 2))
    rows = REGISTRY.empty(5)
    rows["teff_survey_mine"], rows["feh_survey_mine"] = 5000.0, -0.5
    rows["fit_status_survey_mine"] = [CONVERGED, EDGE, NO_FIT, CONVERGED, CONVERGED]
    rows["teff_survey_mine"][3], rows["teff_survey_mine"][4] = 9000.0, np.nan
    flag_further(rows, MINE, library)
    assert rows["flag_survey_mine"].tolist() == [0, 1, 1, 1, 1]
    assert outside_library(np.array([[5000.0, -0.5]]), library).tolist() == [False]


def test_the_distance_is_that_of_the_first_emulators_labels_from_other_stars():
    rng = np.random.default_rng(2)
    library = np.concatenate([rng.uniform([5000, -0.5], [6000, 0], (200, 2)), [[4500.0, -2.0]]])
    places = np.column_stack([np.arange(201.0), np.zeros(201)])
    rows = REGISTRY.empty(4)
    rows["teff"], rows["feh"] = [5500.0, 4500.0, 4500.0, 4500.0], [-0.25, -2.0, -2.0, -2.0]
    # Its own labels are those of stars that the library has.
    rows["teff_survey_mine"], rows["feh_survey_mine"] = 5500.0, -0.25
    rows["fit_status"] = [CONVERGED, CONVERGED, CONVERGED, EDGE]
    rows["fit_status_survey_mine"] = CONVERGED
    rows["ra"], rows["dec"] = [300.0, 301.0, 200.0, 200.0], 0.0
    flag_further(rows, MINE, library, places)
    assert rows["flag_survey_mine"].tolist() == [0, 0, 0, 0]
    inside, same, itself, unknown = rows["distance_survey_mine"].tolist()
    assert inside < 1
    assert same == 0
    assert itself > 5
    assert np.isnan(unknown)
    flag_further(rows, MINE, library)
    assert rows["distance_survey_mine"][2] == 0


def test_labels_that_one_side_lacks_do_not_count_in_the_distance():
    library = np.random.default_rng(3).uniform([4000, 2, -1], [6000, 5, 0], (100, 3))
    rows = REGISTRY.empty(2)
    rows["teff"], rows["logg"], rows["feh"] = 5000.0, np.nan, [-0.5, -3.0]
    rows["fit_status"] = rows["fit_status_stelib"] = CONVERGED
    flag_further(rows, OTHER, library)
    near, far = rows["distance_stelib"].tolist()
    assert near < 1 < far
    rows["teff"] = np.nan
    flag_further(rows, OTHER, library)
    assert np.isnan(rows["distance_stelib"]).all()


def crossvalidation(n=400):
    """A library's cross-validation with errors three times as large as stated."""
    rng = np.random.default_rng(4)
    table = {"id": [f"{i}_a" for i in range(n)], "spectral_type": "G"}
    for label, error in (("teff", 30.0), ("feh", 0.02)):
        table[f"{label}_true"] = 5500.0 * (label == "teff") + rng.normal(0, 10 * error, n)
        table[label] = table[f"{label}_true"] + rng.normal(0, 3 * error, n)
        table |= {f"{label}_err": error, f"{label}_true_err": np.nan}
        table |= {f"{label}_err_random": 0.0, f"{label}_noise": 0.0}
    return pd.DataFrame(table)


def test_errors_are_learned_from_its_own_library_and_depend_on_its_own_labels(tmp_path):
    rng = np.random.default_rng(2)
    rows = REGISTRY.empty(50)
    rows["spectrum_id"] = [f"{number}".encode() for number in range(50)]
    rows["ra"], rows["dec"], rows["lmjd"], rows["snrg"] = np.arange(50), 0.0, 1, 50.0
    for column, error in (("teff_survey_mine", 30.0), ("feh_survey_mine", 0.02)):
        rows[column] = 5500.0 * (error > 1) + rng.normal(0, error, 50)
        rows[f"{column}_err"], rows[f"{column}_err_random"] = error, 0.5 * error
    rows["fit_status"], rows["fit_status_survey_mine"] = NO_FIT, CONVERGED
    rows["fit_status_survey_mine"][0] = EDGE
    conditions = {column: Alike("snrg", 0.2) for column in MINE.columns.values()}
    columns = {name: rows[name] for name in rows.dtype.names}
    settings = {"emulator": "calibrated", "max_pairs": 100}
    none = np.zeros(50, bool)
    learner = TypeErrors(columns, conditions, [], none, settings)
    models = learner.further_labels(MINE.columns, MINE.status, crossvalidation(), "G")
    assert list(models) == ["teff_survey_mine", "feh_survey_mine"]
    for model in models.values():
        assert model.theta == ("teff_survey_mine", "feh_survey_mine")
        assert model.status == "fit_status_survey_mine"
    write_type_errors(tmp_path / "errors.h5", models, 10.0)
    models, _ = read_type_errors(tmp_path / "errors.h5")
    apply_errors(rows, models)
    # The part that repeats do not show, of which there are none, is three times as large.
    for column, error in (("teff_survey_mine", 30.0), ("feh_survey_mine", 0.02)):
        random = rows[f"{column}_err_random"].astype(np.float64)
        rest = np.sqrt(rows[f"{column}_err"].astype(np.float64) ** 2 - random**2)
        assert rest[1:] == pytest.approx(3 * np.sqrt(0.75) * error, rel=0.15)
        # The first spectrum's labels are on the edge, so nothing is learned or said of them.
        assert rest[0] == pytest.approx(np.sqrt(0.75) * error, rel=0.01)


def test_its_labels_are_compared_wherever_those_of_the_first_emulator_are(tmp_path):
    entry = {
        "name": "there", "title": "There", "file": "x.csv", "key": "obsid", "reference_key": "obsid",
        "labels": {"teff": "t", "logg": "g", "teff_rec": "t"}, "errors": {"teff": "e"},
    }  # fmt: skip
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"comparisons": [entry]}))
    (found,) = load_comparisons(tmp_path / "c.yaml", REGISTRY, emulators=[MINE, OTHER])
    assert found.labels == entry["labels"] | {
        "teff_survey_mine": "t", "teff_stelib": "t", "logg_stelib": "g"
    }  # fmt: skip
    assert found.errors == {"teff": "e", "teff_survey_mine": "e", "teff_stelib": "e"}
    (plain,) = load_comparisons(tmp_path / "c.yaml", load_registry())
    assert plain.labels == entry["labels"]


def test_its_flag_warns_of_its_labels_and_no_others():
    names = [emulator_flag(name) for name in ("alpha_fe_stelib", "teff_survey_mine", "teff")]
    assert names == ["flag_stelib", "flag_survey_mine", ""]
    assert "flag_survey_mine" in label_columns(["feh_survey_mine"], REGISTRY)
    table = pd.DataFrame(
        {
            "flag_survey_mine": [0, 1], "flag_edge": [1, 0], "recommended": 1,
            "flag_no_convergence": 0, "flag_outside_library": 0,
        }
    )  # fmt: skip
    assert warned(table, "feh_survey_mine").tolist() == [False, True]
    assert warned(table, "feh").tolist() == [True, False]
    assert recommended(table, "feh_survey_mine").index.tolist() == [0]
    assert recommended(table, "feh").index.tolist() == [0, 1]
