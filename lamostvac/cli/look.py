"""Subcommands that only read files: plan, progress, trace, efficiency, damage, and restore-times,
which sets times.
"""

import sys
import time
from pathlib import Path

import click

from lamostvac.cli.options import (
    FOLDER,
    OUTPUT_FILE,
    configuration_file,
    example,
    results_of,
    run_of_words,
    run_options,
)

_RESULTS = click.argument("results", type=FOLDER)


@click.command(
    epilog=example("lamostvac plan type_M --config config/lamost_dr10.yaml --spectra 11441011"),
    options_metavar="(--config FILE | --demo) [OPTIONS]",
)
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@run_options
@click.option(
    "--spectra",
    type=click.IntRange(1),
    metavar="N",
    help="Rows of a catalogue that has not been read.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    default=100,
    show_default=True,
    help="Jobs at a time.",
)
@click.option(
    "--csv", type=OUTPUT_FILE, metavar="FILE", help="Write the table of rules to this file too."
)
def plan(
    targets: tuple[str, ...],
    config: Path | None,
    demo: bool,
    directory: Path | None,
    spectra: int | None,
    jobs: int,
    csv: Path | None,
) -> None:
    """Say what a run would do, why, and how long it would take."""
    from lamostvac.core.paths import SNAKEFILE
    from lamostvac.run.plan import show
    from lamostvac.run.start import check_targets

    check_targets(targets)
    show(
        configuration_file(config, demo),
        targets,
        snakefile=SNAKEFILE,
        folder=directory,
        n_spectra=spectra,
        slots=jobs,
        csv=csv,
    )


@click.command(
    epilog=example("lamostvac progress results/dr10 --watch 10"),
    options_metavar="[--config FILE | --demo] [OPTIONS]",
)
@click.argument("results", type=FOLDER, required=False)
@run_options
@click.option("--watch", type=float, metavar="SECONDS", help="Show it again and again.")
def progress(
    results: Path | None,
    config: Path | None,
    demo: bool,
    directory: Path | None,
    watch: float | None,
) -> None:
    """Say how far a run is, from any shell."""
    from lamostvac.run.progress import progress, text
    from lamostvac.run.resources import load_model

    model = load_model()
    results = results_of(results, config, demo, directory)
    clear = "\x1b[2J\x1b[H" if watch and sys.stdout.isatty() else ""
    try:
        while True:
            now = time.time()
            click.echo(clear + text(progress(results, model, now), now))
            if not watch:
                break
            time.sleep(watch)
    except KeyboardInterrupt:
        pass


@click.command(
    epilog=example("lamostvac trace results/dr10 101000001"),
    options_metavar="[--config FILE | --demo] [OPTIONS]",
)
@click.argument("words", nargs=-1, metavar="[RESULTS] OBSID|SPECTRUM_ID")
@run_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def trace(
    words: tuple[str, ...], config: Path | None, demo: bool, directory: Path | None, as_json: bool
) -> None:
    """Say where one spectrum is in a run, and which logs name it."""
    import json

    from lamostvac.run.trace import text, trace

    results, (star, *_) = run_of_words(words, config, demo, directory)
    found = trace(results, star)
    click.echo(
        json.dumps(found.__dict__, default=str, indent=1) if as_json else text(results, star, found)
    )
    if not found.rows and not found.rejected and found.catalogue_row is None:
        sys.exit(1)


@click.command(epilog=example("lamostvac efficiency results/dr10 --csv efficiency.csv"))
@_RESULTS
@click.option("--csv", type=OUTPUT_FILE, metavar="FILE", help="Write one row per job to this file.")
def efficiency(results: Path, csv: Path | None) -> None:
    """Compare what jobs asked for with what they used."""
    from lamostvac.run.efficiency import job_table, rule_table, text

    jobs = job_table(results)
    click.echo(text(rule_table(jobs)))
    if csv:
        from lamostvac.core.atomic import atomic

        with atomic(csv) as path:
            jobs.to_csv(path, index=False)


@click.command(epilog=example("lamostvac published liang2024_table1"))
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
def published(tables: tuple[str, ...]) -> None:
    """List the columns of the papers' tables beside ours."""
    from lamostvac.catalog.published import listing, published_tables

    for name in tables or published_tables():
        rows = [("published", "column", "unit", "meaning"), *listing(name)]
        table = published_tables()[name]
        click.echo(f"{name}.fits: {table.paper}; rows with {table.rows}")
        widths = [max(len(row[part]) for row in rows) for part in range(3)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
            click.echo("  ".join([*cells, row[3]]))
        click.echo()


@click.command(epilog=example("lamostvac damage results/dr10"))
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
def damage(folders: tuple[Path, ...]) -> None:
    """List the damaged files below folders of results."""
    from lamostvac.core.damage import look_through

    found, n_files = look_through(folders)
    for path, what in found:
        click.echo(f"{path}: {what}")
    click.echo(f"{n_files} files, {len(found)} damaged", err=True)
    sys.exit(int(bool(found)))


@click.command(epilog=example("lamostvac restore-times"))
@click.argument("folder", type=FOLDER, default=".")
def restore_times(folder: Path) -> None:
    """Mend the times of copied results, so that none runs again."""
    from lamostvac.core.exceptions import UserError
    from lamostvac.run.restore_times import restore

    if not (folder / ".snakemake/metadata").is_dir():
        raise UserError(
            f"there is no {folder}/.snakemake/metadata; name the folder where Snakemake was started"
        )
    number = restore(folder, time.time_ns())
    click.echo(f"{number} results have times in the order in which they were made")
