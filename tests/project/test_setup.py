"""What a fresh clone needs: the environment's files agree, and an unfit machine is told so."""

import contextlib
import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from contextlib import nullcontext as does_not_raise
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from claims import some
from packaging.requirements import Requirement
from workflow_run import fresh_python, imported_by_rules

from tools import lock


@pytest.fixture(scope="module")
def bootstrap(project):
    spec = importlib.util.spec_from_file_location("bootstrap", project / "tools" / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def locked(project):
    pins = re.findall(
        r"^([A-Za-z0-9._-]+)==(\S+)", (project / "requirements.lock").read_text(), re.MULTILINE
    )
    return {name.lower().replace("_", "-"): version for name, version in pins}


def test_the_locked_version_of_every_package_is_one_that_the_project_allows(project, locked):
    settings = tomllib.loads((project / "pyproject.toml").read_text())
    wanted = settings["project"]["dependencies"]
    for text in (
        wanted + settings["dependency-groups"]["dev"] + settings["build-system"]["requires"]
    ):
        requirement = Requirement(text)
        assert requirement.specifier.contains(locked[requirement.name]), text


def test_what_is_installed_with_the_package_has_a_tested_lower_bound_and_no_pin(project, locked):
    """What is tested is the lock, so the bounds are its versions up to the second number."""
    settings = tomllib.loads((project / "pyproject.toml").read_text())
    for text in settings["project"]["dependencies"]:
        requirement = Requirement(text)
        lower = {each.version for each in requirement.specifier if each.operator == ">="}
        assert lower == {".".join(locked[requirement.name].split(".")[:2])}, text
        assert not any(each.operator == "==" for each in requirement.specifier), text


@pytest.mark.parametrize("name", ["lamostvac", "snakemake"])
def test_conda_pins_are_the_locked_versions(project, locked, name):
    pypi_names = {
        "matplotlib-base": "matplotlib",
        "python-isal": "isal",
        "snakemake-minimal": "snakemake",
    }
    environment = yaml.safe_load((project / "envs" / f"{name}.yaml").read_text())
    for spec in environment["dependencies"]:
        package, version = spec.split("=")
        if package != "python":
            assert locked[pypi_names.get(package, package)] == version, spec


def test_the_workflows_own_environment_has_what_the_rules_import(project):
    """Whoever starts Snakemake from envs/snakemake.yaml parses the rules with what stands there."""
    modules = imported_by_rules(project, r"\s*")
    assert len(modules) > 10
    # In a fresh interpreter: what every one of our modules imports itself, not what packages import in turn.
    program = (
        "import sys, importlib, ast, pathlib\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.startswith('lamostvac') and module.__file__:\n"
        "        for node in ast.parse(pathlib.Path(module.__file__).read_text()).body:\n"
        "            if isinstance(node, ast.Import): print(*(alias.name for alias in node.names), sep='\\n')\n"
        "            if isinstance(node, ast.ImportFrom): print(node.module)\n"
    )
    printed = fresh_python(project, program, *sorted(modules))
    used = {name.split(".")[0] for name in printed} - set(sys.stdlib_module_names) - {"lamostvac"}
    conda = {"yaml": "pyyaml", "sklearn": "scikit-learn", "bayes_opt": "bayesian-optimization"}
    conda |= {"isal": "python-isal", "matplotlib": "matplotlib-base"}
    environment = yaml.safe_load((project / "envs/snakemake.yaml").read_text())
    there = {spec.split("=")[0] for spec in environment["dependencies"]}
    assert {conda.get(name, name) for name in used} <= there


def test_a_new_lock_keeps_every_pin_but_those_to_upgrade(project, locked):
    text = (project / "requirements.lock").read_text()
    kept = lock.pins(text, [])
    assert {pin.partition("==")[0] for pin in kept} == set(locked)
    assert set(kept) - set(lock.pins(text, ["numpy"])) == {
        pin for pin in kept if pin.startswith("numpy==")
    }


def test_the_lock_names_no_host_and_every_package_has_hashes(project):
    text = (project / "requirements.lock").read_text()
    assert "://" not in text
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    assert all("--hash=sha256:" in block for block in blocks if "==" in block.split("\n")[0])


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 9), (3, 13, 1)])
def test_supported_pythons_pass(bootstrap, version):
    with does_not_raise():
        bootstrap.check_python(version, "python3")


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 13), (3, 14, 0)])
def test_another_python_is_told_what_to_do(bootstrap, version):
    with pytest.raises(
        bootstrap.Problem, match=r"needs Python 3\.11, 3\.12 or 3\.13 but python3 is .*make PYTHON="
    ):
        bootstrap.check_python(version, "python3")


