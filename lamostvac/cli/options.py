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
