"""The project as a package: what a wheel holds, and that it alone is enough to run from an empty folder.

The environment is a new one that sees the packages of this one but not the checkout.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
from package import build_wheel
from workflow_run import PARTS, copy_project

from lamostvac import __version__

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(project, tmp_path_factory) -> Path:
    """A wheel of the checkout, built by hatchling without a network."""
    return build_wheel(project, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The programs of an environment with the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = next((folder / "lib").glob("python*")) / "site-packages"
    # `sysconfig` instead of `site`: only this folder, not what its .pth files add.
    (packages / "packages.pth").write_text(
        f"import sys; sys.path.append({sysconfig.get_paths()['purelib']!r})\n"
    )
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install"]
    subprocess.run(
        [*command, "--no-deps", "--no-index", "--quiet", str(wheel)],
        check=True,
        capture_output=True,
    )
    return folder / "bin"


def run(installed: Path, *words: str) -> str:
    """What a program of the environment prints, started in the working directory."""
    done = subprocess.run(
        [installed / words[0], *words[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_wheel_has_every_file_that_a_run_needs_and_no_other(project, wheel):
    if shutil.which("cc"):
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        compiled = {"lamostvac/spectra/native.lib"}
    else:
        platform, compiled = "any", set()
    assert wheel.name == f"lamostvac-{__version__}-py3-none-{platform}.whl"
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        path.relative_to(project).as_posix()
        for part in (*PARTS, "profiles")
        for path in (
            [project / part] if (project / part).is_file() else (project / part).rglob("*")
        )
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".lib"
    }
    inside = {
        name if name.startswith("lamostvac/") else f"lamostvac/workflow/{name}" for name in wanted
    }
    assert {"lamostvac/py.typed", "lamostvac/workflow/Snakefile"} <= inside
    assert names == inside | {"lamostvac/workflow/COMMIT"} | compiled


def test_a_wheel_says_which_commit_it_is(project, wheel):
    """tools/build_hook.py writes it down while the wheel is built."""
    with ZipFile(wheel) as archive:
        recorded = archive.read("lamostvac/workflow/COMMIT").decode()
    assert re.fullmatch(r"(unknown|[0-9a-f]{40}(-dirty)?)\n", recorded)
    assert (recorded == "unknown\n") == (not (project / ".git").exists())


def test_the_installed_command_needs_no_checkout(installed):
    program = (
        "import lamostvac, lamostvac.core.paths as paths, lamostvac.catalog.files as files\n"
        "print(lamostvac.__file__, paths.PROJECT, files.git_commit(paths.PROJECT), sep='\\n')"
    )
    module, project, commit = run(installed, "python", "-c", program).splitlines()
    inside = installed.parent.resolve()
    assert Path(module).resolve().is_relative_to(inside)
    assert Path(project).resolve().is_relative_to(inside)
    assert commit == (Path(project) / "COMMIT").read_text().strip()
    native = "from lamostvac.spectra import native; print(native.compiled() is not None)"
    assert run(installed, "python", "-c", native) == f"{shutil.which('cc') is not None}\n"
    assert "Commands:" in run(installed, "lamostvac", "--help")
    assert run(installed, "lamostvac", "configuration", "run.seed").startswith("run.seed: 1")


def test_the_installed_command_plans_and_starts_the_demo_from_an_empty_folder(installed):
    said = run(installed, "lamostvac", "run", "--demo", "--", "--dry-run")
    counts = dict(re.findall(r"^(\w+) +(\d+)$", said.split("Job stats:")[1], re.MULTILINE))
    assert {"simulate", "survey", "train", "merge"} <= set(counts)
    assert "core-hours" in run(installed, "lamostvac", "plan", "--demo")
    assert os.listdir() in ([], [".snakemake"])


def test_jobs_of_the_installed_package_find_their_scripts_and_the_library(installed):
    few = "simulation={n_stars: {OB: 2, A: 2, F: 2, G: 2, K: 2, M: 2}, n_broken: 0, n_library: 20}"
    target = "results/demo/survey/manifest.csv"
    run(installed, "lamostvac", "run", target, "--demo", "--cores", "1", "--", "--config", few)
    assert Path(target).read_text().startswith("type,chunk,n_spectra")


def test_scripts_of_a_checkout_take_its_library_where_another_is_installed(
    project, installed, tmp_path
):
    """Rules find it because Snakemake puts their folder first; a script's own Python has to be told."""
    checkout = copy_project(project, tmp_path / "checkout")
    module = checkout / "lamostvac/simulate/release.py"
    seen = tmp_path / "the_checkouts"
    here = f"import pathlib\n\npathlib.Path({str(seen)!r}).touch()\n"
    module.write_text(module.read_text() + here)
    few = "simulation={n_stars: {OB: 2, A: 2, F: 2, G: 2, K: 2, M: 2}, n_broken: 0, n_library: 20}"
    where = (
        "--snakefile",
        str(checkout / "Snakefile"),
        "--configfile",
        str(checkout / "tiny.yaml"),
    )
    target = "results/simulated/truth.fits"
    words = ("-m", "snakemake", target, "--cores", "1", *where, "--config", few)
    run(installed, "python", *words, "--dry-run")
    assert not seen.exists()
    run(installed, "python", *words)
    assert seen.exists()
