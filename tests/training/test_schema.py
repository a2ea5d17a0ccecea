"""What a file of training sets may say, and the sentence for what it may not."""

import copy

import pytest
import yaml

from lamostvac.core.exceptions import UserError
from lamostvac.core.paths import TRAINING_SETS_PATH
from lamostvac.training.load import available_sets, load_training_sets, table_columns

LABEL = {"name": "teff_x", "column": "teff", "description": "temperature"}
SET = {
    "name": "x",
    "title": "X",
    "catalogue": {
        "file": "x.csv",
        "columns": {"ra": "RA", "dec": "DEC", "teff": "TEFF", "e_teff": "ERR"},
    },
    "match": {"by": "sky"},
    "split": {"train_fraction": 0.5},
    "labels": [LABEL],
}
CHILD = {
    "name": "child",
    "title": "C",
    "parent": "x",
    "cuts": ["teff_x < 5000"],
    "labels": [
        {"name": "teff_child", "column": "teff_x", "error": "teff_x_err", "description": "cooler"}
    ],
}


def load(tmp_path, *entries):
    path = tmp_path / "sets.yaml"
    path.write_text(yaml.safe_dump({"training_sets": list(entries)}))
    return load_training_sets(path)


def changed(where, value, entry=SET):
    entry = copy.deepcopy(entry)
    *path, last = where.split(".")
    inner = entry
    for part in path:
        inner = inner[int(part)] if part.isdigit() else inner.setdefault(part, {})
    inner[int(last) if last.isdigit() else last] = value
    return entry


def test_the_published_sets(project):
    sets = {
        entry.name: entry for entry in load_training_sets(project / "config" / "training_sets.yaml")
    }
    assert list(sets) == ["pastel", "apogee", "lgmwas", "vmp"]
    labels = [label for entry in sets.values() for label in entry.label_names]
    assert len(labels) == 24
    ranges = {label.name: label.range for entry in sets.values() for label in entry.labels}
    # Wang et al. (2022), Table 1
    assert ranges["teff_pastel"] == (3500, 10000)
    assert ranges["feh_pastel"] == (-3.8, 0.5)
    assert ranges["n_fe_apogee"] == (-0.3, 0.6)
    assert ranges["abs_mag_g_gaia"] == (-2.5, 7.5)
    assert ranges["abs_mag_rp"] == (-2.5, 7)
    assert ranges["abs_mag_h"] == (-5, 5)
    assert ranges["abs_mag_b_apass"] == (-1, 8)
    assert all(label.error is not None for entry in sets.values() for label in entry.labels)
    assert sets["vmp"].network.layers == [256, 64]
    assert sets["vmp"].network.windows == [(3900, 4400)]
    assert sets["lgmwas"].clip is not None
    assert sets["lgmwas"].clip.sigma == 1.5
    assert sets["apogee"].grid == {"teff_pastel": (3800, 6500)}


def test_the_set_of_the_real_files(project):
    (lasp,) = load_training_sets(project / "config" / "training_sets_real.yaml")
    assert lasp.label_names == ["teff_lasp", "logg_lasp", "feh_lasp"]
    assert lasp.optional
    assert lasp.spectra == "all"
    assert all(label.range is None for label in lasp.labels)


def test_entries_survive_the_way_through_a_rule(project):
    for entry in load_training_sets(project / "config" / "training_sets.yaml"):
        assert type(entry).model_validate(entry.model_dump(mode="json", by_alias=True)) == entry


