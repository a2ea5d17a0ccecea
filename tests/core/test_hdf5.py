"""HDF5 files from anywhere: nothing outside the file is read, nothing is taken that does not fit."""

import os
import re
import struct
import subprocess
import sys

import h5py
import numpy as np
import pytest

from lamostvac.core import hdf5_heaps
from lamostvac.core.damage import damage
from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import (
    Layout,
    atomic_hdf5,
    open_hdf5,
    read_arrays,
    read_attributes,
    read_number,
    read_text,
    read_texts,
    whole_file,
    write_attributes,
    write_columns,
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
def test_texts_of_impossible_sizes_are_found_before_hdf5_reads_them(
    tmp_path, sizes, found, monkeypatch
):
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
    for piece in (3, start + 1, start + 7, start + 8):  # wherever one piece of the file ends
        monkeypatch.setattr(hdf5_heaps, "_PIECE", piece)
        assert found in damaged_heap(path)
        assert f"at byte {start}" in damaged_heap(path)
    path.write_bytes(content[: start + 12])
    assert "cut off" in damaged_heap(path)


def attribute(handle):
    handle.attrs["one"] = "a text"


def several(handle):
    handle["group"] = np.arange(3)
    handle["group"].attrs["one"] = ["a text", "another", ""]


def far_away(handle):
    """So many attributes that the object's header goes on elsewhere in the file."""
    handle.attrs.update({f"number{i}": i for i in range(60)} | {"one": "a text"})


def values(handle):
    handle["one"] = ["a text"] * 3


def sequence(handle):
    handle.create_dataset("one", (1,), h5py.vlen_dtype("i2"))[0] = np.arange(6)


LONG = {"attribute": attribute, "several": several, "far": far_away, "values": values}
LONG["sequence"] = sequence


def with_texts_of_any_length(path, name):
    with h5py.File(path, "w") as handle:
        LONG[name](handle)
    return bytearray(path.read_bytes())


def uses(content):
    """Where the texts' stated lengths are: before the place of their collection, with an index behind."""
    place = struct.pack("<Q", content.index(b"GCOL"))
    found = (match.start() - 4 for match in re.finditer(re.escape(place), bytes(content)))
    # The same bytes may stand for something else.
    return [at for at in found if struct.unpack_from("<I", content, at + 12)[0] < 10]


READ = """
import resource, sys
from lamostvac.core.hdf5 import open_hdf5, read_attributes
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
with open_hdf5(sys.argv[1]) as handle:
    handle.visititems(lambda name, item: (read_attributes(item), item[()]))
    read_attributes(handle)
"""


@pytest.mark.parametrize("name", LONG)
def test_a_length_that_a_text_has_not_is_refused_before_memory_is_taken_for_it(tmp_path, name):
    path = tmp_path / "x.h5"
    content = with_texts_of_any_length(path, name)
    places = uses(content)
    assert len(places) in (1, 2, 3)
    with open_hdf5(path) as handle:
        assert damage(path) == ""
        assert len(read_attributes(handle)) + len(handle) > 0
    for place in places:
        for length, said in ((0xFFFFFFF0, r"that is said to have \d{10}"), (9, "to have (9|18)")):
            wrong = bytearray(content)
            struct.pack_into("<I", wrong, place, length)
            path.write_bytes(wrong)
            with pytest.raises(OSError, match=f"x.h5 is damaged: .*{said}"), open_hdf5(path):
                pytest.fail("it was opened")
        struct.pack_into("<Q", wrong, place + 4, 8)
        path.write_bytes(wrong)
        with pytest.raises(OSError, match="a text that is in no collection"), open_hdf5(path):
            pytest.fail("it was opened")


def test_a_length_of_4_gb_takes_no_memory(tmp_path, project):
    """HDF5 takes it, and without it has another error than ours."""
    content = with_texts_of_any_length(tmp_path / "x.h5", "attribute")
    struct.pack_into("<I", content, uses(content)[0], 0xFFFFFFF0)
    (tmp_path / "x.h5").write_bytes(content)
    command = [sys.executable, "-c", READ, str(tmp_path / "x.h5")]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert "x.h5 is damaged: / has a text of 6 bytes that is said to have 4294967280" in done.stderr


def nested(handle):
    kind = np.dtype([("a", "i4"), ("b", h5py.string_dtype())])
    handle.attrs.create("one", np.array((1, "a text"), kind))


def packed(handle):
    handle.create_dataset("one", data=["a text"] * 9, chunks=(3,), compression="gzip")


def part_of_a_dataset(handle):
    handle["a"] = np.arange(5)
    handle.attrs.create("one", handle["a"].regionref[:2], dtype=h5py.regionref_dtype)


@pytest.mark.parametrize("make", [nested, packed, part_of_a_dataset])
def test_texts_that_cannot_be_looked_at_are_refused(tmp_path, make):
    """No file of this program has or had them."""
    with h5py.File(tmp_path / "x.h5", "w") as handle:
        make(handle)
    with pytest.raises(OSError, match="in a form that no file"), open_hdf5(tmp_path / "x.h5"):
        pytest.fail("it was opened")


def test_a_newer_form_of_object_headers_is_refused_where_it_has_texts_of_any_length(tmp_path):
    for value in (7, "a text"):
        with h5py.File(tmp_path / "x.h5", "w", libver="latest") as handle:
            handle.attrs["one"] = value
        if value == 7:
            with open_hdf5(tmp_path / "x.h5") as handle:
                assert read_attributes(handle) == {"one": 7}
    with pytest.raises(OSError, match="in a form that no file"), open_hdf5(tmp_path / "x.h5"):
        pytest.fail("it was opened")


TEXTS = {"one": "a text", "umlaut": "Größe", "none": "", "many": ["a", "", "öß"], "empty": []}


def test_texts_are_written_with_a_fixed_length_and_read_in_either_form(tmp_path):
    with atomic_hdf5(tmp_path / "new.h5") as handle:
        write_attributes(handle, TEXTS | {"number": 2.5, "pair": (1.0, 2.0), "yes": True})
        write_columns(handle.create_group("t"), {"c": np.array(["a", "öß"], object)})
    with h5py.File(tmp_path / "old.h5", "w") as handle:
        handle.attrs.update(TEXTS | {"number": 2.5, "pair": (1.0, 2.0), "yes": True})
    assert b"GCOL" not in (tmp_path / "new.h5").read_bytes()
    assert b"GCOL" in (tmp_path / "old.h5").read_bytes()
    for name in ("new", "old"):
        with open_hdf5(tmp_path / f"{name}.h5") as handle:
            found = read_attributes(handle)
            assert {key: list(found[key]) for key in ("many", "empty", "pair")} == {
                "many": ["a", "", "öß"], "empty": [], "pair": [1.0, 2.0]
            }  # fmt: skip
            assert [found[key] for key in ("one", "umlaut", "none", "number", "yes")] == [
                "a text", "Größe", "", 2.5, True
            ]  # fmt: skip
            assert read_texts(handle.attrs, "many") == ("a", "", "öß")
            assert read_texts(handle.attrs, "empty") == ()
            for key in ("one", "pair", "missing"):
                with pytest.raises(ValueError, match=f"{key} is not a list of texts"):
                    read_texts(handle.attrs, key)


def test_attributes_are_written_in_one_place(project):
    """Any other would write texts of any length."""
    folders = ("lamostvac", "workflow_scripts")
    files = [path for name in folders for path in (project / name).rglob("*.py")]
    writing = re.compile(r"\.attrs(\[[^]]*\] = |\.(update|create|modify)\()")
    found = {path.name: len(writing.findall(path.read_text())) for path in files}
    # `table.attrs` of pandas is the only other one.
    assert {name: count for name, count in found.items() if count} == {"hdf5.py": 2, "read.py": 1}


def test_only_one_place_opens_hdf5_for_reading(project):
    """Another one would follow what this one refuses."""
    folders = ("lamostvac", "workflow_scripts", "tools", "benchmarks")
    files = (path for name in folders for path in (project / name).rglob("*.py"))
    opening = {
        str(path.relative_to(project)): len(re.findall(r"h5py\.File\(", path.read_text()))
        for path in files
    }
    found = {name: count for name, count in opening.items() if count}
    # For writing and for reading; the others make old and damaged files.
    assert found == {"lamostvac/core/hdf5.py": 2, "tools/fuzz_mutations.py": 2}


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
