"""Files that are whole or absent, with bytes that depend on their content alone."""

import time
from pathlib import Path

import numpy as np
import pytest

from lamostvac.files import atomic, atomic_folder, atomic_hdf5, shipped, write_columns


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


def test_a_run_in_another_folder_finds_what_the_project_ships_and_its_own_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = shipped("config/recommended.yaml")
    assert found.is_absolute()
    assert found.exists()
    (tmp_path / "config").mkdir()
    (tmp_path / "config/recommended.yaml").write_text("recommended: []")
    assert shipped("config/recommended.yaml").read_text() == "recommended: []"
    assert shipped("nowhere.yaml") == Path("nowhere.yaml")
