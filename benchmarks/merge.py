"""A merge of ten million rows: six synthetic tables of types with the columns of a full run, written in blocks.

The rows are one random block over and over (values as random as those of real stars, which compress badly), with
identities, positions and S/N of their own: seven million stars, some observed several times.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack
from numpy.typing import NDArray

from benchmarks.memory import peak_mb
from lamostvac.catalog.files import ROW_GROUP, write_fits
from lamostvac.catalog.merge import merge_tables
from lamostvac.catalog.registry import NetworkLabel, Registry, load_registry
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.run.plan import SHARES

CARDS = {"CREATOR": ("benchmark", "program")}
LABELS = [
    NetworkLabel(f"label_{number}", "", "stat.value", "a label", "none") for number in range(24)
]


def full_registry() -> Registry:
    """The columns of a run with the 24 labels of Wang et al. (2022)."""
    return load_registry(LABELS)


def _random_block(registry: Registry, rng: np.random.Generator) -> NDArray[np.void]:
    rows = registry.empty(ROW_GROUP)
    for column in registry:
        if column.is_string:
            rows[column.name] = np.char.mod(f"{column.name[:1]}%d", rng.integers(0, 30, ROW_GROUP))
        elif column.dtype.startswith("float"):
            rows[column.name] = rng.normal(0, 1, ROW_GROUP)
        elif column.name.startswith("flag_"):
            rows[column.name] = rng.random(ROW_GROUP) < 0.1
        else:
            rows[column.name] = rng.integers(0, 100, ROW_GROUP)
    rows["designation"] = np.char.mod("LAMOST J%018d", rng.integers(0, 10**15, ROW_GROUP))
    return rows


def write_types(folder: Path, n: int) -> dict[str, Path]:
    """Tables of all types with `n` rows in all, made block by block."""
    registry = full_registry()
    rng = np.random.default_rng(1)
    block = _random_block(registry, rng)
    n_stars = max(int(0.65 * n), 1)
    ra, dec = rng.uniform(0, 360, n_stars), np.degrees(np.arcsin(rng.uniform(-0.17, 0.86, n_stars)))
    ends = np.rint(n * np.cumsum(list(SHARES.values()))).astype(int)
    sizes = np.diff(ends, prepend=0)
    paths = {}
    for name, end, size in zip(TYPE_ORDER, ends, sizes, strict=True):

        def blocks(
            first: int = int(end - size), last: int = int(end)
        ) -> Iterator[NDArray[np.void]]:
            for start in range(first, last, ROW_GROUP):
                rows = block[: min(ROW_GROUP, last - start)]
                m = len(rows)
                rows["spectrum_id"] = np.char.mod(
                    "58000-HD000000N000000M01-01-%08d", start + np.arange(m)
                )
                star = rng.integers(0, n_stars, m)
                rows["ra"], rows["dec"], rows["snrg"] = ra[star], dec[star], rng.uniform(1, 300, m)
                yield rows

        paths[name] = folder / f"{name}.fits"
        write_fits(paths[name], blocks(), int(size), registry, CARDS)
    return paths


def timed_merge(folder: Path, tables: dict[str, Path]) -> tuple[float, float]:
    """Seconds and peak GB of the merge; to be called in a process of its own."""
    start = time.perf_counter()
    merge_tables(tables, folder / "all.fits", folder / "all.parquet", full_registry(), CARDS)
    return time.perf_counter() - start, peak_mb() / 1000


def timed_vstack(folder: Path, tables: dict[str, Path]) -> tuple[float, float]:
    """The same files by astropy's vstack in memory, without stars and checks; in a process of its own."""
    start = time.perf_counter()
    table = vstack([Table.read(path) for path in tables.values()], metadata_conflicts="silent")
    table.write(folder / "vstack.fits", overwrite=True)
    table.to_pandas().to_parquet(folder / "vstack.parquet", compression="zstd")
    return time.perf_counter() - start, peak_mb() / 1000
