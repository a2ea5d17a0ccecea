"""Options that several subcommands share."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lamostvac.core.exceptions import UserError
from lamostvac.core.paths import PROJECT

WRONG = 2  # exit code of a wrong command line, click's own


class Wrong(click.ClickException):
    """A wrong command line in one sentence, without the usage, in which it would be lost."""

    exit_code = WRONG


class Output(click.Path):
    """A file or folder to be written: where it cannot be, that is said before the work.

    A folder that is named is made, and none above it: a misspelt path would be, too.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        folder = path if self.dir_okay and path.is_dir() else path.parent
        if not folder.is_dir():
            raise Wrong(f"{path} cannot be written: there is no folder {folder}; make it first")
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise Wrong(f"{path} cannot be written: {error.strerror}") from None
        return path


FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
OUTPUT_FILE = Output(path_type=Path, dir_okay=False)
OUTPUT_FOLDER = Output(path_type=Path, file_okay=False)
NAME_THE_RUN = "name the run by its results folder, or by its configuration with --config FILE"
Command = Callable[..., Any]


def example(line: str) -> str:
    """The end of a help text: one example command."""
    return f"\b\nExample:\n  {line}"


def run_options(command: Command) -> Command:
    """The configuration and the folder of a run: `config`, `demo`, `directory`."""
    for option in (
        click.option(
            "--directory",
            type=FOLDER,
            metavar="DIR",
            help="Folder of the run; by default this one.",
        ),
        click.option(
            "--demo", is_flag=True, help="The simulated survey that comes with the program."
        ),
        click.option(
            "--config",
            "--configfile",
            "config",
            type=FILE,
            metavar="FILE",
            help="The configuration.",
        ),
    ):
        command = option(command)
    return command


def configuration_file(config: Path | None, demo: bool) -> Path:
    """The absolute path of the requested configuration.

    Raises
    ------
    UserError
        None or two were requested, there is no such file, or it is no YAML within our limits.
    """
    from lamostvac.core.files import read_sections

    if demo == (config is not None):
        raise UserError("name the run's configuration with --config FILE, or give --demo instead")
    path = PROJECT / "config" / "demo.yaml" if config is None else config.absolute()
    if not path.is_file():
        raise UserError(f"there is no configuration file {path}")
    # Snakemake, which most subcommands start, would end in a traceback, or not at all.
    read_sections(path)
    return path


def results_of(
    results: Path | None, config: Path | None, demo: bool, directory: Path | None
) -> Path:
    """A run's results folder, named itself or by the run's configuration.

    Raises `Wrong` where the run is named twice or not at all.
    """
    from lamostvac.run.start import results_folder

    named = config is not None or demo
    if named == (results is not None):
        raise Wrong(NAME_THE_RUN)
    if results is not None:
        return results
    return (directory or Path()) / results_folder(configuration_file(config, demo))


def run_of_words(
    words: tuple[str, ...], config: Path | None, demo: bool, directory: Path | None
) -> tuple[Path, tuple[str, ...]]:
    """A run's results folder, and the words that are left.

    The folder is the first of two or more words before those that begin with a dash, or what the
    configuration names, in the folder of the run.

    Raises
    ------
    Wrong
        The run is named twice or not at all, or no star is named.
    """
    first = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
    named = config is not None or demo
    star = words[first - 1] if first > (0 if named else 1) else ""
    reversed_order = (
        not named and first == 2 and Path(star).is_dir() and not Path(words[0]).exists()
    )
    if "/" in star and not reversed_order:
        raise Wrong(f"{star} is no obsid or spectrum_id of a star")
    if first == (1 if named else 2):
        if reversed_order:
            raise Wrong(f"name the run before the star: {words[1]} {words[0]}")
        given = None if named else Path(words[0])
        return results_of(given, config, demo, directory), words[0 if named else 1 :]
    if not first:
        raise Wrong("name a star by its obsid or spectrum_id")
    if named:
        raise Wrong(f"one star at a time, and the run named once: {' '.join(words[:first])}")
    if first == 1 and Path(words[0]).is_dir():
        raise Wrong(f"name a star of {words[0]} after it, by its obsid or spectrum_id")
    raise Wrong(
        f"name the run before the star by its results folder, as in `results/dr10 {words[0]}`, or its configuration "
        "with --config FILE"
    )
