"""Environments without a conda channel: what Snakemake passes to conda, and what the container's recipes copy.

`conda` is a script here that writes down its arguments and makes an environment whose Python is this one. It shows
that files and names are right, not that a channel has the packages.
"""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from claims import some
from package import build_wheel
from packaging.requirements import Requirement
from workflow_run import copy_project, snakemake

from lamostvac.core.code_version import reached

pytestmark = pytest.mark.slow

CONDA_NAMES = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "bayes_opt": "bayesian-optimization",
    "isal": "python-isal",
}
CONDA_NAMES |= {
    "matplotlib": "matplotlib-base",
    "tensorflow": "tensorflow-cpu",
    "sklearn": "scikit-learn",
    "astropy_healpix": "astropy-healpix",
}

PYPI_NAMES = CONDA_NAMES | {"isal": "isal", "matplotlib": "matplotlib"}

CONDA = """#!{python}
import json, os, stat, sys
root, arguments = {root!r}, sys.argv[1:]
with open(root + "/calls", "a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
if arguments == ["info", "--json"]:
    print(json.dumps({{"conda_prefix": root, "platform": "linux-64"}}))
elif arguments == ["--version"]:
    print("conda 24.7.1")
elif arguments[:2] == ["config", "--get"]:
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif arguments[:1] == ["clean"]:
    pass
elif "create" in arguments:
    prefix = arguments[arguments.index("--prefix") + 1]
    if os.environ.get("CONDA_FAILS"):
        sys.exit("no such package")
    os.makedirs(prefix + "/bin")
    program = prefix + "/bin/python"
    with open(program, "w") as file:
        file.write('#!/bin/sh\\necho "$PYTHONPATH" >>{root}/started\\nexec {python} "$@"\\n')
    os.chmod(program, 0o755)
elif arguments[:2] == ["list", "--explicit"]:
    print("# platform: linux-64\\n@EXPLICIT\\nfile://channel/linux-64/python-3.12.0-0.conda#0123")
else:
    sys.exit("unexpected: " + " ".join(arguments))
"""


@pytest.fixture
def conda(tmp_path, monkeypatch) -> Path:
    """The folder of a conda that only writes down what it is asked for; it is first on PATH."""
    root = tmp_path / "conda"
    (root / "bin").mkdir(parents=True)
    program = root / "bin/conda"
    program.write_text(CONDA.format(python=sys.executable, root=str(root)))
    program.chmod(0o755)
    (root / "bin/activate").write_text('export PATH="$1/bin:$PATH"\n')
    monkeypatch.setenv("PATH", f"{root}/bin:{os.environ['PATH']}")
    return root


def calls(conda: Path) -> list[list[str]]:
    return [json.loads(line) for line in (conda / "calls").read_text().splitlines()]


def imported(paths: list[Path]) -> set[str]:
    modules = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(node.module.split(".")[0])
    return modules - set(sys.stdlib_module_names) - {"lamostvac"}


def test_the_jobs_environment_has_every_import_of_library_and_scripts(project):
    scripts = some((project / "workflow_scripts").glob("*.py"))
    used = imported([*scripts, *frozenset.union(*(reached(script) for script in scripts))])
    assert {"numpy", "tensorflow", "keras"} <= used
    environment = yaml.safe_load((project / "envs/lamostvac.yaml").read_text())
    there = {spec.split("=")[0] for spec in environment["dependencies"]}
    assert {CONDA_NAMES.get(name, name) for name in used} <= there


def test_the_package_asks_for_every_import_of_library_and_scripts(project):
    """Also for what comes with another package today: that one may do without it tomorrow."""
    used = imported(
        some([*project.glob("lamostvac/**/*.py"), *project.glob("workflow_scripts/*.py")])
    )
    settings = tomllib.loads((project / "pyproject.toml").read_text())
    asked = {Requirement(text).name for text in settings["project"]["dependencies"]}
    assert {PYPI_NAMES.get(name, name.replace("_", "-")) for name in used} <= asked


def test_every_rules_environment_is_one_of_envs(project):
    names = set()
    for path in (project / "rules").glob("*.smk"):
        names |= set(re.findall(r'conda:\s+"\.\./envs/(\w+)\.yaml"', path.read_text()))
    assert names == {"lamostvac"}
    assert {path.stem for path in (project / "envs").glob("*.yaml")} == {"lamostvac", "snakemake"}


