"""Accuracy of networks' labels: against truth, own training sets, and between nights.

A network's labels of its training stars are no test of it. So the comparison with truth leaves
their spectra out, and the relevant numbers are those of stars left out of training and of the test
set.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.catalog.registry import NetworkLabel, Registry
from lamostvac.catalog.repeat_differences import FAR
from lamostvac.core.files import read_yaml
from lamostvac.core.paths import PUBLISHED_NETWORKS_PATH
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.uncertainty.repeats import alike, repeat_pairs
from lamostvac.validation.comparisons import comparison_rows
from lamostvac.validation.statistics import statistics
from lamostvac.validation.subsets import (
    by_feh,
    by_snr,
    label_columns,
    read_catalogue,
    snr_bins,
    warned,
)

TEFF_UCD = "phys.temperature.effective"
FGK_MAX_TEFF = 7000.0
# S/N of two spectra is similar within this share of the larger one (Wang et al. 2022, section 4.1).
_ALIKE = 0.1
_TRUTH_BINS = ("S/N 10-20", "S/N 20-40", "S/N 40-80", "S/N>=80")


def mark_trained(table: pd.DataFrame, trained: Iterable[str]) -> NDArray[np.bool_]:
    """Where a spectrum (n,) is in `trained` (by spectrum_id) or shows the star of one that is.

    Parameters
    ----------
    table : `spectrum_id` and `star`, the number of the star or -1
    """
    own = table["spectrum_id"].isin(list(trained))
    stars = table.loc[own & (table["star"] >= 0), "star"].unique()
    return np.asarray(own | table["star"].isin(stars))


def truth_subsets(
    table: pd.DataFrame, label: str, trained: NDArray[np.bool_], snr_band: str
) -> dict[str, pd.DataFrame]:
    """The subsets for which accuracy and pulls of a network's label are given.

    `all` are single stars without emission that the network was not trained on, `unflagged` those
    of them without a flag of this label; both also by S/N. Training stars, binaries and
    emission-line stars are separate subsets.
    """
    single = ~table["binary"] & ~table["emission"]
    good = ~warned(table, label)
    stars = table[single & ~trained]
    unflagged = table[single & ~trained & good]
    subsets = {"all": stars} | by_snr(stars, snr_band)
    subsets |= {"unflagged": unflagged} | by_snr(unflagged, snr_band, "unflagged ")
    for spectral_type in TYPE_ORDER:
        some = unflagged[unflagged["spectral_type"] == spectral_type]
        if len(some):
            subsets[f"unflagged {spectral_type}"] = some
    subsets |= by_feh(unflagged, "unflagged ")
    return subsets | {
        "training stars": table[single & trained & good],
        "binaries": table[table["binary"] & ~trained & good],
        "emission": table[table["emission"] & ~trained & good],
    }


def training_subsets(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Train and test, the test also by S/N, and the stars removed by clipping.

    Parameters
    ----------
    table : catalogue rows of a training set's spectra, with its columns `split` and `snr`
    """
    parts = {name: table[table["split"] == name] for name in ("train", "test", "binary", "clipped")}
    subsets = {"train": parts["train"], "test": parts["test"]} | by_snr(
        parts["test"], "snr", "test "
    )
    return subsets | {name: parts[name] for name in ("binary", "clipped") if len(parts[name])}


def with_references(training: pd.DataFrame, labels: Iterable[str]) -> pd.DataFrame:
    """`spectrum_id snr split ref_{label}` of a training set's table."""
    columns = {name: training[name] for name in ("spectrum_id", "snr", "split")}
    return pd.DataFrame(columns | {f"ref_{label}": training[label] for label in labels})


