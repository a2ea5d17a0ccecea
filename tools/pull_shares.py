"""Do the errors of a run on a simulated survey hold? The tables of docs/validation.md from its pulls.csv.

    python tools/pull_shares.py results/demo [--stars 30]

First, for each kind of label, cells (a label in a spectral type and a range of S/N; for networks a label in a type or a
range, without flagged stars) with at least so many stars, and the shares of them whose pulls are 0.85 to 1.15 wide,
narrower, wider. Then the emulator's and the recommended labels' shares by type, and the widths over all S/N.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.core.vocabulary import LABELS, SPECTRAL_TYPES
from lamostvac.validation.subsets import RECOMMENDED, feh_bins
from lamostvac.validation.truth import DERIVED

RIGHT = (0.85, 1.15)
Choice = Callable[[str], bool]


def of_type_and_snr(subset: str) -> bool:
    """A cell of a type and a range of S/N."""
    return subset.partition(" ")[0] in SPECTRAL_TYPES and " S/N" in subset


def of_type(subset: str) -> bool:
    return subset.removeprefix("unflagged ") in SPECTRAL_TYPES and subset.startswith("unflagged")


def of_snr(subset: str) -> bool:
    return subset.startswith("unflagged S/N")


def kinds(labels: list[str]) -> list[tuple[str, list[str], Choice]]:
    """What the first table has: a name, labels, and which subsets are cells."""
    emulator, recommended = list(LABELS), list(RECOMMENDED)
    magnitudes = [name for name in labels if name.startswith("abs_mag_")]
    others = {*emulator, *recommended, *DERIVED, *magnitudes}
    networks = [name for name in labels if name not in others]
    return [
        ("emulator", emulator, of_type_and_snr),
        ("recommended", recommended, of_type_and_snr),
        ("networks, by type", networks, of_type),
        ("networks, by S/N", networks, of_snr),
        ("absolute magnitudes, by type", magnitudes, of_type),
        ("absolute magnitudes, by S/N", magnitudes, of_snr),
        *((name, [name], of_type_and_snr) for name in DERIVED),
    ]


def shares(cells: pd.DataFrame) -> dict[str, float]:
    """Number of cells, shares of those with pulls of the right width, narrower, wider, and the median width."""
    width, n = cells["width"], max(len(cells), 1)
    return {
        "cells": len(cells),
        "within": width.between(*RIGHT).sum() / n,
        "below": (width < RIGHT[0]).sum() / n,
        "above": (width > RIGHT[1]).sum() / n,
        "median": float(width.median()) if len(cells) else np.nan,
    }


def tables(pulls: pd.DataFrame, stars: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Shares by kind of label; shares and median width by type; widths over all S/N."""
    enough = pulls[(pulls["n"] >= stars) & np.isfinite(pulls["width"])]
    labels = list(dict.fromkeys(pulls["label"]))
    cells = {
        name: enough[enough["label"].isin(chosen) & enough["subset"].map(is_cell)]
        for name, chosen, is_cell in kinds(labels)
    }
    by_type = {}
    for name in ("emulator", "recommended"):
        types = np.array([subset.partition(" ")[0] for subset in cells[name]["subset"]], str)
        for spectral_type in SPECTRAL_TYPES:
            by_type[name, spectral_type] = shares(cells[name][types == spectral_type])
    columns = [*SPECTRAL_TYPES, *feh_bins(), "training stars"]
    whole = enough.assign(subset=enough["subset"].str.removeprefix("unflagged "))
    whole = whole[whole["subset"].isin(columns)]
    widths = whole.drop_duplicates(["label", "subset"]).pivot(
        index="label", columns="subset", values="width"
    )
    rows = [name for name in labels if name in widths.index]
    by_kind = {name: shares(found) for name, found in cells.items()}
    return (
        pd.DataFrame(by_kind).T.astype({"cells": int}),
        pd.DataFrame(by_type).T.astype({"cells": int}),
        widths.loc[rows, [name for name in columns if name in widths]],
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="folder of a run with a comparison to truth")
    parser.add_argument("--stars", type=int, default=30, help="fewest stars of a cell")
    arguments = parser.parse_args()
    path = arguments.results / "validation/pulls.csv"
    if not path.exists():
        parser.exit(1, f"Error: there is no {path}; the run has no truth, or is not finished\n")
    pulls = pd.read_csv(path)
    if pulls.empty:
        parser.exit(1, f"Error: {path} has no rows; the run has no truth\n")
    if (pulls["n"] < arguments.stars).all():
        parser.exit(
            1, f"Error: no cell has {arguments.stars} stars; the largest {pulls['n'].max()}\n"
        )
    for table in tables(pulls, arguments.stars):
        print(table.round(2).to_string(), end="\n\n")


if __name__ == "__main__":
    main()
