"""The explorer with many rows: file size, time and memory to build it, to load it, and per frame while panning.

python -m benchmarks.explorer results/catalog/recommended.parquet --rows 1000000

Rows are drawn from the catalogue with replacement, each number scattered by its error, or by 3 % where it has none
(positions by 1.5 degrees), so that no two rows are alike and the file compresses no better than a real one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/helpers"))

from browser import Browser

from benchmarks.memory import peak_mb
from lamostvac.catalog.column import Column
from lamostvac.catalog.registry import Registry, load_registry
from lamostvac.publish.choice import chosen_columns
from lamostvac.publish.explorer import (
    DEFAULT_COLUMNS,
    explorer_columns,
    read_sample,
    write_explorer,
)

ROOT = Path(__file__).resolve().parent.parent
BLOCK = 131072


def registry_of(schema: pa.Schema) -> Registry:
    """The columns that a merged catalogue (Parquet) has, the networks' among them, from its own fields."""
    shipped = load_registry()
    columns = []
    for field in schema:
        words = {key.decode(): value.decode() for key, value in field.metadata.items()}
        kind = (
            "string[64]"
            if pa.types.is_string(field.type)
            else np.dtype(field.type.to_pandas_dtype()).name
        )
        bit = shipped[field.name].bit if field.name in shipped.names else None
        columns.append(Column(name=field.name, dtype=kind, bit=bit, **words))
    return Registry(tuple(columns))


def resample(source: Path, target: Path, n: int) -> None:
    """Write a catalogue of n rows drawn from `source`, in its order."""
    table = pq.read_table(source)
    rng = np.random.default_rng(1)
    at = np.sort(rng.integers(0, table.num_rows, n))
    with pq.ParquetWriter(target, table.schema, compression="zstd") as writer:
        for start in range(0, n, BLOCK):
            part = table.take(at[start : start + BLOCK])
            size, columns = len(part), []
            for field in table.schema:
                values = part[field.name]
                if field.name == "obsid":
                    steps = 7 * np.arange(start, start + size) + rng.integers(0, 7, size)
                    values = pa.array(100_000_000 + steps)
                elif pa.types.is_floating(field.type):
                    numbers = values.to_numpy()
                    error = f"{field.name}_err"
                    scale = (
                        part[error].to_numpy()
                        if error in table.schema.names
                        else 0.03 * np.abs(numbers)
                    )
                    if field.name in ("ra", "dec"):
                        scale = np.full(size, 1.5)
                    numbers = numbers + np.nan_to_num(scale) * rng.normal(size=size)
                    if field.name.startswith("snr") or field.name.endswith("_err"):
                        numbers = np.abs(numbers)
                    elif field.name == "ra":
                        numbers %= 360
                    elif field.name == "dec":
                        numbers = np.clip(numbers, -90, 90)
                    values = pa.array(numbers.astype(field.type.to_pandas_dtype()))
                columns.append(values.cast(field.type))
            writer.write_table(
                pa.Table.from_arrays(columns, schema=table.schema), row_group_size=BLOCK
            )


def build(catalogue: Path, page: Path) -> dict[str, float]:
    """Build the page in this process; seconds, and peak memory of the process with its libraries."""
    registry = registry_of(pq.read_schema(catalogue))
    columns = explorer_columns(
        chosen_columns(None, registry, "explorer.columns", DEFAULT_COLUMNS), registry, "snrg"
    )
    before = peak_mb()
    start = time.perf_counter()
    sample = read_sample(catalogue, columns, None, 10**9)
    places = ("results/stars", "catalog/recommended_main.fits")
    write_explorer(page, sample, columns, registry, "snrg", "Simulated stars", *places)
    return {
        "build_s": time.perf_counter() - start,
        "build_peak_mb": peak_mb(),
        "libraries_mb": before,
        "columns": len(columns),
        "file_mb": page.stat().st_size / 1e6,
    }


def renderer_mb(browser: Browser) -> float:
    """Resident memory of the largest process under the browser: the one that shows the page."""
    found, largest = [str(browser.process.pid)], 0.0
    for parent in found:
        found += subprocess.run(
            ["pgrep", "-P", parent], capture_output=True, text=True, check=False
        ).stdout.split()
        status = Path(f"/proc/{parent}/status").read_text()
        if "--type=renderer" in Path(f"/proc/{parent}/cmdline").read_text():
            largest = max(largest, float(status.split("VmRSS:")[1].split()[0]) / 1000)
    return largest


