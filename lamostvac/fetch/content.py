"""Check of a downloaded file's content."""

import gzip
import re
import zlib
from pathlib import Path

from lamostvac.fetch.client import (
    DownloadError,
    TemporaryError,
    is_html,
    one_line,
    said_in,
)

UNPACKED_TIMES = 100
"""How many times larger than its file the content of a compressed one may be."""
UNPACKED_BYTES = 1 << 28
"""What is not too large in any case."""
CONTENTS = ("any", "fits", "fits.gz", "vizier")


def check_content(path: Path, content: str, whole: bool = False) -> None:
    """Check that a file has the expected content.

    Parameters
    ----------
    content : `fits`; `fits.gz`; `vizier`, tab-separated text as VizieR sends it, with its end mark;
        or `any`, which only excludes web pages and empty files
    whole : read a compressed file to its end, for the checksum inside; else its beginning

    Raises
    ------
    DownloadError
        The file has other content.
    TemporaryError
        The end of the file is missing.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(4000)
    if not size:
        raise DownloadError("the file is empty")
    if is_html(start):
        raise DownloadError(f"it is a web page{said_in(start)}")
    if content == "fits":
        if not start.startswith(b"SIMPLE  ="):
            raise DownloadError(f"it is no FITS file (it begins {start[:20]!r})")
        if size % 2880:
            raise TemporaryError("the end of the FITS file is missing")
    elif content == "fits.gz":
        _check_gzip(path, start, whole)
    elif content == "vizier":
        _check_vizier(path, start)


def _check_gzip(path: Path, start: bytes, whole: bool) -> None:
    if not start.startswith(b"\x1f\x8b"):
        raise DownloadError(f"it is not compressed with gzip (it begins {start[:20]!r})")
    most = max(UNPACKED_BYTES, UNPACKED_TIMES * path.stat().st_size)
    try:
        with gzip.open(path) as handle:
            if handle.read(9) != b"SIMPLE  =":
                raise DownloadError("there is no FITS file inside")
            while whole and handle.read(1 << 20):
                if handle.tell() > most:
                    raise DownloadError(
                        f"it unpacks to more than {UNPACKED_TIMES} times its size, as no spectra do"
                    )
    except EOFError:
        raise TemporaryError("the end of the compressed file is missing") from None
    except (OSError, zlib.error) as error:
        raise DownloadError(f"it cannot be decompressed: {error}") from None


def _check_vizier(path: Path, start: bytes) -> None:
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - 4000))
        end = handle.read()
    said = re.search(rb"^#(?:INFO\s+Error|\*+)\s*=?\s*(.*)$", start, re.M | re.I)
    if said:
        raise DownloadError(f"VizieR says: {one_line(said[1].decode('utf-8', 'replace'))}")
    if b"\t" not in end and b"\t" not in start:
        raise DownloadError("it is no table of VizieR")
    if b"#END#" not in end:
        raise TemporaryError("VizieR's end mark is missing")