def left_out_table(left_out: pd.DataFrame, label: str, teff: pd.Series) -> pd.DataFrame:
    """Members' answers for training stars that they were not trained on: `{label}`, `ref_{label}`.

    Parameters
    ----------
    left_out : `spectrum_id clipped snr reference left_out`; the clipped ones are not in a training
        set and are left out
    teff : reference Teff by spectrum_id; NaN or absent where unknown
    """
    left_out = left_out[~left_out["clipped"]]
    return pd.DataFrame(
        {
            "spectrum_id": left_out["spectrum_id"],
            label: left_out["left_out"].astype(np.float64),
            f"ref_{label}": left_out["reference"].astype(np.float64),
            "snr": left_out["snr"],
            "snrg": left_out["snr"],
            "teff_of_star": left_out["spectrum_id"].map(teff).astype(np.float64),
        }
    )


def left_out_subsets(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Subsets of `left_out_table`: all, and FGK stars at S/N above 20."""
    bright = (table["teff_of_star"] < FGK_MAX_TEFF) & (table["snr"] > 20)
    return {"left out": table, "left out FGK S/N>20": table[bright]}


def reference_teff(
    training: pd.DataFrame, labels: Sequence[NetworkLabel], catalogue: pd.DataFrame
) -> pd.Series:
    """Teff by spectrum_id: the training set's own if it has one, else the catalogue's."""
    own = [label.label for label in labels if label.ucd == TEFF_UCD]
    table, column = (training, own[0]) if own else (catalogue, "teff")
    return table.drop_duplicates("spectrum_id").set_index("spectrum_id")[column].astype(np.float64)


def training_rows(
    name: str, table: pd.DataFrame, left_out: Mapping[str, pd.DataFrame]
) -> list[dict[str, Any]]:
    """Rows of comparisons.csv for one training set.

    Parameters
    ----------
    table : catalogue rows of the set's spectra, with `split`, `snr` and `ref_{label}`
    left_out : label to `left_out_table`, in the order of the labels
    """
    subsets = training_subsets(table)
    rows = []
    for label, left in left_out.items():
        rows += comparison_rows(f"training_{name}", subsets, [label])
        rows += comparison_rows(f"training_{name}", left_out_subsets(left), [label])
    return rows


def repeat_rows(
    catalogue: str | Path, snr_bands: Mapping[str, str], registry: Registry
) -> list[dict[str, Any]]:
    """Rows of comparisons.csv for pairs of spectra of one star.

    offset is the median of later minus earlier; sigma and robust_sigma are those of the difference
    over sqrt 2, the random error of one spectrum. In a bin of S/N both spectra are in the bin.
    `beyond 3 sigma` are the pairs that differ by more than three times both random errors together:
    3 in 1000 by chance, the others are variable stars, binaries, or spectra that something spoiled.
    Memory holds only positions and nights of the catalogue, and the repeated spectra's labels.

    Parameters
    ----------
    snr_bands : label to the column of the S/N that its errors are functions of
    """
    bands = list(dict.fromkeys(snr_bands.values()))
    position = pd.concat(
        read_catalogue(catalogue, ["ra", "dec", "lmjd", *bands]), ignore_index=True
    )
    earlier, later = repeat_pairs(position["ra"], position["dec"], position["lmjd"])
    chosen = {}
    for band in bands:
        snr = position[band].to_numpy(np.float64)
        chosen[band] = _by_snr(*np.sort([snr[earlier], snr[later]], axis=0))
    del position

    needed = np.unique(np.concatenate([earlier, later]))
    first, second = np.searchsorted(needed, earlier), np.searchsorted(needed, later)
    values, random, good = _labels_at(catalogue, needed, list(snr_bands), registry)
    rows = []
    for label, band in snr_bands.items():
        before, after = (
            values[label][first].astype(np.float64),
            values[label][second].astype(np.float64),
        )
        clean = good[label][first] & good[label][second]
        expected = np.hypot(random[label][first], random[label][second])
        beyond = (expected > 0) & (abs(after - before) > FAR * expected)
        far = {f"beyond {FAR:g} sigma": beyond}
        for prefix, part in (("", np.ones(len(first), bool)), ("unflagged", clean)):
            for name, members in (chosen[band] | far).items():
                use = part & members
                numbers = statistics(after[use], before[use])
                for key in ("sigma", "robust_sigma"):
                    numbers[key] /= np.sqrt(2)
                subset = f"{prefix} {name}".strip() or "all"
                rows.append({"dataset": "repeats", "subset": subset, "label": label} | numbers)
    return rows


def _by_snr(
    lower: NDArray[np.float64], higher: NDArray[np.float64]
) -> dict[str, NDArray[np.bool_]]:
    """Which pairs (m,) are in each subset, from the S/N of both spectra (m,)."""
    chosen = {"": np.ones(len(lower), bool)}
    for name, (low, high) in snr_bins().items():
        chosen[name] = (lower >= low) & (higher < high)
    return chosen | {"S/N alike": alike(lower, higher, _ALIKE)}


def _labels_at(
    catalogue: str | Path, rows: NDArray[np.int64], labels: Sequence[str], registry: Registry
) -> tuple[
    dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]], dict[str, NDArray[np.bool_]]
]:
    """Labels of some rows (increasing numbers), their random errors, and where they carry no warning."""
    values = {label: np.empty(len(rows), np.float32) for label in labels}
    random = {label: np.full(len(rows), np.nan, np.float32) for label in labels}
    errors = {
        label: f"{label}_err_random" for label in labels if f"{label}_err_random" in registry.names
    }
    good = {label: np.empty(len(rows), bool) for label in labels}
    start = 0
    for block in read_catalogue(catalogue, [*label_columns(labels, registry), *errors.values()]):
        low, high = np.searchsorted(rows, [start, start + len(block)])
        part = block.iloc[rows[low:high] - start]
        for label in labels:
            value = part[label].to_numpy(np.float32)
            if label == "alpha_fe":
                # It is used only where it is recommended, as in the whole workflow.
                value = np.where(part["flag_alpha_fe"] == 0, value, np.float32(np.nan))
            values[label][low:high] = value
            if label in errors:
                random[label][low:high] = part[errors[label]]
            good[label][low:high] = ~warned(part, label)
        start += len(block)
    return values, random, good


def load_published(path: str | Path = PUBLISHED_NETWORKS_PATH) -> dict[str, dict[str, float]]:
    """Published standard deviations by label: `train` and `test`, where given."""
    content = read_yaml(path, "the published scatter of networks")
    return {str(label): dict(numbers) for label, numbers in content["networks"].items()}


def networks_table(
    labels: Sequence[NetworkLabel],
    rows: Iterable[Mapping[str, Any]],
    published: Mapping[str, Mapping[str, float]],
) -> pd.DataFrame:
    """One row per network: standard deviations of this run and the published ones.

    sigma_truth_all are stars that the network was not trained on, flagged or not; sigma_truth and
    its parts by S/N are those without a flag.
    """
    found = {(row["dataset"], row["subset"], row["label"]): row for row in rows}

    def number(dataset: str, subset: str, label: str, key: str = "sigma") -> Any:
        row = found.get((dataset, subset, label))
        return row[key] if row is not None else (0 if key == "n" else np.nan)

    table = []
    for label in labels:
        name, training = label.label, f"training_{label.set}"
        line: dict[str, Any] = {"label": name, "set": label.set, "unit": label.unit}
        line |= {f"n_{part}": number(training, part, name, "n") for part in ("train", "test")}
        line |= {
            "sigma_train": number(training, "train", name),
            "sigma_left_out": number(training, "left out", name),
            "sigma_test": number(training, "test", name),
            "published_train": published.get(name, {}).get("train", np.nan),
            "published_test": published.get(name, {}).get("test", np.nan),
            "n_truth": number("truth", "unflagged", name, "n"),
            "sigma_truth_all": number("truth", "all", name),
            "sigma_truth": number("truth", "unflagged", name),
            "robust_sigma_truth": number("truth", "unflagged", name, "robust_sigma"),
        }
        for bin_ in _TRUTH_BINS:
            key = bin_.removeprefix("S/N").strip().replace("-", "_").replace(">=", "above_")
            line[f"sigma_truth_{key}"] = number("truth", f"unflagged {bin_}", name)
        table.append(line)
    return pd.DataFrame(table)
