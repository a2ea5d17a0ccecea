"""Digests of files from outside, and times of results."""

import base64
import json
import os
import time

import pytest

from lamostvac.core.exceptions import UserError
from lamostvac.core.files import sha256
from lamostvac.run import digests, restore_times


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Paths that are read to the end."""
    paths = []
    monkeypatch.setattr(digests, "sha256", lambda path: paths.append(str(path)) or sha256(path))
    return paths


def test_a_file_is_read_again_only_when_its_size_or_time_changed(tmp_path, read):
    path, store = tmp_path / "a", tmp_path / "store.json"
    path.write_text("one")
    first = digests.Digests(store).of(path)
    assert first == sha256(path)
    assert digests.Digests(store).of(path) == first
    assert len(read) == 1
    os.utime(path, ns=(1, 1))
    assert digests.Digests(store).of(path) == first
    assert len(read) == 2
    path.write_text("two")
    assert digests.Digests(store).of(path) == sha256(path) != first


def test_a_folder_is_the_files_in_it_and_what_is_absent_is_nothing(tmp_path):
    folder, store = tmp_path / "folder", digests.Digests(tmp_path / "store.json")
    folder.mkdir()
    (folder / "b").write_text("b")
    (folder / "a").write_text("a")
    first = store.of(folder)
    assert first.split() == ["a", sha256(folder / "a"), "b", sha256(folder / "b")]
    (folder / "a").rename(folder / "c")
    assert store.of(folder) != first
    assert store.every([tmp_path / "none", folder / "b"]) == ["", sha256(folder / "b")]


def test_a_damaged_store_only_costs_reading(tmp_path):
    (tmp_path / "store.json").write_text("{")
    (tmp_path / "a").write_text("one")
    assert digests.Digests(tmp_path / "store.json").of(tmp_path / "a") == sha256(tmp_path / "a")


def test_times_are_restored_in_the_order_of_finishing(tmp_path):
    """Also of files whose name is so long that Snakemake cuts its record's."""
    names = ["early", "late", "same", "long/" + "x" * 200]
    ends = [5.0, 9.0, 5.0, 7.0]
    root = tmp_path / ".snakemake/metadata"
    for name, end in [*zip(names, ends, strict=True), ("gone", 1.0)]:
        code = base64.urlsafe_b64encode(name.encode()).decode()
        parts = [code[i : i + 200] for i in range(0, len(code), 200)]
        record = root.joinpath(*[f"@{part}" for part in parts[:-1]], parts[-1])
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"endtime": end}))
        if name != "gone":
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
    (tmp_path / "benchmarks/fit").mkdir(parents=True)
    (tmp_path / "benchmarks/fit/0000.tsv").touch()
    now = 10**18
    assert restore_times.restore(tmp_path, now) == 4
    found = [(tmp_path / name).stat().st_mtime_ns for name in names]
    assert found == [now - 3000, now - 1000, now - 3000, now - 2000]
    # Snakemake counts it as an output
    assert (tmp_path / "benchmarks/fit/0000.tsv").stat().st_mtime_ns == now


def test_a_time_ahead_of_the_clock_is_told_with_what_to_do(tmp_path):
    past, future = tmp_path / "past.csv", tmp_path / "future.csv"
    for path in (past, future):
        path.write_text("x")
    digests.require_past([past, future, tmp_path / "absent.csv"])
    os.utime(future, (time.time() + 3600, time.time() + 3600))
    with pytest.raises(
        UserError, match=r"future\.csv has a time 3[56]\d\d s ahead of this .*`touch "
    ):
        digests.require_past([past, future])
