"""Planning a run of all of DR10: what Snakemake needs before the first job starts.

A folder as the survey stage leaves it for 11,441,011 spectra, with empty files where the release, the library and the
other catalogues are, and a dry run of the configuration that is shipped for DR10.
"""

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

from lamostvac.configuration.root import Configuration, read_configuration
from lamostvac.core.paths import shipped
from lamostvac.distance.schema import load_photometry
from lamostvac.run.layout import Layout
from lamostvac.run.plan import SHARES
from lamostvac.training.load import load_training_sets

N_SPECTRA = 11_441_011  # DR10 v2.0
LIMIT = 60.0  # s


def make_survey(folder: Path, configuration: Configuration, n: int) -> int:
    """What the survey stage writes, and empty files for all that comes from elsewhere; returns the number of chunks."""
    results, size = folder / configuration.run.results, configuration.survey.chunk_size
    chunks, groups = [], []
    for name, share in SHARES.items():
        spectra = round(n * share)
        count = -(-spectra // size)
        for number in range(count):
            chunk = f"{number:04d}"
            here = min(size, spectra - number * size)
            chunks.append((name, chunk, here, 1, "P", "P", f"{number:016x}", ""))
            path = results / Layout.chunk.format(type=name, chunk=chunk)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        groups.append((name, spectra, -(-spectra // configuration.grouped.group_size)))
    columns = [
        "type",
        "chunk",
        "n_spectra",
        "n_plates",
        "first_plate",
        "last_plate",
        "digest",
        "carried",
    ]
    sources = [
        folder / configuration.survey.root / name for name in configuration.survey.catalogues
    ]
    library = configuration.library
    sources += [folder / path for path in (library.spectra, library.labels_file) if path]
    root = folder / str(configuration.networks.root or configuration.survey.root)
    sets = (
        load_training_sets(shipped(configuration.networks.training_sets))
        if configuration.networks.training_sets
        else []
    )
    sources += [root / name for entry in sets for name in entry.files()]
    photometry = load_photometry(shipped(configuration.photometry.file))
    sources += [Path(table.path(root)) for _, table in photometry.tables()]
    for path in sources:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    pd.DataFrame(chunks, columns=columns).to_csv(results / Layout.manifest, index=False)
    pd.DataFrame(groups, columns=["type", "n_spectra", "n_groups"]).to_csv(
        results / Layout.groups, index=False
    )
    for name in (Layout.survey_rejected, Layout.survey_summary):
        (results / name).touch()
    return len(chunks)


def plan(
    project: Path, folder: Path, n: int = N_SPECTRA, before: Sequence[str] = ()
) -> tuple[float, float, int, int]:
    """Seconds and peak GB of a dry run, the number of its jobs, and of the survey's chunks.

    `before` are words that stand before the command, which run it.
    """
    configuration = read_configuration(project / "config/lamost_dr10.yaml")
    n_chunks = make_survey(folder, configuration, n)
    settings = yaml.safe_load((project / "config/lamost_dr10.yaml").read_text(encoding="utf-8"))
    (folder / "plan.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [
        *before,
        sys.executable,
        "-m",
        "snakemake",
        "--dry-run",
        "--quiet",
        "host",
        "--nolock",
        "--cores",
        "2",
    ]
    command += ["--snakefile", str(project / "Snakefile"), "--directory", str(folder)]
    command += ["--rerun-triggers", "mtime", "--configfile", str(folder / "plan.yaml")]
    start = time.perf_counter()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"the dry run failed: {(done.stdout + done.stderr)[-2000:]}")
    found = re.findall(r"^total\s+(\d+)", done.stdout + done.stderr, re.MULTILINE)
    gigabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    return seconds, gigabytes, int(found[-1]), n_chunks
