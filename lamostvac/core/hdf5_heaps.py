"""Whether the library that reads HDF5 would come to an end with a file's texts.

Texts of any length lie in collections that begin with `GCOL`. HDF5 goes from object to object by
the size that each one gives, and a damaged size of 0 keeps it at the same place for ever. So sizes
are looked at before HDF5 does.
"""

import mmap
import os
import struct

_BEGINNING = b"GCOL\x01\x00\x00\x00"  # signature and version; others HDF5 refuses itself
_OBJECT = struct.Struct("<HHIQ")  # index, references, unused, bytes


def damaged_heap(path: str | os.PathLike[str]) -> str:
    """What is wrong with the collections of texts of a file, in a few words; "" for nothing."""
    if not os.path.getsize(path):
        return ""
    with (
        open(path, "rb") as handle,
        mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        start = content.find(_BEGINNING)
        while start >= 0:
            if found := _damage(content, start):
                return f"{found} at byte {start}"
            start = content.find(_BEGINNING, start + 1)
    return ""


def _damage(content: mmap.mmap, start: int) -> str:
    if start + 16 > len(content):
        return "a collection of texts that is cut off"
    (size,) = struct.unpack_from("<Q", content, start + 8)
    if start + size > len(content):
        return "a collection of texts that does not end within the file"
    at = 16
    while at + _OBJECT.size <= size:
        index, _, _, length = _OBJECT.unpack_from(content, start + at)
        # Index 0 is what is free, and its size includes these 16 bytes.
        step = length if index == 0 else _OBJECT.size + -(-length // 8) * 8
        if step == 0 or at + step > size:
            return "a text of an impossible size in a collection"
        at += step
    return ""