def test_a_job_under_conda_finds_the_library_and_the_pins_are_used(project, tmp_path, conda):
    folder = copy_project(project, tmp_path / "run")
    pins = folder / "envs/lamostvac.linux-64.pin.txt"
    pins.write_text("@EXPLICIT\nfile://channel/linux-64/python-3.12.0-0.conda\n")
    # Where there is a network: only make the environments. Nothing else runs.
    as_users_do = {"programs": conda / "bin", "python": sys.executable}
    snakemake(folder, "--cores", "1", "--sdm", "conda", "--conda-create-envs-only", **as_users_do)
    assert not (folder / "results").exists()
    made = [call for call in calls(conda) if "create" in call]
    assert len(made) == 1
    given = Path(made[0][made[0].index("--file") + 1])
    assert given.name.endswith(".pin.txt")
    assert given.read_text() == pins.read_text()
    # Where there is none: what exists is used, and scripts find lamostvac without PYTHONPATH.
    manifest = "results/survey/manifest.csv"
    snakemake(folder, manifest, "--cores", "1", "--sdm", "conda", **as_users_do)
    assert (folder / "results/survey/manifest.csv").exists()
    assert [call for call in calls(conda) if "create" in call] == made
    started = (conda / "started").read_text().splitlines()
    assert len(started) >= 2  # simulate and survey
    assert set(started) == {""}


def test_pins_are_written_for_both_environments(project, tmp_path, conda):
    folder = tmp_path / "project"
    for name in ("envs", "tools"):
        shutil.copytree(project / name, folder / name)
    subprocess.run([folder / "tools/pin_environments.sh"], check=True, capture_output=True)
    for name in ("lamostvac", "snakemake"):
        text = (folder / f"envs/{name}.linux-64.pin.txt").read_text()
        assert "@EXPLICIT" in text.splitlines()
    made = [call for call in calls(conda) if "create" in call]
    assert [call[call.index("--file") + 1] for call in made] == [
        "envs/lamostvac.yaml",
        "envs/snakemake.yaml",
    ]


@pytest.mark.parametrize(
    ("arguments", "fails", "sentence"),
    [(["nothing"], "", "there is no envs/nothing.yaml"), (["lamostvac"], "1", "no such package")],
)
def test_pins_that_cannot_be_made_leave_the_old_ones(
    project, tmp_path, conda, arguments, fails, sentence
):
    folder = tmp_path / "project"
    for name in ("envs", "tools"):
        shutil.copytree(project / name, folder / name)
    old = folder / "envs/lamostvac.linux-64.pin.txt"
    old.write_text("@EXPLICIT\n")
    done = subprocess.run(
        [folder / "tools/pin_environments.sh", *arguments],
        env=os.environ | {"CONDA_FAILS": fails},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert old.read_text() == "@EXPLICIT\n"
    assert [path.name for path in (folder / "envs").glob("*.pin*")] == [old.name]


def test_the_script_is_plain_shell(project):
    script = project / "tools/pin_environments.sh"
    subprocess.run(["sh", "-n", script], check=True)
    subprocess.run([Path(sys.executable).with_name("shellcheck"), script], check=True)


def files_of_wheel(project: Path, folder: Path) -> set[str]:
    """Names of the files in the package that is built from a copy of the project."""
    with ZipFile(build_wheel(project, folder)) as archive:
        return set(archive.namelist())


def copied(project: Path, recipe: str) -> set[str]:
    """What a recipe takes from the project."""
    text = (project / recipe).read_text()
    if recipe == "Containerfile":
        lines = (shlex.split(line) for line in text.splitlines() if line.startswith("COPY "))
        return {name for words in lines for name in words[1:-1]}
    section = text.split("%files\n")[1].split("\n\n")[0]
    return {line.split()[0] for line in section.splitlines()}


@pytest.mark.parametrize("recipe", ["Containerfile", "lamostvac.def"])
def test_the_package_is_built_from_what_the_container_copies(project, tmp_path, recipe):
    """It has everything that the one from the whole checkout has, and nothing is fetched."""
    for name in copied(project, recipe):
        source, target = project / name, tmp_path / "copied" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    assert files_of_wheel(tmp_path / "copied", tmp_path) == files_of_wheel(project, tmp_path)


@pytest.mark.parametrize("recipe", ["Containerfile", "lamostvac.def"])
def test_the_container_has_only_locked_versions(project, recipe):
    text = (project / recipe).read_text()
    installs = re.findall(r"(?:pip|apt|apt-get|conda|uv) .*install.*|pip install.*", text)
    assert [line.split(" && ")[0] for line in installs] == [
        "pip install --no-cache-dir --require-hashes -r /opt/lamostvac/requirements.lock",
        "pip install --no-deps --no-index --no-build-isolation /opt/lamostvac",
    ]
    assert re.findall(r"^(?:FROM|From:) (.*)$", text, re.M) == ["python:3.12-slim"]
    if recipe == "Containerfile":
        assert re.search(r"^USER (?!root)", text, re.M)
