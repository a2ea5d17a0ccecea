"""What networks say of their training stars by members that did not learn from them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.recommend.learned import LeftOut
from lamostvac.spectra.names import RowsByName

_COLUMNS = ("left_out", "reference", "reference_err")


def read_left_out(names: NDArray[np.bytes_], paths: Mapping[str, str]) -> dict[str, LeftOut]:
    """The training stars of each label that are among one type's spectra.

    Parameters
    ----------
    names : (n,) `spectrum_id` of the type's rows
    paths : label to the file that training wrote
    """
    row_of = RowsByName(names)
    found = {}
    for label, path in paths.items():
        table = pd.read_parquet(path, columns=["spectrum_id", "star", *_COLUMNS])
        rows = row_of(table["spectrum_id"])
        used = (rows >= 0) & np.isfinite(table["left_out"]) & np.isfinite(table["reference"])
        value, reference, error = (table.loc[used, name].to_numpy(np.float64) for name in _COLUMNS)
        star = table.loc[used, "star"].to_numpy(np.int64)
        found[label] = LeftOut(rows[used], value, reference, error, star)
    return found
