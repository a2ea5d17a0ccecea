"""Snakemake's command line: what is typed is looked at before Snakemake starts."""

import re
import subprocess
from pathlib import Path

import pytest
from command import lamostvac
from warm_python import warm_python

from lamostvac.core.exceptions import UserError
from lamostvac.run.inputs import survey_inputs
from lamostvac.run.site import Site, scratch_folder
from lamostvac.run.start import snakemake_command, snakemake_environment, typed_targets


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("simulation: {enabled: true}\n")
    return path


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        (["-n", "type_m", "all", "--configfile", "m.yaml"], ["type_m"]),
        (["--cores", "2", "Types", "type_K"], ["Types", "type_K"]),
        (["-n", "--directory", "type_M"], []),
        (["all"], []),
    ],
)
def test_types_that_are_asked_of_snakemake_itself_are_found(words, targets):
    assert typed_targets(words) == targets


def test_a_type_that_the_run_has_not_ends_in_a_sentence_before_snakemakes(project, tmp_path):
    (tmp_path / "c.yaml").write_text("simulation: {enabled: true}\nsurvey: {types: [M]}\n")
    command = [warm_python(), "-m", "snakemake", "-n", "type_m", "--directory", str(tmp_path)]
    command += ["--snakefile", str(project / "Snakefile"), "--configfile", str(tmp_path / "c.yaml")]
    done = subprocess.run([*command, "--cores", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Error: there is no target type_m; those of the types are type_M" in done.stderr


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("run={a: &a [*a]}", "--config run: a[0], line 1: it contains itself"),
        (f"run={{seed: {'1' * 5001}}}", "--config run: seed, line 1: the number 1111"),
        ("run={seed: 2", "--config run is no YAML"),
        ("run={seed: 1, seed: 2}", "--config run: seed, line 1: this key stands there a second"),
        ("run={results: r\udce9s}", "--config run is not UTF-8 text"),
    ],
)
@pytest.mark.parametrize("before", [["--config"], ["-C"], ["--config", "fit={}"], ["--config="]])
def test_a_wrong_value_of_config_is_named(config, tmp_path, value, sentence, before):
    glued = before[-1].endswith("=")
    words = ["-n", before[0] + value] if glued else ["-n", *before, value]
    with pytest.raises(UserError) as caught:
        snakemake_command(config, tmp_path, words)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("before", [["--config", "fit={}"], ["-C"], ["--config=fit={}"]])
def test_a_target_behind_values_of_config_is_told_where_it_belongs(config, tmp_path, before):
    """Snakemake takes it for another value, and ends in a traceback."""
    with pytest.raises(UserError) as caught:
        snakemake_command(config, tmp_path, [*before, "type_M", "--cores", "2"])
    assert "type_M is none; a target stands before the options: lamostvac run type_M" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        # Snakemake finds nothing to be done.
        (["--allowed-rules", "fitt"], "there is no target fitt; did you mean fit?"),
        (["--until", "merge", "vallidation"], "there is no target vallidation; did you mean"),
        (["--omit-from=reprot"], "there is no target reprot"),
        (["-R", "nosuch", "--cores", "2"], "there is no target nosuch"),
        # It ends in a traceback.
        (["--set-resources", "fit=3"], "--set-resources wants RULE:RESOURCE=VALUE"),
        (
            ["--configfile", "mine.yaml"],
            "the configuration of a run is the file behind lamostvac's",
        ),
    ],
)
def test_values_that_snakemake_would_take_without_a_word_or_in_a_traceback_are_refused(
    config, tmp_path, words, sentence
):
    with pytest.raises(UserError) as caught:
        snakemake_command(config, tmp_path, words)
    assert str(caught.value).startswith(sentence)


def test_rules_and_files_behind_options_are_passed_on(config, tmp_path):
    rules = ["fit", "search_chunk", "fit_imig", "survey"]
    words = [
        "--until",
        *rules,
        "results/x.fits",
        "--forcerun",
        "type_M",
        "-R",
        "--allowed-rules=fit",
    ]
    assert snakemake_command(config, tmp_path, words)[-len(words) :] == words


def test_other_options_are_left_to_snakemake(config, tmp_path):
    words = ["all", "--config", "run={seed: 2}", "--set-resources", "fit:mem_mb=[", "--cores", "2"]
    assert snakemake_command(config, tmp_path, words)[-len(words) + 1 :] == words[1:]


def test_an_empty_configuration_file_is_named(config, tmp_path):
    config.write_text("# nothing\n")
    with pytest.raises(UserError, match="is empty; write `section:` blocks"):
        snakemake_command(config, tmp_path)


def merge_bomb() -> str:
    """A kilobyte that Snakemake's own reader, PyYAML, would be busy with for years."""
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 50)]
    return "\n".join(lines)


