"""The survey's rows, read by chunk: first what identifies a star, then the rows that match."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamostvac.training.schema import SURVEY_COLUMNS

KEYS = ("ra", "dec", "obsid", "gaia_source_id")


def read_keys(chunks: Sequence[str]) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """What identifies the spectra of all chunks (n,), and where each chunk begins (chunks + 1,)."""
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in KEYS}
    sizes = []
    for path in chunks:
        table = pq.read_table(path, columns=list(KEYS))
        sizes.append(len(table))
        for name in KEYS:
            parts[name].append(table[name].to_numpy())
    empty = {name: np.empty(0, float if name in ("ra", "dec") else np.int64) for name in KEYS}
    columns = {name: np.concatenate([empty[name], *arrays]) for name, arrays in parts.items()}
    return columns, np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)


def read_rows(
    chunks: Sequence[str], starts: NDArray[np.int64], rows: NDArray[np.int64]
) -> pd.DataFrame:
    """The survey's rows with the numbers `rows` (increasing); the columns that candidates keep."""
    columns = [name for name in SURVEY_COLUMNS if name != "spectral_type"]
    frames = []
    for number, path in enumerate(chunks):
        wanted = rows[(rows >= starts[number]) & (rows < starts[number + 1])] - starts[number]
        if len(wanted) or not number:
            frame = pq.read_table(path, columns=columns).take(wanted).to_pandas()
            frames.append(frame.assign(spectral_type=Path(path).parent.name))
    return pd.concat(frames, ignore_index=True)[list(SURVEY_COLUMNS)]
