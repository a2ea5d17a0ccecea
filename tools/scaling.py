"""Spectra per second of the stages that are per chunk, with one and two cores and with the size of chunks.

    python tools/scaling.py CONFIG [--types K] [--cores 1 2] [--sizes 500 2000 8000] [--directory FOLDER]

CONFIG has been run: its library, emulators and networks are taken (by links) for each measurement, and the spectra of
`--types` are cut anew, prepared, fitted and given to the networks by Snakemake, whose own time counts. Also
how many bytes and files a spectrum is, as read and as written, from the files that are there before they are removed.
Paths of CONFIG are relative to FOLDER, this project's unless it is given.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.configuration.root import read_configuration
from lamostvac.core.manifest import read_manifest
from lamostvac.run.layout import Layout

PROJECT = Path(__file__).resolve().parent.parent
MADE = ("simulated", "library", "emulator", "networks", "training")


def snakemake(
    config: Path,
    directory: Path,
    results: Path,
    cores: int,
    size: int,
    types: list[str],
    targets: list[str],
) -> float:
    """Seconds of a run of Snakemake for some targets."""
    command = [sys.executable, "-m", "snakemake", "--quiet", "all", "--cores", str(cores)]
    command += ["--rerun-triggers", "mtime", "--nolock", "--configfile", str(config.resolve())]
    command += [
        "--snakefile",
        str(PROJECT / "Snakefile"),
        "--directory",
        str(directory),
        "--config",
    ]
    command += [f"run={json.dumps({'results': str(results)})}"]
    command += [
        f"survey={json.dumps({'chunk_size': size, 'types': types})}",
        "validation={enabled: false}",
    ]
    # Else the spectra would be gone before they can be counted.
    command += ["prepare={keep: true}"]
    command += ["--", *targets]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"Error: {' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - start


def link(source: Path, target: Path) -> None:
    """What a run has made already, under another folder, without copying."""
    for name in MADE:
        if (source / name).exists():
            shutil.copytree(source / name, target / name, copy_function=os.link)


def size_of(folder: Path, pattern: str = "*") -> tuple[int, int]:
    """Bytes and number of the files below a folder."""
    files = [path for path in folder.rglob(pattern) if path.is_file()]
    return sum(path.stat().st_size for path in files), len(files)


def traffic(directory: Path, results: Path, n: int) -> list[tuple[str, float, float]]:
    """What, bytes and files per spectrum of the stages that are per chunk."""
    chunks = [
        pd.read_parquet(path, columns=["path"])
        for path in results.glob(Layout.chunk.format(type="*", chunk="*"))
    ]
    paths = [path for chunk in chunks for path in chunk["path"] if (directory / path).is_file()]
    rows = [
        (
            "spectra of the release",
            sum((directory / path).stat().st_size for path in paths),
            len(paths),
        )
    ]
    for name in ("prepared", "fit", "predicted"):
        rows.append((name, *size_of(results / name)))
    return [(name, bytes_ / n, files / n) for name, bytes_, files in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description="Spectra per second by cores and size of chunks.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--types", nargs="+", default=["K"])
    parser.add_argument("--cores", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--sizes", nargs="+", type=int, default=[500, 2000, 8000])
    parser.add_argument("--directory", type=Path, default=PROJECT)
    arguments = parser.parse_args()
    directory = arguments.directory.resolve()
    source = directory / read_configuration(arguments.config).run.results
    if not (source / Layout.catalogue_fits).exists():
        sys.exit(f"Error: {arguments.config} has not been run; there is no catalogue in {source}")
    shown = False
    for size in arguments.sizes:
        for cores in arguments.cores:
            with tempfile.TemporaryDirectory(dir=source.parent, prefix="scaling-") as folder:
                results = Path(folder)
                link(source, results)
                options = (arguments.config, directory, results, cores, size, arguments.types)
                snakemake(*options, [Layout(str(results)).manifest])
                manifest = read_manifest(results / Layout.manifest)
                # The networks see a chunk after the fit.
                targets = [
                    Layout(str(results)).predicted.format(type=row.type, chunk=row.chunk)
                    for row in manifest.itertuples()
                ]
                seconds = snakemake(*options, targets)
                n = int(manifest["n_spectra"].sum())
                print(
                    f"chunks of {size:6d}: {len(manifest):3d} chunks, {cores} cores: {n} spectra in {seconds:6.1f} s, "
                    f"{n / seconds:6.1f} spectra/s",
                    flush=True,
                )
                if not shown:
                    for name, bytes_, files in traffic(directory, results, n):
                        print(
                            f"    {name:24s} {bytes_ / 1000:8.1f} kB and {files:7.4f} files per spectrum"
                        )
                    shown = True


if __name__ == "__main__":
    main()
