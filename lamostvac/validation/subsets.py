"""Subsets of the catalogue for comparisons."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from lamostvac.catalog.registry import Registry
from lamostvac.core.vocabulary import LABELS, TYPE_ORDER

FEH_EDGES = (-np.inf, -1.5, -0.5, np.inf)
RECOMMENDED = tuple(f"{label}_rec" for label in LABELS)
FGK = (4000.0, 7000.0)  # K, of the stars that comparisons call FGK
SNR_EDGES = (0.0, 10.0, 20.0, 40.0, 80.0, np.inf)
# Flags by which the fit itself warns of its labels.
FIT_FLAGS = ("flag_edge", "flag_no_convergence", "flag_outside_library")
# Catalogue columns that a comparison's conditions can name, and that pairs keep for the figures.
_QUANTITIES = (
    *("snru", "snrg", "snrr", "snri", "snrz", "spectral_type", "subclass", "chi2", "flags"),
    "recommended",
)


def read_catalogue(path: str | Path, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """The catalogue (Parquet) one row group at a time; at least one, perhaps empty, frame."""
    with pq.ParquetFile(path) as file:
        if not file.num_row_groups:
            yield file.schema_arrow.empty_table().select(list(columns)).to_pandas()
        for number in range(file.num_row_groups):
            yield file.read_row_group(number, columns=list(columns)).to_pandas()


def label_columns(labels: Iterable[str], registry: Registry) -> list[str]:
    """Columns that statistics of labels need: labels, errors, flags, S/N and type."""
    labels = list(dict.fromkeys(labels))
    own = [
        name
        for label in labels
        for name in (*network_flags(label), *recommended_flags(label), emulator_flag(label))
        if name in registry.names
    ]
    flags = [*registry.flag_bits, *own]
    wanted = [
        *LABELS,
        *labels,
        *(f"{label}_err" for label in (*LABELS, *labels)),
        *_QUANTITIES,
        *flags,
    ]
    return [name for name in dict.fromkeys(wanted) if name in registry.names]


def network_flags(label: str) -> tuple[str, str]:
    """A network label's own flags; the emulator's labels have none of these."""
    return f"flag_{label}", f"flag_cloud_{label}"


def emulator_flag(label: str) -> str:
    """The flag of the labels of an emulator beside the first, by one of them: flag_stelib of
    teff_stelib; "" for the first's.
    """
    found = [label.removeprefix(f"{name}_") for name in LABELS if label.startswith(f"{name}_")]
    return f"flag_{found[0]}" if found else ""


def recommended_flags(label: str) -> tuple[str, str]:
    """The own flags of a recommended label, `teff_rec` for example: systems disagree, and few
    training stars are like the star; "" for other labels.
    """
    if label not in RECOMMENDED:
        return "", ""
    of = label.removesuffix("_rec")
    return f"flag_{of}_disagree", f"flag_{of}_extrapolated"


def warned(table: pd.DataFrame, label: str) -> pd.Series:
    """Where a warning concerns a label (n,): the fit's flags for the emulator's labels, own flags
    for networks', further emulators' and recommended labels.
    """
    own = network_flags(label)
    if (flag := emulator_flag(label)) in table:
        return table[flag].astype(bool)
    names: tuple[str, ...] = own if own[1] in table else FIT_FLAGS
    if label in RECOMMENDED:
        names = recommended_flags(label)
    return any_of(table, names)


def any_of(table: pd.DataFrame, names: Iterable[str]) -> pd.Series:
    """Where any of the flags (n,) is set, of those that a table has."""
    result = np.zeros(len(table), bool)
    for name in names:
        if name in table:
            # `any` of a frame copies it first.
            result |= table[name].to_numpy(bool)
    return pd.Series(result, table.index)


def recommended(table: pd.DataFrame, label: str) -> pd.DataFrame:
    """The rows in which a label is recommended.

    These have `recommended` = 1, which says so of the emulator's labels (Liang et al. 2024, 4.3 and
    4.4), and no flag that concerns this label alone: of [alpha/Fe], of a network's label, of a
    recommended one that is an extrapolation.
    """
    own = [*own_flags(label, table), recommended_flags(label)[1]]
    return table[(table["recommended"] == 1) & ~any_of(table, own)]


def own_flags(label: str, table: pd.DataFrame) -> list[str]:
    """The flags of a table that concern a label alone."""
    flags = (f"flag_{label}", *network_flags(label), emulator_flag(label))
    return [name for name in dict.fromkeys(flags) if name in table]


def _by_type(table: pd.DataFrame, snr_band: str) -> dict[str, pd.DataFrame]:
    """The rows of each spectral type that has any, all and by S/N."""
    subsets: dict[str, pd.DataFrame] = {}
    for spectral_type in TYPE_ORDER:
        stars = table[table["spectral_type"] == spectral_type]
        if len(stars):
            subsets |= {spectral_type: stars} | by_snr(stars, snr_band, f"{spectral_type} ")
    return subsets


def by_feh(table: pd.DataFrame, prefix: str = "") -> dict[str, pd.DataFrame]:
    """Rows of each bin of true [Fe/H], by the bin's name with a prefix; none if it is unknown."""
    if "ref_feh" not in table:
        return {}
    return {
        prefix + name: table[(table["ref_feh"] >= low) & (table["ref_feh"] < high)]
        for name, (low, high) in feh_bins().items()
    }


def feh_bins() -> dict[str, tuple[float, float]]:
    """Name and limits of each [Fe/H] bin."""
    names = [
        f"[Fe/H]<{FEH_EDGES[1]:g}",
        f"[Fe/H] {FEH_EDGES[1]:g} to {FEH_EDGES[2]:g}",
        f"[Fe/H]>={FEH_EDGES[2]:g}",
    ]
    return dict(zip(names, itertools.pairwise(FEH_EDGES), strict=True))


def snr_bins() -> dict[str, tuple[float, float]]:
    """Name and limits of each S/N bin."""
    return {
        f"S/N>={low:g}" if np.isinf(high) else f"S/N {low:g}-{high:g}": (low, high)
        for low, high in itertools.pairwise(SNR_EDGES)
    }


def by_snr(table: pd.DataFrame, snr_band: str, prefix: str = "") -> dict[str, pd.DataFrame]:
    """The rows of each S/N bin, under the bin's name with a prefix."""
    return {
        prefix + name: table[(table[snr_band] >= low) & (table[snr_band] < high)]
        for name, (low, high) in snr_bins().items()
    }
