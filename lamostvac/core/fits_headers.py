"""Headers of FITS files, checked before astropy sees them.

astropy believes what a header says of its data: with NAXIS = 2147483648 it looks for as many
keywords, with as many columns it takes all memory.
"""

from collections.abc import Iterator
from typing import IO

from astropy.io import fits

_MOST_AXES, _MOST_COLUMNS = 999, 999  # of the FITS standard
_BLOCK = 2880
_PIECE = 1 << 26  # bytes passed over at once
_BITS = (8, 16, 32, 64, -32, -64)


def headers(stream: IO[bytes]) -> Iterator[fits.Header]:
    """The headers of a FITS file one by one; after each the stream is at the beginning of its data.

    Raises
    ------
    EOFError, OSError
        After the last header, or where something else than a header follows.
    ValueError, KeyError, TypeError
        A header says something impossible of its data.
    """
    while True:
        header = fits.Header.fromfile(stream, endcard=True)
        size = data_size(header)
        yield header
        _skip(stream, -(-size // _BLOCK) * _BLOCK)


def data_size(header: fits.Header) -> int:
    """Bytes of the data that follow a header, without padding; raises as `headers`."""
    axes, bits = _whole(header, "NAXIS"), _whole(header, "BITPIX")
    if "TFIELDS" in header and not 0 <= _whole(header, "TFIELDS") <= _MOST_COLUMNS:
        raise ValueError(f"TFIELDS is {header['TFIELDS']}")
    if not 0 <= axes <= _MOST_AXES:
        raise ValueError(f"NAXIS is {axes}")
    if bits not in _BITS:
        raise ValueError(f"BITPIX is {bits}")
    size = 1 if axes else 0
    for axis in range(1, axes + 1):
        length = _whole(header, f"NAXIS{axis}")
        if length < 0:
            raise ValueError(f"NAXIS{axis} is {length}")
        if not (axis == 1 and length == 0 and header.get("GROUPS") is True):
            size *= length
    more, groups = _whole(header, "PCOUNT", 0), _whole(header, "GCOUNT", 1)
    if more < 0 or groups < 0:
        raise ValueError(f"PCOUNT is {more}, GCOUNT {groups}")
    return abs(bits) // 8 * groups * (more + size)


def _whole(header: fits.Header, keyword: str, absent: int | None = None) -> int:
    """A keyword's whole number; `absent` where there is none."""
    value = header[keyword] if absent is None else header.get(keyword, absent)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{keyword} is {value!r}"[:100])
    return value


def _skip(stream: IO[bytes], size: int) -> None:
    """Skip bytes without holding them all in memory."""
    while size > 0:
        passed = len(stream.read(min(size, _PIECE)))
        if not passed:
            return
        size -= passed
