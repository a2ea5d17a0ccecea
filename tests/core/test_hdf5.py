"""HDF5 files from anywhere: nothing outside the file is read, nothing is taken that does not fit."""

import os
import re
import struct

import h5py
import numpy as np
import pytest

from lamostvac.core.damage import damage
from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import (
    Layout,
    atomic_hdf5,
    open_hdf5,
    read_arrays,
    read_number,
    read_text,
    whole_file,
)
from lamostvac.core.hdf5_heaps import damaged_heap


def soft(handle, other):
    handle["a"] = 1
    handle["link"] = h5py.SoftLink("/a")


def external(handle, other):
    with h5py.File(other, "w") as secret:
        secret["a"] = np.arange(3)
    handle["inside/link"] = h5py.ExternalLink(str(other), "/a")


def raw(handle, other):
    other.write_bytes(b"root:x:0:0")
    handle.create_dataset("a", (10,), "u1", external=[(str(other), 0, 10)])


def virtual(handle, other):
    with h5py.File(other, "w") as secret:
        secret["a"] = np.arange(3)
    layout = h5py.VirtualLayout((3,), "i8")
    layout[:] = h5py.VirtualSource(str(other), "a", (3,))
    handle.create_virtual_dataset("a", layout)


def circle(handle, other):
    handle.create_group("a")
    handle["a/b"] = handle["a"]


def root_again(handle, other):
    handle["a/root"] = handle["/"]


def plugin(handle, other):
    """A filter that HDF5 would load as a program; optional, so that it can be written without it."""
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((4,))
    created.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(handle.id, b"a", h5py.h5t.NATIVE_INT8, space, created)


HOSTILE = {
    "a link at /link": soft,
    "a link at /inside/link": external,
    "data stored in another file at /a": raw,
    "a virtual dataset at /a": virtual,
    "a second name for an object at /a/b": circle,
    "a second name for an object at /a/root": root_again,
    "an unknown filter at /a": plugin,
}


@pytest.mark.parametrize("found", HOSTILE)
def test_what_leads_out_of_a_file_or_in_circles_is_refused(tmp_path, found):
    with h5py.File(tmp_path / "x.h5", "w") as handle:
        HOSTILE[found](handle, tmp_path / "other")
    with pytest.raises(UserError, match=f"x.h5 has {found}"), open_hdf5(tmp_path / "x.h5"):
        pytest.fail("it was opened")
    assert found in damage(tmp_path / "x.h5")


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "x.h5")
    with pytest.raises(UserError, match="is no file"), open_hdf5(tmp_path / "x.h5"):
        pytest.fail("it was opened")


