"""A configuration is complete by itself, and a mistake in it is named in one sentence."""

import json
import re

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from lamostvac.configuration import generate
from lamostvac.configuration.root import Configuration, load_configuration, read_configuration
from lamostvac.core import models
from lamostvac.core.exceptions import UserError

KEYS = [path for path, _ in models.walk(Configuration)]


SECOND = {"second_emulator": {"label_columns": {"logg": "LOGG_JI"}}}


def nested(path, value):
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def mistake(mapping):
    with pytest.raises(UserError) as caught:
        load_configuration(mapping)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def further(*libraries):
    return {"validation": {"libraries": list(libraries)}}


@pytest.mark.parametrize(
    "name", ["config/config.yaml", "config/schema.json", "docs/configuration.md"]
)
def test_generated_files_agree_with_the_models(project, name):
    expected = generate.generated_files(project)[project / name]
    assert (project / name).read_text() == expected, "run `make generated`"


def test_default_file_is_the_defaults(project):
    assert read_configuration(project / "config" / "config.yaml") == Configuration()


@pytest.mark.parametrize("name", ["config", "demo", "real", "lamost_dr8", "lamost_dr10"])
def test_shipped_configurations_load_and_stand_alone(project, name):
    path = project / "config" / f"{name}.yaml"
    assert read_configuration(path)
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")


@pytest.mark.parametrize("name", ["demo", "real", "lamost_dr8", "lamost_dr10"])
def test_shipped_configurations_name_only_what_differs(project, name):
    """Except for paths that say where to put things, no value repeats a default."""
    given_values = yaml.safe_load((project / "config" / f"{name}.yaml").read_text())
    defaults = models.plain(Configuration())
    repeated = [
        f"{section}.{key}"
        for section, values in given_values.items()
        if isinstance(values, dict)  # a list of sections is empty by default
        for key, value in values.items()
        if value == defaults[section][key]
    ]
    assert repeated == []


def test_every_key_is_described_and_documented(project):
    documentation = (project / "docs" / "configuration.md").read_text()
    for path, field in models.walk(Configuration):
        assert field.description, path
        assert f"| `{path}` |" in documentation


def test_schema_refuses_unknown_keys(project):
    schema = json.loads((project / "config" / "schema.json").read_text())
    assert schema["additionalProperties"] is False
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values())


