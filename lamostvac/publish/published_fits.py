"""The catalogue as the tables that the two papers publish: their columns, names, units and rows.

Liang et al. (2024), Table 1, and Wang et al. (2022), Table 3; which of our columns each column is
stands in `config/published_tables.yaml`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamostvac.catalog.files import FITS_BLOCK
from lamostvac.catalog.published import PublishedTable
from lamostvac.catalog.registry import Registry
from lamostvac.core.atomic import atomic
from lamostvac.publish.choice import chosen_rows, selected


def published_registry(table: PublishedTable, registry: Registry) -> Registry:
    """The published columns, with the types of ours."""
    known = {column.name: column for column in registry}
    return Registry(tuple(entry.in_fits(known.get(entry.column)) for entry in table.columns))


def published_rows(
    rows: NDArray[np.void], table: PublishedTable, registry: Registry
) -> NDArray[np.void]:
    """Rows (n,) of the catalogue as rows (n,) of a published table.

    A column that the catalogue does not have is missing in every row; a flag of one is 1, which
    says that its label is missing.
    """
    published = published_registry(table, registry)
    made = published.empty(len(rows))
    for entry in table.columns:
        if entry.column in registry.names:
            made[entry.name] = rows[entry.column]
        elif entry.is_flag:
            made[entry.name] = 1
    return made


def write_published(
    path: str | Path,
    blocks: Iterable[NDArray[np.void]],
    table: PublishedTable,
    registry: Registry,
    cards: Mapping[str, tuple[Any, str]],
) -> int:
    """Write the rows of a published table from blocks of the catalogue's; returns how many.

    One block is in memory at a time. The number of rows is known at the end only, so the header is
    written twice; it has the same length for any number.
    """
    published = published_registry(table, registry)
    condition = chosen_rows(table.rows, registry, f"the rows of {table.paper}")
    n = 0
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        handle.write(published.header(0, cards, "PUBLISHED"))
        for rows in selected(blocks, condition):
            handle.write(published_rows(rows, table, registry).tobytes())
            n += len(rows)
        handle.write(bytes(-handle.tell() % FITS_BLOCK))
        handle.seek(0)
        handle.write(published.header(n, cards, "PUBLISHED"))
    return n