def test_processes_that_the_command_starts_do_not_start_it_again(bootstrap, project, tmp_path):
    """`lamostvac label --processes 2` starts some, which read the command's file."""
    (tmp_path / "lib/.venv/bin").mkdir(parents=True)
    (tmp_path / "lib/lamostvac").symlink_to(project / "lamostvac")
    command = tmp_path / "lib/.venv/bin/lamostvac"
    command.write_text(bootstrap.COMMAND.format(sys.executable))
    names = runpy.run_path(str(command), run_name="__mp_main__")
    assert callable(names["main"])


def test_missing_ensurepip_is_told_by_the_package_to_install(bootstrap):
    with pytest.raises(bootstrap.Problem, match=r"ensurepip is missing.*-venv"):
        bootstrap.check_venv_support(has_ensurepip=False)


def test_uv_is_installed_at_the_locked_version_with_hashes(bootstrap, project, locked):
    block = bootstrap.locked_block((project / "requirements.lock").read_text(), "uv").splitlines()
    assert block[0] == f"uv=={locked['uv']} \\"
    assert all(line.startswith("    --hash=sha256:") for line in block[1:])
    assert not block[-1].endswith("\\")


def test_setup_is_done_when_the_stamp_says_so(project, tmp_path, bootstrap):
    """An environment whose stamp carries the lock's hash is left alone, whatever the files' times."""
    (tmp_path / "tools").mkdir()
    for name in ("tools/bootstrap.py", "requirements.lock"):
        shutil.copy(project / name, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    os.symlink(sys.executable, tmp_path / ".venv" / "bin" / "python")
    stamp = tmp_path / ".venv" / "lamostvac-stamp"
    stamp.write_text(
        bootstrap.stamp_text(
            (project / "requirements.lock").read_text(), sys.version_info, tmp_path / ".venv"
        )
    )
    os.utime(stamp, (0, 0))
    done = subprocess.run(
        [sys.executable, "tools/bootstrap.py"], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout == b""
    assert stamp.stat().st_mtime > 0


def test_a_moved_environment_is_noticed_by_make_and_by_setup(project, tmp_path, bootstrap):
    """Its programs begin with the path that their Python had."""
    old, new = tmp_path / "old", tmp_path / "new"
    (old / ".venv").mkdir(parents=True)
    (old / "tools").mkdir()
    (old / "lamostvac/spectra").mkdir(parents=True)
    needed = ("tools/bootstrap.py", "tools/compile_native.py", "lamostvac/spectra/native.c")
    for name in ("Makefile", "requirements.lock", *needed):
        shutil.copy(project / name, old / name)
    lock = (project / "requirements.lock").read_text()
    stamp = bootstrap.stamp_text(lock, sys.version_info, old / ".venv")
    (old / ".venv/lamostvac-stamp").write_text(stamp)

    def make(folder):
        command = ["make", "--no-print-directory", "--dry-run", "setup"]
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True
        ).stdout

    assert "Nothing to be done for 'setup'" in make(old)
    assert bootstrap.moved_from(stamp, old / ".venv") is None
    old.rename(new)
    assert "tools/bootstrap.py" in make(new)
    assert bootstrap.moved_from(stamp, new / ".venv") == str(old / ".venv")
    # The stamp of an older version names no place.
    assert bootstrap.moved_from("0123 python3.11\n", new / ".venv") is None


def test_a_blank_in_the_path_is_told_before_anything_is_installed(bootstrap):
    bootstrap.check_place("/data/lamost-vac")
    with pytest.raises(bootstrap.Problem, match=r"a blank in its path, as `/data/my work` has"):
        bootstrap.check_place("/data/my work")


def test_setup_makes_a_moved_environment_again_and_says_so(
    project, tmp_path, bootstrap, monkeypatch, capsys
):
    """The whole of `make setup` but for the packages, at the old place and at the new one."""
    monkeypatch.setattr(bootstrap, "install_with_uv", lambda python, venv, lock: True)
    monkeypatch.setattr(bootstrap, "compile_packages", lambda python, venv: None)
    monkeypatch.setattr(bootstrap, "LOCK", str(project / "requirements.lock"))

    def setup(checkout):
        monkeypatch.setattr(bootstrap, "PROJECT", str(checkout))
        bootstrap.main()
        python = (checkout / ".venv/bin/lamostvac").read_text().splitlines()[0]
        assert python == f"#!{checkout}/.venv/bin/python"
        assert Path(python.removeprefix("#!")).exists()
        return capsys.readouterr().out

    (tmp_path / "old").mkdir()
    assert "making .venv with" in setup(tmp_path / "old")
    assert setup(tmp_path / "old") == ""
    moved = (tmp_path / "old").rename(tmp_path / "new")
    said = setup(moved)
    assert f".venv was made at {tmp_path}/old/.venv and its programs only run there" in said
    assert setup(moved) == ""


def test_the_checkout_is_installed_where_it_stands_and_may_be_moved(project, tmp_path, bootstrap):
    """The command and `import lamostvac` find the checkout from `.venv`, without any path of this machine."""
    checkout = tmp_path / "checkout"
    shutil.copytree(
        project / "lamostvac", checkout / "lamostvac", ignore=shutil.ignore_patterns("__pycache__")
    )
    (checkout / "Snakefile").touch()
    venv = checkout / ".venv"
    packages = venv / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    packages.mkdir(parents=True)
    (venv / "bin").mkdir()
    bootstrap.install_project(sys.executable, str(venv), sys.version_info, str(checkout))
    assert (packages / (packages / "lamostvac.pth").read_text().strip()).resolve() == checkout
    moved = checkout.rename(tmp_path / "moved")
    command = [moved / ".venv/bin/lamostvac", "configuration", "run.seed"]
    where = "import lamostvac.core.paths as paths; print(paths.PROJECT)"
    assert subprocess.run(command, capture_output=True, check=True).stdout.startswith(
        b"run.seed: 1"
    )
    program = (moved / ".venv/bin/lamostvac").read_text().split("main =")[0]
    (moved / ".venv/bin/where").write_text(program + where)
    shown = subprocess.run(
        [sys.executable, moved / ".venv/bin/where"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == str(moved)


def test_the_slurm_profile_is_found_by_its_name_and_names_no_account(project):
    assert os.readlink(project / "slurm") == "profiles/slurm"
    text = (project / "slurm" / "config.yaml").read_text()
    assert "scheduler: greedy" in text
    assert not re.search(r"slurm_(account|partition): (?!\?(account|partition)\n)", text)


def shipped_files(project):
    """The files under version control; where that is not known, all but what .gitignore names."""
    with contextlib.suppress(FileNotFoundError):
        # The checkout may be another user's, as in a container.
        command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
        listed = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        if listed.returncode == 0:
            return [project / name for name in listed.stdout.split("\0") if name]
    ignored = [line.strip("/") for line in (project / ".gitignore").read_text().splitlines()]
    found = []
    for folder, folders, names in os.walk(project):
        folders[:] = [name for name in folders if name not in [".git", *ignored]]
        found += [
            Path(folder, name) for name in names if not any(fnmatch(name, each) for each in ignored)
        ]
    return found


def test_no_file_names_a_package_host_or_a_place_on_some_machine(project):
    wrong = re.compile(r"(?<![\w.])/(?:home|root|work)/|pypi" + r"\.org|pythonhosted")
    for path in some(shipped_files(project)):
        if (
            path.suffix in (".gz", ".png", ".fits")
            or not path.is_file()
            or path == project / "tests/project/test_setup.py"
            or "fuzz_corpus" in path.parts  # damaged on purpose
        ):
            continue
        assert not wrong.search(path.read_text()), path


def test_tools_find_the_library_without_being_installed(project):
    """`python tools/one.py` has the folder tools on its path, not the project's."""
    inserted = "sys.path.insert(0, str(Path(__file__).resolve().parent.parent))"
    checked = 0
    for path in sorted((project / "tools").glob("*.py")):
        text = path.read_text()
        if '__name__ == "__main__"' not in text:
            continue  # imported by a tool
        used = [text.index(line) for line in ("\nfrom lamostvac", "\nfrom tools") if line in text]
        assert not used or 0 <= text.find(inserted) < min(used), path.name
        checked += bool(used)
    assert checked > 5
