"""The report's first page: the run's key numbers beside the papers', and which rules are slow.

Functions take the run's tables and return tables; `write_overview` makes the page, with times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from lamostvac.core.exceptions import UserError
from lamostvac.core.files import read_yaml
from lamostvac.core.html import write_page
from lamostvac.core.messages import mistake
from lamostvac.core.paths import OVERVIEW_PATH
from lamostvac.core.rejection import REASONS
from lamostvac.report.stage_costs import costs_in_words
from lamostvac.report.verdicts import accuracy
from lamostvac.validation.libraries import PUBLISHED_FGK

CHECKS = (
    "crossvalidation",
    "networks",
    "internal_errors",
    "repeats",
    "pulls",
    "bias",
    "flagged",
    "lost",
)
CHECK_COLUMNS = ["check", "what", "n", "run", "published", "measure", "light"]
LIGHTS = ("green", "yellow", "red", "none")
# S/N of the repeats in validation/comparisons.csv that represent 50: 40 to 80, geometric mean 57.
_BIN, _BIN_SNR = "unflagged S/N 40-80", float(np.sqrt(40.0 * 80.0))
_REPEATS_SNR = 50
# What the checks measure that are not ratios.
_MEASURES = {"pulls": "width", "bias": "mean"}


class Limits(BaseModel):
    """One check of config/overview.yaml, where the keys are documented."""

    model_config = ConfigDict(extra="forbid")

    title: str
    source: str
    green: float | tuple[float, float]
    yellow: float | tuple[float, float]
    min_n: int = 0
    note: str = ""

    @model_validator(mode="after")
    def _ordered(self) -> "Limits":
        low_green, high_green = self.interval(self.green)
        low_yellow, high_yellow = self.interval(self.yellow)
        if not low_yellow <= low_green <= high_green <= high_yellow:
            raise ValueError("yellow must reach as far as green, or farther")
        return self

    @staticmethod
    def interval(limit: float | tuple[float, float]) -> tuple[float, float]:
        """Smallest and largest value within a limit."""
        return limit if isinstance(limit, tuple) else (-np.inf, limit)

    def light(self, measure: float, n: float) -> str:
        """green, yellow, red, or none where the number is based on too few objects."""
        if not np.isfinite(measure) or not n >= self.min_n:
            return "none"
        for colour, limit in (("green", self.green), ("yellow", self.yellow)):
            low, high = self.interval(limit)
            if low <= measure <= high:
                return colour
        return "red"


def load_limits(path: str | Path = OVERVIEW_PATH) -> dict[str, Limits]:
    """The limits of every check.

    Raises
    ------
    UserError
        A check is missing, unknown or wrong; the message names it.
    """
    content = read_yaml(path, "the checks of the overview")
    if not isinstance(content, dict):
        raise UserError(f"{path} has no checks; it needs {', '.join(CHECKS)}")
    for name in content:
        if name not in CHECKS:
            raise UserError(f"{path}: {name} is no check; there are {', '.join(CHECKS)}")
    limits = {}
    for name in CHECKS:
        if name not in content:
            raise UserError(f"{path}: the check {name} is missing")
        try:
            limits[name] = Limits.model_validate(content[name])
        except ValidationError as error:
            raise UserError(f"{path}: {name}: {mistake(error, Limits)}") from None
    return limits


def crossvalidation_check(comparisons: pd.DataFrame, library: str) -> pd.DataFrame:
    """Robust scatter of F, G and K stars beside the papers'; rows `what n run published measure`.

    `comparisons` has `dataset subset label n robust_sigma`.
    """
    rows = comparisons[
        (comparisons["dataset"] == f"crossvalidation_{library}") & (comparisons["subset"] == "FGK")
    ]
    known = rows[rows["label"].isin(PUBLISHED_FGK)]
    return _ratios(
        known["label"], known["n"], known["robust_sigma"], known["label"].map(PUBLISHED_FGK)
    )


def network_check(networks: pd.DataFrame, trained: Mapping[str, int]) -> pd.DataFrame:
    """Scatter on test stars beside what the paper's training set would give with as many stars.

    That is the published scatter, times the root of the paper's number of training stars over ours
    where ours are fewer.

    Parameters
    ----------
    networks : `label set n_train n_test sigma_test published_test` (validation/networks.csv)
    trained : training set to the paper's number of training stars
    """
    known = networks[networks["published_test"].notna()]
    theirs = known["set"].map(trained).to_numpy(float)
    ours = known["n_train"].to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        fewer = np.sqrt(np.fmax(theirs / ours, 1.0))
    what = known["label"] + ", " + known["n_train"].astype(str) + " training stars"
    return _ratios(what, known["n_test"], known["sigma_test"], known["published_test"] * fewer)


def internal_check(summary: pd.DataFrame) -> pd.DataFrame:
    """Mean quoted errors by class and type beside Table 2; `summary` is catalog/summary.csv."""
    rows = summary[summary["quantity"].str.endswith("_err") & summary["published_mean"].notna()]
    what = (
        rows["luminosity_class"]
        + " "
        + rows["spectral_type"]
        + " "
        + rows["quantity"].str.removesuffix("_err")
    )
    return _ratios(what, rows["n"], rows["mean"], rows["published_mean"])


def repeats_check(curves: Mapping[str, pd.DataFrame], comparisons: pd.DataFrame) -> pd.DataFrame:
    """Random errors at S/N 50 of each network's label beside Table 2.

    A row for each type whose curve was fitted to repeats (`source` in errors/TYPE_curves.csv). A
    label without any: the repeats of all types at S/N 40 to 80, with the published curve at 57.

    Parameters
    ----------
    curves : spectral type to its table
    comparisons : only the rows of the data set `repeats` are used
    """
    parts: list[tuple[str, float, float, float]] = []
    fitted: set[str] = set()
    published: dict[str, float] = {}
    for spectral_type, rows in curves.items():
        for row in rows.to_dict("records"):
            label = str(row["label"])
            published[label] = float(
                row["scale"]
                * (row["published_a"] + row["published_c"] / _BIN_SNR ** row["published_b"])
            )
            if row["source"] == "repeats" and np.isfinite(row[f"published_random_{_REPEATS_SNR}"]):
                fitted.add(label)
                parts.append(
                    (
                        f"{label}, type {spectral_type}, S/N 50",
                        row["n_pairs"],
                        row[f"random_{_REPEATS_SNR}"],
                        row[f"published_random_{_REPEATS_SNR}"],
                    )
                )
    repeats = comparisons[(comparisons["dataset"] == "repeats") & (comparisons["subset"] == _BIN)]
    for row in repeats.to_dict("records"):
        label = str(row["label"])
        if label not in fitted and np.isfinite(published.get(label, np.nan)):
            parts.append(
                (f"{label}, S/N 40 to 80", row["n"], row["robust_sigma"], published[label])
            )
    return _ratios(*([part[column] for part in parts] for column in range(4)))


def pull_check(pulls: pd.DataFrame) -> pd.DataFrame:
    """Widths of all stars' pulls; no rows for a survey without truth."""
    rows = pulls[pulls["subset"] == "all"]
    return _ratios(rows["label"], rows["n"], rows["width"], np.ones(len(rows)))


