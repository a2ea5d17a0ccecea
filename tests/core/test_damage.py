"""Every form of result file: whole when written, damaged when cut, overwritten with zeros or emptied."""

import gzip
import json

import h5py
import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from command import lamostvac

from lamostvac.core.damage import damage


@pytest.fixture
def files(tmp_path):
    numbers = np.random.default_rng(1).normal(size=5000)
    table = pd.DataFrame({"x": numbers, "name": [f"star {i}" for i in range(5000)]})
    with h5py.File(tmp_path / "a.h5", "w") as handle:
        handle.create_dataset(
            "group/x", data=numbers.reshape(-1, 5), chunks=(10, 5), compression="gzip"
        )
        handle["scalar"] = 3.0
        handle["none"] = np.empty((0, 4))
    table.to_parquet(tmp_path / "a.parquet")
    Table.from_pandas(table).write(tmp_path / "a.fits")
    table.to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "a.json").write_text(json.dumps({"x": numbers.tolist()}))
    (tmp_path / "a.dat.gz").write_bytes(gzip.compress(numbers.tobytes(), mtime=0))
    return tmp_path


NAMES = ("a.h5", "a.parquet", "a.fits", "a.csv", "a.json", "a.dat.gz")


def test_whole_files_are_whole(files):
    assert [damage(files / name) for name in NAMES] == [""] * len(NAMES)
    assert lamostvac("damage", str(files)) == "6 files, 0 damaged\n"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "a.csv"])
def test_a_file_that_is_cut_is_damaged(files, name, share):
    data = (files / name).read_bytes()
    (files / name).write_bytes(data[: int(share * len(data))])
    assert damage(files / name)
    listed, summary = lamostvac("damage", str(files), code=1).splitlines()
    assert listed.startswith(f"{files / name}: ")
    assert summary == "6 files, 1 damaged"


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_or_absent_file_or_one_of_zeros_is_damaged(files, name):
    size = (files / name).stat().st_size
    (files / name).write_bytes(b"\0" * size)
    assert damage(files / name)
    (files / name).write_bytes(b"")
    assert damage(files / name) == "it is empty"
    (files / name).unlink()
    assert damage(files / name) == "it does not exist"


def test_zeros_inside_a_compressed_dataset_are_found(files):
    """As a file system leaves them that lost a block."""
    data = bytearray((files / "a.h5").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4096] = bytes(4096)
    (files / "a.h5").write_bytes(data)
    assert damage(files / "a.h5")
