"""The command `lamostvac`: its help, its sentences, and what it starts."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from command import lamostvac

from lamostvac import __version__
from lamostvac.cli import demo_pack, start
from lamostvac.cli.main import main
from lamostvac.configuration.generate import default_yaml, schema_json
from lamostvac.core.exceptions import UserError
from lamostvac.core.paths import PROJECT, SNAKEFILE, project_folder
from lamostvac.run.job_records import write_run

COMMANDS = tuple(main.commands)


@pytest.fixture
def here() -> Path:
    """The test's empty working directory."""
    return Path.cwd()


@pytest.fixture
def started(monkeypatch):
    """What the command would become: `(command, environment)`, the last one."""
    found = []

    def become(command, environment):
        found[:] = [command, environment]
        raise SystemExit(0)

    monkeypatch.setattr(start, "_become", become)
    return found


def test_the_command_has_what_the_project_promises():
    promised = "run plan progress trace star efficiency fetch check-release configuration"
    assert set(promised.split()) <= set(COMMANDS)
    assert "..." not in lamostvac("--help").split("Commands:")[1]  # no line is cut
    assert lamostvac("--version") == f"lamostvac, version {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_is_a_line_with_an_example_that_is_understood(name):
    shown = lamostvac(name, "--help")
    description = shown.split("\n\n")[1]
    assert len(" ".join(description.split())) <= 100
    words = re.search(r"Example:\n +lamostvac (.+)", shown)[1].split()
    assert words[0] == name
    command = main.commands[name]
    parent = main.make_context("lamostvac", list(words))
    command.make_context(name, words[1:], parent=parent)


def test_help_loads_none_of_the_large_libraries():
    """Only so does it come at once; Python says which modules an interpreter has loaded."""
    program = (
        "import sys\nfrom lamostvac.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print('loaded', *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.rpartition("loaded ")[2].split())
    assert "click" in loaded
    assert not loaded & {
        "numpy",
        "pandas",
        "astropy",
        "pydantic",
        "yaml",
        "snakemake",
        "tensorflow",
    }


def test_the_shell_completes_subcommands():
    words = {
        "_LAMOSTVAC_COMPLETE": "bash_complete",
        "COMP_WORDS": "lamostvac pr",
        "COMP_CWORD": "1",
    }
    done = CliRunner().invoke(main, prog_name="lamostvac", env=words)
    assert done.output == "plain,progress\n"


# ---------------------------------------------------------------- run


def test_a_run_goes_on_where_it_was_stopped_and_takes_all_cores(started, here):
    (here / "mine.yaml").write_text("run: {results: out}\n")
    lamostvac(
        "run", "type_M", "--config", "mine.yaml", "--directory", "there", "--", "--keep-going"
    )
    command, environment = started
    assert command == [
        *(sys.executable, "-m", "snakemake", "type_M", "--snakefile", str(SNAKEFILE)),
        *("--directory", str(here / "there"), "--configfile", str(here / "mine.yaml")),
        *("--rerun-incomplete", "--cores", "all", "--logger", "stages", "--keep-going"),
    ]
    assert environment["LAMOSTVAC_QUIET_JOBS"] == "1"
    lamostvac("run", "--config", "mine.yaml", "--verbose")
    assert "--logger" not in started[0]
    assert "LAMOSTVAC_QUIET_JOBS" not in started[1]
    assert environment["PATH"].startswith(os.path.dirname(sys.executable))
    assert environment["PYTHONSAFEPATH"] == "1"


@pytest.mark.parametrize(
    ("given", "cores"),
    [
        (["--cores", "3"], ["--cores", "3"]),
        (["--", "--cores", "4"], ["--cores", "4"]),
        (["--", "-j", "5"], ["-j", "5"]),
        (["--profile", "slurm"], ["--profile", str(PROJECT / "profiles/slurm")]),
        (["--profile", "my/own"], ["--profile", "my/own"]),
    ],
)
def test_cores_are_said_once(started, given, cores):
    lamostvac("run", "--demo", *given)
    command = started[0]
    said = command[command.index("--rerun-incomplete") + 1 :]
    assert [word for word in said if word not in ("--logger", "stages")] == cores


def test_the_users_site_file_is_found_from_any_folder(started, here, monkeypatch):
    (here / "run").mkdir()
    (here / "run/site.yaml").write_text("account: astro\n")
    lamostvac("run", "--demo", "--directory", "run")
    assert started[1]["LAMOSTVAC_SITE"] == str(here / "run/site.yaml")
    (here / "site.yaml").write_text("account: mine\n")
    lamostvac("run", "--demo", "--directory", "run")
    assert started[1]["LAMOSTVAC_SITE"] == str(here / "site.yaml")
    monkeypatch.setenv("LAMOSTVAC_SITE", "another.yaml")
    lamostvac("run", "--demo", "--directory", "run")
    assert started[1]["LAMOSTVAC_SITE"] == "another.yaml"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run"], "name the run's configuration with --config FILE, or give --demo instead"),
        (["run", "--demo", "--config", "x.yaml"], "or give --demo instead"),
        (["run", "--config", "x.yaml"], "there is no configuration file /.*/x.yaml"),
        (["run", "--config", "bad.yaml"], "the configuration file /.*/bad.yaml is no YAML"),
        (
            ["run", "type_m", "--demo"],
            "there is no target type_m; those of the types are type_OB type_A type_F type_G type_K type_M",
        ),
        (
            ["run", "--demo", "experiment"],
            "there is no target experiment; did you mean experiments?",
        ),
        (
            ["run", "type_M", "--config", "hot.yaml"],
            "there is no target type_M; those of the types are type_OB type_A\n",
        ),
        (["plan", "type_Q", "--demo"], "there is no target type_Q"),
        (["progress", "nowhere"], "has no logs"),
        (["efficiency", "nowhere"], "nowhere is no results folder of a run: it has no logs"),
        (["trace", "nowhere", "1"], "nowhere"),
        (["restore-times", "nowhere"], "name the folder where Snakemake was started"),
        (
            ["configuration", "network"],
            "there is no section or key network; did you mean networks?",
        ),
        (["configuration", "--check", "wrong.yaml"], "did you mean survey.chunk_size?"),
    ],
)
def test_a_mistake_ends_in_one_sentence(here, started, words, sentence):
    (here / "bad.yaml").write_text("survey: [\n")
    (here / "wrong.yaml").write_text("survey: {chunksize: 3}\n")
    (here / "hot.yaml").write_text("survey: {types: [OB, A]}\n")
    shown = lamostvac(*words, code=1)
    assert re.search(sentence, shown), shown
    assert shown.startswith("Error: ")
    assert len(shown.splitlines()) == 1
    assert started == []