def bias_check(pulls: pd.DataFrame) -> pd.DataFrame:
    """Means of all stars' pulls, ideally 0; measured by their absolute values."""
    rows = pulls[pulls["subset"] == "all"]
    means = rows["mean"].to_numpy(float)
    return _table(rows["label"], rows["n"], means, np.zeros(len(rows)), np.abs(means))


def flag_check(counts: Mapping[str, int], n: int) -> pd.DataFrame:
    """Shares of rows with any flag, and by each flag, from counts of rows."""
    names = list(counts)
    shares = np.array([counts[name] for name in names], float) / max(n, 1)
    return _table(names, [n] * len(names), shares, np.full(len(names), np.nan), shares)


def lost_check(accounting: Mapping[str, Any]) -> pd.DataFrame:
    """Share of the selected spectra that later stages rejected, in all and by stage."""
    stages = dict(accounting["rejected"]["by_stage"])
    selected = accounting["n_in"] - stages.pop("survey", 0)
    lost = {"all": sum(stages.values()), **stages}
    shares = np.array(list(lost.values()), float) / max(selected, 1)
    return _table(list(lost), [selected] * len(lost), shares, np.full(len(lost), np.nan), shares)


def with_lights(checks: Mapping[str, pd.DataFrame], limits: Mapping[str, Limits]) -> pd.DataFrame:
    """All checks in one table (`CHECK_COLUMNS`)."""
    parts = []
    for name, rows in checks.items():
        lights = [
            limits[name].light(measure, n)
            for measure, n in zip(rows["measure"], rows["n"], strict=True)
        ]
        parts.append(rows.assign(check=name, light=lights)[CHECK_COLUMNS])
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=CHECK_COLUMNS)


