"""Comparison of the catalogue with the injected truth."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.table import Table
from numpy.typing import NDArray

from lamostvac.catalog.registry import EmulatorLabels, NetworkLabel, Registry
from lamostvac.core.exceptions import UserError
from lamostvac.core.vocabulary import LABELS
from lamostvac.validation.subsets import (
    FIT_FLAGS,
    RECOMMENDED,
    _by_type,
    by_feh,
    by_snr,
    label_columns,
    read_catalogue,
)

# Quantities derived from labels and photometry, with the truth's column and the factor to the
# catalogue's unit.
DERIVED = {"ebv": ("ebv", 1.0), "dist": ("distance", 1e-3), "dist_ks": ("distance", 1e-3)}
DISTANCES = ("dist", "dist_ks")
# Simulated abundances have one pattern only: the scaled-solar mixture plus alpha elements.
_TRUTH_ALIASES = {"mh": "feh", "alpha_m": "alpha_fe"}


def truth_column(label: NetworkLabel) -> str:
    """The truth's column for a network's label: the label's name without the set's."""
    name = label.label.removesuffix(f"_{label.set}")
    return _TRUTH_ALIASES.get(name, name)


def read_truth(
    path: str | Path,
    networks: Sequence[NetworkLabel] = (),
    emulators: Sequence[EmulatorLabels] = (),
) -> pd.DataFrame:
    """True labels of a simulated survey: `spectrum_id ref_{label} star binary emission`.

    There is a `ref_{label}` for labels of all emulators, those of networks, the recommended ones
    and `DERIVED`.

    The table (FITS or CSV) has the labels under the catalogue's names, those of networks without
    the name of their training set; NaN or absent where unknown. Optional are `is_binary`,
    `is_emission`, and `star_id`, the number of the star, -1 where unknown. A spectrum that occurs
    twice counts once.

    Raises
    ------
    UserError
        There is no column spectrum_id.
    """
    if Path(path).name.removesuffix(".gz").endswith((".fits", ".fit")):
        source = Table.read(path, character_as_bytes=False).to_pandas()
    else:
        source = pd.read_csv(path)
    if "spectrum_id" not in source:
        raise UserError(
            f"validation.truth: {path} has no column spectrum_id; it has {', '.join(source)}"
        )
    columns: dict[str, Any] = {"spectrum_id": source["spectrum_id"].astype(str).str.strip()}
    sources = dict(zip((*LABELS, *RECOMMENDED), (*LABELS, *LABELS), strict=True))
    sources |= {label.label: truth_column(label) for label in networks}
    sources |= {column: label for one in emulators for label, column in one.columns.items()}
    for label, column in sources.items():
        columns[f"ref_{label}"] = source[column].astype(np.float64) if column in source else np.nan
    for label, (column, factor) in DERIVED.items():
        known = (
            source[column].astype(np.float64)
            if column in source
            else pd.Series(np.nan, source.index)
        )
        columns[f"ref_{label}"] = known * factor
    columns["star"] = source["star_id"].astype(np.int64) if "star_id" in source else -1
    for special in ("binary", "emission"):
        columns[special] = (
            source[f"is_{special}"].astype(bool) if f"is_{special}" in source else False
        )
    return pd.DataFrame(columns).drop_duplicates("spectrum_id").reset_index(drop=True)


def match_spectra(
    catalogue: str | Path, table: pd.DataFrame, labels: Iterable[str], registry: Registry
) -> pd.DataFrame:
    """Catalogue rows of a table's spectra (by `spectrum_id`), with the table's columns."""
    needed = ["spectrum_id", *label_columns([*LABELS, *labels], registry)]
    blocks = [
        block.merge(table, on="spectrum_id", how="inner")
        for block in read_catalogue(catalogue, needed)
    ]
    return pd.concat(blocks, ignore_index=True)


def truth_subsets(
    table: pd.DataFrame, snr_band: str, flags: Sequence[str] = FIT_FLAGS
) -> dict[str, pd.DataFrame]:
    """The subsets for which accuracy and pulls are given.

    Single stars without emission and without a warning from the fit come as `all`, by S/N, by type,
    and by type and S/N; binaries, emission-line stars and fits with a warning, one of `flags`, are
    separate subsets.
    """
    ordinary = ~table["binary"] & ~table["emission"]
    doubtful = table[list(flags)].any(axis=1)
    good = table[ordinary & ~doubtful]
    return {
        "all": good,
        **by_snr(good, snr_band),
        **_by_type(good, snr_band),
        **by_feh(good),
        "fit warned": table[ordinary & doubtful],
        "binaries": table[table["binary"] & ~doubtful],
        "emission": table[table["emission"] & ~doubtful],
    }


def recommended_subsets(
    table: pd.DataFrame, known: NDArray[np.bool_], snr_band: str
) -> dict[str, pd.DataFrame]:
    """The subsets for which accuracy and pulls of recommended labels are given.

    These are those of `truth_subsets` without the spectra on which a network was trained (`known`,
    (n,)), but with fits that have a warning: for these the value comes from networks, or there is
    none.
    """
    ordinary = table[~table["binary"] & ~table["emission"] & ~known]
    return (
        {"all": ordinary}
        | by_snr(ordinary, snr_band)
        | _by_type(ordinary, snr_band)
        | by_feh(ordinary)
    )


def relative(table: pd.DataFrame, label: str) -> pd.DataFrame:
    """The table with distances divided by the true ones, so that differences are relative."""
    changed = table.copy()
    changed[label] = table[label] / table[f"ref_{label}"]
    changed[f"ref_{label}"] = 1.0
    return changed
