"""The subcommand configuration: which keys there are, and whether a file is right."""

from pathlib import Path

import click

from lamostvac.cli.options import FILE, example


@click.command(epilog=example("lamostvac configuration networks.members"))
@click.argument("key", required=False, metavar="[SECTION|KEY]")
@click.option("--check", type=FILE, metavar="FILE", help="Say whether this file is right.")
@click.option(
    "--schema", is_flag=True, help="Print the JSON schema by which editors complete files."
)
def configuration(key: str | None, check: Path | None, schema: bool) -> None:
    """Print every key with its default and meaning, or those of a section; check a file."""
    if check:
        from lamostvac.configuration.root import read_configuration

        read_configuration(check)
        click.echo(f"{check} is right")
    elif schema:
        from lamostvac.configuration.generate import schema_json

        click.echo(schema_json(), nl=False)
    else:
        from lamostvac.configuration.generate import default_yaml, describe

        click.echo(describe(key) if key else default_yaml(), nl=False)
