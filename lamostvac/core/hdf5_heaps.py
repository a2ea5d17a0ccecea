"""Whether the library that reads HDF5 would come to an end with a file's texts, in little memory.

Texts of any length lie in collections that begin with `GCOL`. HDF5 goes from object to object by
the size that each one gives, and a damaged size of 0 keeps it at the same place for ever. Where
such a text is used stands its length once more, and HDF5 takes memory for that length, up to 4 GB,
before it looks for the text. So both are looked at before HDF5 does. Files of this program have
texts of fixed length alone; older ones have attributes of any length.

Source: HDF5 File Format Specification 3.0, sections III.E (global heap), IV.A.1.a (object headers
of version 1) and IV.A.2.m (attributes).
"""

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import h5py

_BEGINNING = b"GCOL\x01\x00\x00\x00"  # signature and version; others HDF5 refuses itself
_PIECE = 1 << 20  # bytes of a file that are read at once
_OBJECT = struct.Struct("<HHIQ")  # index, references, unused, bytes
_USE = struct.Struct("<IQI")  # of a text: its length, place of the collection, index in there
_HEADER = struct.Struct("<BxHII4x")  # version, messages, references, bytes of the first block
_MESSAGE = struct.Struct("<HHB3x")  # type, bytes, flags
_BLOCK = struct.Struct("<QQ")  # place and bytes of a further block of an object header
_ATTRIBUTE, _CONTINUATION, _SHARED = 0x0C, 0x10, 0x02
_UNKNOWN = "texts of any length in a form that no file of this program has"


