"""Accuracy of labels and their errors: against other catalogues, cross-validation and truth.

Differences are always catalogue minus reference. offset is their median, sigma their standard
deviation, robust_sigma 1.4826 times their median absolute deviation.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lamostvac.core.expressions import parse
from lamostvac.core.vocabulary import LABELS
from lamostvac.validation.schema import Comparison
from lamostvac.validation.statistics import _recommended, statistics
from lamostvac.validation.subsets import FGK, own_flags, recommended, recommended_flags, warned
from lamostvac.validation.truth import DERIVED, DISTANCES, relative

COMPARISON_COLUMNS = [
    "dataset", "subset", "label", "n", "offset", "sigma", "robust_sigma", "offset_err", "sigma_err", "n_stars",
]  # fmt: skip


def comparison_rows(
    dataset: str, subsets: Mapping[str, pd.DataFrame], labels: Iterable[str] = LABELS, seed: int = 0
) -> list[dict[str, Any]]:
    """Rows of comparisons.csv from tables with columns `{label}` and `ref_{label}`. They have a
    column `star` if stars have several rows.

    [alpha/Fe] is used only where flag_alpha_fe recommends it.
    """
    rows = []
    for subset, table in subsets.items():
        for label in labels:
            used = _recommended(table, label)
            numbers = statistics(used[label], used[f"ref_{label}"], used.get("star"), seed)
            rows.append({"dataset": dataset, "subset": subset, "label": label} | numbers)
    return rows


def comparison_subsets(
    table: pd.DataFrame, comparison: Comparison, columns: Sequence[str] | None = None
) -> dict[str, pd.DataFrame]:
    """The rows of each subset of an entry: all rows, the entry's own subsets, and its groups.

    `columns` are those wanted of the subsets; None: all. Millions of rows are copied for each.
    """
    wanted = table if columns is None else table[list(columns)]
    subsets = {"all": wanted}
    for name, condition in comparison.subsets.items():
        where = f"comparison {comparison.name}: subsets.{name}"
        subsets[name] = wanted[parse(condition, where).holds(table)]
    if comparison.group is not None:
        groups = table[f"ref_{comparison.group}"]
        subsets |= {str(name): wanted[groups == name] for name in sorted(groups.unique())}
    return subsets


def compare(table: pd.DataFrame, comparison: Comparison, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of comparisons.csv for an external catalogue, from the matches of `match.match`.

    Besides the entry's subsets each label has the subset `recommended`. Differences of distances are relative.
    """
    rows = []
    for label in comparison.all_labels:
        needed = [label, f"ref_{label}", "star", "recommended", *own_flags(label, table)]
        needed += recommended_flags(label)
        columns = [name for name in dict.fromkeys(needed) if name in table]
        parts = comparison_subsets(table, comparison, columns)
        parts["recommended"] = recommended(parts["all"], label)
        if label in DISTANCES:
            parts = {name: relative(part, label) for name, part in parts.items()}
        rows += comparison_rows(comparison.name, parts, [label], seed)
    return rows


def without_training(
    table: pd.DataFrame, label: str, set_of: Mapping[str, str], trained: Mapping[str, Iterable[str]]
) -> pd.DataFrame:
    """The rows on which a label can be tested: without those its networks were trained on.

    Recommended labels are tested on all rows: training stars' are made from what networks say that
    did not learn from them (`recommend.combine.apply`).

    Parameters
    ----------
    set_of : network label to its training set; distances, which combine networks, have all sets
    trained : set to the spectra that its networks learned from in this run
    """
    names = sets_of_label(label, set_of, trained)
    known = {spectrum for name in names for spectrum in trained.get(name, ())}
    return table[~table["spectrum_id"].astype(object).isin(known)] if known else table


def sets_of_label(
    label: str, set_of: Mapping[str, str], trained: Mapping[str, Iterable[str]]
) -> list[str]:
    """The training sets whose stars a label cannot be tested on; see `without_training`."""
    return list(trained) if label in DERIVED else [set_of[label]] if label in set_of else []


