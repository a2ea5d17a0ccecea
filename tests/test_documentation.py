"""What the documents say can be done as they say it."""

import re
import shlex

import pytest
import yaml

from lamostvac.configuration import load_configuration, read_configuration
from lamostvac.library_table import read_table_library

DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    "docs/catalogue.md",
    "docs/comparisons.md",
    "docs/configuration.md",
    "docs/errors.md",
    "docs/distance.md",
    "docs/experiments.md",
    "docs/internals.md",
    "docs/libraries.md",
    "docs/method.md",
    "docs/networks.md",
    "docs/simulation.md",
)


def blocks(text: str, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for name, content in found if name == language]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files(project, name):
    path = project / name
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_name_what_exists_and_put_targets_before_configfile(project, name):
    """Snakemake takes every word after --configfile for another configuration file."""
    text = (project / name).read_text()
    commands = [line.split("  #")[0].strip() for block in blocks(text, "") for line in block.splitlines()]
    commands += re.findall(r"`((?:snakemake|make|python) [^`]+)`", text)
    targets = set(re.findall(r"^([a-z]+):", (project / "Makefile").read_text(), re.MULTILINE))
    for command in commands:
        words = shlex.split(command.replace("...", ""))
        if words[:1] == ["make"]:
            assert {word for word in words[1:] if "=" not in word} <= targets, command
        if words[:1] == ["snakemake"] and "--configfile" in words:
            at = words.index("--configfile")
            assert len(words) == at + 2 or words[at + 2].startswith("--"), command
            if words[at + 1] not in ("FILE", "config/mine.yaml"):
                read_configuration(project / words[at + 1])
        for word in words:
            if word.startswith(("tools/", "config/", "docs/")) and word != "config/mine.yaml":
                assert (project / word).exists(), command


def test_the_picture_of_the_workflow_shows_rules_and_what_they_read(project):
    """Each box of the README's picture is a rule, each arrow an input of the rule that it points to."""
    picture = blocks((project / "README.md").read_text(), "mermaid")[0]
    rules = {}
    for path in (project / "rules").glob("*.smk"):
        for found in re.finditer(
            r"^(?:rule|checkpoint) (\w+):\n(.*?)^    output:", path.read_text(), re.M | re.S
        ):
            rules[found[1]] = found[2]
    arrows = re.findall(r"(\w+)(?:\[.*?\])? --> (\w+)", picture)
    assert len(arrows) >= 10
    reads = {
        "survey": "survey/|input:\n",
        "prepare": "PREPARED|prepared/",
        "crossvalidation": "_crossvalidation.csv",
        "crossmatch": "training_inputs",
        "training": "training_table",
        "train": "NETWORK_FOLDER",
        "predict": "predicted/",
        "emulator": "FIT_EMULATOR|/emulator/",
        "collect": "/collected/",
        "recommend": "/recommended/",
        "merge": "catalog/recommended|catalog/accounting",
    }
    for source, target in arrows:
        assert source in rules
        assert target in rules
        assert re.search(reads.get(source, f"/{source}/"), rules[target]), (source, target)


def test_the_example_of_a_library_can_be_read(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (project / "docs/libraries.md").read_text()
    exec(blocks(text, "python")[0], {})
    library = read_table_library("mine.fits")
    assert len(library.ids) == 60
    assert library.labels[["teff", "logg", "feh"]].notna().all(axis=None)
    assert library.labels["alpha_fe"].isna().all()
    assert not library.in_air


def test_the_examples_of_configuration_are_valid(project):
    examples = blocks((project / "docs/libraries.md").read_text(), "yaml")
    assert len(examples) == 6
    formats = [load_configuration(yaml.safe_load(example)).library.format for example in examples]
    assert formats == ["mastar", "miles", "elodie", "stelib", "miles", "table"]
