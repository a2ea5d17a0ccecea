"""A run of millions out of a finished one of thousands, to see what the stages take that hold a type or the catalogue.

python tools/at_scale.py RESULTS TARGET G=140 K=20 [--do errors recommend ...]
python tools/at_scale.py RESULTS TARGET G=900 F=900 --stage catalog --do merge explorer

With `--do photometry` and one type the tables of Gaia, 2MASS, WISE, SDSS and of reddening have as many copies of their
stars, and all are joined anew; that of APASS stays as it is.

With --stage catalog the finished rows of the types' catalogues are multiplied instead, one copy in memory at a time:
what reads the whole catalogue is measured at the size of a release on a machine that could not make it.

Snakemake's --allowed-rules holds for what is out of date by itself, not for what a rule of --do needs: what is missing
for it, or lies between two of them, is made too. The table says so.

TARGET becomes a copy of RESULTS in which the collected rows and the photometry of these types are there so many times,
each time elsewhere on the sky and under other names, with labels and magnitudes a little different, so that copies are
other stars with the same repeats. Then
`snakemake --cores 1` does the rules of --do for it, of these types alone, and their time and memory are printed; what
other types have is copied. RESULTS is untouched; the configuration is config/fifty_thousand.yaml unless --config
says otherwise, and its paths are relative to --directory, this project's unless it is given.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.catalog.files import count_rows, read_rows, write_fits, write_json
from lamostvac.catalog.published import published_tables
from lamostvac.catalog.registry import Registry, load_registry
from lamostvac.core.atomic import atomic
from lamostvac.core.manifest import read_manifest
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.external.match import group_stars
from lamostvac.run.layout import LOG_FOLDERS, Layout
from lamostvac.uncertainty.repeats import RADIUS
from tools.copies import TABLES, moved, raised, write_copies
from tools.error_models import labels_of

ROOT = Path(__file__).resolve().parent.parent
# The rules that are measured: those of a type, or of a published table, with the file that is asked for, ...
PATTERNS = {
    "photometry": Layout.photometry,
    "errors": Layout.errors,
    "recommend": Layout.recommended,
    "distance": Layout.distance,
    "catalog": Layout.catalogue_of_type,
    "published": Layout.published,
}
# ... and those of the whole catalogue.
WHOLE = (
    "merge", "main_table", "internal_errors", "cds", "votable", "metal_poor", "samples", "explorer", "validation",
    "repeat_errors", "overview", "figures_catalog", "figures_papers", "figures_comparison", "figures_trends",
    "figures_clusters", "figures_truth", "figures_networks",
)  # fmt: skip
# Files of a type, which those of other types keep.
OF_TYPES = [
    Layout.errors, Layout.errors_summary, Layout.errors_curves, Layout.errors_threshold,
    Layout.recommended, Layout.recommended_relations, Layout.distance, Layout.catalogue_of_type,
]  # fmt: skip
# Made anew, or opened for writing under their names: a link would change the original.
NOT_LINKED = (
    "logs",
    "benchmarks",
    "errors",
    "recommended",
    "distance",
    "catalog",
    "validation",
    "figures",
)
RULE_OF = {folder: rule for rule, folder in LOG_FOLDERS.items()}
# What is multiplied, by the name of --stage.
STAGES = {"collected": Layout.collected, "catalog": Layout.catalogue_of_type}
FAR = 10**12  # between identifiers of copies


def renamed(names: NDArray[Any], copy: int) -> NDArray[Any]:
    """Names of a copy's spectra; those of copy 0 stay, so that truth and training stars are found."""
    texts = names.astype(str)
    return np.char.add(f"{copy}-", texts) if copy else texts


# How far labels and magnitudes of a copy are from the original's: share of the stars' scatter, and mag.
SHARE, FAINTER, COLOURS = 0.1, 0.3, 0.02


def copy_rows(
    rows: NDArray[np.void], copy: int, step: float, star: NDArray[np.int64]
) -> NDArray[np.void]:
    """The rows of other stars, `copy * step` degrees away; rows of one `star` (n,) stay alike."""
    new = rows.copy()
    rng = np.random.default_rng(copy)
    for name in rows.dtype.names or ():
        if copy and f"{name}_err_random" in (rows.dtype.names or ()):
            known = np.isfinite(rows[name])
            scatter = (
                SHARE * float(rows[name][known].astype(np.float64).std()) if known.any() else 0
            )
            new[name] += scatter * rng.normal(size=star.max() + 1)[star]
    new["spectrum_id"] = renamed(rows["spectrum_id"], copy).astype(rows.dtype["spectrum_id"])
    new["ra"] = (rows["ra"] + copy * step) % 360.0
    for name in ("obsid", "gaia_source_id_release"):
        new[name] = np.where(rows[name] < 0, rows[name], rows[name] + copy * FAR)
    return new


