"""The subcommand configuration: lists keys, and checks a file."""

import sys
from contextlib import chdir
from pathlib import Path

import click

from lamostvac.cli.options import FILE, FOLDER, example
from lamostvac.core.exceptions import UserError
from lamostvac.core.paths import PROJECT


@click.command(epilog=example("lamostvac configuration networks.members"))
@click.argument("key", required=False, metavar="[SECTION|KEY]")
@click.option(
    "--check",
    type=FILE,
    metavar="FILE",
    help="Say whether this file is right, and whether what it names is there.",
)
@click.option(
    "--directory",
    type=FOLDER,
    metavar="DIR",
    help="Folder of the run to check; by default this one.",
)
@click.option(
    "--schema", is_flag=True, help="Print the JSON schema by which editors complete files."
)
@click.option(
    "--shipped",
    type=click.Choice(sorted(path.stem for path in (PROJECT / "config").glob("*.yaml"))),
    metavar="NAME",
    help="Print a file that comes with the program, such as lamost_dr10 or site_example.",
)
def configuration(
    key: str | None, check: Path | None, directory: Path | None, schema: bool, shipped: str | None
) -> None:
    """Print keys with default and meaning, or check a file."""
    if check:
        from lamostvac.configuration.root import read_configuration
        from lamostvac.run.missing import missing_inputs
        from lamostvac.run.site import load_site

        if directory and not directory.is_dir():
            raise UserError(f"there is no folder {directory}")
        settings = read_configuration(check)
        with chdir(directory or "."):
            missing = missing_inputs(settings, load_site(PROJECT))
        for sentence in missing:
            click.echo(f"Error: {sentence}", err=True)
        if missing:
            sys.exit(1)
        click.echo(f"{check} is right")
    elif shipped:
        path = PROJECT / "config" / f"{shipped}.yaml"
        click.echo(path.read_text(encoding="utf-8"), nl=False)
    elif schema:
        from lamostvac.configuration.generate import schema_json

        click.echo(schema_json(), nl=False)
    else:
        from lamostvac.configuration.generate import default_yaml, describe

        click.echo(describe(key) if key else default_yaml(), nl=False)
