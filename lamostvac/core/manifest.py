"""The survey's table of chunks, and tables of rejected spectra."""

import os

import pandas as pd

REJECTED_COLUMNS = ("spectrum_id", "obsid", "stage", "reason")


def read_manifest(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The table of chunks that the survey wrote: `type chunk n_spectra n_plates first_plate
    last_plate digest carried`.
    """
    return pd.read_csv(
        path,
        dtype={"type": str, "chunk": str, "digest": str, "carried": str},
        keep_default_na=False,
    )


def rejected_table(rows: list[tuple[str, int, str, str, str]]) -> pd.DataFrame:
    """Rejections as a table `spectrum_id obsid stage reason detail` with fixed dtypes."""
    table = pd.DataFrame(rows, columns=[*REJECTED_COLUMNS, "detail"])
    return (
        table.astype({"obsid": "int64"})
        if len(table)
        else table.astype({"obsid": "int64"}, errors="ignore")
    )
