"""The survey's table of chunks, and tables of rejected spectra."""

import os

import pandas as pd

# Of a spectrum that no system can label; `reason` is the emulator's, `network_reason` that of the
# networks. Only the first is there where the survey rejects, or in a run without networks.
REJECTED_COLUMNS = ("spectrum_id", "obsid", "stage", "reason", "network_reason")
_ONE_SYSTEM = ("spectrum_id", "obsid", "stage", "reason", "detail")


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
    """One system's rejections as a table `spectrum_id obsid stage reason detail`, dtypes fixed."""
    table = pd.DataFrame(rows, columns=list(_ONE_SYSTEM))
    return (
        table.astype({"obsid": "int64"})
        if len(table)
        else table.astype({"obsid": "int64"}, errors="ignore")
    )
