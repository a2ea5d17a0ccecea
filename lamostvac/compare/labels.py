"""How far labels moved between two runs, and beyond their errors for how many."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.compare.tables import Catalogue, Pairing
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.numerics.statistics import robust_sigma

COLUMNS = (
    *("label", "spectral_type", "n_both", "n_changed", "n_gained", "n_lost", "median_shift"),
    *("robust_sigma", "median_error", "beyond_1", "beyond_3", "n_beyond_3"),
)
"""Of the table of labels: numbers of spectra with the label in both runs, of those whose value is
another, with it in the second or the first run alone; median and robust standard deviation of the
shift, second minus first; median combined error; shares that moved by more than 1 and 3 of it.
"""


@dataclass(frozen=True)
class Shifts:
    """A label of the spectra that both runs have (n,).

    Attributes
    ----------
    before, after, before_err, after_err : values and standard deviations; NaN where missing
    types : number in `TYPE_ORDER` of each spectrum's type in the second run
    """

    label: str
    before: NDArray[Any]
    after: NDArray[Any]
    before_err: NDArray[Any]
    after_err: NDArray[Any]
    types: NDArray[np.int8]

    @property
    def shift(self) -> NDArray[np.float64]:
        """Second minus first value."""
        return np.subtract(self.after, self.before, dtype=np.float64)

    @property
    def error(self) -> NDArray[np.float64]:
        """The combined error: the root of the sum of both variances."""
        return np.hypot(self.before_err, self.after_err, dtype=np.float64)

    @property
    def sigmas(self) -> NDArray[np.float64]:
        """Shift over combined error; infinite where a value without error moved, 0 where it stayed."""
        shift = self.shift
        with np.errstate(divide="ignore", invalid="ignore"):
            found = shift / self.error
        return np.where(shift == 0, 0.0, found)


def compared_labels(before: Catalogue, after: Catalogue) -> list[str]:
    """Columns with errors and with the same unit in both catalogues, in the second one's order."""
    both = set(before.columns) & set(after.columns)
    return [
        name
        for name in after.columns
        if {name, f"{name}_err"} <= both and before.about(name, "unit") == after.about(name, "unit")
    ]


def shifts(
    before: Catalogue, after: Catalogue, pairing: Pairing, types: NDArray[np.int8], label: str
) -> Shifts:
    """A label in both runs; `types` (n,) are those of the paired spectra."""

    def taken(catalogue: Catalogue, rows: NDArray[np.int64], name: str) -> NDArray[Any]:
        return catalogue.numbers(name)[rows]

    return Shifts(
        label,
        taken(before, pairing.before, label),
        taken(after, pairing.after, label),
        taken(before, pairing.before, f"{label}_err"),
        taken(after, pairing.after, f"{label}_err"),
        types,
    )


def summary(found: Shifts) -> pd.DataFrame:
    """Rows of `COLUMNS`: all types together, then each that has spectra."""
    rows = [_row(found, "all", np.ones(len(found.types), bool))]
    for number, name in enumerate(TYPE_ORDER):
        here = found.types == number
        if here.any():
            rows.append(_row(found, name, here))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(found: Shifts, name: str, here: NDArray[np.bool_]) -> dict[str, Any]:
    had, has = np.isfinite(found.before[here]), np.isfinite(found.after[here])
    both = had & has
    shift = found.shift[here][both]
    sigmas = np.abs(found.sigmas[here][both])
    sigmas = sigmas[~np.isnan(sigmas)]
    error = found.error[here][both]
    error = error[np.isfinite(error)]

    def share(limit: float) -> float:
        return float(np.mean(sigmas > limit)) if len(sigmas) else np.nan

    return {
        "label": found.label,
        "spectral_type": name,
        "n_both": int(both.sum()),
        "n_changed": int(np.count_nonzero(shift)),
        "n_gained": int(np.count_nonzero(has & ~had)),
        "n_lost": int(np.count_nonzero(had & ~has)),
        "median_shift": float(np.median(shift)) if len(shift) else np.nan,
        "robust_sigma": robust_sigma(shift) if len(shift) else np.nan,
        "median_error": float(np.median(error)) if len(error) else np.nan,
        "beyond_1": share(1),
        "beyond_3": share(3),
        "n_beyond_3": int(np.count_nonzero(sigmas > 3)),
    }


def moved(
    before: Catalogue, pairing: Pairing, found: Shifts, limit: float, block: int = 1_000_000
) -> Iterator[pd.DataFrame]:
    """The spectra whose label moved by more than `limit` combined errors, at most `block` at a time.

    Columns: spectrum_id spectral_type label before before_err after after_err shift sigmas.
    """
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(np.abs(found.sigmas) > limit)
    names = np.array([*TYPE_ORDER, ""])
    for start in range(0, len(rows), block):
        here = rows[start : start + block]
        yield pd.DataFrame(
            {
                "spectrum_id": before.texts_at("spectrum_id", pairing.before[here]),
                "spectral_type": names[found.types[here]],
                "label": found.label,
                "before": found.before[here],
                "before_err": found.before_err[here],
                "after": found.after[here],
                "after_err": found.after_err[here],
                "shift": found.shift[here],
                "sigmas": found.sigmas[here],
            }
        )


def flag_changes(
    before: Catalogue, after: Catalogue, pairing: Pairing, names: Sequence[str]
) -> pd.DataFrame:
    """How many paired spectra have a column of 0 and 1 in the first, the second, or both runs.

    Columns: column n_before n_after n_set n_cleared.
    """
    rows = []
    for name in names:
        old = before.numbers(name)[pairing.before] != 0
        new = after.numbers(name)[pairing.after] != 0
        rows.append(
            (name, int(old.sum()), int(new.sum()), int((new & ~old).sum()), int((old & ~new).sum()))
        )
    columns = ["column", "n_before", "n_after", "n_set", "n_cleared"]
    return pd.DataFrame(rows, columns=columns)
