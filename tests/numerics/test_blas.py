"""Threads of linear algebra are set for a block, in every library that NumPy and SciPy use."""

import subprocess
import sys

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from lamostvac.numerics.blas import blas_thread_count, blas_threads

pytestmark = pytest.mark.numeric


def threads() -> list[int]:
    """Of each library of BLAS that threadpoolctl finds now."""
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


def test_a_block_has_its_number_of_threads_and_what_was_before_comes_back():
    before = threads()
    with blas_threads(2):
        assert set(threads()) == {2}
        assert blas_thread_count() == 2
        with pytest.raises(ZeroDivisionError), blas_threads(1):
            raise ZeroDivisionError
        with blas_threads(1):
            assert set(threads()) == {1}
        assert set(threads()) == {2}
    assert threads() == before


def test_limits_set_by_others_are_seen():
    with threadpool_limits(3):
        assert blas_thread_count() == 3
        with blas_threads(1):
            assert set(threads()) == {1}


def test_no_library_is_missed_that_is_imported_later(project):
    program = (
        "from lamostvac.numerics.blas import blas_threads\n"
        "with blas_threads(2):\n"
        "    import numpy.linalg, scipy.linalg, scipy.optimize, scipy.sparse.linalg, scipy.spatial\n"
        "    from threadpoolctl import threadpool_info\n"
        "    print({one['num_threads'] for one in threadpool_info() if one['user_api'] == 'blas'})\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout == "{2}\n"
