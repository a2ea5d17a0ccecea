"""Files that are whole or absent, with bytes that depend on their content alone."""

import errno
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lamostvac.core import atomic as atomic_module
from lamostvac.core import atomic as core_atomic
from lamostvac.core.atomic import atomic, atomic_folder
from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import atomic_hdf5, write_columns
from lamostvac.core.paths import shipped


def test_equal_content_gives_equal_bytes_at_another_time(tmp_path):
    for name in ("a.h5", "b.h5"):
        with atomic_hdf5(tmp_path / name) as handle:
            write_columns(
                handle.create_group("group/inner"), {"x": np.arange(5), "name": np.array(["a"] * 5)}
            )
            handle.attrs["format"] = "test"
        time.sleep(1.1)  # HDF5 keeps whole seconds
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_failed_write_leaves_nothing(tmp_path):
    def write():
        with atomic(tmp_path / "x.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_takes_its_place_when_complete_or_not_at_all(tmp_path):
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "folder") as folder:
            (folder / f"{content}.txt").write_text(content)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new.txt"]

    def failing():
        with atomic_folder(tmp_path / "folder") as folder:
            (folder / "worse.txt").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "new.txt"]


def test_a_run_in_another_folder_finds_what_the_project_ships_and_its_own_before(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    found = shipped("config/recommended.yaml")
    assert found.is_absolute()
    assert found.exists()
    (tmp_path / "config").mkdir()
    (tmp_path / "config/recommended.yaml").write_text("recommended: []")
    assert shipped("config/recommended.yaml").read_text() == "recommended: []"
    assert shipped("nowhere.yaml") == Path("nowhere.yaml")


WRITER = """
import os, sys, time
from pathlib import Path
from lamostvac.core.atomic import atomic, atomic_folder
os.getpid = lambda: 4242  # two nodes of a cluster give the same numbers
folder, who = Path(sys.argv[1]), sys.argv[2]
while not (folder / "go").exists():
    time.sleep(0.001)
for _ in range(100):
    with atomic(folder / "file.txt") as temporary:
        temporary.write_text(who * 100_000)
    with atomic_folder(folder / "folder") as temporary:
        for name in "ab":
            (temporary / name).write_text(who)
"""


def test_two_writers_with_one_process_number_never_mix(project, tmp_path):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), who], cwd=project)
        for who in "xy"
    ]
    (tmp_path / "go").touch()
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if (tmp_path / "file.txt").exists():
            text = (tmp_path / "file.txt").read_text()
            seen.add(text[0])
            assert text == text[0] * 100_000
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen <= {"x", "y"}
    assert len({(tmp_path / "folder" / name).read_text() for name in "ab"}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "folder", "go"]


def test_temporary_names_differ_between_nodes_and_keep_the_suffixes(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_module.os, "getpid", lambda: 7)
    names = set()
    for host in ("n1.cluster", "n2.cluster", "n2.cluster"):
        monkeypatch.setattr(atomic_module.socket, "gethostname", lambda host=host: host)
        names.add(core_atomic.temporary_path(tmp_path / "a.fits.gz").name)
    assert len(names) == 3
    assert all(name.startswith(".lamostvac-7-") and name.endswith("-a.fits.gz") for name in names)


def test_leftovers_of_dead_processes_are_removed_and_nothing_else(tmp_path, monkeypatch):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    target = tmp_path / "fit/M/0000.h5"
    target.parent.mkdir(parents=True)
    target.write_text("whole")
    living = core_atomic.temporary_path(target)
    monkeypatch.setattr(atomic_module.os, "getpid", lambda: dead.pid)
    left = [core_atomic.temporary_path(target), core_atomic.temporary_path(tmp_path / "hats")]
    left[1].mkdir()
    (left[1] / "part").write_text("half")
    monkeypatch.undo()
    monkeypatch.setattr(atomic_module.socket, "gethostname", lambda: "elsewhere")
    left.append(
        core_atomic.temporary_path(target)
    )  # of a living process's number, but of another node
    monkeypatch.undo()
    others = [
        tmp_path / name for name in (".tmp-12-0000.h5", ".lamostvac-notes", ".lamostvac-1-x-y-z")
    ]
    for path in (living, left[0], *left[2:], *others):
        path.write_text("half")
    assert core_atomic.remove_temporaries(tmp_path) == sorted(left)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {living, target, *others}
    assert core_atomic.remove_temporaries(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("Can't write data (file write failed: errno = 28, error message = 'x')"),
        RuntimeError("Can't decrement id ref count (No space left on device)"),
        OSError("Not enough space on disk: requested 5, available 3."),
    ],
)
def test_a_full_disk_is_a_sentence_with_the_files_name(tmp_path, error):
    def write():
        with atomic(tmp_path / "x.h5") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(UserError, match=r"^no space left on .* while writing .*x\.h5; make room"):
        write()
    assert list(tmp_path.iterdir()) == []