def test_children_come_after_their_parents(tmp_path):
    assert [entry.name for entry in load(tmp_path, CHILD, SET)] == ["x", "child"]
    assert table_columns(load(tmp_path, SET)[0])[-3:] == ["teff_x", "teff_x_err", "split"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (changed("cut", []), "cut: there is no such key; did you mean cuts?"),
        (changed("match.raduis", 3), "match.raduis: there is no such key; did you mean radius?"),
        (
            changed("labels.0.colum", "x"),
            "labels.0.colum: there is no such key; did you mean column?",
        ),
        (
            changed("clip.execpt", "x > 1"),
            "clip.execpt: there is no such key; did you mean except?",
        ),
        (
            changed("labels.0", {"name": "a", "column": "teff"}),
            "labels.0.description: this key is missing",
        ),
        (changed("labels.0.column", "tef"), "there is no column tef; did you mean teff?"),
        (changed("labels.0.range", [5, 3]), "is not [low, high]"),
        (changed("labels.0.name", "Teff!"), "is no name"),
        (changed("cuts", ["teff >"]), "is no expression"),
        (changed("cuts", ["e_tef < 1"]), "there is no column e_tef; did you mean e_teff?"),
        (changed("catalogue.cuts", ["snr < 1"]), "there is no column snr"),
        (changed("catalogue.columns.snr", "SNR"), "snr is already the name of another column"),
        (
            changed("catalogue.units", {"teff2": "K"}),
            "there is no column teff2; did you mean teff?",
        ),
        (changed("match.by", "gaia_id"), "by gaia_id needs the column gaia_source_id"),
        (changed("match.by", "name"), "match.by"),
        (changed("catalogue.columns.pmra", "PMRA"), "name both pmra and pmdec"),
        (changed("split", {}), "write either train"),
        (changed("split", {"train": "snr > 5", "train_fraction": 1}), "write either train"),
        (changed("split", {"train": "snr_x > 5"}), "there is no column snr_x"),
        (changed("labels", []), "labels"),
        (
            changed("grid", {"teff_y": [1, 2]}),
            "grid: there is no label teff_y; did you mean teff_x?",
        ),
        (changed("network", {"apply": "teff_y < 3"}), "network.apply: there is no label teff_y"),
        (changed("network", {"apply": "teff_x < 3"}), "teff_x is what the set itself predicts"),
        (changed("clip", {"label": "t", "binary_magnitude": 1, "sigma": 1}), "there is no label t"),
        (
            changed("combine", {"by": "id", "labels": {"teff": {}}}),
            "combine: there is no column id",
        ),
        (
            changed("combine", {"by": "teff", "labels": {"teff": {}}, "recalibration": "offsets"}),
            "needs the key reference",
        ),
        ({key: value for key, value in SET.items() if key != "match"}, "match is missing"),
        (changed("parent", "nobody", CHILD), "there is no parent nobody"),
        (changed("parent", "child", CHILD), "go round in a circle"),
        (changed("match", {"by": "sky"}, CHILD), "match and parent exclude each other"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path, entry, message):
    with pytest.raises(UserError) as error:
        load(tmp_path, entry)
    assert message in str(error.value)
    assert f"set {entry['name']}" in str(error.value)
    assert "\n" not in str(error.value)


def test_mistakes_between_sets(tmp_path):
    with pytest.raises(UserError, match="two training sets are called x"):
        load(tmp_path, SET, changed("labels.0.name", "other"))
    with pytest.raises(UserError, match="label teff_x is defined twice, in x and in y"):
        load(tmp_path, SET, changed("name", "y"))
    with pytest.raises(UserError, match="parent x has no column teff_y; did you mean teff_x"):
        load(tmp_path, SET, changed("cuts", ["teff_y < 1"], CHILD))


def test_files_that_are_no_list_of_sets(tmp_path):
    with pytest.raises(UserError, match=r"absent.yaml cannot be read"):
        load_training_sets(tmp_path / "absent.yaml")
    for content, message in (
        ("a: [", "is no YAML"),
        ("sets: []", "with a list"),
        ("training_sets: {}", "with a list"),
    ):
        (tmp_path / "bad.yaml").write_text(content)
        with pytest.raises(UserError, match=message):
            load_training_sets(tmp_path / "bad.yaml")


def test_absent_files(tmp_path):
    sets = load(tmp_path, SET, CHILD)
    with pytest.raises(
        UserError,
        match=r"training set x: there is no file .*x.csv; put it there, set networks.root",
    ):
        available_sets(sets, tmp_path)
    assert available_sets(sets, tmp_path, produced=[f"{tmp_path}/x.csv"]) == (sets, [])
    present, skipped = available_sets(load(tmp_path, changed("optional", True), CHILD), tmp_path)
    assert present == []
    assert len(skipped) == 2
    (tmp_path / "x.csv").write_text("")
    assert available_sets(sets, tmp_path) == (sets, [])


def test_the_word_default_stands_for_the_shipped_sets(tmp_path):
    mine = {
        "name": "mine",
        "title": "mine",
        "parent": "pastel",
        "labels": [{"name": "teff_mine", "column": "teff_pastel", "ucd": "", "description": "x"}],
    }
    own = tmp_path / "mine.yaml"
    own.write_text(yaml.safe_dump({"training_sets": ["default", mine]}))
    shipped = load_training_sets(TRAINING_SETS_PATH)
    found = load_training_sets(own)
    assert [entry.name for entry in found] == [*(entry.name for entry in shipped), "mine"]
    assert found[: len(shipped)] == shipped
