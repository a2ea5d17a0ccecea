"""Radial velocities of the release's stellar catalogues, joined to its spectra by obsid.

The release's general catalogue has a redshift for every object; the velocities that its stellar
pipeline measures (LASP; Wang et al. 2022, Table 3) stand in catalogues of stars of some types.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lamostvac.external.match import match_identifiers
from lamostvac.survey.catalogue import COLUMNS, columns_by_our_names

_NEEDED = ("obsid", "rv")
_READ = (*_NEEDED, "rv_err")


def read_velocities(
    path: str | Path, aliases: Mapping[str, str] | None = None, notes: list[str] | None = None
) -> dict[str, NDArray[np.generic]]:
    """Columns `obsid` (n,) int64, `rv` and `rv_err` (n,) float32 in km/s of a stellar catalogue.

    Read by the rules of the general catalogue: names in lower case, through its aliases and
    `aliases` (name in the file: our name). Rows without an obsid or velocity are left out; an error
    that is absent or not positive is NaN.

    Raises
    ------
    UserError
        The file is unreadable or has no column obsid or rv.
    """
    kinds = {name: COLUMNS[name] for name in _READ}
    columns = columns_by_our_names(
        path, kinds, _NEEDED, aliases, notes, "survey.stellar_catalogues:"
    )
    obsid = np.asarray(columns["obsid"].fill_null(-1).to_numpy(), np.int64)
    numbers = {
        name: np.array(columns[name].fill_null(np.nan).to_numpy(), np.float32)
        if name in columns
        else np.full(len(obsid), np.nan, np.float32)
        for name in ("rv", "rv_err")
    }
    kept = (obsid > 0) & np.isfinite(numbers["rv"])
    numbers["rv_err"][~(numbers["rv_err"] > 0)] = np.nan
    return {"obsid": obsid[kept], **{name: values[kept] for name, values in numbers.items()}}


def add_velocities(
    table: pa.Table, velocities: Mapping[str, NDArray[np.generic]]
) -> tuple[pa.Table, int]:
    """The release's table with `rv` and `rv_err` of a stellar catalogue where it has no `rv`.

    Parameters
    ----------
    table : with the columns `catalogue.COLUMNS` (n rows)
    velocities : as `read_velocities` returns them; of rows with one obsid the first counts

    Returns
    -------
    The table, and how many of its spectra have got a velocity
    """
    without = np.asarray(pc.is_null(table["rv"], nan_is_null=True))
    obsid = np.asarray(table["obsid"].fill_null(-1).to_numpy(), np.int64)
    row = match_identifiers(np.where(without, obsid, -1), velocities["obsid"])
    given = row >= 0
    for name in ("rv", "rv_err"):
        values = np.asarray(table[name].fill_null(np.nan).to_numpy(), np.float32).copy()
        values[given] = velocities[name][row[given]]
        number = table.column_names.index(name)
        table = table.set_column(number, name, pa.array(values, COLUMNS[name], from_pandas=True))
    return table, int(given.sum())
