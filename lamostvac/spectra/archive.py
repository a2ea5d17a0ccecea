"""Spectra in tar archives, as DR11 and later give a night: `20221004.tar.gz/1012345678.fits`.

A packed archive can only be read from its beginning, so it is unpacked into a temporary file, once
for all spectra that a process reads from it one after the other.
"""

import gzip
import os
import posixpath
import tarfile
import tempfile
import threading
import weakref
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import IO

from isal import igzip, isal_zlib

from lamostvac.core.rejection import SpectrumRejected

SUFFIXES = (".tar", ".tar.gz", ".tgz")
"""Names that are taken for archives."""
_OPEN = 2  # archives that stay open; a night follows the other
_LARGEST = 1 << 36  # bytes of an unpacked archive; a night has some 1 << 30
_BLOCK = 1 << 20  # bytes unpacked at a time


@dataclass(frozen=True)
class Archive:
    """An open archive.

    Attributes
    ----------
    descriptor : of the open file, without gzip
    places : name of each file in it to where its bytes begin, and their number; a link to a file of
        the archive is that file
    lost : (name, reason of `core.rejection`, detail) of what is in it and cannot be read: an earlier
        file of the same name, a link that leads to none of its files, a file with holes
    """

    descriptor: int
    places: dict[str, tuple[int, int]]
    lost: list[tuple[str, str, str]] = field(default_factory=list)

    def read(self, name: str, most: int) -> bytes:
        """The first bytes of a file, at most `most`; raises FileNotFoundError without such a file."""
        if name not in self.places:
            raise FileNotFoundError(name)
        start, size = self.places[name]
        return os.pread(self.descriptor, min(size, most), start)  # of any thread


_archives: OrderedDict[tuple[str, int, int], Archive] = OrderedDict()
_lock = threading.Lock()


def open_archive(path: str) -> Archive:
    """An archive, packed or not; the last ones stay open.

    Raises
    ------
    SpectrumRejected
        unreadable_file, corrupt_gzip, too_large
    """
    try:
        status = os.stat(path)
        key = (path, status.st_size, status.st_mtime_ns)
        with _lock:
            if key not in _archives:
                _archives[key] = _opened(path)
                while len(_archives) > _OPEN:
                    _archives.popitem(last=False)  # closed when nobody reads it any more
            _archives.move_to_end(key)
            return _archives[key]
    except OSError as error:
        raise SpectrumRejected("unreadable_file", f"{path}: {error.strerror or error}") from error


def _opened(path: str) -> Archive:
    with open(path, "rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return _indexed(path, file)
        file.seek(0)
        with tempfile.TemporaryFile() as unpacked:
            try:
                with igzip.open(file) as stream:  # type: ignore[no-untyped-call]  # no types
                    while block := stream.read(_BLOCK):
                        unpacked.write(block)
                        if unpacked.tell() > _LARGEST:
                            raise SpectrumRejected(
                                "too_large", f"{path}: more than {_LARGEST} bytes"
                            )
            except (EOFError, zlib.error, gzip.BadGzipFile, isal_zlib.IsalError) as error:  # type: ignore[misc]
                raise SpectrumRejected("corrupt_gzip", f"{path}: {error}") from error
            return _indexed(path, unpacked)


def _indexed(path: str, file: IO[bytes]) -> Archive:
    """The archive in a file without gzip, which may be closed afterwards."""
    file.flush()
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            places, lost = _places(tar)
    except (tarfile.TarError, ValueError) as error:
        raise SpectrumRejected("unreadable_file", f"{path} is no tar archive: {error}") from error
    archive = Archive(os.dup(file.fileno()), places, lost)
    weakref.finalize(archive, os.close, archive.descriptor)
    return archive


def _places(
    tar: tarfile.TarFile,
) -> tuple[dict[str, tuple[int, int]], list[tuple[str, str, str]]]:
    """`places` and `lost` of an `Archive`. Of members of one name the last counts, as for tar."""
    members: dict[str, tarfile.TarInfo] = {}
    lost: list[tuple[str, str, str]] = []
    for one in tar:
        if one.isdir() or one.isdev():
            continue
        if one.name in members:
            lost.append((one.name, "replaced_in_archive", f"by the one at byte {one.offset}"))
        members[one.name] = one
    by_path = {posixpath.normpath(name): one for name, one in members.items()}
    places: dict[str, tuple[int, int]] = {}
    for name, one in members.items():
        target: tarfile.TarInfo | None = one
        for _ in members:  # a chain of links is no longer than that, but for a circle
            if target is None or not (target.issym() or target.islnk()):
                break
            beside = posixpath.dirname(target.name) if target.issym() else ""
            target = by_path.get(posixpath.normpath(posixpath.join(beside, target.linkname)))
        if target is None or target.issym() or target.islnk():
            lost.append((name, "missing_file", f"a link to {one.linkname}, not in the archive"))
        elif target.issparse():
            lost.append((name, "unreadable_file", "stored with holes, as tar --sparse does"))
        else:
            places[name] = target.offset_data, target.size
    return places, lost


def containing(path: str) -> tuple[str, str] | None:
    """The archive that a path leads into, and the name in it; None where it leads into none."""
    archive, name = os.path.split(path)
    while archive and name and not os.path.isdir(archive):
        if archive.lower().endswith(SUFFIXES) and os.path.isfile(archive):
            return archive, name
        archive, last = os.path.split(archive)
        if not last:
            return None
        name = f"{last}/{name}"
    return None
