"""How many threads linear algebra uses.

`threadpoolctl.threadpool_limits` looks for the libraries at each call, which takes a millisecond or
more: longer than the algebra of a few hundred stars.
"""

import functools
from contextlib import AbstractContextManager

import numpy as np  # noqa: F401  # loads its BLAS
import scipy.linalg  # noqa: F401  # loads its own
from threadpoolctl import ThreadpoolController


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def blas_threads(number: int) -> AbstractContextManager[object]:
    """In its `with` block NumPy's and SciPy's linear algebra uses `number` threads."""
    limited: AbstractContextManager[object] = _libraries().limit(limits=number)
    return limited


def blas_thread_count() -> int:
    """The threads that linear algebra uses now."""
    return max((one["num_threads"] for one in _libraries().info()), default=1)