def copy_table(
    table: pd.DataFrame, copy: int, star: NDArray[np.int64] | None = None
) -> pd.DataFrame:
    """The same of a table with `spectrum_id`, and perhaps `gaia_source_id` and magnitudes, for which
    it needs `star`.
    """
    new = table.assign(spectrum_id=renamed(table["spectrum_id"].to_numpy(str), copy))
    if "gaia_source_id" in table:
        new["gaia_source_id"] += (table["gaia_source_id"] >= 0) * copy * FAR
    if copy and star is not None:
        rng = np.random.default_rng(copy)
        fainter = FAINTER * rng.normal(size=star.max() + 1)
        for name in table.columns:
            if f"{name}_err" in table and name.startswith("mag_"):
                change = fainter + COLOURS * rng.normal(size=len(fainter))
                new[name] = (table[name] + change[star]).astype(table[name].dtype)
    return new


def multiply(
    results: Path, target: Path, spectral_type: str, times: int, registry: Registry, stage: str
) -> int:
    """Write the type's rows, photometry and rejections `times` times; returns the number of rows.

    `stage` says whether the rows are those collected or those of the catalogue, which need no photometry.
    """
    table, rejected, photometry = (
        pattern.format(type=spectral_type)
        for pattern in (STAGES[stage], Layout.collected_rejected, Layout.photometry)
    )
    rows = read_rows(results / table, registry)
    star = group_stars(rows["ra"], rows["dec"], RADIUS)
    copies = (copy_rows(rows, copy, 360.0 / times, star) for copy in range(times))
    write_fits(target / table, copies, times * len(rows), registry, {})
    lines = pd.read_csv(results / rejected, dtype=str, keep_default_na=False)
    with atomic(target / rejected) as temporary:
        pd.concat([copy_table(lines, copy) for copy in range(times)]).to_csv(
            temporary, index=False, lineterminator="\n"
        )
    if stage == "collected":
        multiply_photometry(results / photometry, target / photometry, times, star)
    return times * len(rows)


def multiply_photometry(source: Path, target: Path, times: int, star: NDArray[np.int64]) -> None:
    """Write the photometry of rows of stars `star` (n,) `times` times."""
    read = pq.read_table(source)
    table = read.to_pandas()
    with atomic(target) as temporary, pq.ParquetWriter(temporary, read.schema) as writer:
        for copy in range(times):
            new = copy_table(table, copy, star)
            writer.write_table(pa.Table.from_pandas(new, read.schema, preserve_index=False))


def multiply_tables(target: Path, times: int) -> None:
    """Let the tables of other surveys have the stars of `copy_rows`, with the release's names of Gaia's."""

    def change(rows: pd.DataFrame, copy: int) -> None:
        if "source_id" in rows:
            rows["source_id"] = raised(rows["source_id"], copy * FAR)
        if "ra" in rows:
            rows["ra"] = moved(rows["ra"], copy * 360.0 / times)

    for name in TABLES:
        path = target / Layout.simulated_catalogues / name
        source = path.with_suffix(".once")  # the run's own file by another name
        if not source.exists():
            path.rename(source)
        print(f"{name}: {write_copies(source, path, ',', times, change):,} rows", flush=True)


def keep_others(results: Path, target: Path, changed: Iterable[str]) -> None:
    """Copy what is there of the types that stay as they are, with its times: it is not made anew."""
    for pattern in OF_TYPES:
        for name in set(TYPE_ORDER).difference(changed):
            if (source := results / pattern.format(type=name)).exists():
                copy = target / pattern.format(type=name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy)


def account(target: Path, times: dict[str, int]) -> None:
    """Let the survey's own numbers be those of the larger run, so that the merged catalogue's sum is right."""
    manifest = read_manifest(target / Layout.manifest)
    factor = manifest["type"].map(times).fillna(1).astype(int)
    more = int(((factor - 1) * manifest["n_spectra"]).sum())
    manifest["n_spectra"] *= factor
    with atomic(target / Layout.manifest) as temporary:
        manifest.to_csv(temporary, index=False, lineterminator="\n")
    summary = json.loads((target / Layout.survey_summary).read_text(encoding="utf-8"))
    write_json(target / Layout.survey_summary, summary | {"n_in": summary["n_in"] + more})


