"""The catalogue's main columns alone: `recommended_main.fits` and `recommended_main.parquet`.

Most readers want some 40 of the catalogue's columns; `main_columns` of `config/columns.yaml` says
which.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamostvac.catalog.files import ROW_GROUP, write_fits
from lamostvac.catalog.merge import parquet_writer
from lamostvac.catalog.registry import Registry
from lamostvac.core.atomic import atomic


def write_main(
    fits_path: str | Path,
    parquet_path: str | Path,
    blocks: Iterable[NDArray[np.void]],
    n: int,
    main: Registry,
    cards: Mapping[str, tuple[Any, str]],
) -> None:
    """Write the columns of `main` of all `n` rows, in one pass, to a FITS and a Parquet file.

    Parameters
    ----------
    blocks : rows of the catalogue, with the columns of `main` and others; one block is in memory
        at a time

    Raises
    ------
    ValueError
        The blocks do not add up to `n` rows.
    """
    metadata = {keyword.lower(): str(value) for keyword, (value, _) in cards.items()}
    with (
        atomic(parquet_path) as temporary,
        parquet_writer(temporary, main, metadata) as writer,
    ):

        def pieces() -> Iterator[NDArray[np.void]]:
            for block in blocks:
                rows = main.empty(len(block))
                for name in main.names:
                    rows[name] = block[name]
                writer.write_table(main.to_arrow(rows, metadata), row_group_size=ROW_GROUP)
                yield rows

        write_fits(fits_path, pieces(), n, main, cards)
