"""The command `lamostvac` in this process, as if it were typed."""

from click.testing import CliRunner

from lamostvac.cli.main import main


def lamostvac(*arguments: str, code: int = 0) -> str:
    """What a subcommand prints on both streams; fails unless it ends with `code`."""
    done = CliRunner().invoke(main, arguments, prog_name="lamostvac")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output
