"""The command `lamostvac` and its subcommands.

Shells complete it: `eval "$(_LAMOSTVAC_COMPLETE=bash_source lamostvac)"` (or `zsh_source`,
`fish_source`). Modules that take long to load are imported by the subcommands that need them, so
that a help text comes at once.
"""

from typing import Any

import click

from lamostvac import __version__
from lamostvac.cli import compare, label, look, setting, start
from lamostvac.cli.options import Wrong
from lamostvac.core.exceptions import UserError


class Commands(click.Group):
    """Subcommands in the order of a run; a user's mistake ends in one sentence."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except click.NoSuchOption as error:
            raise _unknown(error) from None
        except UserError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:  # a file or folder that cannot be read or written
            if error.filename is None:
                raise
            raise click.ClickException(f"{error.filename}: {error.strerror}") from None


def _unknown(error: click.NoSuchOption) -> Wrong:
    """An option that a subcommand does not have, in one sentence."""
    command = error.ctx.command if error.ctx else None
    name = error.ctx.command_path if error.ctx else "lamostvac"
    close = f"; did you mean {error.possibilities[0]}?" if error.possibilities else ""
    words = {one.name for one in command.params} if command else set()
    behind = "; those of Snakemake stand behind `--`" if "words" in words else ""
    return Wrong(f"{name} has no option {error.option_name}{close}{behind}")


@click.group(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
    epilog="\b\nExample:\n  lamostvac run --demo --directory demo",
)
@click.version_option(__version__, prog_name="lamostvac")
def main() -> None:
    """From a LAMOST low-resolution data release to one catalogue of stellar labels."""


for command in (
    setting.configuration,
    start.fetch,
    start.check_release,
    look.plan,
    start.run,
    look.progress,
    look.trace,
    start.star,
    label.pack,
    label.label,
    compare.compare,
    compare.cite,
    look.efficiency,
    look.damage,
    look.restore_times,
    look.published,
):
    main.add_command(command)
