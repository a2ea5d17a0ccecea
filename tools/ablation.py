"""What each step of the recommended values contributes, on training stars, cross-validated over stars.

`python tools/ablation.py RESULTS [DEFINITIONS]` after a run with networks; RESULTS is its folder. Each system alone,
and recommended values without the survey emulators, without networks and with all systems, by stated and by learned
weights, are compared with the training sets' labels. The answers of networks are those of members that did not learn
from the star. Weights are learned on four fifths of the stars, for the last fifth, in turn. Prints number, median,
robust sigma and mean absolute difference by kind of star and S/N, and the width of the pulls.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from recommended_truth import SETTINGS, rows_of, trained_in

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.catalog.left_out import read_left_out
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.recommend.combine import combine, fit_all
from lamostvac.recommend.definitions import Columns, Definition, load_definitions
from lamostvac.recommend.learned import LeftOut, with_left_out
from lamostvac.uncertainty.repeats import repeat_pairs
from lamostvac.validation.match import stars_of
from lamostvac.validation.statistics import pull_statistics, statistics

FOLDS = 5
# Conditions on the reference's labels and S/N, as `pandas.DataFrame.query` reads them.
KINDS = {
    "M": "teff < 4000",
    "FGK": "4000 <= teff < 7000",
    "giants (FGK, log g < 3.8)": "4000 <= teff < 7000 and logg < 3.8",
    "A and hotter": "teff >= 7000",
}
QUALITIES = {"10-20": "10 < snr <= 20", "20-50": "20 < snr <= 50", "> 50": "snr > 50"}

Array = NDArray[np.float64]


def variants(
    definition: Definition, left_out: Mapping[str, LeftOut]
) -> Iterator[tuple[str, Definition, str]]:
    """Name, definition and weights of what is compared: two systems and more."""
    systems = definition.systems
    chosen = [systems[:i] + systems[i + 1 :] for i in range(len(systems))] + [systems]
    for some in chosen:
        sources = [source for source in definition.sources if source.system in some]
        names = [source.column for source in sources]
        scale = [name for name in definition.scale if name in names]
        if len(some) < 2 or not scale:
            continue
        part = definition.model_copy(update={"sources": sources, "scale": scale})
        known = any(name in left_out for name in names)
        for weights in ("stated", "learned") if known else ("stated",):
            yield f"{' + '.join(some)}, {weights}", part, weights


def crossvalidated(
    columns: Columns,
    definition: Definition,
    weights: str,
    left_out: Mapping[str, LeftOut],
    stars: NDArray[np.int64],
    snr_band: str,
) -> tuple[Array, Array]:
    """Value and error (n,) with relations and weights from the stars of other folds.

    Parameters
    ----------
    stars : (n,) a number for each star
    """
    settings = SETTINGS.changed(weights=weights, snr_band=snr_band)
    pairs = repeat_pairs(columns["ra"], columns["dec"], columns["lmjd"])
    fold = np.random.default_rng(1).integers(0, FOLDS, stars.max() + 1)[stars]
    value, error = np.full(len(stars), np.nan), np.full(len(stars), np.nan)
    for i in range(FOLDS):
        known = {name: _without(item, fold == i) for name, item in left_out.items()}
        (fitted,) = fit_all(columns, [definition], settings, pairs, known)
        own = {name: item.numbers(len(stars)) for name, item in left_out.items()}
        found = combine(columns, definition, fitted, settings.disagreement, snr_band, own)
        value[fold == i], error[fold == i] = found[0][fold == i], found[1][fold == i]
    return value, error


def _without(item: LeftOut, rows: NDArray[np.bool_]) -> LeftOut:
    return item.chosen(~rows[item.rows])


def of_type(
    results: Path, spectral_type: str, path: Path, snr_band: str
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Label, variant, and a table `value error reference teff logg snr` of the training stars."""
    rows = rows_of(results, spectral_type)
    if not len(rows["ra"]):
        return
    left_out = read_left_out(rows["spectrum_id"].astype("S"), trained_in(results))
    stars = stars_of(pd.DataFrame({name: rows[name] for name in ("ra", "dec", "gaia_source_id")}))
    columns = with_left_out(rows, set(rows), left_out)
    definitions = load_definitions(path, list(columns))
    truth = {d.label: _reference(d, left_out, len(stars)) for d in definitions}
    unknown = np.full(len(stars), np.nan)
    for definition in definitions:
        label = definition.label
        results_of = {
            source.column: (columns[source.column], columns[f"{source.column}_err"])
            for source in definition.sources
        }
        for name, part, weights in variants(definition, left_out):
            results_of[name] = crossvalidated(columns, part, weights, left_out, stars, snr_band)
        for name, (value, error) in results_of.items():
            table = {"value": value, "error": error, "reference": truth[label]}
            table |= {other: truth.get(other, unknown) for other in ("teff", "logg")}
            table |= {"snr": columns[snr_band]}
            as_numbers = {key: np.asarray(array, np.float64) for key, array in table.items()}
            yield label, name, pd.DataFrame(as_numbers).dropna(subset=["value", "reference"])


def _reference(definition: Definition, left_out: Mapping[str, LeftOut], n: int) -> Array:
    """The label (n,) of the first source's training set that has the star; NaN without one."""
    found = np.full(n, np.nan)
    for source in reversed(definition.sources):
        if source.column in left_out:
            found[left_out[source.column].rows] = left_out[source.column].reference
    return found


def lines(label: str, name: str, table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Statistics by kind of star and S/N."""
    for kind, is_kind in KINDS.items():
        for quality, has_quality in QUALITIES.items():
            part = table.query(is_kind).query(has_quality)
            if len(part):
                found = statistics(part["value"], part["reference"])
                yield {
                    "label": label, "stars": kind, "S/N": quality, "from": name, "n": found["n"],
                    "median": found["offset"], "robust sigma": found["robust_sigma"],
                    "mean absolute": float(np.abs(part["value"] - part["reference"]).mean()),
                    "pulls": pull_statistics(part["value"], part["error"], part["reference"])["width"],
                }  # fmt: skip


def main(results: Path, path: Path, snr_band: str) -> None:
    tables: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for spectral_type in TYPE_ORDER:
        for label, name, table in of_type(results, spectral_type, path, snr_band):
            tables.setdefault((label, name), []).append(table)
    found = [line for key, parts in tables.items() for line in lines(*key, pd.concat(parts))]
    print(pd.DataFrame(found).to_string(index=False, float_format=lambda x: f"{x:.4g}"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    shipped = Path(__file__).resolve().parent.parent / "config" / "recommended.yaml"
    parser.add_argument("definitions", type=Path, nargs="?", default=shipped)
    parser.add_argument("--snr-band", default="snrg", help="survey.snr_band of the run")
    arguments = parser.parse_args()
    main(arguments.results, arguments.definitions, arguments.snr_band)
