"""HEALPix pixels in the nested scheme (Gorski et al. 2005, ApJ 622, 759); files of similar size."""

import astropy.units as u
import numpy as np
from astropy_healpix import lonlat_to_healpix
from numpy.typing import ArrayLike, NDArray

MAX_ORDER = 29


def pixels(ra: ArrayLike, dec: ArrayLike, order: int) -> NDArray[np.int64]:
    """Nested pixel (n,) of positions in degrees, finite; `order` is 0 to 29, pixels 12 * 4^order.

    At order 29, whose pixels are 0.4 mas wide, rounding decides which side of an edge a position is
    on.
    """
    degrees = (np.asarray(angle, np.float64) * u.deg for angle in (ra, dec))
    numbers = lonlat_to_healpix(*degrees, nside=1 << order, order="nested")
    return np.asarray(numbers, np.int64)


def partitions(
    pixel: NDArray[np.int64], max_rows: int, max_order: int
) -> list[tuple[int, int, int]]:
    """Pixels of different orders that hold at most `max_rows` positions each.

    A pixel with more is split in four, down to `max_order`, where one may hold more.

    Parameters
    ----------
    pixel : (n,) of order 29

    Returns
    -------
    order, pixel and number of positions of each pixel that holds any, in nested order
    """
    ordered = np.sort(pixel)
    found = []
    waiting = [(0, face) for face in range(11, -1, -1)]
    while waiting:
        order, number = waiting.pop()
        shift = 2 * (MAX_ORDER - order)
        first, last = np.searchsorted(ordered, [number << shift, (number + 1) << shift])
        n = int(last - first)
        if n > max_rows and order < max_order:
            waiting += [(order + 1, 4 * number + part) for part in (3, 2, 1, 0)]
        elif n:
            found.append((order, number, n))
    return found
