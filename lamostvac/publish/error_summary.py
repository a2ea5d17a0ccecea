"""Errors of recommended stars by luminosity class and type (Liang et al. 2024, Table 2)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.files import read_yaml
from lamostvac.core.paths import PUBLISHED_INTERNAL_ERRORS_PATH
from lamostvac.core.vocabulary import GIANT_LOGG, LABELS, TYPE_ORDER

COLUMNS = (
    *("luminosity_class", "spectral_type", "quantity", "n", "min", "median", "mean", "std"),
    *("published_n", "published_min", "published_mean", "published_std"),
)


def internal_errors(
    blocks: Iterable[NDArray[np.void]], snr_band: str, published: dict[str, Any]
) -> pd.DataFrame:
    """A table like Table 2 of Liang et al. (2024) from the catalogue's rows.

    Rows are those with recommended = 1; for alpha_fe_err only those with flag_alpha_fe = 0 too.
    Values that are not finite are left out. Memory holds six numbers for each recommended row.

    Parameters
    ----------
    blocks : rows of the catalogue, block by block
    snr_band : column of the S/N
    published : the content of config/published_internal_errors.yaml

    Returns
    -------
    Columns `COLUMNS`; quantities `teff_err logg_err feh_err alpha_fe_err chi2 snr` for giants and
    then dwarfs of each type. Published numbers are added where the paper has them: n and the least
    S/N with `snr`.
    """
    quantities = [*(f"{label}_err" for label in LABELS), "chi2", "snr"]
    kept: dict[tuple[str, str], list[NDArray[np.float32]]] = {
        (kind, name): [] for kind in ("giant", "dwarf") for name in TYPE_ORDER
    }
    for rows in blocks:
        rows = rows[rows["recommended"] == 1]
        columns = [rows[snr_band if name == "snr" else name] for name in quantities]
        values = np.column_stack([column.astype(np.float32) for column in columns])
        values[rows["flag_alpha_fe"] != 0, quantities.index("alpha_fe_err")] = np.nan
        giant = rows["logg"] < GIANT_LOGG
        for name in TYPE_ORDER:
            mine = rows["spectral_type"] == name.encode()
            if mine.any():
                kept["giant", name].append(values[mine & giant])
                kept["dwarf", name].append(values[mine & ~giant])
    lines = []
    for (kind, name), parts in kept.items():
        values = np.concatenate(parts) if parts else np.empty((0, len(quantities)), np.float32)
        theirs = published[kind][name]
        for quantity, column in zip(quantities, values.T, strict=True):
            lines.append(
                [kind, name, quantity, *_statistics(column), *_published(theirs, quantity)]
            )
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype({"published_n": "Int64"})


def _statistics(values: NDArray[np.float32]) -> tuple[int, float, float, float, float]:
    """Number of finite values, least, median, mean, standard deviation."""
    # Sorted, so that the sums do not depend on the order of the rows.
    values = np.sort(values[np.isfinite(values)]).astype(np.float64)
    if not len(values):
        return 0, np.nan, np.nan, np.nan, np.nan
    return (
        len(values),
        values[0],
        float(np.median(values)),
        float(values.mean()),
        float(values.std()),
    )


def _published(theirs: dict[str, Any], quantity: str) -> tuple[int | None, float, float, float]:
    """Number, least, mean, standard deviation in the paper; NaN for what it does not give."""
    if quantity == "snr":
        return theirs["n"], theirs["min_snr"], np.nan, np.nan
    mean, deviation = theirs[quantity.removesuffix("_err")]
    return None, np.nan, mean, deviation


def published_errors(path: str | Path = PUBLISHED_INTERNAL_ERRORS_PATH) -> dict[str, Any]:
    """The published table: luminosity class to spectral type to quantity."""
    content: dict[str, Any] = read_yaml(path, "the published errors")
    return content
