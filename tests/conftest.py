"""What several test files share."""

import atexit
import fcntl
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

from isolation import isolate

# Before anything imports NumPy, Matplotlib or Keras. Processes of pytest-xdist take over what their parent has set.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _home = Path(tempfile.mkdtemp(prefix="lamostvac-tests-"))
    isolate(os.environ, _home)
    _pid = os.getpid()
    atexit.register(lambda: os.getpid() == _pid and shutil.rmtree(_home, ignore_errors=True))

import hypothesis
import pytest
from workflow_run import copy_project, snakemake

PROJECT = Path(__file__).resolve().parent.parent

# Deadlines fail on a busy machine; the database would make one run depend on the last.
# The health check of slow data is off, as Hypothesis has it where CI is set, so that both are held to the same.
hypothesis.settings.register_profile(
    "project",
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("project")


def pytest_make_parametrize_id(val, argname):
    """Name a case of raw bytes by its argument: workers must agree on names, also of bytes that have a time in them."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items) -> None:
    """What reads the shared run is slow wherever it stands: it waits for that run.

    Runs of the workflow come first and what is short last, so that all processes of pytest-xdist end together.
    """
    for item in items:
        if "run" in item.fixturenames:
            item.add_marker(pytest.mark.slow)
    items.sort(key=turn)  # the rest stays in order


def turn(item) -> int:
    """0 for runs of the workflow in files that stay whole, then other such runs, other slow tests, the rest."""
    if item.get_closest_marker("slow") is None:
        return 3
    if "workflow" not in item.path.parts:
        return 2
    return 1 if stands_alone(item.nodeid) else 0


# Files of long tests that share nothing costly: each of them goes to the process that is free.
ALONE = (
    *("tests/workflow/test_workflow.py", "tests/workflow/test_faults.py"),
    *("tests/project/test_tools.py", "tests/run/test_plan.py"),
)


def stands_alone(nodeid: str) -> bool:
    return nodeid.partition("::")[0] in ALONE


def pytest_xdist_make_scheduler(config, log):
    """With `--dist loadfile` files stay whole but for those of `ALONE`."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if stands_alone(nodeid) else super()._split_scope(nodeid)

    return Scheduling(config, log)


def blas_kernels() -> str:
    """The kernels that the linear algebra of this run goes through: results depend on them in their last digits."""
    from threadpoolctl import threadpool_info

    for name in ("numpy", "scipy.linalg"):
        importlib.import_module(name)
    found = []
    for library in threadpool_info():
        if library["user_api"] == "blas":
            owner = next(
                (name for name in ("numpy", "scipy") if f"{name}.libs" in library["filepath"]), "?"
            )
            found.append(
                f"{owner} {library['internal_api']} {library['version']} {library['architecture']}"
            )
    asked = os.environ.get("OPENBLAS_CORETYPE")
    return f"BLAS: {', '.join(sorted(found))}" + (f" (OPENBLAS_CORETYPE={asked})" if asked else "")


def pytest_report_header() -> str:
    return blas_kernels()


def pytest_terminal_summary(terminalreporter) -> None:
    if terminalreporter.verbosity < 0:  # then there was no header
        terminalreporter.write_line(blas_kernels())


@pytest.fixture(scope="session", autouse=True)
def _elsewhere(tmp_path_factory) -> Iterator[Path]:
    """An empty folder for working in, so that nothing of the checkout is found by a relative path."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with chdir(folder):
        yield folder


@pytest.fixture(autouse=True)
def _own_working_directory(_elsewhere) -> Iterator[None]:
    """An empty working directory for each test."""
    with tempfile.TemporaryDirectory(dir=_elsewhere) as folder, chdir(folder):
        yield


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root folder."""
    return PROJECT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The tree of real files: $LAMOSTVAC_REAL_DATA, else ../shared/real; skips where there is none."""
    root = PROJECT / os.environ.get("LAMOSTVAC_REAL_DATA", "../shared/real")
    if not (root / "lamost").is_dir():
        pytest.skip(f"no real data at {root}; set LAMOSTVAC_REAL_DATA to their folder")
    return root


@pytest.fixture(scope="session")
def run(project, tmp_path_factory) -> Path:
    """The results of one complete run from nothing; tests only read them."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder = root / "workflow"
    with open(root / "workflow.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            # Processes of their own, as a user's: their times and memory are read, and other runs are held to it.
            copy = copy_project(project, folder)
            snakemake(copy, "all", "pack", "--cores", "2", python=sys.executable)
    assert (folder / "results/catalog/recommended.fits").exists(), (
        "the shared run failed in another test"
    )
    return folder / "results"
