"""The rules of libraries: each library of a run is prepared and cross-validated, and only what changed again."""

import shutil
import subprocess

import pandas as pd
import pytest
import yaml
from warm_python import warm_python

from lamostvac.simulate import elodie
from lamostvac.validation.libraries import COLUMNS

pytestmark = pytest.mark.slow

PARTS = ("Snakefile", "rules", "workflow_scripts", "lamostvac", "config", "envs", "report")
TARGETS = ("results/validation/libraries.csv", "results/validation/figures/libraries.png")
LIBRARY = {"format": "elodie", "spectra": "L", "labels": ["teff", "logg", "feh"], "min_snr": 0}


@pytest.fixture(scope="module")
def folder(project, tmp_path_factory):
    """A copy of the project with two libraries: all of a simulated ELODIE, and what its flags leave."""
    folder = tmp_path_factory.mktemp("libraries") / "run"
    folder.mkdir()
    for name in PARTS:
        copy = shutil.copytree if (project / name).is_dir() else shutil.copy
        copy(project / name, folder / name)
    elodie.write_library(folder / "L", 100, seed=2, repeat_fraction=0.1)
    (folder / "L" / "00003.fits").write_bytes(b"cut")
    (folder / "none.csv").write_text("")  # no rule asked for here reads the survey
    configuration = {
        "simulation": {"enabled": False},
        "survey": {"catalogues": ["none.csv"]},
        "library": {"name": "all", **LIBRARY},
        "emulator": {"variance": 0.99, "folds": 3},
        "networks": {"training_sets": None},
        "validation": {
            "libraries": [
                {"name": "flagged", "quality_columns": elodie.QUALITY, "variance": 0.98, **LIBRARY}
            ]
        },
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(configuration))
    return folder


def snakemake(folder, *options):
    done = subprocess.run(
        [warm_python(), "-m", "snakemake", "--cores", "1", *options, "--configfile", "mine.yaml"],
        cwd=folder, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def test_every_library_of_the_run_is_compared_and_a_bad_file_named(folder):
    snakemake(folder, *TARGETS)
    results = folder / "results"
    table = pd.read_csv(results / "validation/libraries.csv")
    assert list(table.columns) == COLUMNS
    everything = table[table["subset"] == "all"].set_index(["library", "label"])
    numbers = {name: everything.loc[(name, "teff"), "n"] for name in ("all", "flagged")}
    assert 40 < numbers["flagged"] < numbers["all"] < 110
    for label in ("teff", "logg", "feh"):
        assert everything.loc[("all", label), "robust_sigma"] > 0
    assert (results / "validation/figures/libraries.png").read_bytes().startswith(b"\x89PNG")
    for name in ("all", "flagged"):
        log = (results / f"logs/library/{name}.log").read_text()
        assert "left out" in log
        assert "00003.fits" in log
        assert "Traceback" not in log
    assert "doubtful feh" in (results / "logs/library/flagged.log").read_text()

    # A file that is replaced is new input, for the libraries that it belongs to.
    assert "Nothing to be done" in snakemake(folder, *TARGETS)
    shutil.copy(folder / "L/00004.fits", folder / "L/00003.fits")
    plan = snakemake(folder, "--dry-run", *TARGETS)
    assert plan.count("rule library:") == plan.count("rule crossvalidation:") == 2