@pytest.mark.slow
def test_an_unknown_key_ends_a_run_with_one_sentence(here):
    (here / "wrong.yaml").write_text("survey: {chunksize: 3}\n")
    command = [
        sys.executable,
        "-m",
        "lamostvac.cli",
        "run",
        "--config",
        str(here / "wrong.yaml"),
    ]
    command += ["--directory", str(here)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "did you mean survey.chunk_size?" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- the others that start Snakemake


def test_fetch_and_check_release_start_their_rules(started):
    lamostvac("fetch", "--demo", "--list")
    command = started[0]
    assert command[3] == "fetch"
    assert command[-4:] == ["--cores", "1", "--config", "fetch={offline: true}"]
    lamostvac("check-release", "--demo", "--cores", "2")
    assert started[0][3] == "check_release"


def test_options_of_snakemake_may_name_other_types(started, here):
    (here / "hot.yaml").write_text("survey: {types: [OB, A]}\n")
    lamostvac("run", "type_M", "--config", "hot.yaml", "--", "--config", "survey={types: [M]}")
    assert started[0][3] == "type_M"


def test_a_stars_page_is_asked_for_in_the_results_of_its_run(started, here):
    (here / "mine.yaml").write_text("run: {results: out}\n")
    shown = lamostvac("star", "10198279", "--config", "mine.yaml", "--directory", "there")
    assert shown == "page: there/out/stars/10198279.html\n"
    assert started[0][3] == "out/stars/10198279.html"


@pytest.fixture
def finished(here):
    """The folder of a run of `results: out`, and its configuration as Snakemake had it."""
    configuration = {"run": {"results": "out"}, "survey": {"root": "release"}}
    write_run("out", 1.0, [], [], ["fit"], ["M"], 0, configuration)
    return here / "out"


def test_a_stars_page_is_made_from_the_results_folder_alone(started, here, finished, monkeypatch):
    (here / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    shown = lamostvac("star", "../out", "10198279", "--", "--quiet")
    command = started[0]
    assert shown == "page: ../out/stars/10198279.html\n"
    assert command[3] == "out/stars/10198279.html"
    assert command[command.index("--directory") + 1] == str(here)
    configuration = command[command.index("--configfile") + 1]
    assert yaml.safe_load(Path(configuration).read_text())["survey"] == {"root": "release"}
    assert command[-1] == "--quiet"


def test_a_pack_is_made_from_the_results_folder_alone(here, finished, monkeypatch):
    asked = []
    monkeypatch.setattr(demo_pack, "make_pack", lambda *given: asked.append(given) or 0)
    lamostvac("pack", "out", "--", "--quiet")
    configuration, folder, options = asked[0]
    assert yaml.safe_load(configuration.read_text())["survey"] == {"root": "release"}
    assert (folder, options) == (here, ("--allowed-rules", "pack", "--quiet"))
    lamostvac("pack", "--demo")
    assert asked[1][2] == ()
    assert "the run is named twice" in lamostvac("pack", "out", "--demo", code=2)
    assert "there is no results folder" in lamostvac("pack", "outt", code=1)
    assert "name the run by its results folder" in lamostvac("pack", code=2)


def test_a_run_that_was_moved_as_a_whole_is_found_again(started, here, tmp_path_factory, finished):
    moved = tmp_path_factory.mktemp("moved")
    finished.rename(moved / "out")
    lamostvac("star", str(moved / "out"), "10198279")
    command = started[0]
    assert command[command.index("--directory") + 1] == str(moved)
    (moved / "out").rename(moved / "renamed")
    shown = lamostvac("star", str(moved / "renamed"), "10198279", code=1)
    assert "renamed was made as" in shown
    assert "name its configuration with --config FILE" in shown


def test_results_without_a_record_ask_for_the_configuration(here):
    (here / "old").mkdir()
    shown = lamostvac("star", "old", "10198279", code=1)
    assert "does not say by which configuration it was made" in shown


@pytest.mark.parametrize("name", ["star", "trace"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["10198279"], "name the run before the star by its results folder"),
        (["--demo"], "name a star by its obsid or spectrum_id"),
        (["out", "10198279", "--demo"], "the run named once"),
        (["out", "1", "2"], "name the run before the star"),
        (["10198279", "{folder}"], "name the run before the star: {folder} 10198279"),
        (["{folder}"], "name a star of {folder} after it"),
        (["{folder}", "../x"], "../x is no obsid or spectrum_id"),
        (["--demo", "../x"], "../x is no obsid or spectrum_id"),
        (["{folder}", "{folder}"], "{folder} is no obsid or spectrum_id"),
    ],
)
def test_a_star_without_a_run_or_with_two_ends_in_one_sentence(
    started, tmp_path, name, words, sentence
):
    shown = lamostvac(name, *(word.format(folder=tmp_path) for word in words), code=2)
    assert sentence.format(folder=tmp_path) in shown
    assert len(shown.splitlines()) == 1


def test_progress_and_trace_take_the_configuration_too(here, finished):
    (here / "mine.yaml").write_text("run: {results: out}\n")
    by_folder = lamostvac("progress", "out", code=1)
    assert lamostvac("progress", "--config", "mine.yaml", code=1) == by_folder
    assert "out is no results folder of a run: it has no logs" in by_folder
    assert "name the run by its results folder, or" in lamostvac("progress", code=2)
    by_folder = lamostvac("trace", "out", "10198279", code=1)
    assert lamostvac("trace", "10198279", "--config", "mine.yaml", code=1) == by_folder


# ---------------------------------------------------------------- configuration


def test_the_configuration_is_printed_as_it_is_shipped(here):
    assert (
        lamostvac("configuration") == default_yaml() == (PROJECT / "config/config.yaml").read_text()
    )
    assert lamostvac("configuration", "--schema") == schema_json()
    shipped = lamostvac("configuration", "--shipped", "lamost_dr10")
    assert shipped == (PROJECT / "config/lamost_dr10.yaml").read_text()
    assert json.loads(schema_json())["properties"]["survey"]
    section = lamostvac("configuration", "run")
    keys = re.findall(r"^(\S+): ", section, re.MULTILINE)
    assert keys == ["run.results", "run.seed", "run.fork_scripts"]
    (here / "right.yaml").write_text("survey: {chunk_size: 3}\n")
    assert lamostvac("configuration", "--check", "right.yaml") == "right.yaml is right\n"


# ---------------------------------------------------------------- where its files are


def test_an_installed_package_has_the_project_inside(here):
    package = here / "site-packages/lamostvac"
    assert project_folder(package) == package / "workflow"
    package.parent.mkdir()
    (here / "site-packages/Snakefile").touch()
    assert project_folder(package) == here / "site-packages"


def test_label_without_models_says_where_they_come_from(monkeypatch, tmp_path):
    done = CliRunner().invoke(main, ["label", str(tmp_path)])
    assert done.exit_code == 2
    assert "no models of real stars come with the program" in done.output
    assert "lamostvac pack" in done.output
    named = CliRunner(env={"LAMOSTVAC_PACK": str(tmp_path / "none.lvpack")})
    assert "there is no model pack" in named.invoke(main, ["label", str(tmp_path)]).output


def test_the_demos_pack_is_made_once_and_kept_in_the_cache(monkeypatch, tmp_path):
    runs = []

    def make(configuration, folder, **streams):
        runs.append(configuration)
        (folder / "made").write_text("pack")
        return folder / "made"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(demo_pack, "make_pack", make)
    first = demo_pack.demo_pack()
    assert demo_pack.demo_pack() == first
    assert first.read_text() == "pack"
    assert [path.name for path in runs] == ["demo.yaml"]
    assert list((tmp_path / "lamostvac").iterdir()) == [first]


def test_a_failed_run_of_the_demo_leaves_its_log(monkeypatch, tmp_path):
    def fail(configuration, folder, stdout, **streams):
        stdout.write(b"why")
        return 1

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(demo_pack, "make_pack", fail)
    with pytest.raises(UserError, match=r"failed; .*demo\.log has what it said"):
        demo_pack.demo_pack()
    assert (tmp_path / "lamostvac/demo.log").read_bytes() == b"why"
