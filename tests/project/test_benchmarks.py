"""Every benchmark runs, here with next to nothing, and says what it measured, on which machine."""

import json
import math
import re

import pytest
from browser import chromium_or_skip

from benchmarks import explorer
from benchmarks import run as benchmarks
from benchmarks.sizes import TOY
from lamostvac.networks.optimise import tensorflow

CONTRACT = {"name", "value", "unit", "baseline", "ratio", "hardware", "commit"}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    tensorflow()  # Keras would give TensorFlow more threads, for other tests of this process too
    folder = tmp_path_factory.mktemp("benchmarks")
    return benchmarks.Workload(TOY, folder / "bench", folder / "work")


@pytest.mark.parametrize("name", benchmarks.BENCHMARKS)
def test_a_benchmark_writes_what_it_measured(work, name):
    benchmarks.measure(name, work, benchmarks.machine())
    found = json.loads((work.output / f"{name}.json").read_text())
    assert set(found) >= CONTRACT
    assert found["name"] == name
    for number in ("value", "baseline", "ratio"):
        assert math.isfinite(found[number])
        assert found[number] > 0
    assert found["ratio"] == pytest.approx(found["value"] / found["baseline"])
    assert all(found[text] for text in ("unit", "baseline_is", "setting"))
    assert re.fullmatch(r"[0-9a-f]{7,40}\+?|unknown", found["commit"])


def test_the_hardware_names_the_processor_and_the_blas_kernel():
    """The same processor is up to twice as fast or as slow with another kernel."""
    kernels = [
        entry["architecture"] for entry in benchmarks.threadpool_info() if "architecture" in entry
    ]
    assert kernels
    hardware = benchmarks.machine()["hardware"]
    assert re.match(r"\d+ x \S", hardware)
    assert all(kernel in hardware for kernel in kernels)


def test_one_that_fails_is_named_and_the_others_run(tmp_path, monkeypatch, capsys):
    def broken(work):
        raise ValueError("as it was three weeks ago")

    def counted(work):
        return 3.0, 2.0, "two"

    entries = {
        name: benchmarks.Benchmark(function, "1", lambda work: "nothing")
        for name, function in (("first", broken), ("second", counted))
    }
    monkeypatch.setattr(benchmarks, "BENCHMARKS", entries)
    with pytest.raises(SystemExit, match=r"1 of the benchmarks failed: first$"):
        benchmarks.main(["--toy", "--output", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["second.json"]
    assert json.loads((tmp_path / "second.json").read_text())["ratio"] == 1.5
    assert "as it was three weeks ago" in capsys.readouterr().err


def test_a_benchmark_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(
        SystemExit, match=r"there is no benchmark nothing; there are prepare_rate, "
    ):
        benchmarks.main(["nothing", "--output", str(tmp_path / "bench")])
    assert not (tmp_path / "bench").exists()


def test_every_file_of_the_benchmarks_is_one_that_runs_here(project):
    """The explorer's has a command of its own; the others are parts of the list."""
    text = (project / "benchmarks/run.py").read_text() + (
        project / "benchmarks/explorer.py"
    ).read_text()
    paths = sorted((project / "benchmarks").glob("*.py"))
    assert len(paths) > 5
    for path in paths:
        assert path.stem in ("run", "explorer") or re.search(
            rf"^from benchmarks(\.{path.stem}\b| import .*\b{path.stem}\b)", text, re.MULTILINE
        ), path.name


@pytest.mark.slow
def test_the_explorers_benchmark_measures_its_page(run, capsys):
    chromium_or_skip()
    catalogue = run / "catalog/recommended.parquet"
    explorer.main([str(catalogue), "--rows", "500", "--windows", "640x480", "--moves", "12"])
    decoder, text, found = json.JSONDecoder(), capsys.readouterr().out.strip(), {}
    while text:
        part, end = decoder.raw_decode(text)
        found |= part
        text = text[end:].lstrip()
    assert all(value > 0 for value in found["build"].values())
    seen = found["640x480"]
    for name in ("first_draw_ms", "ready_ms", "renderer_mb", "csv_mb", "csv_all_rows_ms"):
        assert seen[name] > 0
    assert all(seen[f"pan_{number}_draw_ms"]["n"] > 0 for number in range(4))