def test_a_missing_file_stays_one_and_a_damaged_one_is_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError), open_hdf5(tmp_path / "x.h5"):
        pytest.fail("it was opened")
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\nnothing")
    with (
        pytest.raises(UserError, match=r"the thing .*x.h5 cannot be read: .*; do that"),
        whole_file(tmp_path / "x.h5", "the thing", "do that"),
    ):
        pytest.fail("it was opened")


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ({0: 0}, "a text of an impossible size"),  # HDF5 would go round in circles
        ({1: 2**40}, "a text of an impossible size"),
        ({"all": 2**40}, "does not end within the file"),
    ],
)
def test_texts_of_impossible_sizes_are_found_before_hdf5_reads_them(tmp_path, sizes, found):
    path = tmp_path / "x.h5"
    with atomic_hdf5(path) as handle:
        handle.attrs.update({"one": "a text", "other": "b" * 20})
    content = bytearray(path.read_bytes())
    start = content.index(b"GCOL")
    places, at = {"all": start + 8}, 16
    while at < 4096:
        index, length = struct.unpack_from("<H6xQ", content, start + at)
        places[index] = start + at + 8
        at += 16 + -(-length // 8) * 8 if index else length
    assert damaged_heap(path) == ""
    for name, size in sizes.items():
        struct.pack_into("<Q", content, places[name], size)
    path.write_bytes(content)
    with pytest.raises(OSError, match=f"x.h5 is damaged: .*{found}"), open_hdf5(path):
        pass
    path.write_bytes(content[: start + 12])
    assert "cut off" in damaged_heap(path)


def test_only_one_place_opens_hdf5_for_reading(project):
    """Another one would follow what this one refuses."""
    folders = ("lamostvac", "workflow_scripts", "tools", "benchmarks")
    files = (path for name in folders for path in (project / name).rglob("*.py"))
    opening = {
        str(path.relative_to(project)): len(re.findall(r"h5py\.File\(", path.read_text()))
        for path in files
    }
    found = {name: count for name, count in opening.items() if count}
    # For writing and for reading; the other one makes damaged files.
    assert found == {"lamostvac/core/hdf5.py": 2, "tools/fuzz_mutations.py": 1}


# ---------------------------------------------------------------- arrays

LAYOUTS = {"x": Layout(("n",), "f8"), "g/y": Layout(("n", "m")), "s": Layout((), "i8")}


def written(path, **changes):
    values = {"x": np.arange(3.0), "g/y": np.ones((3, 2), ">f8"), "s": 7} | changes
    with atomic_hdf5(path) as handle:
        for name, value in values.items():
            if value is not None:
                handle[name] = value
    return path


def test_arrays_come_in_the_type_that_was_asked_for(tmp_path):
    lengths = {"m": 2}
    with open_hdf5(written(tmp_path / "x.h5")) as handle:
        found = read_arrays(handle, LAYOUTS, lengths)
    assert lengths == {"m": 2, "n": 3}
    assert {name: (values.dtype, values.shape) for name, values in found.items()} == {
        "x": (np.dtype("f8"), (3,)),
        "g/y": (np.dtype("f4"), (3, 2)),
        "s": (np.dtype("i8"), ()),
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"x": None}, "x is missing"),
        ({"x": h5py.Empty("f8")}, "x has shape None"),
        ({"x": np.arange(4.0)}, "g/y has shape .3, 2., but n is 4"),
        ({"x": [0, np.nan, 1]}, "x has values that are not finite"),
        ({"x": [1, 2, 3]}, "x has values of type int64, not float64"),
        ({"s": "7"}, "s has values of type object"),
        ({"g/y": np.ones((3, 5))}, "g/y has shape .3, 5., but m is 2"),
        ({"x": np.ones(3, [("a", "f8")])}, "x has values of type"),
    ],
)
def test_an_array_that_does_not_fit_is_named(tmp_path, changes, sentence):
    with (
        open_hdf5(written(tmp_path / "x.h5", **changes)) as handle,
        pytest.raises(ValueError, match=sentence),
    ):
        read_arrays(handle, LAYOUTS, {"m": 2})


def test_an_array_too_large_for_memory_is_refused_unread(tmp_path):
    with atomic_hdf5(tmp_path / "x.h5") as handle:
        handle.create_dataset("x", (1 << 26,), "f8", chunks=(1 << 20,))
    with open_hdf5(tmp_path / "x.h5") as handle, pytest.raises(ValueError, match="more than any"):
        read_arrays(handle, {"x": Layout(("n",), "f8")})


def test_attributes_of_another_kind_are_named(tmp_path):
    with atomic_hdf5(tmp_path / "x.h5") as handle:
        handle.attrs.update({"text": "t", "number": 2.5, "nan": np.nan, "list": [1.0, 2.0]})
    with open_hdf5(tmp_path / "x.h5") as handle:
        assert (read_text(handle.attrs, "text"), read_number(handle.attrs, "number")) == ("t", 2.5)
        assert np.isnan(read_number(handle.attrs, "nan", finite=False))
        for name in ("number", "none"):
            with pytest.raises(ValueError, match=f"{name} is not a text"):
                read_text(handle.attrs, name)
        for name in ("text", "nan", "list", "none"):
            with pytest.raises(ValueError, match=f"{name} is not a number"):
                read_number(handle.attrs, name)
