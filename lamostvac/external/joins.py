"""Catalogue files read by their entries, and joined by position with motion or by identifier.

Nothing depends on the order of a file's rows: a table is sorted by its content when it is read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lamostvac.core.expressions import parse
from lamostvac.external.entries import Join, TableFile
from lamostvac.external.match import canonical_order, match_identifiers, match_sky
from lamostvac.external.read import read_table
from lamostvac.external.sky import propagate


class Steps(Protocol):
    """Counts what remains after each step, as `training.accounting.Accounting` does."""

    def add(self, step: str, cut: str, n_spectra: int | None, n_stars: int | None) -> None:
        """Another step."""


def read_source(
    source: TableFile, root: str | Path, accounting: Steps | None = None
) -> pd.DataFrame:
    """Columns of a table after its own cuts, with derived ones, sorted by content.

    These cuts name the table's columns, before derived ones are made. Rows without a position are
    left out.
    """
    table = read_table(
        source.path(root),
        source.columns,
        identifiers=[name for name in source.columns if name in ("gaia_source_id", "obsid")],
        missing=source.missing,
        conversions=source.units,
    )
    if accounting is not None:
        accounting.add(f"rows of {source.file}", "", None, len(table))
    for cut in source.cuts:
        table = table[parse(cut.cut, source.file).holds(table)]
        if accounting is not None:
            accounting.add(cut.text or f"cut in {source.file}", cut.cut, None, len(table))
    table = table.iloc[canonical_order(table)].reset_index(drop=True)
    return add_derived(table, source.derived, source.file)


def add_derived(table: pd.DataFrame, derived: Mapping[str, str], where: str) -> pd.DataFrame:
    """The table with a column for each formula; later formulas may name earlier ones."""
    for name, formula in derived.items():
        table = table.assign(**{name: parse(formula, where).values(table)})
    return table


def positions(
    table: pd.DataFrame, source: TableFile, epoch: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions of a table's rows at an epoch; a column ref_epoch has precedence over `epoch`."""
    own: Any = source.epoch
    if "ref_epoch" in table:
        own = np.asarray(table["ref_epoch"], np.float64)
        own = np.where(np.isfinite(own), own, source.epoch)
    return propagate(table["ra"], table["dec"], table.get("pmra"), table.get("pmdec"), own, epoch)


def join_table(
    stars: pd.DataFrame, catalogue: TableFile, other: pd.DataFrame, join: Join
) -> pd.DataFrame:
    """The stars with a joined table's columns; where it has none, NaN, "" or -1.

    Every row of the table is matched to one star at most. For a match by sky, the stars are moved
    to the table's epoch or, where only the table has proper motions, its rows are moved to the
    catalogue's epoch.

    Returns
    -------
    The rows of `stars`, all of them, with `join.kept`, and `{join.name}_separation` (arcsec; 0 by
    identifier, NaN where nothing matches)
    """
    if join.match.by == "sky":
        if "pmra" in other and "pmra" not in stars:
            ra, dec = positions(stars, catalogue, catalogue.epoch)
            other_ra, other_dec = positions(other, join, catalogue.epoch)
        else:
            ra, dec = positions(stars, catalogue, join.epoch)
            other_ra, other_dec = positions(other, join, join.epoch)
        magnitude = other[join.magnitude] if join.magnitude else None
        # Stars of a catalogue are different stars however close; 1e-6 arcsec only unites duplicate
        # rows.
        row, separation = match_sky(
            ra, dec, other_ra, other_dec, join.match.radius, magnitude=magnitude, repeat_radius=1e-6
        )
    else:
        key = "obsid" if join.match.by == "obsid" else "gaia_source_id"
        row = match_identifiers(stars[key], other[key])
        separation = np.where(row >= 0, 0.0, np.nan)
    found = row >= 0
    added = {}
    for name in join.kept:
        values = np.asarray(other[name])
        kind = values.dtype.kind
        if kind == "O":
            column = np.full(len(row), "", object)
        elif kind in "iu" and not found.all():
            column, values = np.full(len(row), np.nan), values.astype(np.float64)
        elif kind == "b":
            column = np.zeros(len(row), bool)
        else:
            column = np.full(len(row), np.nan if kind == "f" else -1, values.dtype)
        column[found] = values[row[found]]
        added[name] = column
    return stars.assign(**added, **{f"{join.name}_separation": separation})
