"""What the documents say can be done as they say it."""

import ast
import itertools
import re
import shlex
import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table
from claims import some
from mentions import missing, prose

from lamostvac.catalog import data_model
from lamostvac.catalog.registry import NetworkLabel, load_registry
from lamostvac.cli.main import main
from lamostvac.configuration.root import load_configuration, read_configuration
from lamostvac.core.paths import TRAINING_SETS_PATH
from lamostvac.core.rejection import REASONS
from lamostvac.distance.schema import load_photometry
from lamostvac.library.formats.table import read_table_library
from lamostvac.recommend.definitions import load_definitions
from lamostvac.run.layout import patterns
from lamostvac.run.start import check_targets
from lamostvac.training.load import load_training_sets
from lamostvac.validation.schema import load_comparisons
from tests.conftest import PROJECT
from tools import architecture

DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    *(f"docs/{path.name}" for path in sorted(PROJECT.glob("docs/*.md"))),
)
# Names that stand for a file of the reader's own, for one of an older commit that the page says to check out, for one
# that a command of the page writes, or for one of another project.
ELSEWHERE = (
    "config/mine.yaml",
    "config/mine_sets.yaml",
    "config/mine_comparisons.yaml",
    "tools/grouped_trial.py",
    "envs/lamostvac.linux-64.pin.txt",
    "astroNN/apogee/downloader.py",
)
# What every package has, so that its name alone says enough.
OF_EVERY_PACKAGE = ("settings.py", "__init__.py")


def blocks(text: str, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for name, content in found if name == language]


def test_links_lead_to_files(project):
    links = [
        (path, target)
        for path in (project / name for name in DOCUMENTS)
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text())
        if "://" not in target
    ]
    assert len(links) > 50
    assert [(path.name, to) for path, to in links if not (path.parent / to).exists()] == []


def packages_of_the_page(project):
    """Paragraphs of docs/internals.md about packages, by their names, as lists of a layer each."""
    text = (project / "docs/internals.md").read_text()
    text = text.split("\n## Packages\n")[1].split("\n## ")[0]
    layers = text.split("\n### Layer ")[1:]
    return [
        {
            re.match(r"\*\*`(\w+)`\*\*", paragraph)[1]: paragraph
            for paragraph in layer.strip().split("\n\n")[1:]
        }
        for layer in layers
    ]


def test_the_page_of_packages_has_every_layer_package_and_module(project):
    layers = packages_of_the_page(project)
    assert [set(layer) for layer in layers] == [set(layer) for layer in architecture.LAYERS]
    for layer in layers:
        for package, paragraph in layer.items():
            named = set(re.findall(r"`([\w/]+\.py)`", paragraph))
            folder = project / "lamostvac" / package
            there = {path.name for path in some(folder.glob("*.py"))}
            assert {path for path in named if not (folder / path).exists()} == set(), package
            if package != "simulate":  # its own docstring has them
                assert there - named <= {*OF_EVERY_PACKAGE, "__main__.py", "main.py", "options.py"}


def test_the_page_of_files_has_every_file_of_the_layout(project):
    text = (project / "docs/internals.md").read_text()
    text = text.split("\n## Files between stages\n")[1].split("\n## ")[0]
    pairs = set(re.findall(r"`(\w+)` \(`([^`]+)`\)", " ".join(text.split())))
    expected = {*patterns().items(), ("prepared", "prepared/{type}/{chunk}.h5")}
    assert expected - pairs == set()
    assert {(name, path) for name, path in pairs - expected if "/" in path or "." in path} == set()


@pytest.mark.parametrize(
    "pattern",
    [
        *DOCUMENTS,
        "report/*.rst",
        "config/*.yaml",
        "rules/*.smk",
        "Snakefile",
        "Makefile",
        "lamostvac/**/*.py",
        "workflow_scripts/*.py",
        "tools/*.py",
        "benchmarks/*.py",
    ],
)
def test_files_and_modules_that_texts_name_exist(project, pattern):
    """Documents name them from the project's folder, code also from that of the library or its own."""
    wrong = {}
    for path in some(project.glob(pattern)):
        text = prose(path)
        if pattern == "docs/internals.md":  # the paragraphs of packages have their own test
            before, rest = text.split("\n## Packages\n")
            text = before + rest.split("\n## ", 1)[1]
        folders = [project]
        if path.suffix not in (".md", ".rst"):
            folders += [project / "lamostvac", path.parent]
        names = set(missing(project, text, folders)) - {*ELSEWHERE, *OF_EVERY_PACKAGE}
        if names:
            wrong[path.relative_to(project)] = names
    assert wrong == {}