def compare_crossvalidation(table: pd.DataFrame, library: str) -> list[dict[str, Any]]:
    """Rows of comparisons.csv from the emulator's cross-validation.

    Parameters
    ----------
    table : `{label}_true` and `{label}` for each of the library's labels; Teff_true sets the
        subsets: FGK is 4000 to 7000 K, OBA hotter, M cooler
    """
    labels = [label for label in LABELS if f"{label}_true" in table and label in table]
    table = table.rename(columns={f"{label}_true": f"ref_{label}" for label in labels})
    teff = table["ref_teff"]
    fgk = table[(teff >= FGK[0]) & (teff < FGK[1])]
    subsets = {"all": table, "OBA": table[teff >= FGK[1]], "FGK": fgk, "M": table[teff < FGK[0]]}
    if "logg" in labels:
        subsets |= {
            "FGK dwarfs": fgk[fgk["ref_logg"] >= 3.8],
            "FGK giants": fgk[fgk["ref_logg"] < 3.8],
        }
    return comparison_rows(f"crossvalidation_{library}", subsets, labels)


def pairs(
    dataset: str,
    table: pd.DataFrame,
    labels: Iterable[str],
    limit: int = 50_000,
    subset: str = "",
    group: str | None = None,
    other: str = "",
) -> pd.DataFrame:
    """Pairs for the figures: `dataset subset label value error reference snr spectral_type
    fit_flagged reference_error star teff logg bp_rp ebv group`.

    teff and logg are the catalogue's, or those of the one that is compared in its place, `other`.
    bp_rp is as observed, group is the cluster where there is one, star -1 for a star of its own.

    fit_flagged is true where a warning concerns the label (`warned`). At most `limit` rows per
    label, evenly thinned in the table's order. [alpha/Fe] only where flag_alpha_fe recommends it.
    """
    if len(table) > limit:
        table = table.iloc[np.linspace(0, len(table) - 1, limit).round().astype(int)]
    frames, parts = [], {}
    for label in labels:
        # All labels but [alpha/Fe] have the same rows, whose context is found once.
        used = _recommended(table, label)
        if id(used) not in parts:
            parts[id(used)] = used, _contexts(used, group, other)
        before, after = parts[id(used)][1]
        empty = pd.Series(np.nan, used.index)
        columns = {
            "dataset": dataset,
            "subset": subset,
            "label": label,
            "value": used[label].astype(np.float64),
            "error": used.get(f"{label}_err", empty).astype(np.float64),
            "reference": used[f"ref_{label}"].astype(np.float64),
            **before,
            "fit_flagged": warned(used, label),
            "reference_error": used.get(f"ref_{label}_err", empty).astype(np.float64),
            **after,
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _contexts(
    table: pd.DataFrame, group: str | None, other: str
) -> tuple[dict[str, pd.Series], dict[str, pd.Series]]:
    """Columns of `pairs` that no label has of its own: `snr spectral_type`, and those from `star` on."""
    empty = pd.Series(np.nan, table.index)
    return {
        "snr": table.get("snrg", empty).astype(np.float64),
        "spectral_type": table.get("spectral_type", pd.Series("", table.index)).astype(str),
    }, {
        "star": table.get("star", pd.Series(-1, table.index)).astype(np.int64),
        "teff": _context(table, "teff", other),
        "logg": _context(table, "logg", other),
        "bp_rp": table.get("mag_bp", empty) - table.get("mag_rp", empty),
        "ebv": table.get("ebv", empty).astype(np.float64),
        "group": table[group].astype(str) if group else pd.Series("", table.index),
    }


def _context(table: pd.DataFrame, label: str, other: str = "") -> pd.Series:
    """The catalogue's recommended label (n,) float64, or the emulator's where that is absent; for
    labels of another catalogue that one's.
    """
    result = pd.Series(np.nan, table.index)
    if other and f"{label}_{other}" in table:
        return table[f"{label}_{other}"].astype(np.float64)
    for name in (label, f"{label}_rec"):
        if name in table:
            values = table[name].astype(np.float64)
            result = values.where(np.isfinite(values), result)
    return result
