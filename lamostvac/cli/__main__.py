"""`python -m lamostvac.cli` is the command `lamostvac`."""

from lamostvac.cli.main import main

main(prog_name="lamostvac")
