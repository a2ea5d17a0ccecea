"""Subcommands for spectra without a release: label, and pack, which makes what label needs."""

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from lamostvac.cli.options import (
    FILE,
    NAME_THE_RUN,
    OUTPUT_FILE,
    OUTPUT_FOLDER,
    Wrong,
    configuration_file,
    example,
    run_options,
)
from lamostvac.core.exceptions import UserError

if TYPE_CHECKING:
    import pandas as pd

REJECTED_SOME, NOTHING = 3, 1
_BAR = 40  # characters
_WORTH = 500  # spectra that are worth the start of a process


class _Bar:
    """One line on a terminal that says how far the work is; nothing where standard error is a file."""

    def __init__(self, what: str, stream: IO[str] | None = None) -> None:
        self._what, self._stream = what, stream or sys.stderr
        self._start = time.monotonic()
        self._shown = self._stream.isatty()

    def __call__(self, done: int, total: int) -> None:
        if not self._shown or not total:
            return
        filled = _BAR * done // total
        rate = done / max(time.monotonic() - self._start, 1e-3)
        left = f", {(total - done) / rate:.0f} s left" if done and done < total else ""
        bar = "#" * filled + "." * (_BAR - filled)
        end = "\n" if done == total else ""
        self._stream.write(f"\r\x1b[K{self._what} [{bar}] {done}/{total}, {rate:.0f}/s{left}{end}")
        self._stream.flush()


class _Nothing(click.ClickException):
    exit_code = NOTHING


@click.command(epilog=example("lamostvac label spectra/ --model dr10.lvpack -o labels.fits"))
@click.argument("paths", nargs=-1, required=True, metavar="FILE|FOLDER...", type=click.Path())
@click.option(
    "--model",
    type=FILE,
    metavar="PACK",
    envvar="LAMOSTVAC_PACK",
    show_envvar=True,
    help="File by lamostvac pack.",
)
@click.option(
    "--demo",
    is_flag=True,
    help="Models of a simulated survey, made at the first time: a trial of the program.",
)
@click.option(
    "-o",
    "--output",
    type=OUTPUT_FILE,
    default="labels.fits",
    show_default=True,
    metavar="TABLE",
    help="Table of labels, by its suffix .fits, .parquet, .csv or .vot.",
)
@click.option(
    "--plot",
    type=OUTPUT_FOLDER,
    metavar="DIR",
    help="Also a page of each star there (HTML), and its spectrum with the model (PNG).",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    metavar="N",
    help="Processes at a time; by default one for each 500 spectra, as far as there are cores.",
)
def label(
    paths: tuple[str, ...],
    model: Path | None,
    demo: bool,
    output: Path,
    plot: Path | None,
    processes: int | None,
) -> None:
    """Label LAMOST spectra without a release's catalogue.

    What cannot be labelled is in TABLE's folder as {TABLE}_rejected.csv, with reasons. The exit code
    is 0 when all spectra have labels, 3 when some are rejected, 1 when none has labels, and 2 when the
    command, the pack or the place of the table is wrong.
    """
    try:
        _label(paths, _pack_of(model, demo), output, plot, processes)
    except UserError as error:
        raise Wrong(str(error)) from None


def _pack_of(model: Path | None, demo: bool) -> Path:
    if demo:
        from lamostvac.cli.demo_pack import demo_pack

        return demo_pack()
    if model is None:
        raise UserError(
            "no models of real stars come with the program; name those of a run with --model PACK (made "
            "by `lamostvac pack results/dr10`), or give --demo for models of a simulated survey"
        )
    return model


