"""Numbers of HEALPix pixels in the nested scheme (Gorski et al. 2005, ApJ 622, 759)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_ORDER = 29


def pixels(ra: ArrayLike, dec: ArrayLike, order: int) -> NDArray[np.int64]:
    """Nested pixel (n,) of positions in degrees, finite; `order` is 0 to 29, pixels 12 * 4^order.

    Beyond some 2^-50 of the sphere rounding decides between neighbouring pixels.
    """
    longitude = np.asarray(ra, np.float64) % 360 / 90
    longitude = np.where(longitude >= 4, 0, longitude)
    latitude = np.radians(np.asarray(dec, np.float64))
    z, side = np.sin(latitude), 1 << order
    equatorial = np.abs(z) <= 2 / 3

    # Lines of the equatorial zone that rise and fall through the point.
    falling = (side * (0.5 + longitude - 0.75 * z)).astype(np.int64)
    rising = (side * (0.5 + longitude + 0.75 * z)).astype(np.int64)
    face_f, face_r = falling >> order, rising >> order
    face = np.where(face_f == face_r, face_f % 4 + 4, np.where(face_f < face_r, face_f, face_r + 8))
    x, y = rising & (side - 1), side - 1 - (falling & (side - 1))

    # The caps. The distance from the pole comes from the cosine, which keeps its digits there.
    quarter = longitude.astype(np.int64)
    along = longitude - quarter
    from_pole = side * np.abs(np.cos(latitude)) * np.sqrt(3 / (1 + np.abs(z)))
    near = np.minimum((along * from_pole).astype(np.int64), side - 1)
    far = np.minimum(((1 - along) * from_pole).astype(np.int64), side - 1)
    north = z > 0
    face = np.where(equatorial, face, np.where(north, quarter, quarter + 8))
    x = np.where(equatorial, x, np.where(north, side - 1 - far, near))
    y = np.where(equatorial, y, np.where(north, side - 1 - near, far))
    return (face << (2 * order)) + _spread(x) + (_spread(y) << 1)


def _spread(value: NDArray[np.int64]) -> NDArray[np.int64]:
    """A zero before each of the lower 32 bits."""
    spread = value.astype(np.uint64)
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        spread = (spread | (spread << np.uint64(shift))) & np.uint64(mask)
    return spread.astype(np.int64)


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
    order, pixel and number of positions of each one that holds any, along the sphere
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