@pytest.mark.parametrize(
    ("mapping", "parts"),
    [
        ({"survey": {"catalogs": ["a"]}}, ["survey.catalogs does not exist", "survey.catalogues?"]),
        ({"catalogues": ["a"]}, ["catalogues does not exist", "survey.catalogues?"]),
        (
            {"survey": {"zzz": 1}},
            ["survey.zzz does not exist", "the keys of survey are root, catalogues"],
        ),
        ({"survey": {"snr_min": {"g": 1}}}, ["survey.snr_min.g", "did you mean survey.snr_min.G?"]),
        (
            {"survey": {"chunk_size": 0}},
            ["survey.chunk_size = 0", "whole number above 0", "nearest: 1"],
        ),
        ({"survey": {"chunk_size": "many"}}, ['survey.chunk_size = "many"', "default: 20000"]),
        (
            {"survey": {"snr_band": "SNRG"}},
            ["one of snru, snrg, snrr, snri, snrz", 'nearest: "snrg"'],
        ),
        ({"survey": {"types": ["M", "X"]}}, ['survey.types[1] = "X"', "one of OB, A, F, G, K, M"]),
        ({"survey": {"types": "M"}}, ['nearest: ["M"]']),
        ({"survey": {"types": ["M", "M"]}}, ["survey.types", "once"]),
        ({"survey": {"file_pattern": "{date}/x"}}, ["survey.file_pattern", "{date}", "obsdate"]),
        ({"survey": {"file_pattern": "{spid:q}"}}, ["survey.file_pattern", "{spid:02d}"]),
        ({"survey": {"file_pattern": "{spid[0]}"}}, ["survey.file_pattern", "{spid:02d}"]),
        ({"survey": {"file_pattern": "{spid.real}"}}, ["survey.file_pattern", "{spid:02d}"]),
        ({"survey": {"file_pattern": "{spid!r}"}}, ["survey.file_pattern", "{spid:02d}"]),
        ({"survey": {"file_pattern": "{spid:9999999999d}"}}, ["survey.file_pattern"]),
        ({"survey": {"file_pattern": "{spid:{spid}}"}}, ["survey.file_pattern"]),
        ({"survey": {"file_pattern": "{"}}, ["survey.file_pattern"]),
        ({"run": {"seed": 2**32}}, ["run.seed", "nearest: 4294967295"]),
        ({"run": {"seed": "1" * 5001}}, ["run.seed", "(5003 characters)"]),
        ({"run": {"results": "res{x}"}}, ["run.results", "cannot have braces"]),
        ({"survey": {"catalogues": ["{a}.csv"]}}, ["survey.catalogues", "cannot have braces"]),
        ({"library": {"spectra": "{a}.fits"}}, ["library.spectra", "cannot have braces"]),
        ({"networks": {"root": "a\nb"}}, ["networks.root", "nor line feeds"]),
        ({1: 2}, ["the key 1 is no text"]),
        ({"errors": {"bins": 3}}, ["errors.bins", "at least 4"]),
        ({"errors": {"bins": [5, 10, 20, 20, 50]}}, ["errors.bins", "five increasing numbers"]),
        (
            {"errors": {"few_repeats": "paper"}},
            ["errors.few_repeats", "one of published, training, none"],
        ),
        ({"errors": {"pair_snr_tolerance": 0.1}}, ["errors.pair_snr_tolerance", "networks"]),
        ({"survey": 3}, ["survey = 3", "a section with the keys root"]),
        (
            {"prepare": {"telluric_regions": [[1, 2], [4, 3]]}},
            ["prepare.telluric_regions[1]", "[3, 4]"],
        ),
        ({"emulator": {"variance": 1.5}}, ["emulator.variance = 1.5", "at most 1", "nearest: 1"]),
        ({"emulator": {"length_scale": float("nan")}}, ["emulator.length_scale"]),
        ({"prepare": {"keep": "perhaps"}}, ["prepare.keep", "true or false"]),
        ({"survey": {"chunk_size": True}}, ["survey.chunk_size = true", "a whole number above 0"]),
        ({"simulation": {"n_stars": {"G": True}}}, ["simulation.n_stars", "to a whole number"]),
        ({"simulation": {"n_stars": {"Q": 3}}}, ["simulation.n_stars.Q does not exist"]),
        ({"simulation": {"n_stars": {"G": "x"}}}, ['simulation.n_stars.G = "x"', "whole number"]),
        ({"simulation": {"enabled": False}}, ["survey.catalogues is empty"]),
        ({"survey": {"catalogues": ["a.csv"]}}, ["simulation.enabled is true"]),
        ({"networks": {"root": "a"}}, ["networks.root is set", "absolute paths"]),
        (
            {"simulation": {"enabled": False}, "survey": {"catalogues": ["a.csv"]}},
            ["library.spectra is not set"],
        ),
        (
            {"library": {"quality_columns": {"teff": "Q"}}},
            ["library.quality_columns is set", "mastar has no quality flags"],
        ),
        (
            further({"name": "s", "spectra": "f", "format": "stelb"}),
            ["libraries[0].format", '"stelib"'],
        ),
        (further({"name": "s"}), ["validation.libraries[0].spectra is missing"]),
        (
            further({"name": "s", "spectra": "f", "labls": 1}),
            ["did you mean validation.libraries[0].labels?"],
        ),
        (
            further({"name": "s", "spectra": "f", "folds": 3}),
            ["libraries[0].folds does not exist", "keys of"],
        ),
        (
            further({"name": "s", "spectra": "f", "resolution": {"mtch": 1}}),
            ["did you mean validation.libraries[0].resolution.match?"],
        ),
        (further(1), ["validation.libraries[0] = 1", "a section with the keys name, format"]),
        ({"validation": {"libraries": "x"}}, ["each item a section with the keys name"]),
        (
            further({"name": "a b", "spectra": "f"}),
            ['libraries[0].name = "a b"', "letters, digits"],
        ),
        (further({"name": "mastar", "spectra": "f"}), ["two libraries are called mastar"]),
        (
            further({"name": "mastar_imig", "spectra": "f"}) | SECOND,
            ["two libraries are called mastar_imig"],
        ),
        (
            {"second_emulator": {"label_columns": {"teff": "T"}}},
            ["second_emulator.label_columns", "no logg"],
        ),
        (
            SECOND | {"library": {"labels": ["teff", "feh"]}},
            ["second_emulator", "library.labels has no logg"],
        ),
        (SECOND | {"library": {"format": "miles"}}, ["second_emulator.label_columns", "miles"]),
    ],
)
def test_a_mistake_is_named_with_the_remedy(mapping, parts):
    sentence = mistake(mapping)
    for part in parts:
        assert part in sentence