def _label(
    paths: tuple[str, ...], model: Path, output: Path, plot: Path | None, processes: int | None
) -> None:
    from lamostvac.label.folder import find_work, label_work, nothing_found
    from lamostvac.label.models import Models
    from lamostvac.label.other_code import other_code
    from lamostvac.label.pack import Pack
    from lamostvac.label.reasons import reasons_of
    from lamostvac.label.tables import require_form, write_table

    require_form(output)
    if threading.current_thread() is threading.main_thread():
        # So that temporary files and processes are gone when it is told to end.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    start = time.monotonic()
    with Pack(model) as pack:
        models = Models(pack)
        if pack.settings.simulated:
            click.echo(
                f"{model} was made from a SIMULATED survey: these labels are no measurements of real "
                "stars, only a trial of the program",
                err=True,
            )
        if said := other_code(pack.settings):
            click.echo(f"{model}: {said}", err=True)
        work = find_work(paths, models, _Bar("headers"))
        if nothing := nothing_found(paths, work):
            raise _Nothing(nothing)
        for sentence in work.passed_over:
            click.echo(sentence, err=True)
        most = processes or min(len(os.sched_getaffinity(0)), work.n_spectra // _WORTH)
        found = label_work(work, models, _Bar("spectra"), most)
        cards = pack.settings.provenance | {"PACK": model.name}
        if pack.settings.simulated:
            cards["SIMULATE"] = "models of a simulated survey"
        rejected = output.with_name(f"{output.stem}_rejected.csv")
        found.rejected.to_csv(rejected, index=False, lineterminator="\n")
        if len(found.rows):  # else what may stand there is better
            write_table(output, found.rows, found.registry, cards)
        if plot is not None:
            from lamostvac.label.plots import draw_all

            draw_all(plot, found, models, _Bar("plots"))
        reasons = reasons_of(pack.settings)
    for reason, count in found.rejected["reason"].value_counts().items():
        click.echo(f"{count} rejected: {reasons[str(reason)]}", err=True)
    _say(found.rejected, len(found.rows), output, rejected, time.monotonic() - start)


def _say(rejected: "pd.DataFrame", n: int, output: Path, path: Path, seconds: float) -> None:
    """What was done, and the exit code."""
    where = output if n else "no table is written"
    click.echo(f"{n} spectra labelled in {seconds:.1f} s: {where}")
    if len(rejected):
        click.echo(f"{len(rejected)} rejected: {path}")
    if not n:
        sys.exit(NOTHING)
    if len(rejected):
        sys.exit(REJECTED_SOME)


@click.command(
    epilog=example("lamostvac pack results/dr10 -o dr10.lvpack"),
    options_metavar="[--config FILE | --demo] [OPTIONS]",
)
@click.argument(
    "words",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[RESULTS] [-- OPTIONS OF SNAKEMAKE]",
)
@run_options
@click.option(
    "-o",
    "--output",
    type=OUTPUT_FILE,
    metavar="PACK",
    help="Where to copy it; by default it stays in the results folder.",
)
def pack(
    words: tuple[str, ...],
    config: Path | None,
    demo: bool,
    directory: Path | None,
    output: Path | None,
) -> None:
    """Put what a run has learned into one file.

    The run is named by its results folder, or by its configuration, and has to be finished: its
    results are taken as they are. `--demo` runs what is missing of the simulated survey.
    """
    from lamostvac.cli.demo_pack import make_pack
    from lamostvac.networks.settings import PACK_SUFFIX
    from lamostvac.run.start import started_by

    if output is not None and output.suffix != PACK_SUFFIX:
        raise UserError(f"{output}: the name of a pack has to end in {PACK_SUFFIX}")
    if words and not words[0].startswith("-"):
        if config is not None or demo:
            raise Wrong(f"the run is named twice, by its configuration and as {words[0]}")
        config, directory = started_by(words[0])
        words = words[1:]
    elif config is None and not demo:
        raise Wrong(NAME_THE_RUN)
    path = configuration_file(config, demo)
    if not demo:
        # Of the others nothing is made, whatever times results have, as after a copy.
        words = ("--allowed-rules", "pack", *words)
    result = make_pack(path, (directory or Path()).absolute(), words)
    if not isinstance(result, Path):
        sys.exit(result)
    if not result.is_file():  # a dry run
        return
    if output is not None:
        shutil.copyfile(result, output)
        result = output
    click.echo(f"pack: {result} ({result.stat().st_size / 1e6:.0f} MB)")