def spread(values: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {
        "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)),
        "n": len(values),
    }


def look(page: Path, width: int, height: int, moves: int) -> dict[str, object]:
    """Times of the page in headless Chromium, in ms; `moves` of the mouse in each plot."""
    with tempfile.TemporaryDirectory() as folder, Browser(folder, width, height) as browser:
        browser.open(page)
        browser.wait("document.documentElement.dataset.ready === 'yes'")
        found: dict[str, object] = {
            "first_draw_ms": browser.evaluate("explorer.TIMES.firstDraw"),
            "ready_ms": browser.evaluate("explorer.TIMES.ready"),
            "renderer_mb": renderer_mb(browser),
        }
        browser.evaluate(
            "(function tick(t) { window.stamps?.push(t); requestAnimationFrame(tick); })(0)"
        )
        for number in range(4):
            box = f"explorer.plots[{number}].surface.node().getBoundingClientRect()"
            browser.evaluate(f"explorer.plots[{number}].area.scrollIntoView({{block: 'nearest'}})")
            x, y = browser.evaluate(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
            browser.evaluate("explorer.TIMES.frames.length = 0; window.stamps = []; 0")
            angle = np.linspace(0, 4 * np.pi, moves)
            browser.drag(
                *zip(
                    (x + 80 * np.sin(angle)).tolist(),
                    (y + 60 * np.cos(angle)).tolist(),
                    strict=True,
                )
            )
            found[f"pan_{number}_draw_ms"] = spread(browser.evaluate("explorer.TIMES.frames"))
            found[f"pan_{number}_frame_ms"] = spread(
                np.diff(browser.evaluate("stamps"))[2:].tolist()
            )
        browser.click_on("#good")
        browser.evaluate("new Promise((done) => setTimeout(done, 1500))")
        found["filter_ms"] = browser.evaluate("explorer.TIMES.update")
        browser.click_on("#good")
        browser.click_on("#tools input[value=lasso]")
        x, y = browser.middle(".surface")
        browser.drag(
            *[
                (x + 60 * float(np.sin(a)), y + 50 * float(np.cos(a)))
                for a in np.linspace(0, 6.28, 60)
            ]
        )
        found["lasso_ms"] = browser.evaluate("explorer.TIMES.update")
        found["lasso_selected"] = browser.evaluate("explorer.state.selected")
        browser.click_on("#clear")
        browser.accept_downloads()
        browser.click_on("#download")
        found["csv_mb"] = browser.downloaded("selection.csv", 300).stat().st_size / 1e6
        found["csv_all_rows_ms"] = browser.evaluate("explorer.TIMES.download")
        assert not browser.errors(), browser.errors()
        return found


def window(text: str) -> tuple[int, int]:
    """Width and height of a size as 1280x800."""
    width, _, height = text.partition("x")
    return int(width), int(height)


def main(given: list[str] | None = None) -> None:
    """Measure, and print what was measured as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--windows", type=window, nargs="+", default=[(1280, 800), (1920, 1080)])
    parser.add_argument(
        "--moves", type=int, default=200, help="of the mouse while a plot is panned"
    )
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    if arguments.build:
        print(json.dumps(build(arguments.catalogue, arguments.build)))
        return
    with tempfile.TemporaryDirectory() as folder:
        catalogue, page = Path(folder) / "recommended.parquet", Path(folder) / "explorer.html"
        resample(arguments.catalogue, catalogue, arguments.rows)
        # A process of its own, so that the peak of memory is the build's.
        command = [
            sys.executable,
            "-m",
            "benchmarks.explorer",
            str(catalogue),
            "--build",
            str(page),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        built = json.loads(done.stdout)
        print(json.dumps({"build": built}, indent=2))
        for width, height in arguments.windows:
            print(
                json.dumps(
                    {f"{width}x{height}": look(page, width, height, arguments.moves)}, indent=2
                )
            )


if __name__ == "__main__":
    main()
