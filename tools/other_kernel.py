"""A kernel of OpenBLAS other than the one that NumPy and SciPy take here, for OPENBLAS_CORETYPE.

    OPENBLAS_CORETYPE=$(python tools/other_kernel.py) python -m pytest -m numeric

OpenBLAS takes the kernel that suits the processor when it is loaded, and sums go in another order in each, so that the
last digits of results depend on the machine. `make test-kernel` runs the numeric tests on a second kernel.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

# The most common one first; Zen is that one too.
CANDIDATES = ("Haswell", "SandyBridge", "Nehalem", "NeoverseN1", "ARMV8")
SAME = {"zen": "haswell"}
PROGRAM = """
import numpy, scipy.linalg
from threadpoolctl import threadpool_info
print(*(each["architecture"] for each in threadpool_info() if each["internal_api"] == "openblas"))
"""


def kernels(asked: str | None = None) -> list[str]:
    """The kernels in lower case that NumPy and SciPy take, `asked` or what the environment says."""
    environment = os.environ | ({"OPENBLAS_CORETYPE": asked} if asked else {})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    names = [name.lower() for name in done.stdout.split()]
    return sorted({SAME.get(name, name) for name in names})


def other_kernel(candidates: Sequence[str] = CANDIDATES) -> str | None:
    """The first candidate that NumPy and SciPy both take when asked and that is not theirs anyway; None without one."""
    own = kernels()
    for name in candidates:
        if name.lower() not in own and kernels(name) == [name.lower()]:
            return name
    return None


if __name__ == "__main__":
    found = other_kernel()
    if found is None:
        sys.exit(
            "Error: OpenBLAS has no second kernel for this processor that both take; give one with KERNEL="
        )
    print(found)
