"""The rules read from top to bottom: each file uses only what stands before it, and names tell things apart."""

import re

import pytest

RULE = re.compile(r"^ *(?:use rule \w+ as|rule|checkpoint) (\w+)(?: with)?:", re.MULTILINE)
# What a file of rules gives to those that come after it.
GIVEN = re.compile(r"^(?:def (\w+)\(|([A-Z_]+) = )", re.MULTILINE)


@pytest.fixture(scope="module")
def files(project):
    """The files of rules by name, in the order in which they are read."""
    order = re.findall(r'^include: "rules/(\w+)\.smk"$', (project / "Snakefile").read_text(), re.M)
    assert set(order) == {path.stem for path in (project / "rules").glob("*.smk")}
    return {name: (project / f"rules/{name}.smk").read_text() for name in order}


def given(text):
    return {one or other for one, other in GIVEN.findall(text)}


def test_each_file_uses_only_what_stands_before_it(files):
    names = {name: given(text) for name, text in files.items()}
    assert "asks" in names["common"]
    assert "NETWORK_INPUTS" in names["networks"]
    seen = set()
    for name, text in files.items():
        seen.add(name)
        later = set().union(*(names[other] for other in files if other not in seen))
        used = set(re.findall(r"(?<![\w.\"])[A-Za-z_]\w*(?!\w*=[^=])", text))
        assert not used & later, (name, used & later)


def test_no_two_files_give_the_same_name(files):
    everything = [given(text) for text in files.values()]
    assert sum(map(len, everything)) == len(set().union(*everything))


def test_what_is_common_is_used_by_several_files(files):
    for name in given(files["common"]):
        users = [
            other
            for other, text in files.items()
            if other != "common" and re.search(rf"\b{name}\b", text)
        ]
        own = len(re.findall(rf"\b{name}\b", files["common"]))
        assert len(users) >= 2 or own >= 2, name


def test_what_is_common_is_short(files):
    assert len(files["common"].splitlines()) < 125


def test_each_file_but_the_common_one_is_named_after_a_package_and_has_rules(project, files):
    for name, text in files.items():
        if name != "common":
            assert (project / f"lamostvac/{name}/__init__.py").is_file(), name
            assert RULE.search(text), name


def test_no_rule_has_the_name_of_a_word_of_snakemakes_language(files):
    names = {name for text in files.values() for name in RULE.findall(text)}
    assert len(names) > 45
    assert not names & {"group", "rule", "input", "output", "params", "resources", "report"}


def test_experiments_share_no_name_with_modules_of_the_library_or_other_rules(project, files):
    own = RULE.findall(files["experiments"])
    assert len(own) == 8
    modules = {path.stem for path in (project / "lamostvac").rglob("*.py")}
    others = {name for key in files if key != "experiments" for name in RULE.findall(files[key])}
    for name in own:
        assert name.startswith("experiment")
        assert name not in modules | others


def test_no_variable_is_called_rule(project, files):
    """Snakemake takes the word for a rule where a formatter breaks the line before it."""
    texts = [*files.values(), (project / "Snakefile").read_text()]
    assert not [
        line for text in texts for line in text.splitlines() if re.match(r"\s+rule\b(?!:| )", line)
    ]


def test_a_chunk_is_fitted_before_another_is_prepared_and_models_come_first(files):
    """Else all prepared spectra of a release would wait on the disk for the networks."""
    text = "\n".join(files.values())
    starts = [*RULE.finditer(text)]
    ends = [*(start.start() for start in starts[1:]), len(text)]
    rules = {start[1]: text[start.start() : end] for start, end in zip(starts, ends, strict=True)}
    readers = {name for name, rule in rules.items() if "prepared=prepared_spectra" in rule}
    assert {"fit", "predict", "project"} <= readers
    first = {name for name, rule in rules.items() if "priority: READS_PREPARED" in rule}
    models = {name for name, rule in rules.items() if "priority: MAKES_MODELS" in rule}
    assert "use rule fit as fit_imig with" in rules["fit_imig"]  # which takes the priority over
    assert first == readers - {"fit_imig"}
    assert {"library", "emulator", "crossmatch", "training", "train"} <= models
    assert "priority" not in rules["prepare"]
    values = dict(re.findall(r"^(MAKES_MODELS|READS_PREPARED) = (\d+)$", text, re.M))
    assert int(values["READS_PREPARED"]) > int(values["MAKES_MODELS"]) > 0
