"""The whole workflow in a copy of the project, on the tiny survey of workflow.yaml, as a user would run it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from warm_python import warm_python

TYPES = ("OB", "A", "F", "G", "K", "M")
PARTS = ("Snakefile", "rules", "workflow_scripts", "lamostvac", "config", "envs", "report")
CATALOGUE = (
    *("recommended.fits", "recommended.parquet", "rejected.csv", "accounting.json", "datamodel.md"),
    *("recommended_main.fits", "recommended_main.parquet"),
    *("summary.csv", "recommended.dat.gz", "ReadMe", "recommended.vot"),
    *("wang2022_table3.fits", "liang2024_table1.fits", "metal_poor.fits", "metal_poor.csv"),
)


# Training all 24 networks would take most of the tests' time.
FEW_LABELS = {
    "pastel": ["teff_pastel", "feh_pastel"],
    "apogee": ["alpha_m_apogee"],
    "lgmwas": ["abs_mag_g_gaia"],
    "vmp": ["feh_vmp"],
}


def imported_by_rules(project: Path, indent: str) -> set[str]:
    """Our modules that the Snakefile and the rules import, on lines that begin with `indent`, a pattern."""
    line = re.compile(
        rf"^{indent}from (lamostvac[.\w]*) import (\w+)|^{indent}import (lamostvac[.\w]*)", re.M
    )
    modules = set()
    for path in [project / "Snakefile", *(project / "rules").glob("*.smk")]:
        for found in line.finditer(path.read_text()):
            below = f"{found[1]}.{found[2]}"
            is_module = (project / below.replace(".", "/")).with_suffix(".py").exists()
            modules.add(found[3] or (below if is_module else found[1]))
    return modules


def fresh_python(project: Path, program: str, *arguments: str) -> list[str]:
    """The words that a program prints in an interpreter of its own, where only what it imports is loaded."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(
        command, cwd=project, capture_output=True, text=True, check=True
    ).stdout.split()


def few_training_sets(path: Path) -> dict:
    """The shipped training sets with a few of their labels."""
    sets = yaml.safe_load(path.read_text())["training_sets"]
    for entry in sets:
        entry["labels"] = [
            label for label in entry["labels"] if label["name"] in FEW_LABELS[entry["name"]]
        ]
    return {"training_sets": sets}


def copy_project(project: Path, folder: Path) -> Path:
    """What a run needs, in a folder of its own, with the tests' configuration as `tiny.yaml`."""
    folder.mkdir(parents=True)
    for name in PARTS:
        if (project / name).is_dir():
            shutil.copytree(
                project / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(project / name, folder / name)
    shutil.copy(project / "tests/helpers/workflow.yaml", folder / "tiny.yaml")
    sets = few_training_sets(project / "config/training_sets.yaml")
    (folder / "training_sets.yaml").write_text(yaml.safe_dump(sets, sort_keys=False))
    return folder


def command(folder: Path, *arguments: str) -> dict:
    """Arguments of `subprocess` that run Snakemake in a copy of the project, as a user would."""
    # Without compiled modules each of the many short jobs would spend three times as long on imports.
    environment = {
        key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"
    }
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return {
        "args": [sys.executable, "-m", "snakemake", *arguments, "--configfile", "tiny.yaml"],
        "cwd": folder,
        "env": environment,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }


def snakemake(
    folder: Path,
    *arguments: str,
    code: int = 0,
    programs: Path | None = None,
    python: str | None = None,
) -> str:
    """Run Snakemake to its end and return what it wrote.

    It finds what lies in the folder `programs` before others. `python` is the interpreter of it and its jobs, by
    default one whose start costs nothing.
    """
    settings = command(folder, *arguments)
    settings["args"][0] = python or warm_python()
    if programs is not None:
        settings["env"]["PATH"] = f"{programs}:{settings['env']['PATH']}"
    done = subprocess.run(**settings, timeout=900, check=False)
    assert done.returncode == code, done.stdout[-4000:]
    return done.stdout


def same_files(one: Path, other: Path, names: tuple[str, ...] = CATALOGUE) -> None:
    for name in names:
        assert (one / "catalog" / name).read_bytes() == (other / "catalog" / name).read_bytes(), (
            name
        )


def start_again(
    run: Path, folder: Path, keep: tuple[str, ...] = (), without: tuple[str, ...] = ()
) -> Path:
    """A copy of the shared run without the files of M stars after `survey`, and without some others.

    `keep` names those of M that stay.
    """
    shutil.copytree(run.parent, folder)
    results = folder / "results"
    for path in list(results.rglob("*")):
        name = str(path.relative_to(results))
        of_m = re.search(r"/M([/._]|$)", f"/{name}") and not name.startswith(
            ("survey", "simulated", "logs")
        )
        if path.is_file() and name not in keep and (of_m or name in without):
            path.unlink()
    return results


def same_m_stars(run: Path, results: Path) -> None:
    for name in ("catalog/M.fits", "collected/M_rejected.csv"):
        assert (results / name).read_bytes() == (run / name).read_bytes(), name