@contextmanager
def _mapped(path: str | os.PathLike[str]) -> Iterator[mmap.mmap]:
    with (
        open(path, "rb") as handle,
        mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        yield content


# ---------------------------------------------------------------- collections


def damaged_heap(path: str | os.PathLike[str]) -> str:
    """What is wrong with the collections of texts of a file, in a few words; "" for nothing."""
    starts = list(_beginnings(path))
    if not starts:
        return ""
    with _mapped(path) as content:
        for start in starts:
            try:
                for _ in _texts(content, start):
                    pass
            except ValueError as error:
                return f"{error} at byte {start}"
    return ""


def _beginnings(path: str | os.PathLike[str]) -> Iterator[int]:
    """Where collections may begin. Read piece by piece: a mapped file would count as memory."""
    # Into the same few pages, which stay in the processor's cache; before each piece the end of the
    # one before it.
    before = len(_BEGINNING) - 1
    piece = bytearray(before + _PIECE)
    first = -before
    with open(path, "rb", buffering=0) as handle:
        while read := handle.readinto(memoryview(piece)[before:]):
            end = before + read
            at = piece.find(_BEGINNING, 0, end)
            while at >= 0:
                yield first + at
                at = piece.find(_BEGINNING, at + 1, end)
            piece[:before] = piece[read:end]
            first += read


def _texts(content: mmap.mmap, start: int) -> Iterator[tuple[int, int]]:
    """Index and bytes of each text of a collection; raises `ValueError` where HDF5 would not end."""
    if start + 16 > len(content):
        raise ValueError("a collection of texts that is cut off")
    (size,) = struct.unpack_from("<Q", content, start + 8)
    if start + size > len(content):
        raise ValueError("a collection of texts that does not end within the file")
    at = 16
    while at + _OBJECT.size <= size:
        index, _, _, length = _OBJECT.unpack_from(content, start + at)
        # Index 0 is what is free, and its size includes these 16 bytes.
        step = length if index == 0 else _OBJECT.size + -(-length // 8) * 8
        if step == 0 or at + step > size:
            raise ValueError("a text of an impossible size in a collection")
        if index:
            yield index, length
        at += step


# ---------------------------------------------------------------- where texts are used


def damaged_text(path: str | os.PathLike[str], item: h5py.h5g.GroupID | h5py.h5d.DatasetID) -> str:
    """What is wrong with stated lengths of an object's values and attributes; "" for nothing.

    Nothing of a text is read by HDF5 for that. To be called after `damaged_heap`.
    """
    most = os.path.getsize(path)
    used: list[tuple[bytes | None, h5py.h5t.TypeID, int]] = []
    if isinstance(item, h5py.h5d.DatasetID):
        used.append((None, item.get_type(), item.get_space().get_simple_extent_npoints()))
    for number in range(h5py.h5a.get_num_attrs(item)):
        attribute = h5py.h5a.open(item, index=number)
        count = attribute.get_space().get_simple_extent_npoints()
        used.append((attribute.name, attribute.get_type(), count))
    for name, kind, count in used:
        if not _in_collections(kind):
            if kind.get_size() > most:
                return f"values of {kind.get_size()} bytes each"
        elif found := _damage_of_use(path, item, name, kind, count):
            return found
    return ""


def _in_collections(kind: h5py.h5t.TypeID) -> bool:
    """Whether values of a type lead to a collection."""
    number = kind.get_class()
    if number == h5py.h5t.STRING:
        return bool(kind.is_variable_str())
    if number == h5py.h5t.COMPOUND:
        members = range(kind.get_nmembers())
        return any(_in_collections(kind.get_member_type(member)) for member in members)
    if number == h5py.h5t.ARRAY:
        return _in_collections(kind.get_super())
    # A reference to an object is its place; one to a part of a dataset lies in a collection.
    return number == h5py.h5t.VLEN or (number == h5py.h5t.REFERENCE and kind.get_size() != 8)


def _damage_of_use(
    path: str | os.PathLike[str],
    item: h5py.h5g.GroupID | h5py.h5d.DatasetID,
    name: bytes | None,
    kind: h5py.h5t.TypeID,
    count: int,
) -> str:
    """`damaged_text` of an attribute, or of a dataset's values where `name` is None."""
    unit = 1
    if kind.get_class() == h5py.h5t.VLEN and not _in_collections(kind.get_super()):
        unit = kind.get_super().get_size()
    elif kind.get_class() != h5py.h5t.STRING:
        return _UNKNOWN
    created = h5py.h5i.get_file_id(item).get_create_plist()
    if created.get_sizes() != (8, 8) or created.get_userblock():
        return _UNKNOWN
    if not count:
        return ""
    with _mapped(path) as content:
        try:
            if name is None:
                places = [item.get_offset()]
            else:
                places = list(_attribute_places(content, h5py.h5o.get_info(item).addr, name))
            if not places or None in places:
                return _UNKNOWN
            for place in places:
                _check_uses(content, place, count, unit)
        except ValueError as error:
            return str(error)
        except struct.error:
            return "a text that is cut off"
    return ""


def _check_uses(content: mmap.mmap, place: int, count: int, unit: int) -> None:
    """Raise `ValueError` where one of the uses of texts at a place states more than there is."""
    if place + count * _USE.size > len(content):
        raise ValueError(f"{count} texts, more than the file can have")
    collections: dict[int, dict[int, int]] = {}
    for number in range(count):
        length, start, index = _USE.unpack_from(content, place + number * _USE.size)
        if not length:
            continue
        if start not in collections:
            if content[start : start + len(_BEGINNING)] != _BEGINNING:
                raise ValueError("a text that is in no collection")
            collections[start] = dict(_texts(content, start))
        there = collections[start].get(index, 0)
        if length * unit > there:
            raise ValueError(f"a text of {there} bytes that is said to have {length * unit}")


def _attribute_places(content: mmap.mmap, address: int, name: bytes) -> Iterator[int]:
    """Where the values of the attributes of a name begin, in an object's header of version 1."""
    version, _, _, size = _HEADER.unpack_from(content, address)
    if version != 1:
        return
    blocks, seen = [(address + _HEADER.size, size)], {address}
    while blocks:
        at, size = blocks.pop()
        end = at + size
        while at + _MESSAGE.size <= end:
            kind, size, flags = _MESSAGE.unpack_from(content, at)
            at += _MESSAGE.size
            if kind == _CONTINUATION:
                start, length = _BLOCK.unpack_from(content, at)
                if start in seen:
                    raise ValueError("an object header that contains itself")
                seen.add(start)
                blocks.append((start, length))
            elif kind == _ATTRIBUTE:
                if flags & _SHARED:
                    raise ValueError(_UNKNOWN)
                found, place = _name_and_place(content, at)
                if found == name:
                    yield place
            at += size


def _name_and_place(content: mmap.mmap, at: int) -> tuple[bytes, int]:
    """Name of an attribute and where its values begin; `at` is where its message does."""
    version, *sizes = struct.unpack_from("<BxHHH", content, at)
    at += 9 if version == 3 else 8
    found = content[at : at + sizes[0]].partition(b"\0")[0]
    # Version 1 fills up name, type and shape to 8 bytes.
    return found, at + sum(-(-size // 8) * 8 if version == 1 else size for size in sizes)
