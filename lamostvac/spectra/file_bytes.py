"""The bytes of a spectrum's file: packed or not, in an archive or not, whole or their beginning."""

import gzip
import io
import os
import stat
import zlib
from os import PathLike

from isal import igzip, isal_zlib

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.archive import containing, open_archive

_LARGEST = 1 << 26  # bytes of a file, packed or unpacked; real ones have 0.2 MB at most
_DEFLATE_RATIO = 1032  # largest compression by gzip
_GZIP = b"\x1f\x8b"  # how packed files begin


def read_bytes(path: str | PathLike[str]) -> bytes:
    """A file's bytes, unpacked; raises `SpectrumRejected` where they cannot be had."""
    data = _stored_bytes(path)
    if data[:2] == _GZIP:  # the content decides, not the suffix
        try:
            data = _gunzip(data)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SpectrumRejected("corrupt_gzip", f"{path}: {error}") from error
        if len(data) > _LARGEST:
            raise SpectrumRejected("too_large", f"{path}: more than {_LARGEST} bytes when unpacked")
        if not data:
            raise SpectrumRejected("empty_file", str(path))
    return data


def read_beginning(path: str | PathLike[str], most: int) -> bytes:
    """The first bytes of a file, unpacked: `most`, fewer where there are no more, or damage.

    Raises `SpectrumRejected` where the file cannot be read.
    """
    data = _stored_bytes(path, most)
    if data[:2] != _GZIP:
        return data
    try:
        return isal_zlib.decompressobj(wbits=31).decompress(data, most)
    except isal_zlib.IsalError:  # type: ignore[misc]  # no stub
        return b""


def _stored_bytes(path: str | PathLike[str], most: int = _LARGEST) -> bytes:
    """The first bytes of a file as it is stored, packed or not: `most`, or as many as there are."""
    try:
        try:
            data = _content(path, most)
        except NotADirectoryError:  # a path into an archive
            data = _member(os.fspath(path), most)
    except FileNotFoundError as error:
        raise SpectrumRejected("missing_file", str(path)) from error
    except OSError as error:
        raise SpectrumRejected("unreadable_file", f"{path}: {error.strerror}") from error
    if not data:
        raise SpectrumRejected("empty_file", str(path))
    return data


def _content(path: str | PathLike[str], most: int) -> bytes:
    """A regular file's bytes; one call each to open, to look, to read, as there are ten million."""
    # Non-blocking, because opening a pipe without a writer would never return.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise SpectrumRejected("unreadable_file", f"{path} is no file")
        size = status.st_size
        if size > _LARGEST:
            raise SpectrumRejected("too_large", f"{path}: {size} bytes")
        size = min(size, most)
        data = os.read(file, size)
        while len(data) < size and (more := os.read(file, size - len(data))):
            data += more  # not all at once where a signal or the file system cuts it
    finally:
        os.close(file)
    return data


def _member(path: str, most: int) -> bytes:
    """As `_content` of a file in a tar archive."""
    inside = containing(path)
    if inside is None:
        raise FileNotFoundError(path)
    archive, name = inside
    found = open_archive(archive)
    size = found.places.get(name, (0, 0))[1]
    if size > _LARGEST:
        raise SpectrumRejected("too_large", f"{path}: {size} bytes")
    return found.read(name, most)


def _gunzip(data: bytes) -> bytes:
    """As `gzip.decompress`, two to three times as fast; data that ISA-L refuses go to zlib.

    Of a file that could hold more than `_LARGEST` bytes, only that many plus one are unpacked.
    """
    if len(data) * _DEFLATE_RATIO > _LARGEST:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            return stream.read(_LARGEST + 1)
    try:
        return igzip.decompress(data)  # type: ignore[no-untyped-call]  # its stub has no types
    except (EOFError, isal_zlib.IsalError, gzip.BadGzipFile):  # type: ignore[misc]  # no stub
        return gzip.decompress(data)