# What Snakemake cannot read, and how the sentence goes on behind the file's name.
UNREADABLE = {
    merge_bomb(): r"[a-z0-9.<]+, line \d+: it stands for more than \d+ values",
    "run: {seed: 1": "is no YAML: while parsing a flow mapping",
    "run: &a [*a]": "run.*: it contains itself",
    "run: {seed: 2000-13-45}": "line 1: 2000-13-45 is no value of the kind timestamp",
    "run: \udce9": "is not UTF-8 text: line 1 has the byte 0xe9",
    "- run": "must consist of `section:` blocks",
}


@pytest.mark.parametrize("text", UNREADABLE, ids=[*"abcdef"])
def test_a_file_that_snakemake_cannot_read_is_a_sentence_before_it_starts(
    config, tmp_path, monkeypatch, text
):
    config.write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.setattr("subprocess.Popen", None)
    for words in (("run", "--config"), ("plan", "--config"), ("run", "type_M", "--config")):
        said = lamostvac(*words, str(config), code=1)
        assert said.count("\n") == 1
        assert re.match(rf"Error: the configuration file \S+c\.yaml:? {UNREADABLE[text]}", said)


@pytest.mark.slow
def test_snakemake_typed_without_a_file_says_the_same_of_the_default_one(project, tmp_path):
    """One that is named with --configfile Snakemake reads before any code of ours (docs/faults.md)."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text(merge_bomb())
    command = [warm_python(), "-m", "snakemake", "-n", "--snakefile", str(project / "Snakefile")]
    done = subprocess.run(
        [*command, "--directory", str(tmp_path)], capture_output=True, text=True, check=False
    )
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert "the configuration file config/config.yaml: a" in said
    assert "it stands for more than 100000 values" in said
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("survey: [", []),
        ("- survey", []),
        ("simulation: {enabled: true}", ["type_M"]),
        ("simulation: {enabled: true}", ["--", "type_m"]),
    ],
)
def test_what_snakemake_says_of_its_configfile_is_in_the_documents(
    project, tmp_path, content, words
):
    """Before any code of ours; behind `--` a target is one again, and its sentence is ours."""
    (tmp_path / "c.yaml").write_text(content)
    command = [warm_python(), "-m", "snakemake", "-n", "--snakefile", str(project / "Snakefile")]
    command += ["--directory", str(tmp_path), "--cores", "1", "--configfile", "c.yaml", *words]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    said = done.stdout.strip().splitlines()[-1]
    pages = (project / "docs/troubleshooting.md").read_text(encoding="utf-8")
    quoted = [piece.split("...")[0] for piece in re.findall(r"`([^`]+)`", pages)]
    assert any(len(piece) > 20 and piece in said for piece in quoted), said


def test_names_that_snakemake_would_take_for_wildcards_are_refused(tmp_path, monkeypatch):
    from lamostvac.configuration.root import load_configuration

    (tmp_path / "c{x}.csv").write_text("")
    sections = {
        "simulation": {"enabled": False}, "library": {"spectra": "m.fits"},
        "survey": {"root": str(tmp_path), "catalogues": ["*.csv"]},
    }  # fmt: skip
    with pytest.raises(UserError, match=r"^survey\.catalogues: .*a path cannot have braces"):
        survey_inputs(load_configuration(sections))
    monkeypatch.setenv("WHERE", str(tmp_path))
    assert str(tmp_path) in scratch_folder(Site(scratch="${WHERE}/s"), "r")
    with pytest.raises(UserError, match=r"^the site file: scratch = .*cannot have braces"):
        scratch_folder(Site(scratch="${NOWHERE_AT_ALL}/s"), "r")


def test_where_the_home_cannot_be_written_the_cache_is_in_the_folder_of_the_run(
    tmp_path, monkeypatch
):
    """Compute nodes and containers run under a foreign user; Snakemake ends in a traceback there."""
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for home in (tmp_path / "file", tmp_path / "file/below", "/proc/none"):
        monkeypatch.setenv("HOME", str(home))
        cache = snakemake_environment(tmp_path)["XDG_CACHE_HOME"]
        assert cache == str(tmp_path / ".snakemake/cache")
    monkeypatch.setenv("XDG_CACHE_HOME", "mine")
    assert snakemake_environment(tmp_path)["XDG_CACHE_HOME"] == "mine"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert "XDG_CACHE_HOME" not in snakemake_environment(tmp_path)


def test_a_report_gets_the_style_that_shows_tall_figures_whole(config, tmp_path):
    command = snakemake_command(config, tmp_path, ["--report", "report.html"])
    style = Path(command[command.index("--report-stylesheet") + 1])
    text = style.read_text(encoding="utf-8")
    assert "safe center" in text
    assert "max-height" in text
    assert "--report-stylesheet" not in snakemake_command(config, tmp_path, ["all"])
