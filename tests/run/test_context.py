"""What a configuration means for the rules."""

import pytest
import yaml

from lamostvac.configuration.root import load_configuration
from lamostvac.core.exceptions import UserError
from lamostvac.core.vocabulary import BANDS
from lamostvac.run.context import resolve
from lamostvac.run.site import Site

SIMULATED = {"simulation": {"enabled": True}}


def context(settings=None, site=None):
    return resolve(load_configuration(SIMULATED | (settings or {})), site or Site())


def real(folder, **sections):
    """A run on files: an empty catalogue of a release, a library, and no networks."""
    for name in ("catalogue.csv", "library.fits", "labels.fits"):
        (folder / name).touch()
    library = {"spectra": f"{folder}/library.fits", "labels_file": f"{folder}/labels.fits"}
    settings = {
        "simulation": {"enabled": False},
        "survey": {"root": str(folder), "catalogues": ["catalogue.csv"]},
        "library": library,
        "networks": {"training_sets": None},
    }
    for name, content in sections.items():
        settings[name] = settings.get(name, {}) | content
    return resolve(load_configuration(settings), Site())


@pytest.fixture(scope="module")
def simulated():
    return context()


def test_a_simulated_run_reads_what_it_simulates(simulated):
    assert simulated.survey_root == "results/simulated/lamost"
    assert simulated.catalogues == ["results/simulated/lamost/catalogue.csv"]
    assert simulated.catalogues_root == "results/simulated/catalogs"
    assert {*simulated.catalogues, *simulated.stellar_catalogues} < set(simulated.simulated)
    assert simulated.stellar_catalogues == ["results/simulated/catalogs/lasp/lrs_afgk.csv"]
    name = simulated.configuration.library.name
    assert {simulated.library_spectra(name), *simulated.library_labels(name)} < set(
        simulated.simulated
    )
    assert simulated.truth in simulated.simulated
    for entry in simulated.training_sets:
        assert set(simulated.training_files(entry)) < set(simulated.simulated)
    assert simulated.missing_data is None


def test_a_run_on_files_simulates_nothing_and_knows_no_truth(tmp_path):
    found = real(tmp_path)
    assert found.simulated == []
    assert found.truth is None
    assert found.catalogues == [f"{tmp_path}/catalogue.csv"]
    name = found.configuration.library.name
    assert found.library_spectra(name) == f"{tmp_path}/library.fits"
    assert found.library_labels(name) == [f"{tmp_path}/labels.fits"]


def test_each_label_has_a_set_a_network_and_columns_of_the_registry(simulated):
    labels = list(simulated.set_of_label)
    assert [entry["label"] for entry in simulated.network_labels] == labels
    assert len(labels) > 20
    for label in labels:
        assert label in simulated.training_sets[simulated.set_of_label[label]].label_names
        assert simulated.network_files[label] == f"results/networks/{label}.h5"
        assert {label, f"{label}_err"} <= set(simulated.registry.names)
    assert simulated.last_reader == "predict"
    assert simulated.chunk_rules[-1] == "predict"


def test_without_training_sets_there_are_no_networks(tmp_path):
    found = real(tmp_path)
    assert found.network_labels == []
    assert found.network_preparation is None
    assert found.last_reader == "search_chunk"
    assert found.chunk_rules == ["prepare", "fit", "search_chunk"]


def test_networks_of_a_pack_become_files_of_the_run():
    found = context({"networks": {"pretrained": "/elsewhere/dr10.lvpack"}})
    assert found.network_pack == "/elsewhere/dr10.lvpack"
    assert found.network_files["teff_pastel"] == "results/networks/of_pack/teff_pastel.h5"
    assert found.sets_trained_here == found.left_out == []


def test_networks_from_elsewhere_are_not_trained_here(simulated):
    found = context({"networks": {"pretrained": "/elsewhere"}})
    assert found.set_of_label == simulated.set_of_label
    assert found.network_files["teff_pastel"] == "/elsewhere/teff_pastel.h5"
    assert found.sets_trained_here == found.left_out == found.left_out_bands == []
    assert set(simulated.sets_trained_here) == set(simulated.training_sets)
    assert simulated.left_out_bands == list(BANDS)
    assert len(simulated.left_out) == len(simulated.set_of_label)


def test_files_of_training_sets_that_must_be_there_are_told_later(tmp_path):
    """The rule that brings them starts without them."""
    found = real(tmp_path, networks={"training_sets": "config/training_sets.yaml"})
    assert found.missing_data.startswith("training set pastel: there is no file")
    assert "pastel" in found.training_sets


