"""What several test files share."""

import os
from pathlib import Path

# Tests run side by side; each keeps to one thread. Before anything imports NumPy.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis
import pytest

PROJECT = Path(__file__).resolve().parent.parent

# Deadlines fail on a busy machine; the database would make one run depend on the last.
hypothesis.settings.register_profile("project", deadline=None, database=None, derandomize=True)
hypothesis.settings.load_profile("project")


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
