"""How right the labels and their errors are: against other catalogues, cross-validation and truth.

Differences are always catalogue minus reference. offset is their median, sigma their standard
deviation, robust_sigma 1.4826 times their median absolute deviation.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from lamostvac.catalog.registry import NetworkLabel, Registry
from lamostvac.core.errors import UserError
from lamostvac.core.expressions import parse
from lamostvac.core.vocabulary import LABELS, TYPE_ORDER
from lamostvac.numerics.statistics import offset_and_scatter_errors
from lamostvac.validation.schema import Comparison

# What is derived of labels and photometry, with the column of the truth and the factor to the catalogue's unit.
DERIVED = {"ebv": ("ebv", 1.0), "dist": ("distance", 1e-3), "dist_ks": ("distance", 1e-3)}
DISTANCES = ("dist", "dist_ks")
FEH_EDGES = (-np.inf, -1.5, -0.5, np.inf)
RECOMMENDED = tuple(f"{label}_rec" for label in LABELS)
COMPARISON_COLUMNS = [
    "dataset", "subset", "label", "n", "offset", "sigma", "robust_sigma", "offset_err", "sigma_err", "n_stars",
]  # fmt: skip
PULL_COLUMNS = ["label", "subset", "n", "mean", "width"]
FGK = (4000.0, 7000.0)  # K, of the stars that comparisons call FGK
SNR_EDGES = (0.0, 10.0, 20.0, 40.0, 80.0, np.inf)
# Flags that mean the fit itself warns of its labels.
FIT_FLAGS = ("flag_edge", "flag_no_convergence", "flag_outside_library")
# The simulated abundances are of one kind only: the scaled-solar mixture plus alpha elements.
_TRUTH_ALIASES = {"mh": "feh", "alpha_m": "alpha_fe"}
# Catalogue columns that a comparison's conditions can name, and that pairs keep for the figures.
_QUANTITIES = ("snru", "snrg", "snrr", "snri", "snrz", "spectral_type", "subclass", "chi2", "flags")


# ---------------------------------------------------------------- statistics


def robust_sigma(values: ArrayLike) -> float:
    """1.4826 times the median absolute deviation from the median; NaN without values."""
    array = np.asarray(values, np.float64)
    return float(1.4826 * np.median(np.abs(array - np.median(array)))) if array.size else float("nan")


def statistics(
    value: ArrayLike, reference: ArrayLike, star: ArrayLike | None = None, seed: int = 0
) -> dict[str, float]:
    """n, offset, sigma and robust_sigma of value - reference (n,) where both are finite, with errors.

    Parameters
    ----------
    star : (n,) number of each spectrum's star, negative for one of its own; None: each row is a star. The errors
        offset_err and sigma_err are from resampling stars (`bootstrap`), of which there are n_stars
    """
    difference = np.asarray(value, np.float64) - np.asarray(reference, np.float64)
    known = np.isfinite(difference)
    difference = difference[known]
    if not difference.size:
        empty = dict.fromkeys(("offset", "sigma", "robust_sigma", "offset_err", "sigma_err"), float("nan"))
        return {"n": 0, **empty, "n_stars": 0}
    stars = None if star is None else np.asarray(star)[known]
    offset_err, sigma_err, n_stars = offset_and_scatter_errors(difference, stars, seed)
    return {
        "n": difference.size,
        "offset": float(np.median(difference)),
        "sigma": float(difference.std()),
        "robust_sigma": robust_sigma(difference),
        "offset_err": offset_err,
        "sigma_err": sigma_err,
        "n_stars": n_stars,
    }


def pull_statistics(value: ArrayLike, error: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """n, mean and robust width of (value - truth) / error where all are finite and the error positive."""
    value, error, truth = (np.asarray(array, np.float64) for array in (value, error, truth))
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = (value - truth) / error
    pull = pull[np.isfinite(pull) & (error > 0)]
    if not pull.size:
        return {"n": 0, "mean": np.nan, "width": np.nan}
    return {"n": pull.size, "mean": float(pull.mean()), "width": robust_sigma(pull)}


# ---------------------------------------------------------------- other catalogues


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
        for name in (*network_flags(label), disagreement_flag(label))
        if name in registry.names
    ]
    flags = [*registry.flag_bits, *own]
    wanted = [*LABELS, *labels, *(f"{label}_err" for label in (*LABELS, *labels)), *_QUANTITIES, *flags]
    return [name for name in dict.fromkeys(wanted) if name in registry.names]


def network_flags(label: str) -> tuple[str, str]:
    """The flags that a label of a network has to itself; the emulator's labels have none of these."""
    return f"flag_{label}", f"flag_cloud_{label}"