def test_optional_training_sets_without_files_are_left_out_with_a_sentence(tmp_path, project):
    sets = yaml.safe_load((project / "config/training_sets.yaml").read_text())
    own = [entry for entry in sets["training_sets"] if "parent" not in entry]
    for entry in own:
        entry["optional"] = True
    path = tmp_path / "sets.yaml"
    path.write_text(yaml.safe_dump({"training_sets": own}))
    found = real(tmp_path, networks={"training_sets": str(path)})
    assert found.training_sets == {}
    assert found.missing_data is None
    assert sum(note.startswith("training set ") for note in found.notes) == len(own)


def test_tables_of_magnitudes_that_are_not_there_are_left_out_with_a_sentence(simulated, tmp_path):
    found = real(tmp_path)
    assert found.photometry_files == []
    assert any(note.startswith("photometry: ") for note in found.notes)
    assert simulated.photometry_files
    assert set(simulated.photometry_files) <= set(simulated.simulated)
    assert context({"photometry": {"enabled": False}}).photometry_files == []


def test_what_a_file_of_ones_own_leaves_out_of_the_shipped_one_is_said(tmp_path, project):
    sets = yaml.safe_load((project / "config/training_sets.yaml").read_text())["training_sets"]
    own = tmp_path / "mine.yaml"
    own.write_text(yaml.safe_dump({"training_sets": sets[:1]}))
    (note,) = context({"networks": {"training_sets": str(own)}}).warnings
    others = ", ".join(entry["name"] for entry in sets[1:])
    assert note.startswith(f"networks.training_sets: {own} stands in the place of the shipped file")
    assert f"entries {others} are left out" in note
    own.write_text(yaml.safe_dump({"training_sets": ["default"]}))
    assert context({"networks": {"training_sets": str(own)}}).warnings == []


def test_comparisons_without_file_are_skipped_with_a_sentence(simulated, tmp_path):
    files = {name.removesuffix(".other") for name in simulated.comparison_files}
    assert {entry.name for entry in simulated.comparisons} == files
    found = real(tmp_path)
    named = {entry.name for entry in found.comparisons}
    assert len(found.comparisons_skipped) > 5
    assert not any(
        sentence.split()[1].rstrip(":") in named for sentence in found.comparisons_skipped
    )
    assert context({"validation": {"enabled": False}}).comparisons == []


def test_the_second_emulator_has_a_library_and_a_fit_of_its_own(simulated):
    columns = {"logg": "LOGG_OTHER"}
    found = context({"second_emulator": {"label_columns": columns}})
    name = simulated.configuration.library.name
    assert found.second == f"{name}_imig"
    assert found.chunk_rules[1:4] == ["fit", "fit_imig", "search_chunk"]
    assert found.library_spectra(found.second) == found.library_spectra(name)
    assert found.library_settings(found.second)["label_columns"]["logg"] == "LOGG_OTHER"
    assert found.fit_emulator(found.second) == f"results/emulator/{name}_imig_distilled.h5"


SECOND = {"second_emulator": {"label_columns": {"logg": "X"}}}
SURVEY = {"name": "mine", "format": "survey", "training_set": "pastel", "labels": ["teff", "feh"]}


def test_emulators_beside_the_first_have_a_fit_behind_the_others():
    found = context({"emulators": [SURVEY]})
    assert found.further == ["mine"]
    assert found.chunk_rules == ["prepare", "fit", "search_chunk", "fit_further", "predict"]
    assert found.earlier_readers("fit_further") == found.earlier_readers("predict")[:-1]
    assert found.library_columns("mine") == {"teff": "teff_pastel", "feh": "feh_pastel"}
    assert len(found.emulators_without("mine")) == found.configuration.emulator.folds
    assert found.emulators_without("mastar") == found.library_stars("mastar") == []
    assert {"teff_mine", "feh_mine_err", "flag_mine"} <= set(found.registry.names)
    assert "logg_mine" not in found.registry.names
    labels = {label for comparison in found.comparisons for label in comparison.labels}
    assert {"teff_mine", "feh_mine"} <= labels


def test_the_runs_own_library_can_be_of_the_survey():
    keys = {"library": SURVEY, "grouped": {"run": False}}
    found = context(keys)
    assert found.chunk_rules == ["prepare", "fit", "predict"]
    assert found.library_stars("mine") == [
        "results/library/mine.h5",
        "results/emulator/mine_crossvalidation.csv",
    ]