def _ratios(what: Any, n: Any, run: Any, published: Any) -> pd.DataFrame:
    run, published = np.asarray(run, float), np.asarray(published, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _table(what, n, run, published, run / published)


def _table(
    what: Any, n: Any, run: Any, published: Any, measure: NDArray[np.float64]
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "what": [str(name) for name in what],
            "n": np.asarray(n, float),
            "run": np.asarray(run, float),
            "published": np.asarray(published, float),
            "measure": measure,
        }
    )


@dataclass(frozen=True)
class RunNumbers:
    """The run's key numbers.

    Attributes
    ----------
    accounting : catalog/accounting.json
    snr_band : column of S/N
    snr : (n,) of the rows
    n_stars : rows that are their star's best spectrum
    n_unflagged : rows without a flag
    versions : name to value of the catalogue's provenance
    library : name and number of spectra
    networks : training set to (number of labels, least and largest number of training stars)
    """

    accounting: Mapping[str, Any]
    snr_band: str
    snr: NDArray[np.floating]
    n_stars: int
    n_unflagged: int
    versions: Mapping[str, str]
    library: tuple[str, int]
    networks: Mapping[str, tuple[int, int, int]]


def write_overview(
    output: str | Path,
    numbers: RunNumbers,
    checks: pd.DataFrame,
    limits: Mapping[str, Limits],
    costs: pd.DataFrame,
    comparisons: pd.DataFrame | None = None,
) -> None:
    """Write the page; `checks` as of `with_lights`, `costs` as of `stage_costs`.

    `comparisons` is validation/comparisons.csv, of which a table has the numbers by data set.
    """
    made = [_check(name, limit, checks[checks["check"] == name]) for name, limit in limits.items()]
    write_page(
        output,
        "report/templates/overview.html.j2",
        key_numbers=_key_numbers(numbers),
        checks=[check for check in made if check["rows"]],
        without=[check["title"] for check in made if not check["rows"]],
        accuracy=None if comparisons is None else accuracy(comparisons),
        spectra=_accounting(numbers.accounting),
        costs=costs_in_words(costs, numbers.accounting["n_in"]),
        versions=list(numbers.versions.items()),
        training_sets=[
            (
                f"training set {name}",
                f"{labels} labels, {fewest:,}{f' to {most:,}' if fewest != most else ''} training stars",
            )
            for name, (labels, fewest, most) in numbers.networks.items()
        ],
    )


