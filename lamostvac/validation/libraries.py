"""Accuracy with which emulators of libraries recover their own labels (Liang+ 2024, Figure 7).

The paper draws the dispersion of the errors, predicted minus true, by spectral subclass, one curve
per library. Libraries differ in which labels they have and in how good these are, so a smaller
dispersion does not always mean a better emulator: it includes the errors of the labels themselves.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lamostvac.core.vocabulary import LABELS, TYPE_LIMITS, spectral_type_of
from lamostvac.validation.statistics import statistics
from lamostvac.validation.subsets import FGK

COLUMNS = ["library", "subset", "label", "n", "offset", "sigma", "robust_sigma", "published"]
# "Confined to approximately" these for FGK stars of ELODIE and of MILES
# (Liang+ 2024, section 4.2.1).
PUBLISHED_FGK = {"teff": 150.0, "logg": 0.3, "feh": 0.2}
# Where a type's late half begins, Teff in K: subclass 5 of dwarfs (Pecaut & Mamajek 2013, rounded),
# 2 for M.
_HALF = {"OB": 15700.0, "A": 8100.0, "F": 6600.0, "G": 5660.0, "K": 4500.0, "M": 3500.0}
_HALF_NAMES = {
    "OB": ("O-B4", "B5-B9"), "A": ("A0-A4", "A5-A9"), "F": ("F0-F4", "F5-F9"), "G": ("G0-G4", "G5-G9"),
    "K": ("K0-K4", "K5-K9"), "M": ("M0-M2", "M3-M9"),
}  # fmt: skip
TYPES = tuple(reversed(TYPE_LIMITS))  # hottest first
SUBCLASSES = tuple(name for spectral_type in TYPES for name in _HALF_NAMES[spectral_type])
MIN_STARS = 5  # fewer do not determine a dispersion; the figure leaves them out


def subclass_of(teff: ArrayLike) -> NDArray[np.str_]:
    """Name from `SUBCLASSES` for effective temperatures (n,) in K; types by `TYPE_LIMITS`."""
    teff = np.asarray(teff, dtype=float)
    late = teff < np.array([_HALF[name] for name in spectral_type_of(teff)])
    return np.array(
        [
            _HALF_NAMES[name][half]
            for name, half in zip(spectral_type_of(teff), late.astype(int), strict=True)
        ]
    )


def compare_libraries(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Dispersion of the cross-validation's errors of each library, by type and subclass.

    Parameters
    ----------
    tables : by name of the library, the results of `cross_validate`

    Returns
    -------
    One row per library, subset and label (`COLUMNS`). Subsets are `all`, `FGK` (4000 to 7000 K),
    and the spectral types and subclasses that have stars, all by the true Teff. offset is the
    median of predicted minus true, sigma the standard deviation, robust_sigma 1.4826 times the
    median absolute deviation; published is given for `FGK` only.
    """
    rows = []
    for library, table in tables.items():
        teff = table["teff_true"].to_numpy(np.float64)
        kind = spectral_type_of(teff)
        half = subclass_of(teff)
        subsets = {
            "all": np.ones(len(table), dtype=bool),
            "FGK": (teff >= FGK[0]) & (teff < FGK[1]),
        }
        subsets |= {name: kind == name for name in TYPES} | {
            name: half == name for name in SUBCLASSES
        }
        for subset, members in subsets.items():
            for label in LABELS:
                if f"{label}_true" not in table or not members.any():
                    continue
                numbers = statistics(table.loc[members, label], table.loc[members, f"{label}_true"])
                published = PUBLISHED_FGK.get(label, np.nan) if subset == "FGK" else np.nan
                rows.append(
                    {"library": library, "subset": subset, "label": label}
                    | numbers
                    | {"published": published}
                )
    return pd.DataFrame(rows, columns=COLUMNS)


def curve(
    table: pd.DataFrame, library: str, label: str, column: str, subsets: Sequence[str] = SUBCLASSES
) -> NDArray[np.float64]:
    """`column` of a library and label for each of `subsets`; NaN with fewer than `MIN_STARS`."""
    rows = table[
        (table["library"] == library) & (table["label"] == label) & (table["n"] >= MIN_STARS)
    ]
    return rows.set_index("subset")[column].reindex(list(subsets)).to_numpy(np.float64)
