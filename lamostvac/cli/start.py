"""Subcommands that start the workflow: run, fetch, check-release, star.

Each becomes Snakemake, in the same process, so that signals and exit codes are Snakemake's.
"""

import os
from pathlib import Path
from typing import NoReturn

import click

from lamostvac.cli.options import configuration_file, example, run_of_words, run_options

_TARGETS = "[TARGET]... [-- OPTIONS OF SNAKEMAKE]"


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    """Replace this process by a command."""
    os.execve(command[0], command, environment)


def _start(
    config: Path | None,
    demo: bool,
    directory: Path | None,
    words: tuple[str, ...],
    cores: str | None = None,
    profile: str | None = None,
    stages: bool = False,
) -> NoReturn:
    from lamostvac.run.start import snakemake_start

    path, folder = configuration_file(config, demo), (directory or Path()).absolute()
    _become(*snakemake_start(path, folder, words, cores=cores, profile=profile, stages=stages))


@click.command(
    epilog=example("lamostvac run type_M --config mine.yaml --cores 8 -- --keep-going"),
    options_metavar="(--config FILE | --demo) [OPTIONS]",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar=_TARGETS)
@run_options
@click.option("--cores", metavar="N", help="Cores to use on this machine; by default all.")
@click.option(
    "--profile", metavar="NAME", help="A profile of Snakemake, or slurm, which is shipped."
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would run.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Show all that Snakemake and the jobs say, not stages."
)
def run(
    words: tuple[str, ...],
    config: Path | None,
    demo: bool,
    directory: Path | None,
    cores: str | None,
    profile: str | None,
    dry_run: bool,
    verbose: bool,
) -> None:
    """Run the workflow, or go on with a run that was stopped."""
    words = (*words, "--dry-run") if dry_run else words
    _start(config, demo, directory, words, cores, profile, stages=not verbose)


@click.command(
    epilog=example("lamostvac fetch --config config/lamost_dr10.yaml"),
    options_metavar="--config FILE [OPTIONS]",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS OF SNAKEMAKE]")
@run_options
@click.option("--list", "offline", is_flag=True, help="Only list the files that are missing.")
def fetch(
    words: tuple[str, ...], config: Path | None, demo: bool, directory: Path | None, offline: bool
) -> None:
    """Bring the public files that a run reads, or list them."""
    offline_words = ("--config", "fetch={offline: true}") if offline else ()
    _start(config, demo, directory, ("fetch", *words, *offline_words), cores="1")


@click.command(
    epilog=example("lamostvac check-release --config config/lamost_dr10.yaml"),
    options_metavar="--config FILE [OPTIONS]",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS OF SNAKEMAKE]")
@run_options
@click.option("--cores", metavar="N", help="Cores to use on this machine; by default all.")
def check_release(
    words: tuple[str, ...],
    config: Path | None,
    demo: bool,
    directory: Path | None,
    cores: str | None,
) -> None:
    """Compare the release's tree of spectra with its catalogue."""
    _start(config, demo, directory, ("check_release", *words), cores)


@click.command(
    epilog=example("lamostvac star results/dr10 10198279"),
    options_metavar="[--config FILE | --demo] [OPTIONS]",
)
@click.argument(
    "words",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[RESULTS] OBSID|SPECTRUM_ID [-- OPTIONS OF SNAKEMAKE]",
)
@run_options
def star(words: tuple[str, ...], config: Path | None, demo: bool, directory: Path | None) -> None:
    """Make the page of one star of a finished run."""
    from lamostvac.run.layout import Layout
    from lamostvac.run.start import results_folder, started_by

    results, (name, *options) = run_of_words(words, config, demo, directory)
    if config is None and not demo:
        config, directory = started_by(results)
    page = Layout(results_folder(configuration_file(config, demo))).star.format(star=name)
    click.echo(f"page: {Layout(str(results)).star.format(star=name)}")
    _start(config, demo, directory, (page, *options), cores="1", stages=True)
