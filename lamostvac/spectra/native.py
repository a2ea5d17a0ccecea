"""The preparation's inner loops in C, where `native.c` has been compiled.

`make setup` and the build of a wheel compile it (tools/compile_native.py); without a compiler the
NumPy code beside each call does the same. Both give the same bits: each function here does the
operations of that code in their order and in double precision. So a compiler saves time and
changes nothing else.
"""

import ctypes
import hashlib
from ctypes import byref, c_char, c_float, c_int64
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SOURCE = Path(__file__).with_name("native.c")
COMPILED = SOURCE.with_name("native.lib")


def digest() -> str:
    """SHA-256 of the source, which a library compiled from it contains."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()


def load(path: Path) -> ctypes.CDLL | None:
    """The compiled library; None where there is none of this source and for this processor."""
    try:
        library = ctypes.CDLL(str(path))
        library.lamostvac_source.restype = ctypes.c_char_p
        of_this_source = library.lamostvac_source() == digest().encode()
    except (OSError, AttributeError):
        return None
    return library if of_this_source else None


@cache
def compiled() -> ctypes.CDLL | None:
    """`load` of the library beside this module."""
    return load(COMPILED)


def _at(array: NDArray[np.generic]) -> object:
    """The address of a contiguous array that may be written; `ndarray.ctypes` takes six times as long."""
    return byref(c_char.from_buffer(array.data))


def _doubles(array: NDArray[np.floating]) -> NDArray[np.float64]:
    """As a contiguous array of doubles that C may point to; a copy where it is not one already."""
    return np.require(array, np.float64, ["C", "W"])


def check(status: int) -> None:
    """Raises `MemoryError` where a function had no memory."""
    if status:
        raise MemoryError("no memory to prepare a spectrum")


def running_median(
    library: ctypes.CDLL, values: NDArray[np.float64], half: int
) -> NDArray[np.float64]:
    """Medians of the numbers up to `half` places away, along the last axis; NaN are left out.

    A NaN where none is near.
    """
    values = _doubles(values)
    medians = np.empty_like(values)
    n = values.shape[-1]
    if values.size:
        check(
            library.lamostvac_running_median(
                _at(values), c_int64(values.size // n), c_int64(n), c_int64(half), _at(medians)
            )
        )
    return medians


def bridge_with_slopes(
    library: ctypes.CDLL, x: NDArray[np.float64], y: NDArray[np.float64], good: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Slopes (n,) of the spline through (x, y), of which y is first bridged where not good, in place."""
    slope = np.empty_like(y)
    check(
        library.lamostvac_bridge_with_slopes(
            _at(_doubles(x)), _at(y), _at(good), c_int64(len(y)), _at(slope)
        )
    )
    return slope


def onto(
    library: ctypes.CDLL,
    spectrum: tuple[NDArray[np.float64], ...],
    grid: NDArray[np.float64],
    width: float | NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flux and inverse variance (m,) on a grid (m,) of a spectrum at rest: wave, flux, slope, ivar (n,)."""
    grid, widths = _doubles(grid), _doubles(np.atleast_1d(width))
    flux, ivar = np.empty_like(grid), np.empty_like(grid)
    pixels = [_at(_doubles(values)) for values in spectrum]
    library.lamostvac_onto(
        *pixels,
        c_int64(len(spectrum[0])),
        _at(grid),
        None,
        c_int64(len(grid)),
        _at(widths),
        c_int64(len(widths)),
        _at(flux),
        _at(ivar),
    )
    return flux, ivar


def divide(
    library: ctypes.CDLL,
    pixels: tuple[NDArray[np.float64], ...],
    limits: tuple[float, float],
    replacement: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int, int]]:
    """`lamostvac.spectra.continuum.divide` of flux, ivar and continuum (n,)."""
    n = len(pixels[0])
    flux, ivar = np.empty(n, np.float32), np.empty(n, np.float32)
    counts = (c_int64 * 3)()
    library.lamostvac_divide(
        *(_at(_doubles(values)) for values in pixels),
        c_int64(n),
        *(c_float(limit) for limit in limits),
        _at(replacement),
        c_int64(len(replacement)),
        _at(flux),
        _at(ivar),
        counts,
    )
    return flux, ivar, (counts[0], counts[1], counts[2])
