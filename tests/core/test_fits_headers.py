"""Headers that say something impossible of their data are found before anything believes them."""

import io

import numpy as np
import pytest
from astropy.io import fits

from lamostvac.core.fits_headers import data_size, headers


def stream(*hdus):
    buffer = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(buffer)
    return buffer.getvalue()


WHOLE = stream(
    fits.PrimaryHDU(np.zeros((3, 7), "f4")),
    fits.ImageHDU(),
    fits.BinTableHDU.from_columns([fits.Column("a", "2E", array=np.zeros((5, 2)))]),
)


def test_headers_come_in_their_order_with_the_sizes_that_astropy_finds():
    found = headers(io.BytesIO(WHOLE))
    sizes = [(header["NAXIS"], data_size(header)) for header in (next(found) for _ in range(3))]
    with pytest.raises(EOFError):
        next(found)
    assert sizes == [(2, 84), (0, 0), (2, 40)]
    with fits.open(io.BytesIO(WHOLE)) as hdus:
        assert [hdu.size for hdu in hdus] == [size for _, size in sizes]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("NAXIS", 2147483648),
        ("NAXIS", -1),
        ("NAXIS1", -7),
        ("BITPIX", 0),
        ("NAXIS2", 1.5),
        ("NAXIS2", True),
        ("TFIELDS", 2147483648),
    ],
)
def test_an_impossible_size_is_named(keyword, value):
    header = fits.Header(
        [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 7), ("NAXIS2", 3)]
    )
    assert data_size(header) == 84
    header[keyword] = value
    with pytest.raises(ValueError, match=f"{keyword} is"):
        data_size(header)
    header = fits.Header([("BITPIX", 8), ("NAXIS", 0), ("PCOUNT", -5)])
    with pytest.raises(ValueError, match="PCOUNT is -5"):
        data_size(header)
