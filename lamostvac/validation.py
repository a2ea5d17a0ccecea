"""How right the labels and their errors are: against other catalogues, cross-validation and truth.

Differences are always catalogue minus reference. offset is their median, sigma their standard
deviation, robust_sigma 1.4826 times their median absolute deviation.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml
from astropy import units
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lamostvac.errors import UserError
from lamostvac.expressions import nearest
from lamostvac.registry import NetworkLabel, Registry
from lamostvac.tables import read_table

CODE_VERSION = 4
LABELS = ("teff", "logg", "feh", "alpha_fe")
# What is derived of labels and photometry, with the column of the truth and the factor to the catalogue's unit.
DERIVED = {"ebv": ("ebv", 1.0), "dist": ("distance", 1e-3), "dist_ks": ("distance", 1e-3)}
DISTANCES = ("dist", "dist_ks")
FEH_EDGES = (-np.inf, -1.5, -0.5, np.inf)
RECOMMENDED = tuple(f"{label}_rec" for label in LABELS)
COMPARISON_COLUMNS = ["dataset", "subset", "label", "n", "offset", "sigma", "robust_sigma"]
PULL_COLUMNS = ["label", "subset", "n", "mean", "width"]
FGK = (4000.0, 7000.0)  # K, of the stars that comparisons call FGK
SNR_EDGES = (0.0, 10.0, 20.0, 40.0, 80.0, np.inf)
# Flags that mean the fit itself warns of its labels.
FIT_FLAGS = ("flag_edge", "flag_no_convergence", "flag_outside_library")
# The simulated abundances are of one kind only: the scaled-solar mixture plus alpha elements.
_TRUTH_ALIASES = {"mh": "feh", "alpha_m": "alpha_fe"}
# Catalogue columns that a comparison's conditions can name, and that pairs keep for the figures.
_QUANTITIES = ("snru", "snrg", "snrr", "snri", "snrz", "spectral_type", "subclass", "chi2", "flags")


class Comparison(BaseModel):
    """One entry of config/comparisons.yaml; the fields are documented there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    file: str
    key: Literal["obsid", "spectrum_id", "designation", "file_name"]
    reference_key: str
    key_pattern: str | None = None
    key_prefix: str = ""
    labels: dict[str, str] = Field(min_length=1)
    units: dict[str, str] = Field(default_factory=dict)
    missing: list[float] = Field(default_factory=list)
    subsets: dict[str, str] = Field(default_factory=dict)

    def path(self, root: str | Path) -> Path:
        """The file's path; `root` is survey.root."""
        return Path(root) / self.file


