"""The subcommand configuration: lists keys, and checks a file."""

from pathlib import Path

import click

from lamostvac.cli.options import FILE, example
from lamostvac.core.paths import PROJECT


@click.command(epilog=example("lamostvac configuration networks.members"))
@click.argument("key", required=False, metavar="[SECTION|KEY]")
@click.option("--check", type=FILE, metavar="FILE", help="Say whether this file is right.")
@click.option(
    "--schema", is_flag=True, help="Print the JSON schema by which editors complete files."
)
@click.option(
    "--shipped",
    type=click.Choice(sorted(path.stem for path in (PROJECT / "config").glob("*.yaml"))),
    metavar="NAME",
    help="Print a file that comes with the program, such as lamost_dr10 or site_example.",
)
def configuration(key: str | None, check: Path | None, schema: bool, shipped: str | None) -> None:
    """Print keys with default and meaning, or check a file."""
    if check:
        from lamostvac.configuration.root import read_configuration

        read_configuration(check)
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
