"""Tests see neither the user's environment nor a working directory, and name programs that are missing."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from claims import some
from isolation import REQUIRE, isolate, missing

from tools import other_kernel


def test_what_could_change_results_is_taken_out_of_the_environment(tmp_path):
    hostile = (
        "OMP_NUM_THREADS",
        "OPENBLAS_VERBOSE",
        "SNAKEMAKE_PROFILE",
        "LAMOSTVAC_SITE",
        "XDG_CACHE_HOME",
    )
    hostile += (
        "MPLBACKEND",
        "TF_DETERMINISTIC_OPS",
        "PYTHONPATH",
        "http_proxy",
        "SLURM_JOB_ID",
        "GIT_DIR",
        "LANG",
    )
    kept = {
        "OPENBLAS_CORETYPE": "Haswell",
        "LAMOSTVAC_REAL_DATA": "/data",
        REQUIRE: "1",
        "USER": "me",
    }
    environment = dict.fromkeys(hostile, "hostile") | kept | {"HOME": "/home", "PATH": "/bin"}
    isolate(environment, tmp_path)
    assert "hostile" not in environment.values()
    assert environment.items() >= kept.items()
    assert environment["HOME"] == str(tmp_path)
    assert environment["PATH"] == f"{Path(sys.executable).parent}:/bin"
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"


def test_a_test_begins_in_an_empty_folder_with_a_home_of_its_own(project):
    assert list(Path().iterdir()) == []
    assert project not in (Path.cwd(), *Path.cwd().parents)
    assert Path.home().name.startswith("lamostvac-tests-")


def test_a_missing_program_skips_a_test_and_fails_it_where_all_have_to_be_there(monkeypatch):
    monkeypatch.delenv(REQUIRE, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such program"):
        missing("no such program")
    monkeypatch.setenv(REQUIRE, "1")
    with pytest.raises(pytest.fail.Exception, match="no such program"):
        missing("no such program")


def test_tests_are_skipped_for_real_data_alone(project):
    """Whatever else is missing goes through `missing`; a container may not mount even for root."""
    for path in some((project / "tests").rglob("*.py")):
        assert "importorskip" not in path.read_text() or path.name == "test_isolation.py", path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and "pytest.skip(" in ast.unparse(node):
                real = {node.name, *(each.arg for each in node.args.args)} & {
                    "real_data",
                    "missing",
                    "small_disk",
                }
                assert real or path.name == "test_isolation.py", f"{path}: {node.name}"


@pytest.mark.numeric
def test_the_second_kernel_is_not_the_first():
    found = other_kernel.other_kernel()
    assert found
    assert other_kernel.kernels(found) == [found.lower()] != other_kernel.kernels()
    assert other_kernel.other_kernel(("NoSuchKernel",)) is None


# ---------------------------------------------------------------- installing programs

COMMANDS = ("fitsverify", "stilts", "chromium", "cc", "strace")


def install(project, folder, there, uid=0, apt=True, required=False, packages="installed"):
    """Run the script on a machine that has the programs `there`; what it said, and calls of apt-get."""
    calls, programs = folder / "calls", folder / "bin"
    programs.mkdir()
    calls.touch()
    stand_ins = dict.fromkeys(there, "true") | {
        "id": f"echo {uid}",
        "dpkg-query": f"printf {packages}",
    }
    if apt:
        stand_ins["apt-get"] = f'echo "$@" >> {calls}'
    for name, line in stand_ins.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    for name, path in (("dirname", "/usr/bin/dirname"), ("python3", sys.executable)):
        (programs / name).symlink_to(path)
    environment = {"PATH": str(programs), **({REQUIRE: "1"} if required else {})}
    done = subprocess.run(
        [project / "tools/install_test_programs.sh"],
        env=environment,
        capture_output=True,
        text=True,
    )
    return done, calls.read_text().splitlines()


def test_nothing_is_installed_where_all_programs_are(project, tmp_path):
    done, calls = install(project, tmp_path, COMMANDS)
    assert (done.returncode, calls) == (0, [])
    assert "All programs" in done.stdout


def test_what_is_missing_is_installed_after_an_update(project, tmp_path):
    done, calls = install(project, tmp_path, ("google-chrome", "stilts"))
    assert done.returncode == 0, done.stderr
    assert calls == [
        "update -qq",
        "install -y -qq --no-install-recommends fitsverify gcc libc6-dev strace",
    ]
    (tmp_path / "b").mkdir()
    done, calls = install(project, tmp_path / "b", COMMANDS, packages="removed", required=True)
    assert done.returncode == 0, done.stderr
    assert calls[1].startswith("install -y -qq --no-install-recommends slurmctld ")


@pytest.mark.parametrize("machine", [{"uid": 1000}, {"apt": False}])
def test_where_nothing_can_be_installed_that_is_an_error_in_ci_only(project, tmp_path, machine):
    for name, required in (("a", False), ("b", True)):
        (tmp_path / name).mkdir()
        done, calls = install(project, tmp_path / name, ["stilts"], required=required, **machine)
        assert (
            "Missing programs that tests use: chromium fitsverify gcc libc6-dev strace\n"
            in done.stdout
        )
        assert (done.returncode, calls) == (int(required), [])


@pytest.mark.parametrize("name", ["tools/install_test_programs.sh", ".ci/run"])
def test_the_scripts_are_plain_shell(project, name):
    subprocess.run(["sh", "-n", project / name], check=True)
    subprocess.run([Path(sys.executable).with_name("shellcheck"), project / name], check=True)
    assert os.access(project / name, os.X_OK)