def test_a_name_of_nothing_is_found(project):
    text = (
        "`lamostvac/starfit.py`, `masks.py`, `lamostvac.fit.refine.refine`, `lamostvac.fit.refine.polish`, "
        "`refine` of `lamostvac/fit/refine.py`, `polish` in `lamostvac/fit/refine.py`, "
        "`tests/project/test_kernels.py::test_nothing`"
    )
    assert list(missing(project, text, [project])) == [
        "lamostvac/starfit.py",
        "masks.py",
        "lamostvac/starfit.py",
        "lamostvac/fit/refine.py::polish",
        "tests/project/test_kernels.py::test_nothing",
        "lamostvac.fit.refine.polish",
    ]


def test_no_line_of_a_table_about_the_code_is_too_long_to_read(project):
    lines = (project / "docs/internals.md").read_text().splitlines()
    assert [line for line in lines if len(line) > (150 if line[:1] == "|" else 120)] == []


def check_typed(project, words):
    """Fail where the command would not understand what is typed, or a named target or configuration does not exist."""
    group = main.make_context("lamostvac", list(words))
    _, command, rest = main.resolve_command(group, words)
    given = command.make_context(command.name, rest, parent=group).params
    config = given.get("config")
    if config is not None and str(config) not in ("FILE", "mine.yaml", *ELSEWHERE):
        read_configuration(project / config)
    targets = given.get("targets", given.get("words", ()))
    targets = list(itertools.takewhile(lambda word: not word.startswith("-"), targets))
    if command.name in ("star", "trace"):
        assert len(targets) == (2 if config is None and not given["demo"] else 1), words
    else:
        check_targets(targets)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_name_what_exists_and_put_targets_before_configfile(project, name):
    """Snakemake takes every word after --configfile for another configuration file."""
    text = (project / name).read_text().replace("\\\n", " ")
    commands = [
        line.split("  #")[0].strip() for block in blocks(text, "") for line in block.splitlines()
    ]
    commands += re.findall(r"`((?:snakemake|make|python|lamostvac) [^`]+)`", text)
    targets = set(re.findall(r"^([a-z-]+):", (project / "Makefile").read_text(), re.MULTILINE))
    for command in commands:
        words = shlex.split(command.replace("...", ""))
        if words[:1] == ["make"]:
            assert {word for word in words[1:] if "=" not in word} <= targets, command
        if words[:1] == ["snakemake"] and "--configfile" in words:
            at = words.index("--configfile")
            assert len(words) == at + 2 or words[at + 2].startswith("--"), command
            if words[at + 1] not in ("FILE", *ELSEWHERE):
                read_configuration(project / words[at + 1])
        if words[:1] == ["lamostvac"] and len(words) > 2 and words[-1] != "--help":
            check_typed(project, list(itertools.takewhile(lambda word: word != ">", words[1:])))
        for word in words:
            if word.startswith(("tools/", "config/", "docs/")) and word not in ELSEWHERE:
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
        "survey": "chunk|manifest",
        "prepare": "prepared_meta",
        "crossmatch": "training_inputs",
        "training": "training_table",
        "train": "NETWORK_INPUTS",
        "emulator": "fit_emulator",
        "collect": "collected",
        "recommend": "recommended",
        "merge": "catalogue|accounting",
    }
    for source, target in arrows:
        assert source in rules
        assert target in rules
        named = rf"(FILES\.|CTX\.|unpack\(|=)({reads.get(source, source)})"
        assert re.search(named, rules[target]), (source, target)


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