WRONG = [
    (
        SURVEY | {"training_set": "pastl"},
        r"emulators\[0\]\.training_set: .*pastl; did you mean pastel",
    ),
    (
        SURVEY | {"labels": ["alpha_fe"]},
        r"no label alpha_fe_pastel, only teff_pastel.*label_columns",
    ),
    ({"name": "miles", "format": "miles"}, r"emulators\[0\]\.spectra is not set"),
    (SURVEY | {"name": "mastar"}, "two libraries are called mastar"),
    (
        SURVEY | {"name": "pastel"},
        "emulators: pastel: column 'teff_pastel' stands twice; choose another",
    ),
]


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        *(({"emulators": [entry]}, complaint) for entry, complaint in WRONG),
        ({"emulators": [SURVEY], "networks": {"training_sets": None}}, "names no file"),
        ({"library": SURVEY}, "grouped.run to false and fit.method to refine"),
        ({"library": SURVEY, "grouped": {"run": False}, **SECOND}, "second_emulator"),
    ],
)
def test_a_wrong_emulator_is_answered_by_a_sentence_with_the_key(keys, complaint):
    with pytest.raises(UserError, match=complaint):
        context(keys)


def test_the_whole_emulator_fits_where_it_is_asked_for():
    found = context({"fit": {"emulator": "whole"}})
    assert found.fit_emulator("mastar") == "results/emulator/mastar.h5"


def test_the_header_tells_settings_apart_and_not_folders(simulated, tmp_path):
    same = context({"run": {"results": str(tmp_path)}})
    other = context({"catalog": {"alpha_max_teff": 6000.0}})
    assert same.provenance == simulated.provenance
    assert other.provenance["config_hash"] != simulated.provenance["config_hash"]


def test_prepared_spectra_are_in_the_scratch_folder_unless_they_are_kept(tmp_path):
    site = Site(scratch=str(tmp_path))
    assert context(site=site).layout.prepared.startswith(f"{tmp_path}/lamostvac-results-")
    kept = context({"prepare": {"keep": True}}, site)
    assert kept.layout.prepared.startswith("results/prepared/")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"publication": {"votable_columns": ["tef"]}}, "publication.votable_columns"),
        ({"explorer": {"columns": ["tef"]}}, "explorer.columns"),
        ({"explorer": {"rows": "tef > 1"}}, "explorer.rows"),
        ({"publication": {"votable_rows": "tef > 1"}}, "publication.votable_rows"),
    ],
)
def test_a_wrong_choice_of_columns_or_rows_is_told_before_anything_runs(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        context(settings)


@pytest.mark.parametrize(
    ("method", "grouped", "readers"),
    [
        ("refine", {}, ["fit", "search_chunk", "predict"]),
        ("refine", {"run": False}, ["fit", "predict"]),
        ("refine", {"scope": "type"}, ["fit", "project", "candidates", "predict"]),
        ("grouped", {"run": False}, ["search_chunk", "fit", "predict"]),
        ("grouped_refine", {"scope": "type"}, ["project", "candidates", "fit", "predict"]),
    ],
)
def test_groups_are_searched_after_the_fit_unless_it_begins_with_them(method, grouped, readers):
    found = context({"fit": {"method": method}, "grouped": grouped})
    assert found.chunk_rules == ["prepare", *readers]
    outputs = found.earlier_readers("predict")
    assert len(outputs) == len(readers) - 1
    assert outputs[0].split("/")[1] == readers[0].replace("search_chunk", "chunk_groups")
    assert found.earlier_readers(readers[0]) == []


def test_a_training_sets_file_with_an_absolute_path_is_where_it_says(tmp_path):
    (tmp_path / "x.csv").write_text("obsid,teff\n")
    entry = {
        "name": "x",
        "title": "X",
        "catalogue": {"file": str(tmp_path / "x.csv"), "columns": {"obsid": "obsid", "t": "teff"}},
        "match": {"by": "obsid"},
        "split": {"train_fraction": 0.5},
        "labels": [{"name": "teff_x", "column": "t", "description": "temperature"}],
    }
    sets = tmp_path / "sets.yaml"
    sets.write_text(yaml.safe_dump({"training_sets": [entry]}))
    context = resolve(load_configuration({"networks": {"training_sets": str(sets)}}), Site())
    assert context.training_files("x") == [str(tmp_path / "x.csv")]
    sets.write_text(
        yaml.safe_dump(
            {"training_sets": [entry | {"catalogue": entry["catalogue"] | {"file": "no.csv"}}]}
        )
    )
    context = resolve(load_configuration({"networks": {"training_sets": str(sets)}}), Site())
    assert "give its absolute path" in context.missing_data