def load_comparisons(path: str | Path, network_labels: Sequence[str] = ()) -> list[Comparison]:
    """The comparisons that a YAML file defines.

    Parameters
    ----------
    network_labels : labels of the run's networks, which comparisons can name beside the emulator's

    Raises
    ------
    UserError
        Naming the entry and the key that is wrong, or a label that the run does not have.
    """
    known = (*LABELS, *network_labels)
    try:
        entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))["comparisons"]
    except OSError as error:
        raise UserError(f"validation.comparisons: {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, KeyError, TypeError):
        raise UserError(f"validation.comparisons: {path} must be YAML with a list `comparisons:`") from None
    comparisons = []
    for number, entry in enumerate(entries, start=1):
        try:
            comparisons.append(Comparison.model_validate(entry))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            name = entry.get("name", f"number {number}") if isinstance(entry, dict) else f"number {number}"
            raise UserError(f"{path}: entry {name}: {where}: {first['msg']}") from None
        for label in comparisons[-1].labels:
            if label not in known:
                raise UserError(
                    f"{path}: entry {comparisons[-1].name}: labels: this run has no label {label}"
                    f"{nearest(label, known)}"
                )
    names = [comparison.name for comparison in comparisons]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: two entries are called {name}")
    return comparisons


# ---------------------------------------------------------------- statistics


def robust_sigma(values: ArrayLike) -> float:
    """1.4826 times the median absolute deviation from the median; NaN without values."""
    array = np.asarray(values, np.float64)
    return float(1.4826 * np.median(np.abs(array - np.median(array)))) if array.size else float("nan")


def statistics(value: ArrayLike, reference: ArrayLike) -> dict[str, float]:
    """n, offset, sigma and robust_sigma of value - reference (n,) where both are finite."""
    difference = np.asarray(value, np.float64) - np.asarray(reference, np.float64)
    difference = difference[np.isfinite(difference)]
    if not difference.size:
        return {"n": 0, "offset": np.nan, "sigma": np.nan, "robust_sigma": np.nan}
    return {
        "n": difference.size,
        "offset": float(np.median(difference)),
        "sigma": float(difference.std()),
        "robust_sigma": robust_sigma(difference),
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


def read_reference(comparison: Comparison, root: str | Path, registry: Registry) -> pd.DataFrame:
    """The comparison's file as `key` and `ref_{label}` columns, one row per key.

    Rows without a key, or whose key stands earlier, are left out.

    Raises
    ------
    UserError
        A column that the entry names is not in the file.
    """
    columns = {"key": comparison.reference_key, **comparison.labels}
    is_number = comparison.key == "obsid" and comparison.key_pattern is None
    try:
        frame = read_table(
            comparison.path(root),
            columns,
            identifiers=["key"] if is_number else [],
            missing=comparison.missing,
        )
    except UserError as error:
        raise UserError(f"comparison {comparison.name}: {error}") from None
    keys = frame["key"].astype("string").str.strip()
    keys = keys.mask(keys.isin(["", "-1"]))
    if comparison.key_pattern is not None:
        keys = keys.str.extract(re.compile(comparison.key_pattern).pattern, expand=False)
    reference = pd.DataFrame({"key": comparison.key_prefix + keys})
    for label in comparison.labels:
        values = pd.to_numeric(frame[label], errors="coerce").to_numpy(np.float64)
        if label in comparison.units:
            values = units.Quantity(values, comparison.units[label]).to_value(registry[label].unit)
        reference[f"ref_{label}"] = values
    return reference.dropna(subset=["key"]).drop_duplicates("key").reset_index(drop=True)


def catalogue_key(table: pd.DataFrame, key: str) -> pd.Series:
    """The catalogue's side of a comparison's key, as text (n,)."""
    if key == "file_name":
        return pd.Series(
            [
                f"spec-{lmjd}-{planid}_sp{spid:02d}-{fiberid:03d}.fits"
                for lmjd, planid, spid, fiberid in zip(
                    table["lmjd"], table["planid"], table["spid"], table["fiberid"], strict=True
                )
            ],
            index=table.index,
            dtype="string",
        )
    keys = table[key].astype("string")
    return keys.mask(keys == "-1") if key == "obsid" else keys


def match(
    catalogue: str | Path, comparison: Comparison, root: str | Path, registry: Registry
) -> pd.DataFrame:
    """Catalogue rows that the reference has, with both sides' labels.

    The catalogue (Parquet) is read by row groups, so only the matches need memory. Several spectra
    of one star all match.

    Returns
    -------
    One row per match: the catalogue's columns and `ref_{label}`
    """
    reference = read_reference(comparison, root, registry)
    keys = ["spectrum_id", "obsid", "designation", "lmjd", "planid", "spid", "fiberid"]
    needed = [*keys, *label_columns([*LABELS, *comparison.labels], registry)]
    return pd.concat(
        [
            block.assign(key=catalogue_key(block, comparison.key)).merge(reference, on="key", how="inner")
            for block in read_catalogue(catalogue, needed)
        ],
        ignore_index=True,
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
        for name in (*network_flags(label), disagreement_flag(label))
        if name in registry.names
    ]
    flags = [*registry.flag_bits, *own]
    return list(dict.fromkeys([*labels, *(f"{label}_err" for label in labels), *_QUANTITIES, *flags]))


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
    """The rows that fulfil a condition of config/comparisons.yaml.

    Raises `UserError` when the condition cannot be evaluated; `where` names it.
    """
    try:
        return table.query(condition, engine="python")
    except Exception as error:
        raise UserError(f"{where}: the condition {condition!r} does not work: {error}") from None


def comparison_rows(
    dataset: str, subsets: Mapping[str, pd.DataFrame], labels: Iterable[str] = LABELS
) -> list[dict[str, Any]]:
    """Rows of comparisons.csv from tables with columns `{label}` and `ref_{label}`.

    [alpha/Fe] counts only where flag_alpha_fe recommends it.
    """
    rows = []
    for subset, table in subsets.items():
        for label in labels:
            used = _recommended(table, label)
            numbers = statistics(used[label], used[f"ref_{label}"])
            rows.append({"dataset": dataset, "subset": subset, "label": label} | numbers)
    return rows


def _recommended(table: pd.DataFrame, label: str) -> pd.DataFrame:
    if label == "alpha_fe" and "flag_alpha_fe" in table:
        return table[table["flag_alpha_fe"] == 0]
    return table


def compare(table: pd.DataFrame, comparison: Comparison) -> list[dict[str, Any]]:
    """Rows of comparisons.csv for one external catalogue, from the matches of `match`."""
    subsets = {"all": table} | {
        name: select(table, condition, f"comparison {comparison.name}, subset {name}")
        for name, condition in comparison.subsets.items()
    }
    return comparison_rows(comparison.name, subsets, comparison.labels)


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
    dataset: str, table: pd.DataFrame, labels: Iterable[str], limit: int = 50_000, subset: str = ""
) -> pd.DataFrame:
    """What the figures draw: `dataset subset label value error reference snr spectral_type fit_flagged`.

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
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


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
    for spectral_type in ("OB", "A", "F", "G", "K", "M"):
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