@given(st.sampled_from(KEYS), st.data())
def test_a_letter_left_out_of_a_key_is_found(path, data):
    *front, last = path.split(".")
    assume(len(last) >= 5)
    position = data.draw(st.integers(0, len(last) - 1))
    wrong = ".".join([*front, last[:position] + last[position + 1 :]])
    assume(wrong not in KEYS)
    suggestion = re.search(r"did you mean (\S+)\?", mistake(nested(wrong, 1)))
    assert suggestion
    assert suggestion.group(1) in KEYS


@given(
    st.sampled_from(KEYS),
    st.one_of(st.integers(), st.text(), st.lists(st.integers()), st.none(), st.booleans()),
)
def test_any_value_is_accepted_or_answered_with_one_sentence(path, value):
    try:
        load_configuration(nested(path, value))
        sentence = path
    except UserError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert path.split(".")[0] in sentence


def test_the_order_of_a_mapping_in_a_file_is_nothing_that_params_have():
    stars = {"OB": 6, "A": 12, "M": 14}
    aliases = {"teff": "b", "ra": "a"}
    one, other = (
        load_configuration(
            {
                "simulation": {"n_stars": dict(order(stars.items()))},
                "survey": {"column_aliases": dict(order(aliases.items()))},
            }
        )
        for order in (list, sorted)
    )
    assert repr(one.model_dump()) == repr(other.model_dump())
    # The simulated survey draws its stars in this order.
    assert list(one.simulation.n_stars) == ["OB", "A", "M"]


def test_an_empty_section_counts_as_left_out():
    assert load_configuration({"survey": None, "fit": {}}) == Configuration()


def test_texts_from_the_command_line_are_converted():
    """Snakemake passes what stands inside --config 'survey={chunk_size: 5}' as text."""
    settings = load_configuration(
        {
            "survey": {"chunk_size": "5", "snr_min": {"M": "10.5"}},
            "prepare": {"keep": "true", "dichroic_region": "null"},
        }
    )
    assert settings.survey.chunk_size == 5
    assert settings.survey.snr_min.M == 10.5
    assert settings.survey.snr_min.G == 0
    assert settings.prepare.keep is True
    assert settings.prepare.dichroic_region is None


def test_a_configuration_file_that_is_missing_or_no_yaml_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml cannot be read"):
        read_configuration(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("survey: [")
    with pytest.raises(UserError, match=r"bad\.yaml is no YAML"):
        read_configuration(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- a")
    with pytest.raises(UserError, match=r"list\.yaml must consist of"):
        read_configuration(tmp_path / "list.yaml")


def test_further_libraries_are_matched_to_the_same_survey_unless_they_say_otherwise():
    entries = [{"name": "a", "spectra": "f"}, {"name": "b", "spectra": "f"}]
    entries[1]["resolution"] = {"survey_fwhm": [[5000, 4.0]], "library_fwhm": 2.0}
    root = load_configuration(
        further(*entries)
        | {"library": {"resolution": {"survey_fwhm": [[5000, 3.0]], "library_fwhm": 1.0}}}
    )
    libraries = root.libraries()
    assert list(libraries) == ["mastar", "a", "b"]
    widths = [
        (one.resolution.survey_fwhm, one.resolution.library_fwhm) for one in libraries.values()
    ]
    assert widths == [([(5000, 3.0)], 1.0), ([(5000, 3.0)], None), ([(5000, 4.0)], 2.0)]


def test_the_second_emulator_has_the_same_library_with_other_columns():
    library = {"min_snr": 30, "label_columns": {"logg": "A", "feh": "B"}}
    root = load_configuration(SECOND | {"library": library})
    first, second = root.libraries().values()
    assert second == root.second_library
    assert second.name == "mastar_imig"
    assert second.label_columns == {"logg": "LOGG_JI", "feh": "B"}
    changed = {"name": first.name, "label_columns": first.label_columns}
    assert second.model_copy(update=changed) == first
    assert load_configuration({}).second_library is None
