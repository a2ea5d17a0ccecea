"""Options that name an output, and readers of the output that go away."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from command import lamostvac

from lamostvac.cli.main import main
from lamostvac.cli.options import Output
from lamostvac.core.paths import PROJECT

OUTPUTS = ("--output", "--csv", "--plot")


def options(command):
    """The options of a subcommand that name what it writes."""
    return [option for option in command.params if set(option.opts) & set(OUTPUTS)]


def test_every_option_that_names_an_output_is_checked_before_the_work():
    found = [option for command in main.commands.values() for option in options(command)]
    assert len(found) == 7
    assert all(isinstance(option.type, Output) for option in found)


@pytest.mark.parametrize(
    "words",
    [
        ("label", ".", "-o", "no/labels.fits"),
        ("label", ".", "--plot", "no/plots"),
        ("pack", "--demo", "-o", "no/demo.lvpack"),
        ("compare", "a", "b", "-o", "no/changes"),
        ("cite", "results", "-o", "no/all.bib"),
        ("plan", "--demo", "--csv", "no/rules.csv"),
        ("efficiency", "results", "--csv", "no/jobs.csv"),
    ],
)
def test_an_output_in_a_folder_that_is_not_there_is_one_sentence_and_makes_none(words):
    said = lamostvac(*words, code=2)
    assert said == f"Error: {words[-1]} cannot be written: there is no folder no; make it first\n"
    assert os.listdir() == []


def test_a_folder_of_outputs_is_one_to_write_in():
    output = Output(path_type=Path, file_okay=False)
    Path("there").mkdir()
    assert output.convert("there", None, None) == Path("there")
    assert output.convert("new", None, None) == Path("new")
    assert os.listdir() == ["there"]
    with pytest.raises(click.ClickException, match="there is no folder other"):
        output.convert("other/new", None, None)


def without_reader(*words):
    """How a command ended whose output nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "lamostvac.cli", *words],
        cwd=PROJECT,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    return done


@pytest.mark.slow
def test_a_dry_run_whose_reader_goes_away_ends_without_a_word(tmp_path):
    done = without_reader("run", "--demo", "-n", "--directory", str(tmp_path))
    assert done.returncode == -signal.SIGPIPE
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_the_others_end_without_a_traceback_when_their_reader_goes_away():
    done = without_reader("configuration")
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("run", "--demo", "--keep-going"),
            "lamostvac run has no option --keep-going; those of Snakemake stand behind `--`",
        ),
        (
            ("label", "x", "--modle", "y"),
            "lamostvac label has no option --modle; did you mean --model?",
        ),
    ],
)
def test_an_option_that_a_subcommand_lacks_is_one_sentence_with_the_nearest(words, sentence):
    assert lamostvac(*words, code=2) == f"Error: {sentence}\n"


def test_an_option_that_snakemake_lacks_is_one_sentence_before_it_starts():
    said = lamostvac("run", "--demo", "--", "--keepgoing", code=1)
    assert said == "Error: Snakemake has no option --keepgoing; did you mean --keep-going?\n"
    said = lamostvac("run", "--demo", "--", "--xyz", code=1)
    assert (
        said == "Error: Snakemake has no option --xyz; `snakemake --help` lists those that it has\n"
    )
