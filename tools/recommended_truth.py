"""Recommended values beside each system alone, against the truth of a simulated run, by spectral type.

`python tools/recommended_truth.py RESULTS [DEFINITIONS] [--weights stated]` after a simulated run; RESULTS is its
folder. Relations and weights are fitted anew from the tables of the types, so that other definitions
(config/recommended.yaml) can be tried on a finished run. Single stars without emission that no network learned from;
prints a line per label and type for all stars of each column and for those that all systems share, with number, median,
robust sigma and mean of the absolute difference and the robust width of the pulls, then the relations, factors and
correlations.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.catalog.left_out import read_left_out
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.library.library import read_catalogue_labels
from lamostvac.recommend.combine import combine, fit_all
from lamostvac.recommend.definitions import load_definitions, result_columns
from lamostvac.recommend.files import in_words
from lamostvac.recommend.settings import Recommended, Settings
from lamostvac.validation.networks import repeat_pairs
from lamostvac.validation.statistics import pull_statistics, statistics

SETTINGS = Settings(snr_band="snrr", **Recommended().model_dump(exclude={"definitions"}))


def trained_in(results: Path) -> dict[str, str]:
    """The file with left-out stars of each label that the run has trained."""
    ending = "_left_out.parquet"
    files = sorted((results / "networks").glob(f"*{ending}"))
    return {path.name.removesuffix(ending): str(path) for path in files}


def library_of(results: Path) -> np.ndarray:
    """Labels (m, 4) of the first emulator's library."""
    made_of = json.loads((results / "catalog" / "provenance.json").read_text())
    name = made_of["settings"]["library"]["name"]
    return read_catalogue_labels(results / "library" / f"{name}.h5")


def rows_of(results: Path, spectral_type: str) -> dict[str, np.ndarray]:
    """The columns of a type's table; those of recommended values are there even if it has none."""
    table = Table.read(results / "catalog" / f"{spectral_type}.fits", memmap=False)
    columns = {name: np.asarray(table[name]) for name in table.colnames}
    for label in ("teff", "logg", "feh", "alpha_fe"):
        columns |= {name: np.full(len(table), np.nan) for name in result_columns(label)}
    return columns


def truth_of(results: Path) -> pd.DataFrame:
    """True labels by spectrum, with `ordinary`: single, without emission, not of a star in a training set."""
    table = Table.read(results / "simulated" / "truth.fits", character_as_bytes=False).to_pandas()
    trained: set[str] = set()
    for path in sorted((results / "training").glob("*.fits")):
        training = Table.read(path, character_as_bytes=False).to_pandas()
        trained |= set(training.loc[training["split"] == "train", "spectrum_id"])
    table["ordinary"] = (
        ~table["is_binary"].astype(bool)
        & ~table["is_emission"].astype(bool)
        & ~table["star_id"].isin(table.loc[table["spectrum_id"].isin(trained), "star_id"])
    )
    return table.set_index("spectrum_id")


def lines(
    label: str, columns: dict[str, Any], sources: list[str], truth: pd.DataFrame, both: np.ndarray
) -> Iterator[dict[str, Any]]:
    """Statistics of the recommended label and each source on their stars and on those of both systems."""
    for stars, chosen in (("all", np.ones(len(truth), bool)), ("both", both)):
        chosen = chosen & truth["ordinary"].to_numpy()
        for name in (f"{label}_rec", *sources):
            value = np.where(chosen, columns[name], np.nan)
            found = statistics(value, truth[label])
            pulls = pull_statistics(value, columns[f"{name}_err"], truth[label])
            yield {
                "stars": stars, "column": name, "n": found["n"], "offset": found["offset"],
                "robust_sigma": found["robust_sigma"],
                "mean_absolute": float(np.nanmean(np.abs(value - truth[label]))) if found["n"] else np.nan,
                "pull_width": pulls["width"],
            }  # fmt: skip


def main(results: Path, path: Path, settings: Settings) -> None:
    truth, library = truth_of(results), library_of(results)
    table, relations = [], []
    for spectral_type in TYPE_ORDER:
        columns = rows_of(results, spectral_type)
        definitions = load_definitions(path, list(columns))
        pairs = repeat_pairs(columns["ra"], columns["dec"], columns["lmjd"])
        left_out = read_left_out(columns["spectrum_id"].astype("S"), trained_in(results))
        fitted = fit_all(columns, definitions, settings, pairs, left_out, library)
        found = truth.loc[columns["spectrum_id"].astype(str)]
        for definition, item in zip(definitions, fitted, strict=True):
            label = definition.label
            values = combine(
                columns, definition, item, settings.disagreement, settings.snr_band,
                {name: known.numbers(len(found)) for name, known in left_out.items()},
                library,
            )  # fmt: skip
            columns |= dict(zip(result_columns(label), values, strict=True))
            both = np.ones(len(found), bool)
            for system in definition.systems:
                bits = sum(1 << s.bit for s in definition.sources if s.system == system)
                both &= (values[2] & bits) > 0
            sources = [source.column for source in definition.sources]
            for line in lines(label, columns, sources, found, both):
                table.append({"type": spectral_type, "label": label} | line)
            for name, relation in item.relations.items():
                rounded = np.round(relation.coefficients, 4).tolist()
                relations.append(
                    {"type": spectral_type, "label": label, "source": name, "scale": item.scale}
                    | {"n": relation.n, "scatter": relation.scatter, "coefficients": rounded}
                    | {"disagree": float(values[3][both].mean()) if both.any() else np.nan}
                )
        print("\n".join(f"{spectral_type} {line}" for line in in_words(fitted)))
    for what in (table, relations):
        print(pd.DataFrame(what).to_string(index=False, float_format=lambda x: f"{x:.4g}"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    shipped = Path(__file__).resolve().parent.parent / "config" / "recommended.yaml"
    parser.add_argument("definitions", type=Path, nargs="?", default=shipped)
    parser.add_argument("--weights", choices=["learned", "stated"], default="learned")
    arguments = parser.parse_args()
    chosen = SETTINGS.changed(weights=arguments.weights)
    main(arguments.results, arguments.definitions, chosen)