def disagreement_flag(label: str) -> str:
    """The flag that a recommended label, `teff_rec` for example, has to itself."""
    return f"flag_{label.removesuffix('_rec')}_disagree"


def warned(table: pd.DataFrame, label: str) -> pd.Series:
    """Where a warning concerns a label (n,): the fit's for the emulator's labels, its own for a network's and a
    recommended one."""
    own = network_flags(label)
    names: tuple[str, ...] = own if own[1] in table else FIT_FLAGS
    if label in RECOMMENDED:
        names = (disagreement_flag(label),)
    return table[[name for name in names if name in table]].any(axis=1).astype(bool)


def select(table: pd.DataFrame, condition: str, where: str) -> pd.DataFrame:
    """The rows that fulfil a condition of config/comparisons.yaml (`lamostvac.core.expressions`).

    Raises `UserError` when the condition cannot be evaluated; `where` names it.
    """
    return table[parse(condition, where).holds(table)]


def comparison_rows(
    dataset: str, subsets: Mapping[str, pd.DataFrame], labels: Iterable[str] = LABELS, seed: int = 0
) -> list[dict[str, Any]]:
    """Rows of comparisons.csv from tables with columns `{label}` and `ref_{label}`, and `star` where stars have
    several rows.

    [alpha/Fe] counts only where flag_alpha_fe recommends it.
    """
    rows = []
    for subset, table in subsets.items():
        for label in labels:
            used = _recommended(table, label)
            numbers = statistics(used[label], used[f"ref_{label}"], used.get("star"), seed)
            rows.append({"dataset": dataset, "subset": subset, "label": label} | numbers)
    return rows


def _recommended(table: pd.DataFrame, label: str) -> pd.DataFrame:
    if label == "alpha_fe" and "flag_alpha_fe" in table:
        return table[table["flag_alpha_fe"] == 0]
    return table


def comparison_subsets(table: pd.DataFrame, comparison: Comparison) -> dict[str, pd.DataFrame]:
    """The rows of each subset of an entry: all, those it defines, and its groups."""
    subsets = {"all": table} | {
        name: select(table, condition, f"comparison {comparison.name}: subsets.{name}")
        for name, condition in comparison.subsets.items()
    }
    if comparison.group is not None:
        groups = table[f"ref_{comparison.group}"]
        subsets |= {str(name): table[groups == name] for name in sorted(groups.unique())}
    return subsets


