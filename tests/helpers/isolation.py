"""What tests see of the machine: which variables of the environment stay, and what a missing program means."""

import os
import sys
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRE = "LAMOSTVAC_REQUIRE_PROGRAMS"
KEPT = ("OPENBLAS_CORETYPE", "LAMOSTVAC_REAL_DATA", "LAMOSTVAC_FAULTS", REQUIRE)
# Each of these changes what the project or a program or library that it uses does.
REMOVED = (
    *(
        "LAMOSTVAC_",
        "SNAKEMAKE_",
        "SLURM_",
        "SBATCH_",
        "SRUN_",
        "SALLOC_",
        "SQUEUE_",
        "SACCT_",
        "SINFO_",
    ),
    *(
        "SCANCEL_",
        "OPENBLAS_",
        "GOTO_",
        "OMP_",
        "MKL_",
        "KMP_",
        "NUMEXPR_",
        "BLIS_",
        "NVPL_",
        "NPY_",
        "SCIPY_",
    ),
    *(
        "TF_",
        "KERAS_",
        "CUDA_",
        "XLA_",
        "MPL",
        "XDG_",
        "ASTROPY_",
        "HDF5_",
        "ARROW_",
        "SKLEARN_",
        "HYPOTHESIS_",
    ),
    *(
        "PYTHON",
        "VIRTUAL_ENV",
        "CONDA_",
        "MAMBA_",
        "APPTAINER_",
        "SINGULARITY_",
        "GIT_",
        "LC_",
        "LANG",
    ),
    *("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "JAVA_", "_JAVA_", "JDK_JAVA_"),
    *(
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "FTP_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ),
)
# Tests run side by side, so that each keeps to one thread.
SET = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")},
    **{"TF_CPP_MIN_LOG_LEVEL": "2", "LC_ALL": "C.UTF-8", "TZ": "UTC", "MPLBACKEND": "agg"},
}


def isolate(environment: MutableMapping[str, str], home: Path) -> None:
    """Make the environment that of every machine, with `home`, an empty folder, for settings and caches."""
    for name in list(environment):
        if name.upper().startswith(REMOVED) and name not in KEPT:
            del environment[name]
    environment.update(SET)
    environment["HOME"] = str(home)
    environment["HYPOTHESIS_STORAGE_DIRECTORY"] = str(home / "hypothesis")
    environment["PATH"] = (
        f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    )
    if environment is os.environ:
        time.tzset()


def missing(what: str) -> NoReturn:
    """Skip the test for a program that is not here, or fail where all programs have to be (.ci/run)."""
    if os.environ.get(REQUIRE):
        pytest.fail(f"{what}; {REQUIRE} is set, so that this is no reason to skip")
    pytest.skip(what)