def label_registry(project):
    """The catalogue's columns with the networks of the shipped training sets."""
    return load_registry(
        [
            NetworkLabel(label.name, label.unit, label.ucd, label.description, entry.name)
            for entry in load_training_sets(project / "config/training_sets.yaml")
            for label in entry.labels
        ]
    )


def test_the_site_builds_without_a_warning_and_needs_no_network(project, tmp_path):
    """A link or heading that is not there, and a page that no index names, are warnings of Sphinx."""
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "--quiet",
        "--fail-on-warning",
        "-b",
        "html",
        "docs",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.glob("*.html"))
    assert len(pages) > len(list(project.glob("docs/*.md")))
    for page in pages:
        text = page.read_text()
        assert not re.search(r"<(?:script|img|iframe)[^>]*src=\"(?:https?:)?//", text), page.name
        assert not re.search(r"<link[^>]*rel=\"stylesheet\"[^>]*href=\"(?:https?:)?//", text), (
            page.name
        )
    # Read by a script element, which a browser allows from file://, unlike a request.
    assert "troubleshooting" in (tmp_path / "searchindex.js").read_text()
    assert "searchindex.js" in (tmp_path / "search.html").read_text()


def test_the_data_model_is_that_of_the_registry(project):
    assert data_model.PAGE == project / "docs/data_model.md"
    assert data_model.PAGE.read_text() == data_model.document(), "run `make generated`"


def test_the_data_model_has_every_column_of_a_run(project):
    """Also those of networks, by their templates."""
    cells = set(re.findall(r"^\| `([^`]+)` \|", data_model.document(), re.MULTILINE))
    labels = [
        label.name for entry in load_training_sets(TRAINING_SETS_PATH) for label in entry.labels
    ]
    made = {
        cell.format(label=label, emulator="mine")
        for cell in cells
        if "{" in cell
        for label in labels
    }
    assert set(label_registry(project).names) <= cells | made


def test_troubleshooting_has_every_reason_and_every_flag(project):
    text = (project / "docs/troubleshooting.md").read_text()
    first = " ".join(re.findall(r"^\| ([^|]*) \|", text, re.MULTILINE))
    named = set(re.findall(r"`([^`]+)`", first))
    assert set(REASONS) <= named
    assert set(load_registry().flags) <= named


def test_every_reason_is_given_by_something(project):
    paths = [*project.glob("lamostvac/**/*.py"), *project.glob("workflow_scripts/*.py")]
    code = "".join(path.read_text() for path in paths if path.name != "rejection.py")
    assert {reason for reason in REASONS if f'"{reason}"' not in code} == set()


def messages(project):
    """The constant parts of every text in the code that a user can be shown."""
    paths = [
        *project.glob("lamostvac/**/*.py"),
        *project.glob("workflow_scripts/*.py"),
        project / "tools/bootstrap.py",
    ]
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from re.split(r"\{.*?\}", node.value)


def test_troubleshooting_quotes_what_the_program_says(project):
    """Of each quoted sentence some words of ten letters or more stand in the code."""
    parts = {part.strip(" ;:,({") for part in messages(project)}
    parts = {part for part in parts if len(part) >= 10}
    text = (project / "docs/troubleshooting.md").read_text().split("## Snakemake and Slurm")[0]
    of_snakemake = ("FileNotFoundError", "MissingInputException", "LockException", "Config file")
    quoted = 0
    for cell in re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE):
        for sentence in re.findall(r"`([^`]+)`", cell):
            if " " not in sentence or sentence.startswith(of_snakemake):
                continue
            pieces = [piece.strip(" ;:,()") for piece in sentence.split("...")]
            pieces = [piece for piece in pieces if len(piece) >= 10]
            assert any(part in piece or piece in part for piece in pieces for part in parts), (
                sentence
            )
            quoted += 1
    assert quoted >= 20