def _key_numbers(numbers: RunNumbers) -> list[tuple[Any, str]]:
    counts, snr = numbers.accounting, numbers.snr[np.isfinite(numbers.snr)]
    n, recommended = counts["n_accepted"], counts["n_recommended"]
    band = numbers.snr_band.removeprefix("snr")
    median = f"{np.median(snr):.0f}" if len(snr) else "none"
    low, high = np.percentile(snr, [5, 95]) if len(snr) else (np.nan, np.nan)
    return [
        (f"{counts['n_in']:,}", "spectra in"),
        (f"{n:,}", f"accepted, {_share(n, counts['n_in'])}"),
        (f"{counts['n_rejected']:,}", f"rejected, {_share(counts['n_rejected'], counts['n_in'])}"),
        (f"{numbers.n_stars:,}", "stars"),
        (
            f"{counts['repeats']['differ']:,}",
            f"stars whose spectra differ beyond their errors, of {counts['repeats']['stars']:,} with several",
        ),
        (f"{recommended:,}", f"recommended rows, {_share(recommended, n)}"),
        (f"{numbers.n_unflagged:,}", f"rows without a flag, {_share(numbers.n_unflagged, n)}"),
        (median, f"median S/N in {band} (5 to 95 %: {low:.0f} to {high:.0f})"),
        (f"{numbers.library[1]:,}", f"spectra of the library {numbers.library[0]}"),
        (sum(entry[0] for entry in numbers.networks.values()), "labels from networks"),
    ]


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"


def _check(name: str, limit: Limits, own: pd.DataFrame) -> dict[str, Any]:
    """Content of a check: `title counts summary limits note head rows`; `own` are its numbers."""
    counts = own["light"].value_counts()
    shares, measure = name in ("flagged", "lost"), _MEASURES.get(name, "run / paper")
    known = own.loc[own["light"] != "none", "measure"]
    summary = "too few to say"
    if len(known) and shares:
        summary = f"{100 * own['run'].iloc[0]:.1f} %"
    elif len(known):
        summary = (
            f"median {measure} {known.median():.2f}, from {known.min():.2f} to {known.max():.2f}"
        )
        if name not in _MEASURES:
            judged = own[own["light"] != "none"].to_dict("records")
            most = max(judged, key=lambda row: float(row["measure"]))
            summary += f"; {most['what']}: {most['run']:.3g}, paper {most['published']:.3g}"
    head = ["n", "this run", "paper", measure]
    if shares or name in _MEASURES:
        head = ["n", "share" if shares else measure]
    rows: list[dict[str, Any]] = []
    columns = (own[key].tolist() for key in ("what", "light", "n", "run", "published", "measure"))
    for what, light, n, run, published, ratio in zip(*columns, strict=True):
        cells: list[str | float] = [
            _number(run, ".4g"),
            _number(published, ".4g"),
            _number(ratio, ".2f"),
        ]
        if shares or name in _MEASURES:
            cells = [f"{100 * run:.2f} %" if shares else f"{run:.2f}"]
        rows.append({"what": what, "light": light, "numbers": [f"{n:,.0f}", *cells]})
    return {
        "title": limit.title,
        "counts": [(colour, int(counts[colour])) for colour in LIGHTS if colour in counts],
        "summary": summary,
        "limits": f"{_limit(limit)}; {limit.source}",
        "note": limit.note,
        "head": head,
        "rows": rows,
    }


def _limit(limit: Limits) -> str:
    if isinstance(limit.green, tuple) and isinstance(limit.yellow, tuple):
        return f"green {limit.green[0]:g} to {limit.green[1]:g}, yellow {limit.yellow[0]:g} to {limit.yellow[1]:g}"
    return f"green up to {limit.green:g}, yellow up to {limit.yellow:g}"


def _number(value: float, form: str) -> str | float:
    """The number as text, or the missing number itself, which becomes a dash."""
    return format(value, form) if np.isfinite(value) else value


def _accounting(counts: Mapping[str, Any]) -> dict[str, Any]:
    by_reason = counts["rejected"]["by_reason"]
    return {
        "types": [
            (name, *(f"{entry[key]:,}" for key in ("n_in", "n_accepted", "n_rejected")))
            for name, entry in counts["types"].items()
        ],
        "stages": [
            (name, f"{number:,}") for name, number in counts["rejected"]["by_stage"].items()
        ],
        "reasons": [
            (name, f"{number:,}", REASONS.get(name, ""))
            for name, number in sorted(by_reason.items(), key=lambda item: (-item[1], item[0]))
        ],
    }
