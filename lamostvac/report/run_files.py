"""Readers of a run's files for the report's first page."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamostvac.catalog.table_header import YAML_KEY


def column(path: str, name: str) -> NDArray[Any]:
    """One column of the catalogue."""
    return np.asarray(pq.read_table(path, columns=[name])[name].to_numpy())


def network_numbers(networks: pd.DataFrame) -> dict[str, tuple[int, int, int]]:
    """Number of labels, least and largest number of training stars, of each training set."""
    return {
        str(name): (len(rows), int(rows["n_train"].min()), int(rows["n_train"].max()))
        for name, rows in networks.groupby("set", sort=False)
    }


# What Arrow and astropy keep beside them: descriptions of all columns, widths of texts.
_OF_COLUMNS = (b"ARROW:schema", YAML_KEY.encode(), b"table::len::")


def catalogue_versions(path: str) -> dict[str, str]:
    """Versions, settings and inputs in the catalogue's header."""
    metadata = pq.read_schema(path).metadata
    return {
        key.decode(): value.decode()
        for key, value in metadata.items()
        if not key.startswith(_OF_COLUMNS)
    }
