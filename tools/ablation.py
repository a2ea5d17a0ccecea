"""What each step of the recommended values contributes, on training stars, cross-validated over stars.

`python tools/ablation.py RESULTS [DEFINITIONS]` after a run with networks; RESULTS is its folder. Each system alone,
and recommended values without the survey emulators, without networks and with all systems, by stated and by learned
weights, are compared with the training sets' labels. The answers of networks are those of members that did not learn
from the star. Weights are learned on four fifths of the stars, for the last fifth, in turn. Prints number, median,
robust sigma and mean absolute difference by kind of star and S/N, and width of the pulls and their share beyond 3; then
the same of all systems together for stars with and without flag_{label}_extrapolated.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from recommended_truth import SETTINGS, library_of, rows_of, trained_in

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
    "metal-poor (FGK, [Fe/H] < -1.3)": "4000 <= teff < 7000 and feh < -1.3",
    "A and hotter": "teff >= 7000",
}
QUALITIES = {
    "10-20": "10 < snr <= 20",
    "20-50": "20 < snr <= 50",
    "> 50": "snr > 50",
    "> 20": "snr > 20",
}
FLAGGED = {
    "flagged, > 10": "extrapolated and snr > 10",
    "others, > 10": "not extrapolated and snr > 10",
}

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
    library: Array,
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Value, error and extrapolation (n,) with relations and weights from the stars of other folds.

    Parameters
    ----------
    stars : (n,) a number for each star
    library : labels (m, 4) of the first emulator's library
    """
    settings = SETTINGS.changed(weights=weights, snr_band=snr_band)
    pairs = repeat_pairs(columns["ra"], columns["dec"], columns["lmjd"])
    fold = np.random.default_rng(1).integers(0, FOLDS, stars.max() + 1)[stars]
    value, error = np.full(len(stars), np.nan), np.full(len(stars), np.nan)
    extrapolated = np.zeros(len(stars), bool)
    for i in range(FOLDS):
        known = {name: _without(item, fold == i) for name, item in left_out.items()}
        (fitted,) = fit_all(columns, [definition], settings, pairs, known, library)
        own = {name: item.numbers(len(stars)) for name, item in left_out.items()}
        found = combine(
            columns, definition, fitted, settings.disagreement, snr_band, own,
            library,
        )  # fmt: skip
        value[fold == i], error[fold == i] = found[0][fold == i], found[1][fold == i]
        extrapolated[fold == i] = found[4][fold == i] == 1
    return value, error, extrapolated


def _without(item: LeftOut, rows: NDArray[np.bool_]) -> LeftOut:
    return item.chosen(~rows[item.rows])


def of_type(
    results: Path, spectral_type: str, path: Path, snr_band: str
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Label, variant, and a table `value error extrapolated reference teff logg feh snr` of the
    training stars.
    """
    rows = rows_of(results, spectral_type)
    if not len(rows["ra"]):
        return
    left_out = read_left_out(rows["spectrum_id"].astype("S"), trained_in(results))
    library = library_of(results)
    stars = stars_of(pd.DataFrame({name: rows[name] for name in ("ra", "dec", "gaia_source_id")}))
    columns = with_left_out(rows, set(rows), left_out)
    definitions = load_definitions(path, list(columns))
    truth = {d.label: _reference(d, left_out, len(stars)) for d in definitions}
    unknown, nowhere = np.full(len(stars), np.nan), np.zeros(len(stars), bool)
    for definition in definitions:
        label = definition.label
        results_of = {
            source.column: (columns[source.column], columns[f"{source.column}_err"], nowhere)
            for source in definition.sources
        }
        for name, part, weights in variants(definition, left_out):
            results_of[name] = crossvalidated(
                columns, part, weights, left_out, stars, snr_band, library
            )
        for name, (value, error, extrapolated) in results_of.items():
            table = {"value": value, "error": error, "extrapolated": extrapolated}
            table |= {"reference": truth[label]}
            table |= {other: truth.get(other, unknown) for other in ("teff", "logg", "feh")}
            table |= {"snr": columns[snr_band]}
            native = {
                key: array if array.dtype == bool else np.asarray(array, np.float64)
                for key, array in table.items()
            }
            yield label, name, pd.DataFrame(native).dropna(subset=["value", "reference"])


def _reference(definition: Definition, left_out: Mapping[str, LeftOut], n: int) -> Array:
    """The label (n,) of the first source's training set that has the star; NaN without one."""
    found = np.full(n, np.nan)
    for source in reversed(definition.sources):
        if source.column in left_out:
            found[left_out[source.column].rows] = left_out[source.column].reference
    return found


def lines(
    label: str, name: str, table: pd.DataFrame, qualities: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Statistics by kind of star and S/N."""
    for kind, is_kind in KINDS.items():
        for quality, has_quality in qualities.items():
            part = table.query(is_kind).query(has_quality)
            if len(part):
                found = statistics(part["value"], part["reference"])
                pulls = (part["value"] - part["reference"]) / part["error"]
                yield {
                    "label": label, "stars": kind, "S/N": quality, "from": name, "n": found["n"],
                    "median": found["offset"], "robust sigma": found["robust_sigma"],
                    "mean absolute": float(np.abs(part["value"] - part["reference"]).mean()),
                    "pulls": pull_statistics(part["value"], part["error"], part["reference"])["width"],
                    "beyond 3": float((np.abs(pulls) > 3).mean()),
                }  # fmt: skip


def main(results: Path, path: Path, snr_band: str) -> None:
    tables: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for spectral_type in TYPE_ORDER:
        for label, name, table in of_type(results, spectral_type, path, snr_band):
            tables.setdefault((label, name), []).append(table)
    of_all = [(label, names[-1]) for label, names in _by_label(tables).items()]
    for some, qualities in ((tables, QUALITIES), (of_all, FLAGGED)):
        found = [line for key in some for line in lines(*key, pd.concat(tables[key]), qualities)]
        print(pd.DataFrame(found).to_string(index=False, float_format=lambda x: f"{x:.4g}"))


def _by_label(keys: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The variants of each label in their order; the last has all systems, by learned weights."""
    found: dict[str, list[str]] = {}
    for label, name in keys:
        found.setdefault(label, []).append(name)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    shipped = Path(__file__).resolve().parent.parent / "config" / "recommended.yaml"
    parser.add_argument("definitions", type=Path, nargs="?", default=shipped)
    parser.add_argument("--snr-band", default="snrg", help="survey.snr_band of the run")
    arguments = parser.parse_args()
    main(arguments.results, arguments.definitions, arguments.snr_band)