def compare(table: pd.DataFrame, comparison: Comparison, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of comparisons.csv for one external catalogue, from the matches of `comparison_match.match`.

    Differences of distances are relative.
    """
    subsets = comparison_subsets(table, comparison)
    rows = []
    for label in comparison.all_labels:
        parts = subsets
        if label in DISTANCES:
            parts = {name: relative(part, label) for name, part in subsets.items()}
        rows += comparison_rows(comparison.name, parts, [label], seed)
    return rows


def without_training(
    table: pd.DataFrame, label: str, set_of: Mapping[str, str], trained: Mapping[str, Iterable[str]]
) -> pd.DataFrame:
    """The rows that a label can be judged on: without the spectra that its networks learned from.

    Parameters
    ----------
    set_of : network label to its training set; labels that combine networks (recommended ones, distances) have all sets
    trained : set to the spectra that its networks learned from in this run
    """
    combined = (*RECOMMENDED, *DERIVED)
    names = list(trained) if label in combined else [set_of[label]] if label in set_of else []
    known = {spectrum for name in names for spectrum in trained.get(name, ())}
    return table[~table["spectrum_id"].isin(known)] if known else table


def compare_crossvalidation(table: pd.DataFrame, library: str) -> list[dict[str, Any]]:
    """Rows of comparisons.csv from the emulator's cross-validation.

    Parameters
    ----------
    table : `{label}_true` and `{label}` for each of the library's labels; Teff_true sets the subsets:
        FGK is 4000 to 7000 K, OBA hotter, M cooler
    """
    labels = [label for label in LABELS if f"{label}_true" in table and label in table]
    table = table.rename(columns={f"{label}_true": f"ref_{label}" for label in labels})
    teff = table["ref_teff"]
    fgk = table[(teff >= FGK[0]) & (teff < FGK[1])]
    subsets = {"all": table, "OBA": table[teff >= FGK[1]], "FGK": fgk, "M": table[teff < FGK[0]]}
    if "logg" in labels:
        subsets |= {"FGK dwarfs": fgk[fgk["ref_logg"] >= 3.8], "FGK giants": fgk[fgk["ref_logg"] < 3.8]}
    return comparison_rows(f"crossvalidation_{library}", subsets, labels)


def pairs(
    dataset: str,
    table: pd.DataFrame,
    labels: Iterable[str],
    limit: int = 50_000,
    subset: str = "",
    group: str | None = None,
) -> pd.DataFrame:
    """What the figures draw: `dataset subset label value error reference snr spectral_type fit_flagged
    reference_error star teff logg group`.

    teff and logg are the catalogue's, group is the cluster where there is one, star -1 for a star of its own.

    fit_flagged is where a warning concerns the label (`warned`). At most `limit` rows per label, evenly
    thinned in the table's order. [alpha/Fe] only where flag_alpha_fe recommends it.
    """
    if len(table) > limit:
        table = table.iloc[np.linspace(0, len(table) - 1, limit).round().astype(int)]
    frames = []
    for label in labels:
        used = _recommended(table, label)
        empty = pd.Series(np.nan, used.index)
        columns = {
            "dataset": dataset,
            "subset": subset,
            "label": label,
            "value": used[label].astype(np.float64),
            "error": used.get(f"{label}_err", empty).astype(np.float64),
            "reference": used[f"ref_{label}"].astype(np.float64),
            "snr": used.get("snrg", empty).astype(np.float64),
            "spectral_type": used.get("spectral_type", pd.Series("", used.index)).astype(str),
            "fit_flagged": warned(used, label),
            "reference_error": used.get(f"ref_{label}_err", empty).astype(np.float64),
            "star": used.get("star", pd.Series(-1, used.index)).astype(np.int64),
            "teff": _context(used, "teff"),
            "logg": _context(used, "logg"),
            "group": used[group].astype(str) if group else pd.Series("", used.index),
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _context(table: pd.DataFrame, label: str) -> pd.Series:
    """The catalogue's recommended label (n,) float64, the emulator's where that is not there."""
    result = pd.Series(np.nan, table.index)
    for name in (label, f"{label}_rec"):
        if name in table:
            values = table[name].astype(np.float64)
            result = values.where(np.isfinite(values), result)
    return result


# ---------------------------------------------------------------- truth


def truth_column(label: NetworkLabel) -> str:
    """The column of the truth that a network's label is compared with: its name without the set's."""
    name = label.label.removesuffix(f"_{label.set}")
    return _TRUTH_ALIASES.get(name, name)


def read_truth(path: str | Path, networks: Sequence[NetworkLabel] = ()) -> pd.DataFrame:
    """True labels of a simulated survey: `spectrum_id`, `ref_{label}`, `star`, `binary`, `emission`.

    There is a `ref_{label}` for labels of the emulator, those of networks, the recommended ones and `DERIVED`.

    The table (FITS or CSV) has the labels under the catalogue's names, those of networks without the name
    of their training set; NaN or absent where unknown. Optional are `is_binary`, `is_emission`, and
    `star_id`, the number of the star, -1 where unknown. A spectrum that stands twice counts once.

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
        raise UserError(f"validation.truth: {path} has no column spectrum_id; it has {', '.join(source)}")
    columns: dict[str, Any] = {"spectrum_id": source["spectrum_id"].astype(str).str.strip()}
    sources = dict(zip((*LABELS, *RECOMMENDED), (*LABELS, *LABELS), strict=True))
    sources |= {label.label: truth_column(label) for label in networks}
    for label, column in sources.items():
        columns[f"ref_{label}"] = source[column].astype(np.float64) if column in source else np.nan
    for label, (column, factor) in DERIVED.items():
        known = source[column].astype(np.float64) if column in source else pd.Series(np.nan, source.index)
        columns[f"ref_{label}"] = known * factor
    columns["star"] = source["star_id"].astype(np.int64) if "star_id" in source else -1
    for special in ("binary", "emission"):
        columns[special] = source[f"is_{special}"].astype(bool) if f"is_{special}" in source else False
    return pd.DataFrame(columns).drop_duplicates("spectrum_id").reset_index(drop=True)


def match_spectra(
    catalogue: str | Path, table: pd.DataFrame, labels: Iterable[str], registry: Registry
) -> pd.DataFrame:
    """Catalogue rows of the spectra of a table (`spectrum_id` and more), with the table's columns."""
    needed = ["spectrum_id", *label_columns([*LABELS, *labels], registry)]
    blocks = [
        block.merge(table, on="spectrum_id", how="inner") for block in read_catalogue(catalogue, needed)
    ]
    return pd.concat(blocks, ignore_index=True)


def truth_subsets(table: pd.DataFrame, snr_band: str) -> dict[str, pd.DataFrame]:
    """The subsets that accuracy and pulls are given for.

    Single stars without emission and without a warning from the fit come as `all`, by S/N, by type
    and by type and S/N; binaries, emission-line stars and fits with a warning stand apart.
    """
    ordinary = ~table["binary"] & ~table["emission"]
    doubtful = table[list(FIT_FLAGS)].any(axis=1)
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
    """The subsets that accuracy and pulls of recommended labels are given for.

    Those of `truth_subsets` without the spectra that a network learned from (`known`, (n,)), but with fits that have a
    warning: networks stand in for them, or there is no value.
    """
    ordinary = table[~table["binary"] & ~table["emission"] & ~known]
    return {"all": ordinary} | by_snr(ordinary, snr_band) | _by_type(ordinary, snr_band) | by_feh(ordinary)


def _by_type(table: pd.DataFrame, snr_band: str) -> dict[str, pd.DataFrame]:
    """The rows of each spectral type that has any, all and by S/N."""
    subsets: dict[str, pd.DataFrame] = {}
    for spectral_type in TYPE_ORDER:
        stars = table[table["spectral_type"] == spectral_type]
        if len(stars):
            subsets |= {spectral_type: stars} | by_snr(stars, snr_band, f"{spectral_type} ")
    return subsets


def by_feh(table: pd.DataFrame, prefix: str = "") -> dict[str, pd.DataFrame]:
    """The rows of each bin of true [Fe/H], under the bin's name with a prefix; none where it is unknown."""
    if "ref_feh" not in table:
        return {}
    names = [
        f"[Fe/H]<{FEH_EDGES[1]:g}",
        f"[Fe/H] {FEH_EDGES[1]:g} to {FEH_EDGES[2]:g}",
        f"[Fe/H]>={FEH_EDGES[2]:g}",
    ]
    return {
        prefix + name: table[(table["ref_feh"] >= low) & (table["ref_feh"] < high)]
        for name, (low, high) in zip(names, itertools.pairwise(FEH_EDGES), strict=True)
    }


def relative(table: pd.DataFrame, label: str) -> pd.DataFrame:
    """The table with a distance over the true one in place of both, so that differences are relative."""
    changed = table.copy()
    changed[label] = table[label] / table[f"ref_{label}"]
    changed[f"ref_{label}"] = 1.0
    return changed


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


def pull_rows(subsets: Mapping[str, pd.DataFrame], labels: Iterable[str] = LABELS) -> list[dict[str, Any]]:
    """Rows of pulls.csv from tables with `{label}`, `{label}_err` and `ref_{label}`.

    [alpha/Fe] counts only where flag_alpha_fe recommends it.
    """
    rows = []
    for label in labels:
        for subset, table in subsets.items():
            used = _recommended(table, label)
            rows.append(
                {"label": label, "subset": subset}
                | pull_statistics(used[label], used[f"{label}_err"], used[f"ref_{label}"])
            )
    return rows


def pulls_of(table: pd.DataFrame) -> NDArray[np.float64]:
    """(value - reference) / error of a table of pairs (n,), where the error is positive and all finite."""
    usable = table[(table["error"] > 0) & ~table["fit_flagged"]]
    pull = ((usable["value"] - usable["reference"]) / usable["error"]).to_numpy(np.float64)
    return pull[np.isfinite(pull)]
