"""What several test files share."""

import fcntl
import os
from pathlib import Path

# Tests run side by side; each keeps to one thread. Before anything imports NumPy.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis
import pytest
from workflow_run import copy_project, snakemake

PROJECT = Path(__file__).resolve().parent.parent

# Deadlines fail on a busy machine; the database would make one run depend on the last.
hypothesis.settings.register_profile("project", deadline=None, database=None, derandomize=True)
hypothesis.settings.load_profile("project")


def pytest_make_parametrize_id(val, argname):
    """Name a case of raw bytes by its argument: workers must agree on names, also of bytes that have a time in them."""
    return argname if isinstance(val, bytes) else None


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
            snakemake(copy_project(project, folder), "--cores", "2")
    assert (folder / "results/catalog/recommended.fits").exists(), "the shared run failed in another test"
    return folder / "results"