def wanted(target: Path, rules: Iterable[str], types: Iterable[str]) -> list[str]:
    """What Snakemake is asked for: files of types and of published tables, and other rules by name."""
    found = []
    for rule in rules:
        if rule in WHOLE:
            found.append(rule)
            continue
        names = published_tables() if rule == "published" else types
        found += [str(target / PATTERNS[rule].format(type=name, table=name)) for name in names]
    return found


def measured(target: Path, rules: Iterable[str], rows: dict[str, int]) -> Iterator[str]:
    """A line for each job, in the order in which they ended."""
    yield f"{'rule':<20} {'job':<16} {'rows':>11} {'CPU, s':>8} {'us a row':>9} {'MB':>7}"
    files = (target / Layout.benchmarks).rglob("*.tsv")
    for path in sorted(files, key=lambda path: path.stat().st_mtime):
        found = pd.read_csv(path, sep="\t").iloc[0]
        folder, job = path.parent.name, path.stem
        rule, job = (job, "") if folder == "benchmarks" else (RULE_OF.get(folder, folder), job)
        n = rows.get(job, sum(rows.values()))
        beside = "" if rule in rules else "  not asked for: what was asked for needs it"
        yield (
            f"{rule:<20} {job:<16} {n:>11,} {found['cpu_time']:>8.1f} "
            f"{1e6 * found['cpu_time'] / n:>9.2f} {found['max_rss']:>7.0f}{beside}"
        )


def multiplicity(text: str) -> tuple[str, int]:
    """A type, and how many times it is to be there."""
    name, _, number = text.partition("=")
    if name not in TYPE_ORDER or not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no type with a number above 0, as G=140 is")
    return name, int(number)


def run_rules(
    target: Path, config: Path, directory: Path, rules: list[str], types: Iterable[str]
) -> int:
    """Let Snakemake do the rules; returns its exit status."""
    asked = wanted(target, rules, types)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all", "--rerun-triggers", "mtime"),
            *("--snakefile", ROOT / "Snakefile", "--directory", directory),
            *("--configfile", config.resolve()),
            # Memory and processor time are those of jobs that share nothing.
            *("--config", f"run={{results: {target}, fork_scripts: false}}"),
            *("--allowed-rules", *rules, "--forcerun", *asked, "--", *asked),
        ],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        check=False,
    )  # fmt: skip
    return done.returncode


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rules = [*PATTERNS, *WHOLE]
    parser.add_argument("results", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("types", type=multiplicity, nargs="+", metavar="TYPE=TIMES")
    usual = [rule for rule in rules if rule != "photometry"]
    parser.add_argument("--do", nargs="+", choices=rules, default=usual, metavar="RULE")
    parser.add_argument("--stage", choices=STAGES, default="collected")
    parser.add_argument("--config", type=Path, default=ROOT / "config/fifty_thousand.yaml")
    parser.add_argument("--directory", type=Path, default=ROOT)
    given = parser.parse_args()
    if not (given.results / "logs").is_dir():
        parser.error(f"{given.results} is no folder of a finished run")
    target, times = given.target.resolve(), dict(given.types)
    if len(times) < len(given.types):
        parser.error("a type is there twice")
    if "photometry" in given.do and (len(times) > 1 or given.stage != "collected"):
        parser.error("--do photometry needs one type and its collected rows")
    made = target / ".multiplied"
    if target.exists() and not (made.exists() and made.read_text() == repr(times)):
        parser.error(f"{target} is not of these types and numbers, or half made; remove it")
    if not target.exists():
        ignored = shutil.ignore_patterns(*NOT_LINKED)
        shutil.copytree(given.results, target, copy_function=os.link, ignore=ignored)
        # Of the catalogue's stage nothing before it is made anew.
        keep_others(given.results, target, times if given.stage == "collected" else ())
        registry = load_registry(labels_of(given.results))
        for name, number in times.items():
            print(
                f"{name}: {multiply(given.results, target, name, number, registry, given.stage):,} rows",
                flush=True,
            )
        account(target, times)
        made.write_text(repr(times))
    tables = target / ".multiplied_tables"
    if "photometry" in given.do and not tables.exists():
        multiply_tables(target, *times.values())
        tables.touch()
    status = run_rules(target, given.config, given.directory, given.do, times)
    files = {name: target / STAGES[given.stage].format(type=name) for name in TYPE_ORDER}
    rows = {name: count_rows(path) for name, path in files.items() if path.exists()}
    print("\n".join(measured(target, given.do, rows)))
    sys.exit(status)


if __name__ == "__main__":
    main()
