"""How near the run is to each other catalogue, in a few words beside a figure's title."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lamostvac.core.vocabulary import DIGITS, LABELS

HEADS = {"teff": "Teff / K", "logg": "log g", "feh": "[Fe/H]", "alpha_fe": "[alpha/Fe]"}
_SUBSETS = ("recommended", "unflagged", "FGK", "all")
_FEWEST = 10
# The median difference over the robust scatter of the differences, up to which the light is green
# and up to which it is yellow.
_GREEN, _YELLOW = 0.25, 0.5


def light(offset: float, scatter: float) -> str:
    """green, yellow or red: whether the median difference is lost in the scatter of single stars."""
    share = abs(offset) / scatter if scatter > 0 else np.inf
    return "green" if share <= _GREEN else "yellow" if share <= _YELLOW else "red"


def verdicts(comparisons: pd.DataFrame) -> dict[str, dict[str, str]]:
    """For each data set by label's heading: median +- robust scatter of the differences, and a light.

    The recommended value where it was compared, else the emulator's; of the recommended stars where
    there are ten, else of the first larger subset. Labels that were not compared are left out.

    Parameters
    ----------
    comparisons : `dataset subset label n offset robust_sigma` (validation/comparisons.csv)
    """
    known = comparisons[(comparisons["n"] >= _FEWEST) & comparisons["robust_sigma"].notna()]
    rows = {(row["dataset"], row["subset"], row["label"]): row for row in known.to_dict("records")}
    found: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys(known["dataset"].astype(str)):
        for label in LABELS:
            asked = [
                (name, subset, column) for column in (f"{label}_rec", label) for subset in _SUBSETS
            ]
            row = next((rows[key] for key in asked if key in rows), None)
            if row is not None:
                found.setdefault(name, {})[HEADS[label]] = _words(row, DIGITS[label])
    return found


def verdicts_of(path: str | Path) -> Mapping[str, Mapping[str, str]]:
    """`verdicts` of a file; none where it does not exist."""
    return verdicts(pd.read_csv(path)) if Path(path).is_file() else {}


def accuracy(comparisons: pd.DataFrame) -> dict[str, Any]:
    """Tables for a page: `head`, `all` (a row of `verdicts` for each data set) and `parts`.

    `parts` has a row for each kind of stars that the data set tells apart: types, giants and
    dwarfs, S/N; its recommended values where they were compared. `comparisons` as for `verdicts`.
    """
    known = comparisons[(comparisons["n"] >= _FEWEST) & comparisons["robust_sigma"].notna()]
    texts: dict[tuple[str, str], dict[str, str]] = {}
    counts: dict[tuple[str, str], int] = {}
    for label in LABELS:
        for column in (label, f"{label}_rec"):
            for row in known[known["label"] == column].to_dict("records"):
                key = str(row["dataset"]), str(row["subset"])
                texts.setdefault(key, {})[HEADS[label]] = _words(row, DIGITS[label])
                counts[key] = int(row["n"])
    heads = [head for head in HEADS.values() if any(head in text for text in texts.values())]
    return {
        "head": ("minus", *heads),
        "all": [
            (name, *(text.get(head, "") for head in heads))
            for name, text in verdicts(comparisons).items()
        ],
        "parts": [
            (f"{name}, {subset}", f"{counts[name, subset]:,}", *(text.get(h, "") for h in heads))
            for (name, subset), text in sorted(texts.items())
            if subset not in (*_SUBSETS[:2], "all")
        ],
    }


def _words(row: Mapping[Hashable, Any], digits: int) -> str:
    offset, scatter = float(row["offset"]), float(row["robust_sigma"])
    rounded = round(offset, digits) + 0.0  # no -0.00
    nbsp = "\N{NO-BREAK SPACE}"
    return f"{rounded:+.{digits}f}{nbsp}±{nbsp}{scatter:.{digits}f} {light(offset, scatter)}"