def test_the_queries_ask_for_the_columns_that_are_read(project):
    text = (project / "docs/howto_dr10.md").read_text()
    photometry = load_photometry(project / "config/photometry.yaml")
    tables = [photometry.catalogue, *photometry.join]
    for entry in load_training_sets(project / "config/training_sets.yaml"):
        if entry.catalogue is not None:
            tables += [entry.catalogue, *entry.join]
    asked = " ".join(blocks(text, "sql"))
    for table in tables:
        assert f"`{table.file}`" in text
        if not table.file.startswith(
            ("pastel/", "apogee/", "extinction/")
        ):  # whole files, or of the reader's making
            for column in table.columns.values():
                assert re.search(rf"[\w]\.\"?{re.escape(column)}\b", asked), (table.file, column)


def test_the_list_of_stars_has_each_star_once(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/lamost/dr10").mkdir(parents=True)
    rows = Table(
        {
            "ra": [10.0, 10.000001, 20.0, 30.0],
            "dec": [1.0, 1.0, 2.0, 3.0],
            "class": ["STAR"] * 3 + ["QSO"],
        }
    )
    rows.write("data/lamost/dr10/dr10_v2.0_LRS_catalogue.fits.gz")
    exec(blocks((project / "docs/howto_dr10.md").read_text(), "python")[0], {})
    stars = Table.read("data/lamost_stars.fits")
    assert sorted(stars["ra"]) == [10.0, 20.0]


def test_the_switches_of_the_departures_exist(project):
    text = (project / "docs/departures.md").read_text()
    switches = re.findall(r"`(\w+(?:\.\w+)+): ([^`]+)`", text)
    assert len(switches) >= 15
    for path, value in switches:
        setting = yaml.safe_load(value)
        for key in reversed(path.split(".")):
            setting = {key: setting}
        load_configuration(setting)


def test_the_examples_of_extensions_are_valid(project, tmp_path):
    sets, named, comparisons, source = blocks(
        (project / "docs/howto_extend.md").read_text(), "yaml"
    )
    (tmp_path / "sets.yaml").write_text(sets)
    entry = load_training_sets(tmp_path / "sets.yaml")[0]
    assert entry.label_names == ["teff_galah", "feh_galah"]
    assert (
        load_configuration(yaml.safe_load(named)).networks.training_sets == "config/mine_sets.yaml"
    )
    (tmp_path / "comparisons.yaml").write_text(comparisons)
    assert load_comparisons(tmp_path / "comparisons.yaml", load_registry())[0].labels == {
        "teff": "Teff",
        "feh": "FeH",
        "logg": "logg",
    }
    definitions = yaml.safe_load((project / "config/recommended.yaml").read_text())
    definitions["recommended"][0]["sources"] += yaml.safe_load(source)
    (tmp_path / "recommended.yaml").write_text(yaml.safe_dump(definitions))
    label = NetworkLabel(
        "teff_galah", "K", "phys.temperature.effective", "effective temperature", "galah"
    )
    columns = load_registry([label]).names
    teff = load_definitions(tmp_path / "recommended.yaml", columns)[0]
    assert [found.column for found in teff.sources] == ["teff", "teff_galah"]


def test_the_tutorial_reads_a_catalogue(project, tmp_path, monkeypatch, capsys):
    """Its scripts run on a catalogue with the columns of the demo, and print what it names."""
    registry = label_registry(project)
    rows = registry.empty(5)
    rows["spectral_type"], rows["best_spectrum"], rows["flags"] = b"G", 1, [0, 0, 2, 4, 8]
    rows["teff_rec"], rows["logg_rec"], rows["feh_rec"] = 5000.0, 4.0, 0.0
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/demo/catalog").mkdir(parents=True)
    content = registry.header(len(rows)) + rows.tobytes()
    (tmp_path / "results/demo/catalog/recommended.fits").write_bytes(
        content + b"\0" * (-len(content) % 2880)
    )
    assert np.isclose(fits.getdata("results/demo/catalog/recommended.fits")["teff_rec"], 5000).all()
    look, plot = blocks((project / "docs/tutorial.md").read_text(), "python")
    exec(look, {})
    assert f"5 rows, {len(registry.names)} columns\n" in capsys.readouterr().out
    # A script begins without the figures and settings that other tests have left.
    plt.close("all")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        exec(plot, {})
    assert capsys.readouterr().out == "4 of 5\n"
    assert (tmp_path / "results/demo/kiel.png").stat().st_size > 5000
