"""Subcommands that look at whole runs: compare, cite."""

from pathlib import Path

import click

from lamostvac.cli.options import FOLDER, OUTPUT_FILE, OUTPUT_FOLDER, example


@click.command(epilog=example("lamostvac compare results/dr9 results/dr10 -o dr9_dr10 --changelog"))
@click.argument("before", type=FOLDER, metavar="RESULTS_A")
@click.argument("after", type=FOLDER, metavar="RESULTS_B")
@click.option(
    "-o",
    "--output",
    "folder",
    type=OUTPUT_FOLDER,
    metavar="DIR",
    default="comparison",
    show_default=True,
    help="Folder for the page and the tables.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="COLUMN",
    help="A label with a figure and a list of moved stars, in the place of the recommended ones.",
)
@click.option(
    "--sigma",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    default=1.0,
    show_default=True,
    help="Combined errors beyond which a label has moved.",
)
@click.option("--changelog", is_flag=True, help="Write changelog.md, for a catalogue's version.")
def compare(
    before: Path,
    after: Path,
    folder: Path,
    labels: tuple[str, ...],
    sigma: float,
    changelog: bool,
) -> None:
    """Say what came, went and moved between two runs, and why."""
    from lamostvac.compare.page import summary_text, write_changelog, write_comparison
    from lamostvac.compare.runs import RunFiles, compare_runs
    from lamostvac.run.layout import Layout

    def files(results: Path) -> RunFiles:
        layout = Layout(str(results))
        paths = (layout.catalogue, layout.rejected, layout.provenance)
        return RunFiles(str(results), *map(Path, paths))

    found = compare_runs(files(before), files(after), folder, sigma, labels)
    write_comparison(folder / "index.html", found)
    if changelog:
        write_changelog(folder / "changelog.md", found)
    click.echo(summary_text(found))
    click.echo(f"page: {folder / 'index.html'}")


@click.command(epilog=example("lamostvac cite results/dr10 -o catalogue.bib"))
@click.argument("results", type=click.Path(path_type=Path), metavar="RESULTS|PACK")
@click.option("-o", "--output", type=OUTPUT_FILE, metavar="FILE", help="Write to this file.")
def cite(results: Path, output: Path | None) -> None:
    """Write BibTeX of the methods and data that a run used."""
    from lamostvac.core.atomic import atomic
    from lamostvac.networks.settings import PACK_SUFFIX

    text = _of_pack(results) if results.suffix == PACK_SUFFIX else _of_run(results)
    if output is None:
        click.echo(text, nl=False)
        return
    with atomic(output) as path:
        path.write_text(text, encoding="utf-8")


def _of_run(results: Path) -> str:
    """BibTeX of a run, from its record."""
    from lamostvac.core.paths import REFERENCES_PATH
    from lamostvac.provenance.record import read_record
    from lamostvac.provenance.references import bibliography, load_references
    from lamostvac.run.layout import Layout

    record = read_record(Layout(str(results)).provenance)
    return bibliography(record, load_references(REFERENCES_PATH))


def _of_pack(path: Path) -> str:
    """BibTeX of the run that a pack comes from."""
    from lamostvac.label.pack import Pack

    with Pack(path) as pack:
        return pack.settings.references
